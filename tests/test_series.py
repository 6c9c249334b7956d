"""The form of time series: what comes in, what is inferred, checked and written."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoo._testing_data import odd_data, tiny_data
from zoo.data.form import native_form
from zoo.data.series_events import MISSING, ChannelEvents
from zoo.data.timeseries import SeriesBatch, SeriesForm, windows
from zoo.errors import DataError, SchemaError
from zoo.schema import Schema

FORM = SeriesForm()


def mixed(n: int = 30, t: int = 8) -> SeriesBatch:
    """Two numeric and two categorical channels, gaps, three kinds of attributes, different lengths, times."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, t, n)
    lengths[0] = t
    values = rng.normal(size=(n, t, 2)).round(2)
    values[rng.random(values.shape) < 0.1] = np.nan
    codes = rng.integers(-1, 2, (n, t, 2))
    inside = np.arange(t)[None, :] < lengths[:, None]
    static = pd.DataFrame(
        {
            "place": pd.Series(rng.choice(["in", "out"], n), dtype="str"),
            "floor": rng.integers(0, 4, n),
            "grade": pd.Categorical(rng.choice(["lo", "hi"], n), categories=["lo", "hi"], ordered=True),
        }
    )
    return SeriesBatch(
        values=np.where(inside[:, :, None], values, np.nan),
        channels=("heat", "load"),
        lengths=lengths,
        categories=np.where(inside[:, :, None], codes, -1),
        category_channels=("mode", "gear"),
        category_values=(("off", "on"), (1, 2)),
        static=static,
        times=np.where(
            inside, np.datetime64("2024-01-01", "s") + np.arange(t) * np.timedelta64(60, "s"), np.datetime64("NaT")
        ),
    )


BATCH = mixed()
SCHEMA = FORM.infer(BATCH)


def test_the_registry_of_forms_finds_it() -> None:
    assert isinstance(native_form("timeseries"), SeriesForm)


