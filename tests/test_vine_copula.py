"""Vine copula: checkerboards in closed form, the chosen trees, what strata tell, conditions in law, odd tables."""

import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import zoo
from zoo.errors import ConfigError, MissingExtraError
from zoo.generators.tabular.vine_copula import VineCopula
from zoo.statistics.checkerboard import Checkerboard, balanced, even_edges, fit_checkerboard, fit_latent
from zoo.statistics.regular_vine import RegularVine, Step, fit_vine


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def boards(seed: int, cells: tuple[int, int], groups: int = 2) -> Checkerboard:
    r = rng(seed)
    edges = []
    for k in cells:
        inner = np.sort(r.random((groups, k - 1)), axis=1)
        edges.append(np.concatenate([np.zeros((groups, 1)), inner, np.ones((groups, 1))], axis=1))
    mass = [balanced(r.gamma(0.4, size=cells) + 1e-4, *(np.diff(e[s]) for e in edges)) for s in range(groups)]
    return Checkerboard(edges[0], edges[1], np.stack(mass))


def halves(points: Any, cells: int) -> np.ndarray:
    """Counts ``(2, 1, cells, cells)`` of points in the unit square, in two halves."""
    edges = [np.linspace(0, 1, cells + 1)] * 2
    return np.stack([np.histogram2d(points[0][h::2], points[1][h::2], bins=edges)[0][None] for h in (0, 1)]).astype(int)


# Pair copulas


@given(st.integers(0, 10_000), st.tuples(st.integers(2, 9), st.integers(2, 9)))
@settings(max_examples=40, deadline=None)
def test_the_distribution_of_one_variable_is_inverted_and_sums_up_cells(seed: int, cells: tuple[int, int]) -> None:
    board, r, n = boards(seed, cells), rng(seed), 200
    group = r.integers(0, 2, n)
    low, high = np.sort(r.random((2, n)), axis=0)
    high = np.where(np.arange(n) % 3 == 0, low, high)  # a continuous variable: a point
    u = r.random(n)
    x = board.quantile(u, low, high, group)
    np.testing.assert_allclose(board.given(x, low, high, group), u, atol=1e-6)
    ends = board.given(np.stack([np.zeros(n), np.ones(n)]), low, high, group)
    np.testing.assert_allclose(ends, np.stack([np.zeros(n), np.ones(n)]), atol=1e-6)
    # The same by adding up what of each cell lies in the rectangle [0, x] x [low, high].
    low, high = np.minimum(low, high - 1e-3).clip(0), high.clip(1e-3)
    for i in range(0, n, 17):
        s = group[i]
        a, b = np.diff(board.first[s]), np.diff(board.second[s])
        rows = np.clip(x[i] - board.first[s][:-1], 0, a) / a
        columns = (np.minimum(high[i], board.second[s][1:]) - np.maximum(low[i], board.second[s][:-1])).clip(0) / b
        by_hand = rows @ board.mass[s] @ columns / (high[i] - low[i])
        made = board.given(x[i : i + 1], low[i : i + 1], high[i : i + 1], group[i : i + 1])
        assert made[0] == pytest.approx(by_hand, abs=1e-6)


def test_rows_of_a_known_copula_give_its_cells_and_chance_gives_none() -> None:
    z = rng().multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 40_000)
    even = even_edges(8, 1)
    board, gain = fit_checkerboard(even, even, halves(stats.norm.cdf(z).T, 8), [])
    assert board is not None and gain > 1000
    np.testing.assert_allclose(board.mass.sum(axis=1), 1 / 8, atol=1e-8)
    ends = stats.norm.ppf(even[0]).clip(-9, 9)
    grid = np.stack(np.meshgrid(ends, ends, indexing="ij"), axis=-1)
    exact = np.diff(np.diff(stats.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]]).cdf(grid), axis=0), axis=1)
    np.testing.assert_allclose(board.mass[0], exact, atol=0.002)
    assert fit_checkerboard(even, even, halves(rng(1).random((2, 2000)), 8), [])[0] is None


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.floats(0.01, 3))
@settings(max_examples=60, deadline=None)
def test_any_mass_is_brought_to_any_sums(seed: int, a: int, b: int, shape: float) -> None:
    r = rng(seed)
    rows, columns = (r.gamma(shape, size=k) * (r.random(k) < 0.8) + 1e-9 * (np.arange(k) == 0) for k in (a, b))
    rows, columns = rows / rows.sum(), columns / columns.sum()
    mass = balanced(r.gamma(0.05, size=(a, b)), rows, columns)
    assert (mass >= 0).all()
    np.testing.assert_allclose(mass.sum(axis=1), rows, atol=1e-7)
    np.testing.assert_allclose(mass.sum(axis=0), columns, atol=1e-7)


