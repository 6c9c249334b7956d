"""Information, distances, supports: closed forms, SciPy, properties, and generators whose faults are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import copies, independent, people
from scipy.spatial.distance import jensenshannon
from scipy.stats import energy_distance as scipy_energy
from scipy.stats import entropy as scipy_entropy
from scipy.stats import wasserstein_distance

import zoo
from zoo.evaluation.distances import energy_distance, pmse_ratio, squared_mmd, wasserstein
from zoo.evaluation.information import (
    conditional_entropy,
    discretise,
    entropy,
    jensen_shannon,
    kullback_leibler,
    mutual_information,
    shares,
    total_variation,
)
from zoo.evaluation.support import curve_score, density, precision_curve

N = 1_200
TRAIN, HOLDOUT, FRESH = (people(N, s) for s in (0, 1, 2))
distributions = st.integers(2, 8).flatmap(
    lambda k: st.tuples(*[st.lists(st.floats(0.01, 1), min_size=k, max_size=k).map(lambda v: np.array(v) / sum(v))] * 2)
)
many = settings(deadline=None, derandomize=True, max_examples=50)


# Discrete distributions


@many
@given(distributions)
def test_divergences_are_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    assert entropy(p) == pytest.approx(scipy_entropy(p, base=2))
    assert kullback_leibler(p, q) == pytest.approx(scipy_entropy(p, q, base=2), abs=1e-12)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert jensen_shannon(p, p) == total_variation(p, p) == kullback_leibler(p, p) == 0
    assert 0 <= jensen_shannon(p, q) <= 1 and 0 <= total_variation(p, q) <= 1
    # Pinsker: KL in nats is at least 2 TV^2
    assert kullback_leibler(p, q) * np.log(2) >= 2 * total_variation(p, q) ** 2 - 1e-12
    order = np.random.default_rng(0).permutation(len(p))
    assert jensen_shannon(p[order], q[order]) == pytest.approx(jensen_shannon(p, q), abs=1e-12)


def test_known_entropies() -> None:
    assert entropy(np.full(8, 1 / 8)) == pytest.approx(3)
    joint = np.array([[0.5, 0.0], [0.25, 0.25]])  # Cover and Thomas: H(Y|X) = 0 * 1/2 + 1 * 1/2
    assert conditional_entropy(joint) == pytest.approx(0.5)
    assert mutual_information(joint) == pytest.approx(entropy(np.array([0.75, 0.25])) - 0.5)
    assert mutual_information(np.outer([0.3, 0.7], [0.1, 0.9])) == pytest.approx(0, abs=1e-12)
    assert kullback_leibler(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == float("inf")


def test_information_of_a_gaussian_pair() -> None:
    """Two normals of correlation r share -log2(1 - r^2) / 2 bits; twenty bins keep 95 % of it, and never add any."""
    rng, r = np.random.default_rng(0), 0.8
    x = rng.normal(size=200_000)
    y = r * x + np.sqrt(1 - r * r) * rng.normal(size=200_000)
    a, b = (discretise([v])[0] for v in (x, y))
    joint = shares(a * 21 + b, 21 * 21).reshape(21, 21)
    whole = -np.log2(1 - r * r) / 2
    assert 0.95 * whole < mutual_information(joint) < whole


def test_divergence_of_two_gaussians() -> None:
    """KL(N(0,1) || N(m,1)) = m^2 / 2 nats, by bins of the first; TV = 2 Phi(m/2) - 1."""
    from scipy.stats import norm

    m, rng = 0.5, np.random.default_rng(1)
    a, b = discretise([rng.normal(size=400_000), rng.normal(m, 1, size=400_000)])
    p, q = shares(a, 21), shares(b, 21)
    assert kullback_leibler(p, q) == pytest.approx(m * m / 2 / np.log(2), abs=0.01)
    assert total_variation(p, q) == pytest.approx(2 * norm.cdf(m / 2) - 1, abs=0.01)


def test_bins() -> None:
    few = discretise([np.array([1.0, 2.0, np.nan, 3.0]), np.array([2.4, 2.6, np.nan, -9.0])])
    assert few[0].tolist() == [1, 2, 0, 3]
    assert few[1].tolist() == [2, 3, 0, 1]
    assert np.bincount(discretise([np.arange(1_000.0)])[0])[1:].tolist() == [50] * 20


# Distances


@many
@given(*[st.lists(st.floats(-100, 100), min_size=1, max_size=20).map(np.array)] * 2)
def test_wasserstein_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    assert wasserstein(a, b) == pytest.approx(wasserstein_distance(a, b), abs=1e-9)
    assert wasserstein(a, b) == pytest.approx(wasserstein(b, a), abs=1e-9)
    assert wasserstein(a, a) == 0


def test_energy_is_scipys_without_its_bias() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(0.5, 1, 400)
    n, m = len(a), len(b)
    within = [np.abs(x[:, None] - x[None, :]).sum() for x in (a, b)]
    biased = 2 * np.abs(a[:, None] - b[None, :]).mean() - within[0] / n**2 - within[1] / m**2
    assert scipy_energy(a, b) ** 2 == pytest.approx(biased, rel=1e-6)
    unbiased = biased + within[0] / n**2 - within[0] / (n * (n - 1)) + within[1] / m**2 - within[1] / (m * (m - 1))
    assert energy_distance(a[:, None], b[:, None]) == pytest.approx(unbiased, rel=1e-6)


def test_mmd_of_two_gaussians() -> None:
    """For kernel width w and unit normals a distance m apart: 2 w / sqrt(w^2 + 2) (1 - exp(-m^2 / (2 (w^2 + 2))))."""
    rng, w, m = np.random.default_rng(0), 1.0, 1.0
    found = [squared_mmd(rng.normal(size=(800, 1)), rng.normal(m, 1, (800, 1)), w) for _ in range(5)]
    assert np.mean(found) == pytest.approx(
        2 * w / np.sqrt(w**2 + 2) * (1 - np.exp(-(m**2) / (2 * (w**2 + 2)))), abs=0.01
    )
    assert (
        abs(np.mean([squared_mmd(rng.normal(size=(300, 1)), rng.normal(size=(300, 1)), w) for _ in range(9)])) < 0.003
    )


def test_pmse_ratio_of_chance_is_one() -> None:
    rng = np.random.default_rng(0)
    found = [pmse_ratio(rng.normal(size=(1_000, 6)), np.repeat([0, 1], 500)) for _ in range(120)]
    assert np.mean(found) == pytest.approx(1, abs=0.15)
    shifted = rng.normal(size=(1_000, 6)) + np.repeat([[0.0], [1.0]], 500, axis=0)
    assert pmse_ratio(shifted, np.repeat([0, 1], 500)) > 50


# Supports


def test_precision_curve_of_the_same_data_is_the_diagonal() -> None:
    x = np.random.default_rng(0).normal(size=(3_000, 4))
    assert curve_score(precision_curve(x, x)) == pytest.approx(1, abs=1e-3)
    assert curve_score(precision_curve(x, x * 0)) < 0.1, "all in the middle"
    assert curve_score(precision_curve(x, x + 100)) < 0.1, "all outside"


def test_density_by_hand() -> None:
    real = np.array([[0.0], [1.0], [10.0]])
    radius = np.array([1.0, 1.0, 9.0])  # the nearest other row
    # 0.5 is within 1 of 0 and of 1, not within 9 of 10; 9 is near 10 alone; 50 near none: 3 of 3 x 1
    assert density(real, np.array([[0.5], [9.0], [50.0]]), radius, 1) == pytest.approx(3 / 3)


DIVERSITY = ["diversity.beta_recall", "diversity.coverage", "diversity.tails", "diversity.collapsed"]


def test_collapse_is_seen() -> None:
    few = TRAIN[(TRAIN["age"] > 40) & (TRAIN["age"] < 55)]
    report = zoo.evaluate(TRAIN, copies(few, N), holdout=HOLDOUT, metrics=[*DIVERSITY, "fidelity.alpha_precision"])
    whole = zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, metrics=[*DIVERSITY, "fidelity.alpha_precision"])
    assert report["diversity.coverage"].value < 0.5 < 0.9 < whole["diversity.coverage"].value
    assert report["diversity.beta_recall"].value < 0.6 < 0.9 < whole["diversity.beta_recall"].value
    assert report["diversity.collapsed"].value > 0.1 > 0.05 > whole["diversity.collapsed"].value
    assert report["diversity.tails"].value < 0.6 < 0.7 < whole["diversity.tails"].value
    assert report["fidelity.alpha_precision"].value < 0.8 < 0.9 < whole["fidelity.alpha_precision"].value


def test_rare_categories() -> None:
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"k": rng.choice(["a", "b", "c", "d"], 2_000, p=[0.6, 0.34, 0.03, 0.03])}, dtype="str")
    name = "diversity.rare_categories"
    lacking = zoo.evaluate(train, train.replace("d", "a"), metrics=name)[name]
    assert (lacking.value, lacking.details["lacking"]) == (0.5, {"k": 1})
    assert zoo.evaluate(train, train, metrics=name)[name].value == 1


def test_copies_are_no_generalisation() -> None:
    names = ["generalisation.authenticity", "generalisation.gap"]
    copied = zoo.evaluate(TRAIN, copies(TRAIN, N), holdout=HOLDOUT, metrics=names)
    fresh = zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, metrics=names)
    assert copied[names[0]].value < 0.1 < 0.35 < fresh[names[0]].value
    assert copied[names[1]].value > 0.4
    assert fresh[names[1]].interval[0] < 0 < fresh[names[1]].interval[1]


# The protocol


@pytest.fixture(scope="module")
def full() -> Any:
    patterns = ["fidelity.*", "diversity.*", "generalisation.*"]
    return zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, metrics=patterns, depth="full")


def test_every_score_has_its_anchors_and_an_interval(full: Any) -> None:
    for score in full.scores:
        if score.value is None:
            assert score.reason
            continue
        assert set(score.anchors) == {"real", "naive", "copy"}, score.name
        assert all(v is not None for v in score.anchors.values()), score.name
        assert score.interval is not None, score.name
        assert score.interval[0] <= score.value <= score.interval[1], score.name
        assert score.modalities and score.cost in ("low", "medium", "high")


def test_real_data_are_told_from_independent_columns(full: Any) -> None:
    bad = zoo.evaluate(TRAIN, independent(TRAIN, N), holdout=HOLDOUT, metrics=full.names, depth="full")
    for name in ("pair_variation", "mutual_information", "conditional_entropy", "triple_variation", "mmd", "energy"):
        assert bad[f"fidelity.{name}"].normalised < 0.3 < 0.7 < full[f"fidelity.{name}"].normalised, name


def test_an_interval_by_repeats_holds_its_promise() -> None:
    """Of the mean absolute difference that two tables of the same people have in truth, here by many draws."""
    name = "fidelity.mutual_information"
    values, held = [], 0
    for seed in range(12):
        report = zoo.evaluate(people(400, 3 * seed), independent(people(400, 3 * seed), 400, seed), metrics=name)
        values.append(report[name])
    centre = float(np.mean([s.value for s in values]))
    held = sum(s.interval[0] <= centre <= s.interval[1] for s in values)
    assert held >= 9


def test_few_rows_are_said_to_give_no_interval() -> None:
    score = zoo.evaluate(TRAIN.iloc[:30], FRESH.iloc[:30], metrics="fidelity.shapes").scores[0]
    assert score.interval is None and "fewer than 50 rows" in score.details["interval"]


def test_a_large_table_is_thinned_and_says_so() -> None:
    rng = np.random.default_rng(0)
    big = pd.DataFrame({"x": rng.normal(size=60_000), "y": rng.normal(size=60_000)})
    report = zoo.evaluate(big, big.iloc[:1_000], metrics="fidelity.shapes", quick=True)
    assert report.rows["train"] == 50_000
    assert "50,000 of 60,000 train samples" in report.notes[0] and "0.0022" in report.notes[0]