# The container


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"values": np.zeros(3)}, "(N, T, C)"),
        ({"values": np.array([["a"]])}, "numbers"),
        ({"values": np.zeros((2, 0, 1))}, "no steps"),
        ({"values": np.zeros((2, 3, 1)), "channels": ("a", "b")}, "2 channel names for 1"),
        ({"values": np.zeros((2, 3, 1)), "lengths": np.array([0, 3])}, "1 to 3"),
        ({"values": np.zeros((2, 3, 1)), "lengths": np.array([1, 4])}, "1 to 3"),
        ({"values": np.zeros((2, 3, 1)), "lengths": np.array([1])}, "(2,)"),
        ({"values": np.zeros((2, 3, 1)), "mask": np.ones((2, 3, 2), bool)}, "mask"),
        ({"values": np.zeros((2, 3, 1)), "category_channels": ("c",)}, "category_values"),
        (
            {
                "values": np.zeros((1, 1, 1)),
                "categories": np.array([[[2]]]),
                "category_channels": ("c",),
                "category_values": (("x", "y"),),
            },
            "'c'",
        ),
        ({"values": np.zeros((2, 3, 1)), "static": pd.DataFrame({"a": [1]})}, "1 rows for 2"),
        ({"values": np.zeros((2, 3, 1)), "times": np.zeros((2, 2))}, "(2, 3)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        SeriesBatch(**parts)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_array_of_the_batch_is_its_values() -> None:
    assert np.asarray(BATCH).dtype == np.float32 and np.asarray(BATCH).shape == (30, 8, 2)


def test_padding_adds_and_removes_nothing_but_padding() -> None:
    longer = BATCH.padded(11)
    assert (
        longer.values.shape == (30, 11, 2) and not longer.mask[:, 8:].any() and (longer.categories[:, 8:] == -1).all()
    )
    assert FORM.equal(longer.padded(8), BATCH)
    with pytest.raises(DataError, match="8 steps"):
        BATCH.padded(7)


def test_parts_join_to_the_whole() -> None:
    parts = [FORM.slice(BATCH, 0, 4), FORM.slice(BATCH, 4, 30)]
    assert FORM.equal(FORM.concat(parts), BATCH)
    assert FORM.equal(FORM.concat([BATCH[1:2].padded(9), BATCH[2:3]]), BATCH[1:3].padded(9))
    index = np.array([5, 1, 5])
    assert FORM.take(BATCH, index).static["floor"].tolist() == BATCH.static["floor"].iloc[index].tolist()


@pytest.mark.parametrize("change", ["value", "length", "code", "attribute", "dtype", "time"])
def test_equal_sees_each_part(change: str) -> None:
    other = mixed()
    if change == "value":
        other.values[0, 0, 0] = 99
    elif change == "length":
        other.lengths[1] -= 1
    elif change == "code":
        other.categories[0, 0, 0] = (other.categories[0, 0, 0] + 2) % 2
        other.categories[0, 1, 0] = 1 - abs(other.categories[0, 1, 0])
    elif change == "attribute":
        other.static.loc[0, "floor"] += 1
    elif change == "dtype":
        other.static["floor"] = other.static["floor"].astype("int32")
    else:
        assert other.times is not None
        other.times[0, 0] += np.timedelta64(1, "s")
    assert FORM.equal(mixed(), BATCH)
    assert not FORM.equal(other, BATCH)


def test_a_prefix_is_recognised() -> None:
    batch = FORM.coerce(tiny_data("timeseries"))
    lengths = np.minimum(batch.lengths, 4)
    prefix = FORM.coerce(dataclasses.replace(batch, lengths=lengths, mask=None))
    assert FORM.starts_with(batch, prefix) and FORM.starts_with(batch, batch)
    assert not FORM.starts_with(prefix, batch)
    moved = prefix.values.copy()
    moved[0, 0, 0] += 1
    assert not FORM.starts_with(batch, dataclasses.replace(prefix, values=moved))


# What comes in


def test_arrays_come_in() -> None:
    assert FORM.coerce(np.zeros((3, 5))).channels == ("x0",)
    assert FORM.coerce(np.zeros((3, 5, 2), dtype=np.int64)).values.dtype == np.float32
    ragged = FORM.coerce([np.ones(3), np.ones(5)])
    assert ragged.lengths.tolist() == [3, 5] and np.isnan(ragged.values[0, 3:]).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("abc", "str"),
        (np.zeros((0, 4, 1)), "no series"),
        ([], "no series"),
        ([np.zeros((3, 1)), np.zeros((3, 2))], "series 1"),
        (np.array([["a", "b"]]), "numbers"),
        (pd.DataFrame({"x": [1.0]}), "'series'"),
        (pd.DataFrame({"series": [0, None], "x": [1.0, 2]}), "'series' is missing in row 1"),
        (pd.DataFrame({"series": [0, 0], "x": ["a", "a"]}), "a channel is needed"),
    ],
)
def test_what_is_no_series_is_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        FORM.coerce(data)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_values_under_a_mask_are_missing() -> None:
    mask = np.array([[[True], [False]]])
    batch = FORM.coerce(SeriesBatch(np.ones((1, 2, 1)), mask=mask))
    assert np.isnan(batch.values[0, 1, 0])
    with pytest.raises(DataError, match="'x0'"):
        FORM.coerce(SeriesBatch(np.full((1, 2, 1), np.nan), mask=mask))


def test_a_long_table_comes_in() -> None:
    table = pd.DataFrame(
        {
            "series": ["b", "a", "b", "b", "a"],
            "time": [3, 1, 1, 2, 0],
            "x": [3.0, 11, 1, 2, 10],
            "mode": ["on", "off", "off", "on", "off"],
            "place": ["out", "in", "out", "out", "in"],
            "size": [2, 1, 2, 2, 1],
        }
    )
    batch = FORM.coerce(table)
    assert batch.lengths.tolist() == [3, 2] and batch.values[1, :2, 0].tolist() == [10, 11]
    assert batch.values[0, :, 0].tolist() == [1, 2, 3]
    assert batch.category_channels == ("mode",) and batch.categories[0, :, 0].tolist() == [0, 1, 1]
    assert batch.static.to_dict("list") == {"place": ["out", "in"], "size": [2, 1]}
    assert batch.times is not None and batch.times[0].tolist() == [1, 2, 3]