def test_few_rows_take_a_prior_copula_that_is_right() -> None:
    even = even_edges(16, 1)
    z = stats.norm.cdf(rng().multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 150))
    counts = halves(z.T, 16)
    ends = stats.norm.ppf(even[0]).clip(-9, 9)
    grid = np.stack(np.meshgrid(ends, ends, indexing="ij"), axis=-1)
    exact = np.diff(np.diff(stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).cdf(grid), axis=0), axis=1)
    error = []
    for priors in ([], [exact]):
        board, _ = fit_checkerboard(even, even, counts, priors)
        assert board is not None
        error.append(np.abs(board.mass[0] - exact).sum())
    assert error[1] < 0.2 * error[0]


def test_the_dependence_of_cut_variables_is_that_of_the_uncut_ones() -> None:
    """Two normals of correlation 0.6 of which only signs are known: tetrachoric, not the phi coefficient."""
    n, rho = 40_000, 0.6
    z = rng().multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)
    # Each row knows a half only; where it ends differs between rows, as it does given other variables.
    shift = rng(1).choice([0.0, 0.2], n)
    u = stats.norm.cdf(z)
    intervals = [
        (np.where(v > 0.5 + shift, 0.5 + shift, 0.0), np.where(v > 0.5 + shift, 1.0, 0.5 + shift)) for v in u.T
    ]
    points = [low + (high - low) * rng(2).random(n) for low, high in intervals]
    even, group = even_edges(8, 1), np.zeros(n, dtype=np.intp)
    start, _ = fit_checkerboard(even, even, halves(points, 8), [])
    assert start is not None
    both = np.array([0.5]), np.array([0.0]), np.array([0.5]), group[:1]
    exact = 2 * (0.25 + np.arcsin(rho) / (2 * np.pi))  # P(first below its median | second below its)
    *_, last = islice(fit_latent(start, intervals, points, group, [], rng(3)), 15)
    errors = [abs(board.given(*both)[0] - exact) for board in (start, last)]
    assert errors[1] < 0.6 * errors[0]


# Vines


def test_the_strongest_pairs_make_the_first_tree() -> None:
    n, order = 4000, [2, 0, 3, 1]  # a chain in this order
    z = np.empty((4, n))
    z[order[0]] = rng().normal(size=n)
    for k in range(1, 4):
        z[order[k]] = 0.9 * z[order[k - 1]] + np.sqrt(1 - 0.81) * rng(k).normal(size=n)
    u = stats.norm.cdf(z)
    asked = []

    def fit(tree: int, x: int, y: int, a: Any, b: Any) -> Checkerboard | None:
        asked.append((tree, frozenset((x, y))))
        even = even_edges(8, 1)
        return fit_checkerboard(even, even, halves([a[0], b[0]], 8), [])[0]

    cells = [np.minimum((v * 8).astype(int), 7) for v in u]
    found, steps = fit_vine([(v, v) for v in u], cells, np.zeros(n, dtype=int), 3, np.zeros(4), fit, rng())
    assert {pair for tree, pair in asked if tree == 0} == {frozenset(order[k : k + 2]) for k in range(3)}
    assert [tree for tree, _ in asked] == [0, 0, 0, 1, 1, 2]
    assert sorted(found) == [0, 1, 2, 3] and [len(s) for s in steps] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "partners", [[[], [0], [0, 0]], [[], [1]], [[], [0], [0, 1], [2, 1]], [[], [0], [1, 0], [0, 2]], [[], [-1]]]
)
def test_pairs_that_make_no_vine_are_refused(partners: list[list[int]]) -> None:
    good = [[], [0], [1, 0], [2, 1, 0]]
    RegularVine([[Step(p, None) for p in mine] for mine in good])
    with pytest.raises(ValueError, match="no vine"):
        RegularVine([[Step(p, None) for p in mine] for mine in partners])


