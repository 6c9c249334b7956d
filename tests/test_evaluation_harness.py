"""``zoo.evaluate``: every modality, odd and wrong inputs, determinism, subsampling, bounded time and memory."""

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from people import copies, independent, people

import zoo
from zoo._testing_data import odd_data, tiny_data
from zoo.data.image import ImageBatch
from zoo.data.timeseries import SeriesBatch
from zoo.errors import ConfigError, DataError, OptionError, SchemaError
from zoo.evaluation import list_metrics
from zoo.evaluation.kit import make_kit
from zoo.evaluation.metric import all_metrics
from zoo.evaluation.report import Report
from zoo.schema import Column, Schema

# A rate of one in a hundred needs a hundred strangers; rare categories and tails need rows enough to be expected in.
NEED_MANY = {"privacy.membership_tpr_1", "privacy.membership_tpr_0.1", "diversity.rare_categories", "diversity.tails"}
MODALITIES = ("tabular", "timeseries", "image", "text")
TRAIN = people(300)


def text_schema(labelled: bool = True) -> Schema:
    columns = [Column(name="text", kind="text", dtype="str", role="text")]
    if labelled:
        columns.append(Column(name="label", kind="category", dtype="str", role="label", categories=("ham", "spam")))
    return Schema(modality="text", columns=tuple(columns))


def evaluate(modality: str, train: Any, synthetic: Any, **options: Any) -> Report:
    schema = text_schema("label" in train) if modality == "text" else None
    return zoo.evaluate(train, synthetic, schema=schema, quick=True, **options)


def part(data: Any, start: int, stop: int) -> Any:
    if isinstance(data, pd.DataFrame):
        return data.iloc[start:stop].reset_index(drop=True)
    return data[start:stop]