# The schema


def test_the_schema_says_what_is_there() -> None:
    heat, mode, gear = SCHEMA["heat"], SCHEMA["mode"], SCHEMA["gear"]
    assert (heat.kind, heat.role, heat.dtype, heat.decimals, heat.nullable) == ("float", "channel", "float32", 2, True)
    assert heat.minimum == float(np.nanmin(BATCH.values[:, :, 0]))
    assert (mode.kind, mode.categories, mode.nullable) == ("category", ("off", "on"), True)
    assert gear.dtype == "int64"
    assert [c.name for c in SCHEMA.by_role("static")] == ["place", "floor", "grade"]
    assert SCHEMA["grade"].kind == "ordinal" and SCHEMA["floor"].kind == "integer"
    assert SCHEMA.shape == {"min_length": 3, "max_length": 8}
    assert Schema.from_dict(SCHEMA.to_dict()) == SCHEMA


def test_steps_beyond_the_length_are_not_missing() -> None:
    assert not FORM.infer(FORM.coerce([np.arange(3.0), np.arange(5.0)]))["x0"].nullable


@pytest.mark.parametrize("name", odd_data("timeseries"))
def test_odd_data_conforms_to_its_schema(name: str) -> None:
    batch = FORM.coerce(odd_data("timeseries")[name])
    FORM.check(batch, FORM.infer(batch))


def test_infinite_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="'x0' holds inf"):
        FORM.infer(FORM.coerce(np.array([[1.0, np.inf]])))


def _changed(**parts: Any) -> SeriesBatch:
    return dataclasses.replace(BATCH, **parts)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (_changed(channels=("heat", "lode")), "'load'"),
        (_changed(channels=("load", "heat")), "order"),
        (_changed(values=np.where(BATCH.mask, BATCH.values + 50, np.nan)), "'heat'"),
        (_changed(category_values=(("off", "an"), (1, 2))), "'mode'"),
        (_changed(static=BATCH.static.drop(columns="floor")), "'floor'"),
        (_changed(static=BATCH.static.assign(floor=9)), "'floor'"),
        (BATCH.padded(9)[:1], None),
        (_changed(lengths=np.full(30, 2), mask=None), "2 steps"),
        (pd.DataFrame(), "DataFrame"),
    ],
)
def test_violations_are_named(batch: Any, words: str | None) -> None:
    if words is None:
        FORM.check(batch, SCHEMA)  # padding is no violation
        return
    with pytest.raises(SchemaError) as caught:
        FORM.check(batch, SCHEMA)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_value_needs_a_nullable_channel() -> None:
    strict = SCHEMA.replace(columns={"heat": dataclasses.replace(SCHEMA["heat"], nullable=False)})
    with pytest.raises(SchemaError, match="'heat' is missing in series"):
        FORM.check(BATCH, strict)


def test_a_schema_brings_channels_and_codes_in_order() -> None:
    other = dataclasses.replace(
        BATCH,
        values=BATCH.values[:, :, ::-1],
        mask=BATCH.mask[:, :, ::-1],
        channels=("load", "heat"),
        categories=np.where(BATCH.categories < 0, -1, 1 - BATCH.categories),
        category_values=(("on", "off"), (2, 1)),
    )
    assert FORM.equal(FORM.coerce(other, SCHEMA), BATCH)
    with pytest.raises(SchemaError, match="'load' is not there"):
        FORM.coerce(dataclasses.replace(BATCH, channels=("heat", "x9")), SCHEMA)


# Arrow, Hugging Face, files