# The family


def mixed(n: int = 6000) -> pd.DataFrame:
    r = rng()
    z = r.multivariate_normal(np.zeros(4), np.full((4, 4), 0.6) + 0.4 * np.eye(4), n)
    count = pd.array(np.rint(10 + 3 * z[:, 1]), dtype="Int64")
    count[r.random(n) < stats.norm.cdf(z[:, 0] - 1)] = pd.NA
    size = pd.Categorical.from_codes(np.digitize(z[:, 3], [-0.5, 0.6]), ["s", "m", "l"], ordered=True)
    city = np.array(["Oslo", "Bern", "Rome", "Kyiv"])[np.digitize(z[:, 2], [-0.8, 0.0, 1.0])]
    return pd.DataFrame({"x": z[:, 0], "count": count, "city": city, "size": size})


@pytest.fixture(scope="module")
def fitted() -> VineCopula:
    return VineCopula(strata=None).fit(mixed(), seed=0)


@pytest.fixture(scope="module")
def plain(fitted: VineCopula) -> pd.DataFrame:
    return fitted.sample(100_000, seed=9)


def test_pairs_are_as_in_training(plain: pd.DataFrame) -> None:
    table = mixed()
    for name in ("city", "size"):
        share, made = (pd.crosstab(t[name], t["count"].isna(), normalize=True).to_numpy() for t in (table, plain))
        np.testing.assert_allclose(made, share, atol=0.025)
        for k in table[name].unique():
            assert plain.x[plain[name] == k].mean() == pytest.approx(table.x[table[name] == k].mean(), abs=0.08)
    assert plain.x.corr(plain["count"].astype(float)) == pytest.approx(
        table.x.corr(table["count"].astype(float)), abs=0.04
    )
    # Three at once: what no pair says.
    for t in (table, plain):
        t["both"] = (t.city == "Kyiv") & (t["size"] == "l")
    assert plain.both.mean() == pytest.approx(table.both.mean(), abs=0.01)
    assert plain.x[plain.both].mean() == pytest.approx(table.x[table.both].mean(), abs=0.12)


@pytest.mark.parametrize(
    ("asked", "holds", "as_table"),
    [
        ({"city": "Rome", "size": "s"}, lambda t: (t.city == "Rome") & (t["size"] == "s"), False),
        ({"city": "Rome", "size": "s"}, lambda t: (t.city == "Rome") & (t["size"] == "s"), True),
        (
            {"x": (0.5, 2), "city": ["Oslo", "Kyiv"]},
            lambda t: t.x.between(0.5, 2) & t.city.isin(["Oslo", "Kyiv"]),
            False,
        ),
        ({"count": None}, lambda t: t["count"].isna(), False),
        ({"count": None}, lambda t: t["count"].isna(), True),
        ({"count": [5, 14]}, lambda t: t["count"].isin([5, 14]), False),
    ],
)
def test_conditions_give_what_filtering_does(
    asked: dict[str, Any], holds: Any, as_table: bool, fitted: VineCopula, plain: pd.DataFrame
) -> None:
    conditions = pd.DataFrame({k: [v] * 4000 for k, v in asked.items()}) if as_table else asked
    if as_table and "count" in conditions:
        conditions["count"] = conditions["count"].astype("Int64")
    made = fitted.sample(4000, conditions=conditions, seed=1)
    assert holds(made).all()
    wanted = plain[holds(plain)]
    assert len(wanted) > 500
    assert stats.ks_2samp(made.x, wanted.x).statistic < 0.06
    for name in ("city", "size"):
        shares = [t[name].value_counts(normalize=True).sort_index() for t in (made, wanted)]
        assert (shares[0] - shares[1]).abs().max() < 0.05


def test_gaps_are_filled_from_what_is_known() -> None:
    x = rng().normal(size=8000)
    table = pd.DataFrame({"x": x, "y": 0.9 * x + np.sqrt(0.19) * rng(1).normal(size=8000)})
    table.loc[rng(2).random(8000) < 0.1, "y"] = np.nan
    generator = VineCopula().fit(table)
    for at in (-1.0, 0.5):
        y = generator.impute(pd.DataFrame({"x": np.full(3000, at), "y": np.nan}), seed=1).y
        assert y.mean() == pytest.approx(0.9 * at, abs=0.1) and y.std() == pytest.approx(0.19**0.5, abs=0.08)