def larger(modality: str) -> Any:
    """The tiny data three times as large, so that its thirds can be learned from."""
    if modality == "tabular":
        return people(360)
    if modality == "text":
        return pd.concat([tiny_data("text").assign(text=lambda t, k=k: t["text"] + f" {k}") for k in range(3)])
    rng = np.random.default_rng(0)
    tiny = tiny_data(modality)
    where = np.tile(np.arange(len(tiny)), 4)
    if modality == "image":
        noise = rng.integers(0, 20, (len(where), *tiny.pixels.shape[1:]))
        return ImageBatch((tiny.pixels[where] // 2 + noise).astype(np.uint8), tiny.labels[where], tiny.classes)
    made = tiny[where]
    made.values += rng.normal(0, 0.3, made.values.shape).astype(np.float32)
    return made


@pytest.fixture(scope="module", params=MODALITIES)
def thirds(request: pytest.FixtureRequest) -> tuple[str, Any, Any, Any]:
    data = larger(request.param)
    order = np.random.default_rng(5).permutation(len(data))
    data = data.iloc[order].reset_index(drop=True) if isinstance(data, pd.DataFrame) else data[order]
    n = len(data) // 3
    return request.param, *(part(data, k * n, (k + 1) * n) for k in range(3))


# every modality


def test_every_modality_has_every_question(thirds: tuple[str, Any, Any, Any]) -> None:
    modality, train, synthetic, holdout = thirds
    report = evaluate(modality, train, synthetic, holdout=holdout, target="rich" if modality == "tabular" else None)
    assert report.modality == modality
    computed = {s.question for s in report.scores if s.value is not None}
    wanted = {"detection", "diversity", "generalisation", "utility", "privacy"}
    wanted |= {"fidelity"} if modality != "text" else set()
    assert computed == wanted
    for score in report.scores:
        low, high = score.span
        if score.value is None and score.name in NEED_MANY:
            continue
        assert score.value is not None, score.reason
        assert (low is None or score.value >= low) and (high is None or score.value <= high)
        for anchor, value in score.anchors.items():
            assert value is not None or score.name in NEED_MANY, (score.name, anchor)


def test_copies_and_the_naive_generator_are_told_apart(thirds: tuple[str, Any, Any, Any]) -> None:
    modality, train, _, holdout = thirds
    report = evaluate(modality, train, train, holdout=holdout, metrics="privacy.*")
    assert report["privacy.verbatim"].value == 1
    assert report["privacy.closer_to_train"].value > 0.9
    closer = report["privacy.closer_to_train"].anchors  # bigrams of few texts are nearly those texts
    assert closer["naive"] < (0.95 if modality == "text" else 0.85) and closer["naive"] < closer["copy"]


def test_reports_are_reproducible(thirds: tuple[str, Any, Any, Any]) -> None:
    modality, train, synthetic, holdout = thirds
    options: dict[str, Any] = {"holdout": holdout, "metrics": ["privacy.*", "utility.tstr_auc"]}
    options["target"] = "rich" if modality == "tabular" else None
    state = np.random.get_state()[1].copy()  # noqa: NPY002  (the one that must not be touched)
    first, again = (evaluate(modality, train, synthetic, **options).to_dict() for _ in range(2))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    for report in (first, again):
        report.pop("seconds")
    assert first == again


def test_the_seed_decides_subsamples() -> None:
    big, made = people(2600), people(2600, 1)
    values = [
        zoo.evaluate(big, made, people(400, 2), metrics="privacy.closer*", quick=True, seed=seed).scores[0].value
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]


def test_the_callers_data_are_untouched() -> None:
    made, holdout = people(120, 1), people(120, 2)
    before = [t.copy(deep=True) for t in (TRAIN, made, holdout)]
    zoo.evaluate(TRAIN, made, holdout=holdout, target="rich", quick=True)
    for table, kept in zip((TRAIN, made, holdout), before):
        pd.testing.assert_frame_equal(table, kept)


@pytest.mark.parametrize(
    ("modality", "name"), [(m, n) for m in MODALITIES for n in odd_data(m) if n != "an identifier alone"]
)
def test_odd_data_are_evaluated_or_said_not_to_be(modality: str, name: str) -> None:
    data = odd_data(modality)[name]
    report = evaluate(modality, data, data)
    Report.from_json(report.to_json())  # refuses what is not finite
    for score in report.scores:
        assert (score.value is None) == bool(score.reason)
        reasons = score.details.get("anchors_not_computable", {})
        assert {a for a, v in score.anchors.items() if v is None} == set(reasons)
    assert report["privacy.verbatim"].value == 1
    report.to_html()


@pytest.mark.parametrize("name", [n for n in odd_data("tabular") if n != "an identifier alone"])
def test_odd_tables_at_full_depth(name: str) -> None:
    data = odd_data("tabular")[name]
    target = str(data.columns[-1])
    report = zoo.evaluate(data, data, depth="full", target=target, sensitive=[str(data.columns[0])])
    Report.from_json(report.to_json())
    assert report["generalisation.authenticity"].value == 0 or report["generalisation.authenticity"].reason
    report.to_html()


# wrong inputs


def test_nothing_to_compare() -> None:
    table = odd_data("tabular")["an identifier alone"]
    with pytest.raises(DataError, match="identifiers"):
        zoo.evaluate(table, table)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        (lambda t: t.drop(columns="work"), SchemaError, "synthetic lacks column 'work'"),
        (lambda t: t.rename(columns={"work": "wrok"}), SchemaError, "did you mean 'wrok'"),
        (lambda t: t.assign(extra=1), SchemaError, "'extra'"),
        (lambda t: t.assign(age="old"), SchemaError, "'age' must be numeric"),
        (lambda t: t.assign(since="never"), SchemaError, "'since' must hold instants"),
        (lambda t: t.assign(rich=True), SchemaError, "'rich' holds booleans where train holds text"),
        (lambda t: t.assign(income=np.inf), DataError, "'income' holds infinite numbers"),
        (lambda t: t.iloc[:0], DataError, "synthetic has no rows"),
        (lambda t: t.to_numpy(), DataError, "ndarray"),
        (lambda t: pd.concat([t, t[["age"]]], axis=1), DataError, "'age' appears twice"),
    ],
)
def test_tables_that_differ_are_refused(change: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        zoo.evaluate(TRAIN, change(people(60, 1)))
    assert "\n" not in str(caught.value)


def test_other_wrong_inputs() -> None:
    made = people(60, 1)
    with pytest.raises(DataError, match="target 'rihc' is no column; did you mean 'rich'"):
        zoo.evaluate(TRAIN, made, target="rihc")
    with pytest.raises(DataError, match="holdout has no rows"):
        zoo.evaluate(TRAIN, made, holdout=made.iloc[:0])
    with pytest.raises(DataError, match="cannot evaluate a int"):
        zoo.evaluate(3, made)
    with pytest.raises(ConfigError, match=r"no metric 'fidelity.shape'"):
        zoo.evaluate(TRAIN, made, metrics="fidelity.shape")
    with pytest.raises(SchemaError, match="role 'text'"):
        zoo.evaluate(TRAIN, made, schema=Schema(modality="text", columns=()))
    images = tiny_data("image")
    with pytest.raises(DataError, match="ImageBatch"):
        zoo.evaluate(TRAIN, images)
    with pytest.raises(SchemaError, match="resize"):
        zoo.evaluate(images, ImageBatch(images.pixels[:, :4]))
    with pytest.raises(DataError, match="images have the target 'label' only"):
        zoo.evaluate(images, images, target="top")
    series = tiny_data("timeseries")
    with pytest.raises(SchemaError, match="channels"):
        zoo.evaluate(series, SeriesBatch(series.values, channels=("load", "wind"), lengths=series.lengths))
    with pytest.raises(DataError, match="no static attribute"):
        zoo.evaluate(series, series, target="load")
    texts = tiny_data("text")
    with pytest.raises(SchemaError, match="lacks the text column"):
        zoo.evaluate(texts, texts.rename(columns={"text": "body"}), schema=text_schema())


def test_the_training_data_are_no_holdout() -> None:
    shuffled = TRAIN.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="holdout has exactly the samples of train"):
        zoo.evaluate(TRAIN, people(60, 1), holdout=shuffled)