def test_datasets_round_trip() -> None:
    import datasets

    features = FORM.features(SCHEMA)
    assert features["heat"] == datasets.List(datasets.Value("float32"))
    assert features["mode"] == datasets.List(datasets.ClassLabel(names=["off", "on"]))
    assert features["gear"] == datasets.List(datasets.Value("int64"))
    assert features["place"] == datasets.ClassLabel(names=["in", "out"]) and features["floor"] == datasets.Value(
        "int64"
    )
    made = datasets.Dataset(FORM.to_arrow(BATCH, SCHEMA).cast(features.arrow_schema))
    assert len(made[1]["heat"]) == BATCH.lengths[1]
    again = FORM.coerce(made, SCHEMA)
    assert FORM.equal(again, dataclasses.replace(BATCH, times=None))
    shuffled = FORM.coerce(made.select([3, 1]), SCHEMA)
    assert FORM.equal(shuffled, dataclasses.replace(BATCH[[3, 1]], times=None))


def test_datasets_without_series_are_refused() -> None:
    import datasets

    for columns, words in (
        ({"a": [1, 2]}, "list"),
        ({"a": [[1.0], [1.0, 2.0]], "b": [[1.0], [1.0]]}, "'b'"),
        ({"a": [[1.0], []]}, "'a'"),
        ({"a": [[[1.0]]]}, "'a'"),
    ):
        with pytest.raises(DataError) as caught:
            FORM.coerce(datasets.Dataset.from_dict(columns))
        assert words in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_files_keep_everything(suffix: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"series{suffix}")
    FORM.write(BATCH, path)
    again = FORM.read(path)
    if suffix == ".parquet":  # pandas may read times in another unit
        assert again.times is not None and BATCH.times is not None
        again.times = again.times.astype(BATCH.times.dtype)
    assert FORM.equal(again, BATCH)
    assert [p.name for p in tmp_path.iterdir()] == [f"series{suffix}"]


def test_csv_keeps_the_values(tmp_path: Path) -> None:
    path = str(tmp_path / "series.csv")
    batch = dataclasses.replace(BATCH, category_values=(("off", "on"), ("p", "q")))
    FORM.write(batch, path)
    again = FORM.read(path)
    assert np.array_equal(again.values, batch.values, equal_nan=True) and again.channels == batch.channels
    assert np.array_equal(again.categories, batch.categories) and again.category_channels == batch.category_channels
    assert again.static["floor"].tolist() == batch.static["floor"].tolist()


def test_an_archive_of_plain_arrays_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.npz"
    np.savez(path, values=np.zeros((3, 4)), label=np.array(["a", "b", "a"]))
    assert FORM.read(str(path)).static["label"].tolist() == ["a", "b", "a"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing, broken, other = tmp_path / "no.npz", tmp_path / "broken.npz", tmp_path / "other.npz"
    broken.write_bytes(b"PK nothing")
    np.savez(other, x=np.zeros(3))
    for path, words in ((missing, "no.npz"), (broken, "broken.npz"), (other, "'values'")):
        with pytest.raises(DataError) as caught:
            FORM.read(str(path))
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"series\.txt"):
        FORM.write(BATCH, str(tmp_path / "series.txt"))


# Private data


def test_private_extremes_and_rare_categories_do_not_leave() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 5, 1)).astype(np.float32)
    values[7, 2, 0], values[8, 3, 0] = 1000, -1000
    codes = rng.integers(0, 2, (60, 5, 1))
    codes[9, 0, 0] = 2
    batch = SeriesBatch(values, categories=codes, category_channels=("mode",), category_values=(("off", "on", "king"),))
    schema = FORM.infer(batch).replace(private=True)
    safe, known = FORM.protect(batch, schema)
    tops = np.sort(values[:, :, 0].max(1))
    assert known["x0"].maximum == tops[-10] and safe.values.max() == tops[-10] and safe.values.min() > -5
    assert known["mode"].categories == ("off", "on") and safe.categories[9, 0, 0] == -1 and known["mode"].nullable
    assert batch.values.max() == 1000 and known.private
    FORM.check(safe, known)


