"""Images: the native form, what it takes, and the files it reads and writes."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import zoo
from zoo.data.form import native_form
from zoo.data.image import ImageBatch, ImageForm, image_shape
from zoo.data.image_io import encode_png, sheet
from zoo.errors import ConditionError, DataError, SchemaError
from zoo.schema import Schema

FORM = ImageForm()
# Names that are hard on file systems: separators, a dot alone, equal but for case, empty, not of Latin script.
HARD = ("T-shirt/top", "..", "bag", "Bag", "", "größe", "数", "con.txt", " padded ")


@st.composite
def batches(draw: st.DrawFn, *, labelled: bool | None = None, least: int = 1) -> ImageBatch:
    n, h, w = draw(st.integers(least, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    pixels = draw(hnp.arrays(np.uint8, (n, h, w, draw(st.sampled_from([1, 3])))))
    if not (draw(st.booleans()) if labelled is None else labelled):
        return ImageBatch(pixels)
    classes = tuple(draw(st.lists(st.sampled_from(HARD), min_size=1, max_size=len(HARD), unique=True)))
    codes = draw(st.lists(st.integers(0, len(classes) - 1), min_size=n, max_size=n))
    return ImageBatch(pixels, np.array(codes, dtype=np.int64), classes)


def tiny() -> ImageBatch:
    pixels = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5, 1)
    return ImageBatch(pixels, np.array([0, 1, 2, 2, 1, 0]), ("cat", "dog", "bird"))


def png_of(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


# The batch


def test_batch_says_what_is_wrong() -> None:
    good = np.zeros((2, 3, 3, 1), np.uint8)
    for call, words in (
        (lambda: ImageBatch(np.zeros((2, 3, 3, 4), np.uint8)), "C of 1 or 3"),
        (lambda: ImageBatch(good.astype(float)), "uint8"),
        (lambda: ImageBatch(good, np.array([0])), r"shape \(2,\)"),
        (lambda: ImageBatch(good, np.array([0.0, 1.0])), "whole numbers"),
        (lambda: ImageBatch(good, np.array([0, 3]), ("a", "b")), "0 to 1"),
        (lambda: ImageBatch(good, np.array([0, -1])), "0 to"),
        (lambda: ImageBatch(good, np.array([0, 1]), ("a", "a")), "'a' is named twice"),
    ):
        with pytest.raises(DataError, match=words):
            call()


# What is taken


def test_coerce_takes_arrays_pairs_and_batches() -> None:
    batch = tiny()
    assert FORM.coerce(batch) is batch
    assert FORM.coerce(batch.pixels[..., 0]).pixels.shape == (6, 4, 5, 1)
    assert np.shares_memory(FORM.coerce(batch.pixels).pixels, batch.pixels)
    pair = FORM.coerce((batch.pixels, [0, 1, 2, 2, 1, 0]))
    assert pair.classes == ("0", "1", "2") and pair.labels is not None
    named = FORM.coerce((batch.pixels, np.array(["b", "a", "c", "c", "a", "b"])))
    assert named.classes == ("a", "b", "c") and named.labels.tolist() == [1, 0, 2, 2, 0, 1]
    triple = FORM.coerce((batch.pixels, ["b", "a", "c", "c", "a", "b"], ["c", "b", "a"]))
    assert triple.classes == ("c", "b", "a") and triple.labels.tolist() == [1, 2, 0, 0, 2, 1]


def test_schema_names_the_classes_of_labels_that_come_without() -> None:
    schema = FORM.infer(tiny())
    got = FORM.coerce((tiny().pixels, ["bird"] * 6), schema)
    assert got.classes == ("cat", "dog", "bird") and set(got.labels.tolist()) == {2}
    codes = FORM.coerce((tiny().pixels, [0, 1, 1, 0, 0, 1]), schema)
    FORM.check(codes, schema)


class Fake:
    """As torchvision's data sets are."""

    classes = ("one", "two")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if i >= 4:
            raise IndexError(i)
        return Image.fromarray(np.full((3, 2), 10 * i, np.uint8)), i % 2


