"""The panel of models and fairness: by hand, by scikit-learn, and against generators whose faults are known."""

import numpy as np
import pandas as pd
import pytest
from people import independent, people
from scipy.stats import spearmanr
from sklearn.metrics import r2_score, roc_auc_score

import zoo
from zoo.evaluation.panel import MODELS, calibration_error, skill, spearman
from zoo.evaluation.report import Report

N = 800
TRAIN, HOLDOUT, FRESH = (people(N, s) for s in (0, 1, 2))
PANEL = ["utility.panel_gap", "utility.model_order", "utility.importance_order", "utility.calibration"]
PANEL += ["utility.augmentation_10", "utility.every_column"]


@pytest.fixture(scope="module")
def good() -> Report:
    return zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, target="rich", metrics=PANEL, quick=True)


@pytest.fixture(scope="module")
def bad() -> Report:
    return zoo.evaluate(TRAIN, independent(TRAIN, N), holdout=HOLDOUT, target="rich", metrics=PANEL, quick=True)


def test_what_real_rows_teach_synthetic_ones_teach(good: Report, bad: Report) -> None:
    assert abs(good["utility.panel_gap"].value) < 0.06 < 0.4 < bad["utility.panel_gap"].value
    assert set(good["utility.panel_gap"].details["models"]) == set(MODELS)
    assert abs(good["utility.every_column"].value) < 0.1 < bad["utility.every_column"].value
    assert good["utility.importance_order"].value > 0.5 > bad["utility.importance_order"].value
    assert good["utility.calibration"].value < bad["utility.calibration"].value + 0.05
    assert good["utility.augmentation_10"].value > 0 > bad["utility.augmentation_10"].value
    for report in (good, bad):
        for score in report.scores:
            assert score.anchors["real"] is not None and score.anchors["naive"] is not None
            assert score.interval[0] <= score.value <= score.interval[1]
    assert good["utility.panel_gap"].anchors["real"] == pytest.approx(0)


def test_a_numeric_target() -> None:
    report = zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, target="income", metrics=PANEL, quick=True)
    assert abs(report["utility.panel_gap"].value) < 0.1
    assert "utility.calibration" not in report


def test_skill_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, sure = rng.integers(0, 2, 200), rng.random(200)
    assert skill(truth, np.column_stack([1 - sure, sure]), 2) == pytest.approx(2 * roc_auc_score(truth, sure) - 1)
    three, scores = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    assert skill(three, scores, 3) == pytest.approx(2 * roc_auc_score(three, scores, multi_class="ovr") - 1)
    y, p = rng.normal(size=50), rng.normal(size=50) * 0.1
    assert skill(y, p, 0) == pytest.approx(r2_score(y, p))
    assert skill(y, 100 * p, 0) == -1


def test_spearman_is_scipys() -> None:
    a, b = np.array([1.0, 2, 2, 5, 3]), np.array([2.0, 1, 4, 4, 4])
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(a, np.zeros(5)) == 0


def test_calibration_by_hand() -> None:
    # sure to 0.9 and right half of the time: 0.4 off; sure to 0.6 and always right: 0.4 off
    predicted = np.array([[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2)
    assert calibration_error(np.array([0, 1, 0, 0]), predicted) == pytest.approx(0.4)


# Fairness


def grouped(n: int, seed: int, *, broken: bool = False) -> pd.DataFrame:
    """A label that follows x in both groups; in the broken table of group b by chance."""
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(n) < 0.3, "b", "a")
    x = rng.normal(size=n)
    y = x + 0.3 * rng.normal(size=n) > 0
    if broken:
        y = np.where(group == "b", rng.random(n) < 0.9, y)
    return pd.DataFrame({"group": group, "x": x, "y": np.where(y, "yes", "no")}).astype({"group": "str", "y": "str"})


FAIR = ["fairness.worst_group", "fairness.parity_change", "fairness.group_shares"]


def test_a_group_that_is_served_worse_is_named() -> None:
    train, holdout = grouped(2_000, 0), grouped(2_000, 1)
    options = {"holdout": holdout, "target": "y", "sensitive": ["group"], "metrics": FAIR}
    broken = zoo.evaluate(train, grouped(2_000, 2, broken=True), **options)
    sound = zoo.evaluate(train, grouped(2_000, 3), **options)
    assert broken["fairness.worst_group"].details["worst_group"] == "group=b"
    assert broken["fairness.worst_group"].value > 0.1 > abs(sound["fairness.worst_group"].value)
    assert broken["fairness.parity_change"].value > 0.2 > 0.1 > sound["fairness.parity_change"].value
    assert sound["fairness.group_shares"].value < 0.05
    lost = grouped(2_000, 4).query("group == 'a'")
    assert zoo.evaluate(train, lost, **options)["fairness.group_shares"].value == pytest.approx(0.3, abs=0.03)


def test_fairness_is_measured_where_it_is_asked() -> None:
    table = grouped(200, 0)
    assert zoo.evaluate(table, table, target="y", metrics=FAIR).scores == ()
    one = zoo.evaluate(table, table, target="y", sensitive="x", metrics=FAIR)
    # within a half of x the label hardly varies, and of sixty test rows few are left
    assert "fewer than two groups" in one["fairness.worst_group"].reason
    assert one["fairness.group_shares"].value == 0


# Detection: what gave it away


def test_the_column_that_gave_it_away_is_named() -> None:
    wrong = FRESH.assign(income=FRESH["income"].round(-4))
    report = zoo.evaluate(TRAIN, wrong, holdout=HOLDOUT, target="rich", metrics="detection.*", depth="full")
    score = report["detection.c2st_auc"]
    assert score.value > 0.9
    assert score.details["gave_away"][0][0] == "income" and score.details["gave_away"][0][1] > 0.2


def test_the_group_that_is_told_apart_is_named() -> None:
    broken = FRESH["rich"] == "yes"
    wrong = FRESH.assign(age=np.where(broken, 18, FRESH["age"]))
    name = "detection.worst_subgroup"
    score = zoo.evaluate(TRAIN, wrong, holdout=HOLDOUT, target="rich", metrics=name)[name]
    assert score.details["worst_group"] == "rich=yes" and score.value > 0.9
    assert score.details["groups"]["rich=no"] < 0.8
    assert zoo.evaluate(TRAIN, wrong, holdout=HOLDOUT, target="income", metrics=name).scores == ()