def test_an_overlapping_holdout_is_none() -> None:
    mixed = pd.concat([TRAIN.iloc[:50], people(50, 3)], ignore_index=True)
    report = zoo.evaluate(TRAIN, people(60, 1), holdout=mixed, metrics="fidelity.shapes")
    assert len(report.notes) == 1 and "holdout" not in report.rows and report.notes[0] in repr(report)
    assert "50.0% of the holdout samples are also training samples" in report.notes[0]
    assert report.notes[0] in report.to_html().replace("&#39;", "'")
    assert zoo.evaluate(TRAIN, people(60, 1), holdout=people(50, 3), metrics="fidelity.shapes").notes == ()


def test_copies_are_found_whatever_the_holdout_shares_with_train() -> None:
    real = people(600, 0)
    report = zoo.evaluate(real, real.sample(frac=1, random_state=1), holdout=real.iloc[:300], depth="quick")
    assert report["privacy.membership_auc"].value is None
    assert "100.0% of the holdout samples" in str(report["privacy.membership_auc"].reason)
    assert report.verdict().risk == "high" and report.to_dict()["verdict"]["risk"] == "high"


def test_a_seed_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="seed=-1"):
        zoo.evaluate(TRAIN, TRAIN, seed=-1)


def test_worse_than_chance_is_no_merit() -> None:
    report = zoo.evaluate(TRAIN, people(60, 1), holdout=people(50, 3), metrics="detection.c2st_auc")
    score = dataclasses.replace(report.scores[0], anchors={"real": 0.5, "naive": 0.9})
    low, high = (dataclasses.replace(score, value=v, interval=None) for v in (0.1, 0.9))
    assert low.normalised == pytest.approx(high.normalised) == pytest.approx(0)
    assert dataclasses.replace(score, value=0.5).normalised == 1


def test_coinciding_rows_of_few_categories_are_no_overlap() -> None:
    few = ["rich", "work"]
    report = zoo.evaluate(TRAIN[few], TRAIN[few], holdout=people(90, 3)[few], metrics="fidelity.shapes")
    assert report.notes == ()


# how it is run


def test_metrics_are_declared_in_full() -> None:
    for name, metric in all_metrics().items():
        assert metric.name == name
        assert metric.title and metric.reference and metric.plain.endswith(".")
        assert metric.modalities and metric.direction in ("higher", "lower", "ideal")
        assert metric.compute.__doc__
    assert "fidelity.trends" in list_metrics("tabular")
    assert "fidelity.trends" not in list_metrics("image")


def test_progress_is_told_in_order() -> None:
    told: list[tuple[str, int, int]] = []
    zoo.evaluate(TRAIN, people(60, 1), metrics=["fidelity.*"], progress=lambda *step: told.append(step))
    names = [name for name, _, _ in told]
    assert names[:3] == ["fidelity.shapes", "fidelity.trends", "fidelity.trends_all"] and names[-1] == "report"
    assert [done for _, done, _ in told] == list(range(len(told)))