def crossed(n: int = 3000) -> pd.DataFrame:
    r = rng()
    kind, x = r.choice(["up", "down"], n), r.normal(size=n)
    rare = np.where(np.arange(n) < 20, "rare", kind)
    return pd.DataFrame({"kind": rare, "x": x, "y": np.where(kind == "up", x, -x) + 0.2 * r.normal(size=n)})


def test_pair_copulas_differ_between_strata_and_rare_classes_share_one() -> None:
    table = crossed()
    for strata, number in (("kind", 3), ("auto", 3), (None, 1)):
        generator = VineCopula(strata=strata).fit(table)
        made = generator.sample(6000, seed=0)
        assert len(generator._marginals[-1].by_group) == number
        up, down = (made[made.kind == k] for k in ("up", "down"))
        if number == 3:
            assert up.x.corr(up.y) > 0.9 and down.x.corr(down.y) < -0.9
    with pytest.raises(ConfigError, match="strata='x'"):
        VineCopula(strata="x").fit(table)


def test_a_missing_package_is_named_and_sampling_needs_none(
    fitted: VineCopula, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted.save(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "pyvinecopulib", None)
    assert len(zoo.load(str(tmp_path / "a")).sample(10, seed=0)) == 10
    with pytest.raises(MissingExtraError, match=r"generative-zoo\[vine\]"):
        VineCopula().fit(mixed(100))


def test_an_unsound_artifact_is_refused() -> None:
    fitted = VineCopula().fit(crossed(2500), seed=0)

    def broken(**changes: np.ndarray) -> None:
        other = VineCopula(**fitted.config)
        other._schema = fitted.schema
        other._set_arrays({**fitted._arrays(), **changes})

    broken()
    arrays = fitted._arrays()
    half, mass = len(arrays["mass"]) // 2, arrays["mass"]
    for wrong in (
        {"mass": np.concatenate([mass[half:], mass[:half]])},
        {"mass": mass * np.float32(1.1)},
        {"mass": mass[:-1]},
        {"mass": np.append(mass, np.float32(0))},
        {"partner": np.full_like(arrays["partner"], 5)},
        {"partner": np.zeros((len(arrays["partner"]), 50), np.int32)},
        {"cells": np.where(arrays["cells"] > 0, 10**9, 0).astype(np.int32)},
        {"cells": -arrays["cells"]},
        {"group": arrays["group"] + np.int32(1)},
        {"group": arrays["group"][:0]},
        {"counts.1": 0 * arrays["counts.1"]},
        {"counts.1": np.full_like(arrays["counts.1"], 2**62)},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - one line each, which differs
            broken(**wrong)


@pytest.mark.parametrize("rows", [1, 2, 5, 30])
def test_tables_of_few_rows(rows: int) -> None:
    table = mixed(rows).assign(gone=np.nan, same=1.5)
    made = VineCopula().fit(table).sample(50, seed=0)
    assert len(made) == 50 and made.gone.isna().all() and (made.same == 1.5).all()


def test_a_hundred_thousand_categories() -> None:
    name = pd.Series([f"n{i}" for i in rng().permutation(np.r_[np.arange(100_000), np.arange(5000)])])
    table = pd.DataFrame(
        {"name": pd.Categorical(name), "x": rng().normal(size=len(name)), "k": np.arange(len(name)) % 3}
    )
    generator = VineCopula().fit(table)
    assert generator.sample(20_000, seed=0).name.nunique() > 15_000
    rows = table[["name"]].head(20)
    assert generator.sample(20, conditions=rows, seed=0).name.tolist() == name[:20].tolist()


def test_twin_columns_stay_close() -> None:
    x = rng().normal(size=4000)
    table = pd.DataFrame({"a": x, "b": x + 3, "c": np.where(x > 0, "p", "n")})
    made = VineCopula().fit(table).sample(4000, seed=0)
    assert made.a.corr(made.b) > 0.98
    assert ((made.a > 0) == (made.c == "p")).mean() > 0.97
