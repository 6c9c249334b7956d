"""Detection, utility and privacy: closed forms, scikit-learn as reference, and stand-ins that they must tell apart."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import copies, independent, people
from scipy import sparse
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

import zoo
from zoo.evaluation.harness import run
from zoo.evaluation.intervals import auc_interval, wilson_interval
from zoo.evaluation.kit import Features
from zoo.evaluation.learners import cross_fitted_scores, fit_quietly, make_classifier
from zoo.evaluation.privacy import closer_share, effective_samples, nearest
from zoo.evaluation.report import Report
from zoo.evaluation.table import encode_tables, table_features, table_points
from zoo.evaluation.utility import _multiclass_auc

TRAIN, HOLDOUT = people(900), people(600, seed=1)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """One report of each stand-in for a generator."""
    made = {
        "good": people(900, seed=2),
        "independent": independent(TRAIN, 900),
        "copies": copies(TRAIN, 900),
    }
    return {name: zoo.evaluate(TRAIN, data, holdout=HOLDOUT, target="rich") for name, data in made.items()}


# what the stand-ins must get


def test_copies_fail_privacy_and_pass_the_rest(reports: dict[str, Report]) -> None:
    report = reports["copies"]
    assert report["privacy.verbatim"].value == 1
    closer = report["privacy.closer_to_train"]
    assert closer.value > 0.7
    assert closer.interval[0] > 0.6
    assert closer.value == pytest.approx(closer.anchors["copy"], abs=0.1)
    assert report["utility.tstr_auc"].value == pytest.approx(report["utility.tstr_auc"].anchors["real"], abs=0.05)


@pytest.mark.parametrize("name", ["good", "independent"])
def test_strangers_pass_privacy(reports: dict[str, Report], name: str) -> None:
    report = reports[name]
    assert report["privacy.verbatim"].value == 0
    low, high = report["privacy.closer_to_train"].interval
    assert low < 0.5 < high


def test_independent_columns_are_detected_and_useless(reports: dict[str, Report]) -> None:
    report = reports["independent"]
    assert report["detection.c2st_auc"].value > 0.9
    assert report["utility.tstr_auc"].value < 0.7
    for name in ("detection.c2st_auc", "utility.tstr_auc", "fidelity.trends"):
        assert abs(report[name].normalised) < 0.25, name


def test_more_of_the_real_thing_passes_everything(reports: dict[str, Report]) -> None:
    report = reports["good"]
    low, high = report["detection.c2st_auc"].interval
    assert low < 0.5 < high
    assert report["utility.tstr_auc"].normalised > 0.9
    assert report["fidelity.shapes"].value > 0.95


def test_anchors_stand_in_order(reports: dict[str, Report]) -> None:
    for report in reports.values():
        for name in ("fidelity.trends", "fidelity.trends_all", "utility.tstr_auc"):
            assert report[name].anchors["real"] > report[name].anchors["naive"], name
        detection = report["detection.c2st_auc"].anchors
        assert detection["naive"] > 0.9 > 0.6 > detection["real"]
        privacy = report["privacy.closer_to_train"].anchors
        assert privacy["copy"] > 0.7
        assert abs(privacy["real"] - 0.5) < 0.1 and abs(privacy["naive"] - 0.5) < 0.1
        assert report["privacy.verbatim"].anchors == {"real": 0.0, "naive": 0.0, "copy": 1.0}


def test_returned_holdout_rows_show_as_worse_than_guessing() -> None:
    report = zoo.evaluate(TRAIN, HOLDOUT, holdout=HOLDOUT, metrics="detection.*")
    assert report["detection.c2st_auc"].interval[1] < 0.45


# detection


def test_two_sample_test_is_cross_fitted_boosting(reports: dict[str, Report]) -> None:
    """The pinned definition, written out with scikit-learn: 200 rounds, rate 0.08, 3 folds, as many test rows."""
    made = independent(TRAIN, 400)
    score = zoo.evaluate(TRAIN, made, holdout=HOLDOUT.iloc[:400], metrics="detection.*")["detection.c2st_auc"]
    both = pd.concat([made, HOLDOUT.iloc[:400]], ignore_index=True)
    both["since"] = both["since"].astype("int64")
    for name in ("work", "rich"):
        codes = pd.factorize(both[name])[0]
        both[name] = np.where(codes < 0, np.nan, codes)
    x, y = both.to_numpy(float), np.repeat([1, 0], 400)
    seen = np.empty(len(y))
    for fit, test in StratifiedKFold(3, shuffle=True, random_state=0).split(x, y):
        model = HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.08,
            categorical_features=[2, 3],
            early_stopping=False,
            random_state=0,
        )
        seen[test] = model.fit(x[fit], y[fit]).predict_proba(x[test])[:, 1]
    assert score.value == pytest.approx(roc_auc_score(y, seen), abs=0.02)
    assert score.details["rows_of_each"] == 400
    assert score.details["real_rows_from"] == "holdout"


def test_detection_without_a_holdout_says_where_its_rows_are_from() -> None:
    score = zoo.evaluate(TRAIN, people(300, 3), metrics="detection.*", quick=True)["detection.c2st_auc"]
    assert score.details["real_rows_from"] == "train"


def test_every_row_is_scored_by_a_model_that_did_not_see_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = rng.integers(0, 2, 120)  # nothing to learn: a model that had seen its rows would be right about them
    scores = cross_fitted_scores(Features((x[:60], x[60:])), y, seed=0)
    assert 0.3 < roc_auc_score(y, scores) < 0.7


def test_columns_without_a_value_teach_nothing() -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.normal(size=200), np.full(200, np.nan)])
    y = (x[:, 0] > 0).astype(int)
    features = Features((x,), np.array([False, False]))
    model = fit_quietly(make_classifier(features, 0), x, y)
    filled = np.column_stack([x[:, 0], rng.normal(size=200)])
    assert np.array_equal(model.predict_proba(x), model.predict_proba(filled))
    assert (model.predict(x) == y).all()


# utility


def test_regression_is_scikit_learns() -> None:
    made = people(500, 4)
    report = zoo.evaluate(TRAIN, made, holdout=HOLDOUT, target="age", metrics="utility.*")
    assert set(report.names) == {"utility.tstr_r2", "utility.tstr_rmse"}
    schema = zoo.data.form.native_form("tabular").infer(TRAIN)
    tables = encode_tables(schema, {"train": TRAIN, "synthetic": made, "holdout": HOLDOUT})
    features = table_features((tables["synthetic"], tables["holdout"]), without="age")
    model = HistGradientBoostingRegressor(
        max_iter=200,
        learning_rate=0.08,
        categorical_features=features.categorical,
        early_stopping=False,
        random_state=0,
    ).fit(features.parts[0], made["age"])
    guessed = model.predict(features.parts[1])
    assert report["utility.tstr_r2"].value == pytest.approx(r2_score(HOLDOUT["age"], guessed))
    assert report["utility.tstr_rmse"].value == pytest.approx(np.sqrt(np.mean((guessed - HOLDOUT["age"]) ** 2)))
    assert report["utility.tstr_r2"].anchors["real"] > 0.8 > report["utility.tstr_r2"].anchors["naive"]


def test_area_of_several_classes_is_the_mean_of_one_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    truth, p = rng.integers(0, 3, 200), rng.dirichlet([1, 1, 1], 200)
    assert _multiclass_auc(truth, p) == pytest.approx(roc_auc_score(truth, p, multi_class="ovr", average="macro"))


def test_several_classes() -> None:
    report = zoo.evaluate(TRAIN, people(300, 5), holdout=HOLDOUT, target="work", metrics="utility.*")
    assert set(report.names) == {"utility.tstr_auc", "utility.tstr_f1"}
    assert 0.6 < report["utility.tstr_auc"].value <= 1
    assert report["utility.tstr_auc"].details["task"] == "multiclass"


@pytest.mark.parametrize(
    ("train", "synthetic", "holdout", "word"),
    [
        (TRAIN[TRAIN["rich"] == "yes"], TRAIN, HOLDOUT, "one class only in the real training data"),
        (TRAIN, TRAIN[TRAIN["rich"] == "yes"], HOLDOUT, "one class only in the synthetic data"),
        (TRAIN, people(300, 6), HOLDOUT[HOLDOUT["rich"] == "no"], "one class only in the test rows"),
        (TRAIN, TRAIN.assign(rich=pd.Series([None] * 900, dtype="str")), HOLDOUT, "every target value is missing"),
        (TRAIN, people(20, 6), HOLDOUT, "too few"),
    ],
)
def test_utility_that_cannot_be_computed_says_why(
    train: pd.DataFrame, synthetic: pd.DataFrame, holdout: pd.DataFrame, word: str
) -> None:
    schema = zoo.data.form.native_form("tabular").infer(TRAIN)
    report = zoo.evaluate(train, synthetic, holdout, "rich", schema=schema, metrics="utility.*")
    score = report["utility.tstr_auc"]
    assert score.value is None
    assert word in score.reason


def test_utility_asks_for_a_target_once() -> None:
    report = zoo.evaluate(TRAIN, people(100, 7), metrics="utility.*")
    assert "target=" in report["utility.tstr_auc"].reason
    assert "utility.tstr_r2" not in report


# privacy


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 6), st.integers(0, 999))
def test_nearest_is_scikit_learns(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(m, d)).astype(np.float32)
    a[0] = b[-1]  # a copy
    distance, index = nearest(a, b)
    expected = NearestNeighbors(n_neighbors=1).fit(b.astype(float)).kneighbors(a.astype(float))[0][:, 0]
    assert distance == pytest.approx(expected, abs=1e-4)
    assert distance[0] == 0
    assert np.linalg.norm(a.astype(float) - b[index], axis=1) == pytest.approx(distance, abs=1e-5)


def test_nearest_of_sparse_rows_is_by_cosine() -> None:
    rows = sparse.csr_matrix(np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]]))
    distance, index = nearest(rows[[1, 2]], rows[[0, 1]])
    assert distance == pytest.approx([0, 1])
    assert index[0] == 1


def test_closer_share_counts_ties_half() -> None:
    share, ties = closer_share(np.array([0.0, 2.0, 1.0, 3.0]), np.array([1.0, 1.0, 1.0, 3.0]))
    assert (share, ties) == (0.5, 0.5)
    assert closer_share(np.zeros(5), np.ones(5)) == (1.0, 0.0)


def test_effective_samples() -> None:
    assert effective_samples(np.arange(10)) == 10
    assert effective_samples(np.zeros(10)) == 1
    assert effective_samples(np.array([0, 0, 1, 1])) == 2


def test_interval_of_closer_share_covers_chance() -> None:
    """Where train and holdout are exchangeable, 95 % of the intervals should hold one half."""
    rng = np.random.default_rng(3)
    held, naive = 0, 0
    for _ in range(200):
        x, a, b = (rng.normal(size=(n, 8)).astype(np.float32) for n in (1500, 200, 200))
        (da, ia), (db, ib) = nearest(x, a), nearest(x, b)
        share, _ties = closer_share(da, db)
        low, high = wilson_interval(share, effective_samples(np.where(da <= db, ia, 200 + ib)))
        held += low <= 0.5 <= high
        low, high = wilson_interval(share, 1500)
        naive += low <= 0.5 <= high
    assert held >= 180
    assert naive < held - 15  # as if the samples were independent: too narrow


def test_distance_adds_standard_deviations_and_mismatches() -> None:
    train = pd.DataFrame({"x": [0.0, 2.0, 4.0], "k": ["a", "b", "a"]}).astype({"k": "str"})
    other = pd.DataFrame({"x": [2.0, np.nan], "k": ["b", None]}).astype({"k": "str"})
    schema = zoo.data.form.native_form("tabular").infer(train)
    tables = encode_tables(schema, {"train": train, "other": other})
    a, b = table_points(tables["train"], tables["train"], tables["other"])
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    sd2 = train["x"].var(ddof=0)
    # x: difference in standard deviations; k: 1 when it differs; missing numbers: one more coordinate
    assert squared[:, 0] == pytest.approx([4 / sd2 + 1, 0, 4 / sd2 + 1])
    assert squared[1, 1] == pytest.approx(0 + 1 + 1)


def test_equal_parts_of_train_and_holdout_are_compared() -> None:
    details = run(people(2000), people(50, 8), people(100, 9), metrics="privacy.closer*").scores[0].details
    assert details["rows_of_train_and_holdout"] == 100


def test_privacy_needs_a_holdout() -> None:
    score = zoo.evaluate(TRAIN, people(50, 8), metrics="privacy.closer*")["privacy.closer_to_train"]
    assert "holdout=" in score.reason


# intervals


def test_wilson_is_scipys() -> None:
    for k, n in ((0, 20), (7, 20), (20, 20), (481, 1000)):
        expected = binomtest(k, n).proportion_ci(0.95, "wilson")
        assert wilson_interval(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_auc_interval_by_hand() -> None:
    # at 1/2, q1 = q2 = 1/3 and the variance is (1/4 + 2 (n - 1) / 12) / n**2
    n = 100
    half = 1.96 * np.sqrt((0.25 + 2 * (n - 1) / 12) / n**2)
    assert auc_interval(0.5, n, n) == pytest.approx((0.5 - half, 0.5 + half))
    assert auc_interval(1.0, n, n) == (1.0, 1.0)