def test_the_generators_schema_is_used() -> None:
    class Fitted:
        schema = Schema(modality="tabular", columns=(Column(name="x", kind="category", categories=(1, 2)),))

    table = pd.DataFrame({"x": [1, 2, 2, 1]})
    report = zoo.evaluate(table, table, generator=Fitted(), metrics="fidelity.shapes")
    assert report.views["columns"][0]["shape"] == "bars"


def test_private_data_leave_no_row_in_the_report() -> None:
    schema = zoo.data.form.native_form("tabular").infer(TRAIN).replace(private=True)
    report = zoo.evaluate(TRAIN, people(60, 1), schema=schema, metrics="fidelity.shapes")
    assert report.views["rows"]["real"] is None
    assert report.views["rows"]["synthetic"]
    public = zoo.evaluate(TRAIN, people(60, 1), metrics="fidelity.shapes")
    assert public.views["rows"]["real"]


def test_memory_grows_with_the_rows_and_no_faster() -> None:
    peaks = []
    for n in (10_000, 40_000):
        train, made, holdout = people(n), independent(people(n), n), copies(people(n, 1), n)
        tracemalloc.start()
        zoo.evaluate(train, made, holdout=holdout, metrics=["fidelity.*", "privacy.verbatim"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5 * peaks[0]
    # some copies of three tables of five columns in float64, and blocks of distances that do not grow
    assert peaks[1] < 40_000 * 3 * 5 * 8 * 8 + 120e6


# Depth and order


def test_depth_decides_what_is_measured() -> None:
    made, holdout = people(120, 1), people(120, 2)
    found = {d: zoo.evaluate(TRAIN, made, holdout, metrics=["privacy.*"], depth=d) for d in ("standard", "full")}
    more = set(found["full"].names) - set(found["standard"].names)
    assert {"privacy.linkability", "privacy.singling_out_univariate", "privacy.neighbour_ratio"} <= more
    assert set(found["standard"].names) <= set(found["full"].names)
    assert zoo.evaluate(TRAIN, made, holdout, metrics="privacy.linkability").names == ["privacy.linkability"]
    assert zoo.evaluate(TRAIN, made, metrics="fidelity.shapes", depth="quick").quick
    with pytest.raises(ConfigError, match="depth='deep'"):
        zoo.evaluate(TRAIN, made, depth="deep")  # type: ignore[arg-type]


def test_the_order_of_rows_does_not_matter() -> None:
    names = ["fidelity.shapes", "fidelity.trends_all", "fidelity.jensen_shannon", "fidelity.mutual_information"]
    names += ["fidelity.wasserstein", "diversity.tails", "privacy.verbatim"]
    made = people(200, 1)
    tables = (made, made.sample(frac=1, random_state=3).reset_index(drop=True))
    first, again = (zoo.evaluate(TRAIN, t, metrics=names).values for t in tables)
    assert first == pytest.approx(again, abs=1e-12)


def test_naive_texts_follow_the_pairs_of_words() -> None:
    frame = pd.DataFrame({"text": ["a b c", "b c", "", "c a"] * 5, "label": ["ham", "spam"] * 10})
    kit = make_kit("text", text_schema())
    made = kit.independent(kit.prepare({"train": frame}, None)["train"], 500, np.random.default_rng(0)).texts
    pairs = {(x, y) for t in made for x, y in zip(t.split(), t.split()[1:])}
    assert pairs == {("a", "b"), ("b", "c"), ("c", "a")}
    assert {t.split()[0] for t in made if t} == {"a", "b", "c"} and abs(np.mean(made == "") - 0.25) < 0.06
    assert max(len(t.split()) for t in made) == 3  # as long as the longest, though "a b c a" could follow


def test_naive_images_are_class_means_in_expectation() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 40)  # no image of the second class
    pixels = (labels[:, None] * 60 + rng.integers(0, 50, (80, 4))).reshape(80, 2, 2, 1).astype(np.uint8)
    for batch in (ImageBatch(pixels, labels, ("x", "y", "z")), ImageBatch(pixels, None, ())):
        made = make_kit("image", None).independent(batch, 4000, rng)
        for k in (0, 2) if batch.labels is not None else (None,):
            real, naive = (b.pixels if k is None else b.pixels[b.labels == k] for b in (batch, made))
            np.testing.assert_allclose(naive.mean(axis=0), real.mean(axis=0), atol=4)
            flat = naive.reshape(len(naive), -1) - naive.mean()
            assert k is None or abs(np.corrcoef(flat.T)[0, 1]) < 0.1