# Windows


def test_windows_do_not_reach_across_gaps() -> None:
    clock = pd.Timestamp("2024-01-01") + pd.to_timedelta([0, 60, 121, 180, 600, 660, 720, 780, 840], unit="s")
    table = pd.DataFrame({"at": clock, "x": np.arange(9.0), "on": [0, 0, 0, 1, 1, 1, 1, 0, 0]})
    cut = windows(table.sample(frac=1, random_state=0), channels=["x"], length=3, stride=1, label="on", time="at")
    assert cut.values[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7], [6, 7, 8]]
    assert cut.static["on"].tolist() == [0, 0, 1, 1, 0] and cut.static["on"].dtype == "int64"
    assert cut.times is not None and cut.times[2, 0] == np.datetime64("2024-01-01T00:10")


def test_windows_of_categories_and_missing_labels() -> None:
    table = pd.DataFrame({"mode": ["a", "b", None, "a"], "who": pd.Series(["x", "y", None, None], dtype="str")})
    cut = windows(table, channels=["mode"], length=2, stride=2, label="who")
    assert cut.categories[:, :, 0].tolist() == [[0, 1], [-1, 0]] and cut.category_values == (("a", "b"),)
    assert cut.static["who"][0] == "x" and pd.isna(cut.static["who"][1]) and cut.static["who"].dtype == "str"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": 9}, "no window of 9"),
        ({"length": 0}, "length=0"),
        ({"stride": True}, "stride=True"),
        ({"channels": []}, "channels"),
        ({"channels": ["y"]}, "'y'"),
        ({"label": "lable"}, "'lable'"),
    ],
)
def test_windows_name_what_is_wrong(change: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"channels": ["x"], "length": 2, "stride": 1} | change
    with pytest.raises(DataError) as caught:
        windows(pd.DataFrame({"x": [1.0, 2, 3], "label": [0, 0, 1]}), **arguments)
    assert words in str(caught.value)


# Events


def test_events_give_values_back() -> None:
    """Frequent values and changes exactly, others to the width of their bin."""
    rng = np.random.default_rng(1)
    moves = rng.choice([0.0, 0.1, -0.1, 5.0], (200, 20), p=[0.5, 0.2, 0.2, 0.1])
    values = (np.where(rng.random((200, 20)) < 0.1, np.nan, moves.cumsum(1))).astype(np.float32).round(1)
    mask = ~np.isnan(values)
    column = FORM.infer(SeriesBatch(values))["x0"]
    channel = ChannelEvents.fit(values, mask, column, 32)
    events, features = channel.encode(values, mask)
    assert (events == MISSING).sum() == (~mask).sum() and events.max() < channel.size
    assert features.shape == (200, 20, 7) and np.isfinite(features).all()
    last = np.full(200, np.nan)
    for t in range(20):
        made = channel.decode(events[:, t], last, np.full(200, 0.5))
        known = mask[:, t]
        assert np.array_equal(np.isnan(made), ~known)
        stay = known & ~np.isnan(last) & (np.abs(values[:, t] - last) < 0.15)
        assert np.allclose(made[stay], values[stay, t], atol=1e-6)
        assert np.abs(made[known] - values[known, t]).max() < 8  # of a range of about 40
        last = np.where(known, values[:, t], last)


def test_events_of_a_constant_and_of_an_empty_channel() -> None:
    for value in (2.5, np.nan):
        values = np.full((6, 4), value, dtype=np.float32)
        mask = ~np.isnan(values)
        channel = ChannelEvents.fit(values, mask, FORM.infer(SeriesBatch(values))["x0"], 16)
        events, _ = channel.encode(values, mask)
        made = channel.decode(events[:, 0], np.full(6, np.nan), np.full(6, 0.3))
        assert np.array_equal(made, values[:, 0], equal_nan=True)