def test_coerce_takes_torchvision_datasets_and_lists_of_images() -> None:
    got = FORM.coerce(Fake())
    assert got.classes == ("one", "two") and got.pixels.shape == (4, 3, 2, 1) and got.pixels[3, 0, 0, 0] == 30
    assert FORM.equal(FORM.coerce([Fake()[i] for i in range(4)]), ImageBatch(got.pixels, got.labels, ("0", "1")))
    grey, colour = Image.new("L", (2, 3), 7), Image.new("RGB", (2, 3), (1, 2, 3))
    mixed = FORM.coerce([grey, colour])
    assert mixed.pixels[0, 0, 0].tolist() == [7, 7, 7] and mixed.pixels[1, 0, 0].tolist() == [1, 2, 3]
    clear = FORM.coerce([Image.new("RGBA", (1, 1), (0, 0, 0, 0)), Image.new("RGBA", (1, 1), (9, 9, 9, 255))])
    assert clear.pixels[:, 0, 0].tolist() == [[255] * 3, [9] * 3]


@pytest.mark.parametrize("feature", [datasets.Image(), datasets.Array3D((4, 5, 1), "uint8")])
def test_coerce_takes_hugging_face_datasets(feature: Any) -> None:
    batch = tiny()
    label = datasets.ClassLabel(names=list(batch.classes))
    images = [Image.fromarray(p[..., 0]) for p in batch.pixels] if isinstance(feature, datasets.Image) else batch.pixels
    made = datasets.Dataset.from_dict(
        {"picture": images, "kind": batch.labels}, datasets.Features({"picture": feature, "kind": label})
    )
    assert FORM.equal(FORM.coerce(made), batch)
    assert FORM.equal(FORM.coerce(made.remove_columns("kind")), ImageBatch(batch.pixels))
    plain = made.rename_column("kind", "label").cast_column("label", datasets.Value("int64"))
    assert FORM.coerce(plain).classes == ("0", "1", "2")


def test_bad_input_is_named() -> None:
    batch = tiny()
    hidden = datasets.Dataset.from_dict(
        {"image": [Image.new("L", (2, 2))] * 2, "label": [0, -1]},
        datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])}),
    )
    small = Image.new("L", (2, 2))
    cases: list[tuple[Any, str]] = [
        (batch[:0], "no images"),
        ([], "no images"),
        ("folder", "not str"),
        (42, "not int"),
        ({"pixels": batch.pixels}, "not dict"),
        (np.zeros((2, 0, 3), np.uint8), "no pixels"),
        ((batch.pixels, [0, 1]), r"labels of shape \(6,\)"),
        ((batch.pixels, ["a", None, "b", "a", "a", "a"]), "image 1 has no label"),
        ((batch.pixels, ["a"] * 6, ["b"]), "label 'a' is no class"),
        ([small, Image.new("L", (3, 2))], "image 1 is 2x3, image 0 is 2x2"),
        ([(small, 0), small], "no pairs"),
        ([small, "x.png"], "image 1 is no image but str"),
        ([Image.new("I;16", (2, 2))], "more than 8 bits"),
        ([np.zeros((2, 2))], "image 0 must be uint8"),
        (datasets.Dataset.from_dict({"x": [1]}), r"no column of images, it has \['x'\]"),
        (datasets.DatasetDict({"train": hidden}), "one split"),
        (hidden, "'label' is missing in row 1"),
    ]
    for data, words in cases:
        with pytest.raises(DataError, match=words) as caught:
            FORM.coerce(data)
        assert "\n" not in str(caught.value)


# The operations


def test_schema_of_images() -> None:
    schema = FORM.infer(tiny())
    assert schema.shape == {"height": 4, "width": 5, "channels": 1} and schema.names == ["label"]
    label = schema["label"]
    assert (label.kind, label.role, label.dtype) == ("category", "label", "int64")
    assert label.categories == (0, 1, 2) and label.names == ("cat", "dog", "bird")
    assert label.code_of("dog") == label.code_of(1) == 1
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert FORM.infer(ImageBatch(tiny().pixels)).names == []
    with pytest.raises(SchemaError, match="height and width"):
        image_shape(Schema(modality="image"))


