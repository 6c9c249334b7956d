"""Membership attacks and copies: they catch generators that leak, and pass one that cannot."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import copies, independent, people
from scipy.stats import beta, binomtest, mannwhitneyu, norm
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

import zoo
from zoo.evaluation.intervals import (
    auc,
    auc_interval,
    auc_p_value,
    clopper_pearson,
    tpr_at,
    tpr_p_value,
    wilson_interval,
)
from zoo.evaluation.membership import density_ratio
from zoo.evaluation.neighbours import k_nearest, nearest
from zoo.evaluation.report import Report

N = 3_000
ATTACK = ["privacy.membership_auc", "privacy.membership_tpr_*", "privacy.verbatim", "privacy.near_copies"]
TRAIN, HOLDOUT, FRESH = (people(n, s) for n, s in ((N, 0), (N, 1), (N, 2)))


def noisy(table: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    """Training rows with this share of a standard deviation of noise on every number and instant."""
    rng = np.random.default_rng(seed)
    out = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    for name in ("age", "income"):
        out[name] = out[name] + rng.normal(0, share * table[name].std(), len(out))
    days = share * (table["since"] - table["since"].min()).dt.days.std()
    out["since"] += pd.to_timedelta(np.round(rng.normal(0, days, len(out))), unit="D")
    return out.astype({"age": "float64"})


def outliers_memorised(train: pd.DataFrame, share: float = 0.01) -> pd.DataFrame:
    """Fresh people, and the training rows furthest from the mean once more."""
    far = ((train[["age", "income"]] - train[["age", "income"]].mean()) / train[["age", "income"]].std()).pow(2).sum(1)
    worst = train.loc[far.sort_values().index[-int(share * len(train)) :]]
    return pd.concat([FRESH.iloc[: len(train) - len(worst)], worst], ignore_index=True)


def attack(synthetic: pd.DataFrame, **options: Any) -> Report:
    train = TRAIN.astype({"age": "float64"})
    holdout = HOLDOUT.astype({"age": "float64"})
    return zoo.evaluate(train, synthetic.astype({"age": "float64"}), holdout=holdout, metrics=ATTACK, **options)


# They bite


def test_returned_training_rows_are_caught() -> None:
    report = attack(copies(TRAIN, N))
    assert report["privacy.verbatim"].value == 1
    assert report["privacy.near_copies"].value == 1
    assert (
        report["privacy.membership_auc"].value > 0.7
    )  # two thirds of the people are among rows drawn with replacement
    assert report["privacy.membership_tpr_0.1"].value > 0.5
    assert report["privacy.membership_tpr_0.1"].details["p_value"] < 1e-6
    assert attack(TRAIN)["privacy.membership_auc"].value > 0.99


def test_training_rows_with_a_little_noise_are_caught() -> None:
    report = attack(noisy(TRAIN, 0.01))
    assert report["privacy.verbatim"].value == 0, "exact matching does not see it"
    assert report["privacy.near_copies"].value > 0.9
    assert report["privacy.membership_auc"].value > 0.95
    assert report["privacy.membership_tpr_0.1"].value > 0.2


def test_a_few_memorised_outliers_are_caught() -> None:
    report = attack(outliers_memorised(TRAIN))
    low, high = report["privacy.membership_auc"].interval
    assert low < 0.53, "the average person is safe, and the area under the curve says no more"
    rate = report["privacy.membership_tpr_0.1"]
    assert rate.value > 5 * 0.001
    assert rate.interval[0] > 0.001
    assert rate.details["p_value"] < 1e-3
    assert 0.005 < report["privacy.verbatim"].value < 0.02
    assert high < 0.6


@pytest.mark.parametrize("made", [independent(TRAIN, N), FRESH], ids=["independent columns", "other people"])
def test_who_was_not_learned_from_is_not_found(made: pd.DataFrame) -> None:
    report = attack(made)
    area = report["privacy.membership_auc"]
    assert area.interval[0] < 0.5 < area.interval[1]
    for percent in (10, 1, 0.1):
        rate = report[f"privacy.membership_tpr_{percent:g}"]
        assert rate.details["p_value"] > 0.01, percent
        assert rate.details["naive_guess"] == percent / 100
    near = report["privacy.near_copies"]
    assert near.value <= near.anchors["real"] + 0.005, "no more than real strangers coincide"


def test_each_attack_stands_beside_its_anchors() -> None:
    report = attack(FRESH)
    for name in report.names:
        anchors = report[name].anchors
        assert set(anchors) == {"real", "naive", "copy"}
        assert anchors["copy"] > 0.5, name
    area = report["privacy.membership_auc"]
    assert area.anchors["copy"] > 0.95
    assert abs(area.anchors["real"] - 0.5) < 0.05 and abs(area.anchors["naive"] - 0.5) < 0.05
    assert abs(area.details["control"] - 0.5) < 0.1
    assert area.normalised > 0.9, "near to real data, far from copies"
    curve = np.array(area.details["curve"])
    assert (np.diff(curve, axis=0) >= 0).all() and (curve[-1] == 1).all()


def test_a_smooth_attack_sees_what_neighbours_do_not() -> None:
    """A generator that learned one group of the training people alone copies nobody."""
    name = "privacy.membership_classifier_auc"
    old = TRAIN[TRAIN["age"] > 40]
    made = people(6 * N, 5).query("age > 40").iloc[:N]
    report = zoo.evaluate(old, made, holdout=HOLDOUT, metrics=[name, "privacy.membership_auc"])
    assert report[name].value > 0.6
    assert report[name].value > report["privacy.membership_auc"].value


def test_what_is_too_few_is_said() -> None:
    with_few = zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT.iloc[:300], metrics=ATTACK)
    assert with_few["privacy.membership_tpr_1"].value is not None
    assert "needs 1,000 people" in with_few["privacy.membership_tpr_0.1"].reason
    assert "too few" in zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT.iloc[:9], metrics=ATTACK[0]).scores[0].reason
    assert "no holdout" in zoo.evaluate(TRAIN, FRESH, metrics=ATTACK[0]).scores[0].reason


def test_stuck_to_single_records() -> None:
    name = "privacy.neighbour_ratio"
    stuck = zoo.evaluate(TRAIN, noisy(TRAIN, 0.01).astype({"age": "int64"}), holdout=HOLDOUT, metrics=name)[name]
    free = zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, metrics=name)[name]
    assert stuck.value > 0.3 > abs(free.value)
    assert free.interval[0] < 0 < free.interval[1]
    assert free.details["evidence"] == "weak"


# The parts, by hand and by others' code


def test_density_ratio_by_hand() -> None:
    # reference distances 1 and 3 have mean 2, its median 2; a thousandth of it, 0.002, is added to both
    scores = density_ratio(np.array([0.5, 0.0]), np.array([[1.0, 3.0], [2.0, 2.0]]))
    np.testing.assert_allclose(scores, np.log([2.002 / 0.502, 2.002 / 0.002]))
    assert (density_ratio(np.zeros(3), np.zeros((3, 2))) == 0).all()


def test_neighbours_are_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    points, reference = (rng.normal(size=(n, 7)).astype(np.float32) for n in (2_100, 300))
    theirs, where = NearestNeighbors(n_neighbors=5).fit(reference).kneighbors(points)
    ours, index = k_nearest(points, reference, 5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert (index == where).all()
    one, first = nearest(points, reference)
    assert (one == ours[:, 0]).all() and (first == index[:, 0]).all()
    assert k_nearest(points, reference[:3], 5)[0].shape == (2_100, 3)


def test_neighbours_of_sparse_rows() -> None:
    from scipy import sparse

    rng = np.random.default_rng(4)
    dense = [rng.random((n, 9)) * (rng.random((n, 9)) < 0.5) + 1e-3 for n in (40, 30)]
    points, reference = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in dense)
    ours, index = k_nearest(sparse.csr_matrix(points), sparse.csr_matrix(reference), 3)
    theirs, where = NearestNeighbors(n_neighbors=3, metric="cosine").fit(reference).kneighbors(points)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert (index == where).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_area_is_scikit_learns(a: list[int], b: list[int]) -> None:
    positive, negative = np.array(a, float), np.array(b, float)
    truth = np.repeat([1, 0], [len(a), len(b)])
    assert auc(positive, negative) == pytest.approx(roc_auc_score(truth, a + b))
    assert auc(positive, negative) == pytest.approx(1 - auc(negative, positive))
    # the rate is a point of the curve, at the false-positive rate that was allowed or below
    for fpr in (0.1, 0.5):
        rate, k = tpr_at(positive, negative, fpr)
        wrong, right, _ = roc_curve(truth, a + b, drop_intermediate=False)
        allowed = wrong <= fpr + 1e-9
        assert rate <= right[allowed].max() + 1e-12
        assert k <= fpr * len(b) + 1e-9


def test_intervals_are_scipys() -> None:
    for hits, n in ((0, 20), (3, 20), (20, 20), (481, 1000)):
        test = binomtest(hits, n)
        assert wilson_interval(hits / n, n) == pytest.approx(tuple(test.proportion_ci(method="wilson")), abs=1e-4)
        assert clopper_pearson(hits, n) == pytest.approx(tuple(test.proportion_ci(method="exact")), abs=1e-9)
    assert clopper_pearson(3, 20)[0] == pytest.approx(beta.ppf(0.025, 3, 18))


def test_chance_of_an_area_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.1, 1, 300), rng.normal(size=400)
    theirs = mannwhitneyu(a, b, alternative="greater", use_continuity=False, method="asymptotic").pvalue
    assert auc_p_value(auc(a, b), 300, 400) == pytest.approx(theirs, rel=1e-9)


def test_interval_of_an_area_holds_its_promise() -> None:
    """Two normals a unit apart have the area Phi(1 / sqrt 2); 95 % of the intervals hold it."""
    rng, truth = np.random.default_rng(1), norm.cdf(1 / np.sqrt(2))
    held = 0
    for _ in range(400):
        a, b = rng.normal(1, 1, 80), rng.normal(size=120)
        low, high = auc_interval(auc(a, b), 80, 120)
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


def test_chance_of_a_rate_is_exact() -> None:
    """One member above the largest of two strangers: 1 - P(all three members below it), by counting orders."""
    # the largest of 5 is a stranger with probability 2/5, then no member is above it
    assert tpr_p_value(1, 3, 2, 0) == pytest.approx(3 / 5)
    rng = np.random.default_rng(2)
    draws = [tpr_at(rng.normal(size=50), rng.normal(size=200), 0.01)[0] * 50 for _ in range(4_000)]
    for hits in (1, 2, 4):
        assert np.mean(np.array(draws) >= hits - 0.5) == pytest.approx(tpr_p_value(hits, 50, 200, 2), abs=0.025)
