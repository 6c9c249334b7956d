"""Shadow models, the audit of epsilon, and released tables: theory, worked examples, generators that leak or do not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from people import people
from scipy.stats import beta, norm

import zoo
from zoo.errors import ConfigError, DataError
from zoo.evaluation.intervals import auc, epsilon_lower_bound, mean_interval
from zoo.evaluation.released import k_anonymity, l_diversity, t_closeness
from zoo.evaluation.shadow import Shadows, audit_epsilon, halves, likelihood_ratio, run_shadows
from zoo.generator import Generator


class _Table(Generator):
    """What the stand-ins below share: numbers in, numbers out."""

    name = "tabular/stand_in"
    modality = "tabular"

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: Any) -> None:
        self.rows = data


@dataclass(kw_only=True, eq=False)
class Mean(_Table):
    """Learns a mean: normal samples of unit variance around it."""

    name = "tabular/mean"

    def _sample_block(self, n: int, conditions: Any, rng: np.random.Generator, options: Any) -> pd.DataFrame:
        values = rng.normal(self.rows.mean().to_numpy(), 1, (n, self.rows.shape[1]))
        return pd.DataFrame(values, columns=self.rows.columns).clip(self.rows.min(), self.rows.max(), axis=1)


@dataclass(kw_only=True, eq=False)
class Copier(_Table):
    """Returns what it was given."""

    name = "tabular/copier"

    def _sample_block(self, n: int, conditions: Any, rng: np.random.Generator, options: Any) -> pd.DataFrame:
        return self.rows.iloc[np.arange(n) % len(self.rows)].reset_index(drop=True)


@dataclass(kw_only=True, eq=False)
class Response(_Table):
    """Private by randomised response: says whether anyone is above 5, truthfully with odds exp(epsilon) to 1."""

    epsilon: float = 1.0
    name = "tabular/response"

    def _sample_block(self, n: int, conditions: Any, rng: np.random.Generator, options: Any) -> pd.DataFrame:
        seen = bool((self.rows["x"] > 5).any())
        truth = np.exp(self.epsilon) / (1 + np.exp(self.epsilon))
        coin = np.random.default_rng(int(self.rows["x"].sum() * 1e6) % 2**32 + int(rng.integers(2**20)))
        said = seen if coin.random() < truth else not seen
        return pd.DataFrame({"x": np.full(n, self.schema["x"].maximum if said else 0.0)})


def gaussian(n: int, d: int, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng([9, seed]).normal(size=(n, d))).add_prefix("x")


# The likelihood ratio


def power(d: int, n: int, m: float = np.inf) -> float:
    """Area under the curve of the best test of membership in a mean of n people in d dimensions, seen by m samples.

    Inside, the mean is shifted by x/n along x; its variance along x is |x|^2 (1/n + 1/m). So the two normal
    distributions are |x| / n / sqrt(1/n + 1/m) standard deviations apart, and E|x|^2 = d.
    """
    return float(norm.cdf(np.sqrt(d) / n / np.sqrt(1 / n + 1 / m) / np.sqrt(2)))


def test_power_on_a_known_gaussian_agrees_with_theory() -> None:
    n, d, shadows = 30, 40, 64
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * n, d))
    inside = halves(2 * n, shadows, rng)
    outsiders = rng.normal(size=(shadows, n, d)).mean(axis=1)  # means of other people, so that only one person differs
    statistics = np.empty((shadows, 2 * n))
    for s in range(shadows):
        for t in range(2 * n):
            mean = outsiders[s] + (inside[s, t] * x[t] - inside[s, t] * rng.normal(size=d)) / n
            statistics[s, t] = x[t] @ mean
    area = np.mean([auc(r[i], r[~i]) for r, i in zip(likelihood_ratio(Shadows(statistics, inside)), inside)])
    assert area == pytest.approx(power(d, n), abs=0.03)


def test_power_through_a_generator_agrees_with_theory() -> None:
    n, d, m = 60, 60, 240
    pool = gaussian(2 * n, d)
    centred = pool.to_numpy()

    def projection(people: pd.DataFrame, synthetic: pd.DataFrame) -> np.ndarray:
        return centred @ synthetic.to_numpy().mean(axis=0)

    made = run_shadows(Mean().fit(pool), pool, shadows=48, statistic=projection, samples=m)
    ratio = likelihood_ratio(made)
    area = np.mean([auc(r[i], r[~i]) for r, i in zip(ratio, made.inside)])
    # a pool of which half is inside: given who is in, the mean of the half varies by half as much along x
    low, high = power(d, n, m), power(d, n / 2, m)
    assert low - 0.03 < area < high + 0.03
    assert made.inside.sum(axis=0).tolist() == [24] * (2 * n), "everyone is inside half of them"


def test_likelihood_ratio_by_hand() -> None:
    # one person; judging shadow 0 by the others: inside 4 (mean 4), outside 0 and 2 (mean 1, squares 2, one degree)
    made = Shadows(np.array([[3.0], [4.0], [0.0], [2.0]]), np.array([[True], [True], [False], [False]]))
    variance = 2.0  # pooled, and the common one is the same
    assert likelihood_ratio(made)[0, 0] == pytest.approx(((3 - 1) ** 2 - (3 - 4) ** 2) / (2 * variance))


def test_shadow_attack_tells_a_copier_from_a_copula() -> None:
    train, holdout = people(300), people(300, 1)
    names = ["privacy.shadow_auc", "privacy.shadow_tpr_1", "privacy.epsilon_lower_bound"]
    generators = {"copier": Copier().fit(train), "copula": zoo.create("tabular/gaussian_copula").fit(train)}
    found = {
        k: zoo.evaluate(train, g.sample(300, seed=0), holdout=holdout, generator=g, metrics=names, quick=True)
        for k, g in generators.items()
    }
    area = found["copula"][names[0]]
    assert found["copier"][names[0]].value > 0.95
    assert area.interval[0] < 0.55
    assert found["copier"][names[1]].value > 0.8 > 0.2 > found["copula"][names[1]].value
    assert area.anchors["copy"] > 0.95
    assert abs(area.anchors["real"] - 0.5) < 0.05 and abs(area.anchors["naive"] - 0.5) < 0.1
    bound = found["copier"][names[2]]
    assert bound.value == pytest.approx(bound.details["highest_that_could_show"]) and bound.value > 0.2


def test_without_a_generator_there_is_no_shadow() -> None:
    assert zoo.evaluate(people(100), people(100, 1), metrics="privacy.shadow_auc").scores == ()
    with pytest.raises(ConfigError, match="even number"):
        run_shadows(Copier().fit(people(50)), people(50), shadows=5)


# Epsilon


def test_lower_bound_by_hand() -> None:
    # 20 of 20 and 0 of 20: Clopper and Pearson's ends are 0.025^(1/20) and 1 - that
    end = 0.025 ** (1 / 20)
    assert epsilon_lower_bound(20, 20, 0, 20) == pytest.approx(np.log(end / (1 - end)))
    assert epsilon_lower_bound(10, 20, 10, 20) == 0
    expected = np.log((beta.ppf(0.025, 900, 101) - 1e-2) / beta.ppf(0.975, 101, 900))
    assert epsilon_lower_bound(900, 1_000, 100, 1_000, delta=1e-2) == pytest.approx(expected)


def test_the_bound_stays_below_the_truth() -> None:
    """Randomised response has exactly the epsilon it claims; 95 % of the bounds are below."""
    rng, epsilon = np.random.default_rng(0), 1.5
    truth = np.exp(epsilon) / (1 + np.exp(epsilon))
    bounds = [
        epsilon_lower_bound(int(rng.binomial(500, truth)), 500, int(rng.binomial(500, 1 - truth)), 500)
        for _ in range(300)
    ]
    assert np.mean(np.array(bounds) > epsilon) <= 0.05
    assert np.mean(bounds) > 1


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
def test_audit_of_a_private_generator(epsilon: float) -> None:
    pool = pd.DataFrame({"x": np.append(np.linspace(0, 1, 29), 10.0)})
    found = audit_epsilon(Response(epsilon=epsilon).fit(pool), pool, trials=160, seed=1)
    assert found.epsilon <= epsilon
    assert found.with_canary == found.without_canary == 40
    if epsilon > 1:
        assert found.epsilon > 0.5, "and what is hardly private shows"


def test_mean_interval() -> None:
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.30265 / np.sqrt(3), 2 + 4.30265 / np.sqrt(3)), abs=1e-4)


# Released tables: the example of Li et al. 2007, tables 3 and 5


RELEASED = pd.DataFrame(
    {
        "zip": ["476**"] * 3 + ["4790*"] * 3 + ["476**"] * 3,
        "age": ["2*"] * 3 + [">=40"] * 3 + ["3*"] * 3,
        "salary": [3, 4, 5, 6, 11, 8, 7, 9, 10],
        "disease": ["gastric ulcer", "gastritis", "stomach cancer", "gastritis", "flu", "bronchitis", "bronchitis",
                    "pneumonia", "stomach cancer"],
    }
)  # fmt: skip


def test_released_tables_by_the_published_example() -> None:
    quasi = ["zip", "age"]
    assert k_anonymity(RELEASED, quasi) == 3
    assert l_diversity(RELEASED, quasi, "disease") == 3
    # the paper: D({3,4,5}, all) = 0.375 and D({6,8,11}, all) = 0.167 for salaries
    assert t_closeness(RELEASED, quasi, "salary") == pytest.approx(0.375)
    assert t_closeness(RELEASED.iloc[[3, 4, 5]], quasi, "salary") == 0
    first = RELEASED.assign(zip=np.where(np.arange(9) == 0, "x", RELEASED["zip"]))
    assert k_anonymity(first, quasi) == 1


def test_released_tables_in_a_report() -> None:
    table = people(200)
    report = zoo.evaluate(
        table,
        table,
        quasi_identifiers=["work"],
        sensitive=["rich"],
        metrics=["privacy.k_*", "privacy.l_*", "privacy.t_*"],
    )
    assert report["privacy.k_anonymity"].value == table["work"].value_counts(dropna=False).min()
    assert report["privacy.l_diversity"].value == table.fillna("?").groupby("work")["rich"].nunique().min()
    assert 0 < report["privacy.t_closeness"].value < 1
    assert zoo.evaluate(table, table, metrics="privacy.k_anonymity").scores == ()
    with pytest.raises(DataError, match="quasi_identifiers: 'wrok' is no column"):
        zoo.evaluate(table, table, quasi_identifiers=["wrok"])
    with pytest.raises(DataError, match="'wrok' is no column of the released table; did you mean 'work'"):
        k_anonymity(table, ["wrok"])