def test_check_finds_each_violation() -> None:
    batch = tiny()
    schema = FORM.infer(batch)
    FORM.check(batch, schema)
    FORM.check(batch[:0], schema)
    for wrong, words in (
        (batch.pixels, "ImageBatch"),
        (ImageBatch(batch.pixels[:, :3], batch.labels, batch.classes), "3x5x1"),
        (ImageBatch(batch.pixels), "no labels"),
        (ImageBatch(batch.pixels, batch.labels, ("cat", "bird", "dog")), "classes are"),
    ):
        with pytest.raises(SchemaError, match=words):
            FORM.check(wrong, schema)
    with pytest.raises(SchemaError, match="the schema has none"):
        FORM.check(batch, FORM.infer(ImageBatch(batch.pixels)))


@given(batches(), st.data())
@settings(max_examples=40, deadline=None)
def test_slices_join_to_the_whole(batch: ImageBatch, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    joined = FORM.concat([FORM.slice(batch, 0, cut), FORM.slice(batch, cut, len(batch))])
    assert FORM.equal(joined, batch) and FORM.length(joined) == len(batch)
    order = np.array(data.draw(st.permutations(range(len(batch)))))
    back = FORM.take(FORM.take(batch, order), np.argsort(order))
    assert FORM.equal(back, batch)
    FORM.check(back, FORM.infer(batch))


def test_equal_sees_every_difference() -> None:
    batch = tiny()
    other = batch.pixels.copy()
    other[0, 0, 0, 0] += 1
    for different in (
        ImageBatch(other, batch.labels, batch.classes),
        ImageBatch(batch.pixels, batch.labels[::-1].copy(), ("bird", "dog", "cat")),
        ImageBatch(batch.pixels, np.array([1, 1, 2, 2, 1, 0]), batch.classes),
        ImageBatch(batch.pixels),
        batch[:5],
        batch.pixels,
    ):
        assert not FORM.equal(batch, different)


def test_concat_and_column_refuse_what_does_not_fit() -> None:
    batch = tiny()
    assert FORM.column(batch, "label").tolist() == [0, 1, 2, 2, 1, 0]
    with pytest.raises(SchemaError, match="'size'"):
        FORM.column(batch, "size")
    with pytest.raises(DataError, match="cannot be joined"):
        FORM.concat([batch, ImageBatch(batch.pixels)])


# Arrow and PNG


@given(batches(least=0))
@settings(max_examples=40, deadline=None)
def test_png_and_arrow_keep_every_pixel(batch: ImageBatch) -> None:
    decoded = [np.asarray(Image.open(io.BytesIO(b))) for b in encode_png(batch.pixels)]
    for pixels, got in zip(batch.pixels, decoded, strict=True):
        np.testing.assert_array_equal(got.reshape(pixels.shape), pixels)
    schema = FORM.infer(batch)
    features = FORM.features(schema)
    table = FORM.to_arrow(batch, schema)
    assert table.cast(features.arrow_schema).num_rows == len(batch)
    if len(batch):
        assert FORM.equal(FORM.coerce(datasets.Dataset(table).cast(features)), batch)


# Files


@pytest.mark.parametrize("name", ["images.npz", "images.parquet", "images"])
@given(batch=batches())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_give_back_what_was_written(name: str, batch: ImageBatch, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("out") / name
    FORM.write(batch, str(path))
    got = FORM.read(str(path))
    if path.is_dir() and batch.labels is not None:  # a folder holds classes, not an order across them
        batch = batch[np.argsort(batch.labels, kind="stable")]
    assert FORM.equal(got, batch)
    assert [p.name for p in path.parent.iterdir()] == [name], "something else was left beside it"


def test_to_parquet_of_a_dataset_is_read(tmp_path: Path) -> None:
    batch = tiny()
    schema = FORM.infer(batch)
    datasets.Dataset(FORM.to_arrow(batch, schema)).cast(FORM.features(schema)).to_parquet(tmp_path / "x.parquet")
    assert FORM.equal(FORM.read(str(tmp_path / "x.parquet")), batch)


def test_folders_of_other_tools_are_read(tmp_path: Path) -> None:
    for name, value in (("10", 1), ("9", 2), ("1", 3)):
        png_of(np.full((2, 3), value, np.uint8), tmp_path / "digits" / name / "a.png")
    (tmp_path / "digits" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "digits" / "README.txt").write_text("notes")
    got = FORM.read(str(tmp_path / "digits"))
    assert got.classes == ("1", "9", "10") and got.pixels[:, 0, 0, 0].tolist() == [3, 2, 1]
    png_of(np.zeros((2, 3, 3), np.uint8), tmp_path / "loose" / "a.jpg")
    png_of(np.zeros((2, 3, 3), np.uint8), tmp_path / "loose" / "b.PNG")
    loose = FORM.read(str(tmp_path / "loose"))
    assert loose.labels is None and loose.pixels.shape == (2, 2, 3, 3)


def test_sheet_shows_one_row_a_class(tmp_path: Path) -> None:
    FORM.write(tiny(), str(tmp_path / "s.png"))
    assert np.asarray(Image.open(tmp_path / "s.png")).shape == (3 * 6, 2 * 7)
    FORM.write(ImageBatch(np.zeros((70, 2, 2, 3), np.uint8)), str(tmp_path / "u.png"))
    assert np.asarray(Image.open(tmp_path / "u.png")).shape == (3 * 4, 32 * 4, 3)
    grid = sheet(tiny())
    assert grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[1:5, 1:6], tiny().pixels[0, ..., 0])


def test_bad_files_are_named(tmp_path: Path) -> None:
    png_of(np.zeros((2, 2), np.uint8), tmp_path / "sizes" / "a.png")
    png_of(np.zeros((2, 3), np.uint8), tmp_path / "sizes" / "b.png")
    png_of(np.zeros((2, 2), np.uint8), tmp_path / "both" / "a.png")
    (tmp_path / "both" / "class").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "c.png").write_bytes(encode_png(np.ones((1, 9, 9, 1), np.uint8))[0][:40])
    (tmp_path / "empty").mkdir()
    png_of(np.zeros((2, 2), np.uint8), tmp_path / "listed" / "a" / "a.png")
    (tmp_path / "listed" / "classes.json").write_text('{"b": "x"}')
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 cut")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "floats.npz", pixels=np.zeros((1, 2, 2)))
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    import pandas as pd

    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table.parquet")
    pd.DataFrame({"image": [{"bytes": b"no image", "path": None}]}).to_parquet(tmp_path / "junk.parquet")
    for name, words in (
        ("missing", "does not exist"),
        ("sizes", "b.png is 2x3"),
        ("both", "lies beside"),
        ("cut", "c.png"),
        ("empty", "holds no images"),
        ("listed", "classes.json"),
        ("no.npz", "no.npz"),
        ("other.npz", "no array 'pixels'"),
        ("floats.npz", "uint8"),
        ("no.parquet", "no.parquet"),
        ("table.parquet", "no column of images"),
        ("junk.parquet", "cannot be decoded"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            FORM.read(str(tmp_path / name))
        assert "\n" not in str(caught.value), name
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"\.txt"):
        FORM.read(str(tmp_path / "x.txt"))


def test_a_refused_write_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        FORM.write(tiny(), str(tmp_path / "full"))
    with pytest.raises(DataError, match=r"\.gif"):
        FORM.write(tiny(), str(tmp_path / "x.gif"))
    with pytest.raises(DataError, match="no images to draw"):
        FORM.write(tiny()[:0], str(tmp_path / "x.png"))
    with pytest.raises(DataError, match="cannot write"):
        FORM.write(tiny(), str(tmp_path / "full" / "mine.txt" / "below"))
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_the_registered_form_and_conditions_by_name_or_code() -> None:
    from zoo.conditions import parse

    assert isinstance(native_form("image"), ImageForm)
    schema = FORM.infer(tiny())
    for asked in ("bird", 2):
        assert parse({"label": asked}, schema, ["label"], family="x", n=1)["label"].fixed(1).tolist() == [2]
    with pytest.raises(ConditionError, match="'fish' is no category"):
        parse({"label": "fish"}, schema, ["label"], family="x", n=1)
    assert zoo.ImageBatch is ImageBatch
