"""Column shapes and pair trends: small examples by hand, SciPy and plain counting as independent references."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import copies, independent, people
from scipy.stats import chi2_contingency, ks_2samp, pearsonr

import zoo
from zoo.evaluation.fidelity import (
    PairTrend,
    column_shapes,
    contingency_similarity,
    cramers_v,
    ks_complement,
    pair_trends,
    pearson,
    tv_complement,
)
from zoo.evaluation.table import Table, encode_tables
from zoo.schema import Column, Schema

NAN = float("nan")
RNG = np.random.default_rng(0)
number = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6), st.just(NAN))
numbers = st.lists(number, min_size=1, max_size=30)
many = settings(deadline=None, derandomize=True, max_examples=60)
some = settings(many, max_examples=15)
codes = st.lists(st.integers(-1, 4), min_size=1, max_size=30).map(np.array)


def encode(real: pd.DataFrame, synthetic: pd.DataFrame, kinds: dict[str, str]) -> tuple[Table, Table]:
    """Both tables in the harness' form, by explicit kinds."""
    columns = tuple(
        Column(name=n, kind="category", categories=("any",)) if k == "category" else Column(name=n, kind=k)  # type: ignore[arg-type]
        for n, k in kinds.items()
    )
    tables = encode_tables(Schema(modality="tabular", columns=columns), {"train": real, "synthetic": synthetic})
    return tables["train"], tables["synthetic"]


def trend(real: dict[str, Any], synthetic: dict[str, Any], kinds: tuple[str, str]) -> PairTrend:
    (pair,) = pair_trends(
        *encode(pd.DataFrame(real), pd.DataFrame(synthetic), dict(zip(real, kinds))), rows=None, rng=RNG
    )
    return pair


# by hand


def test_ks_by_hand() -> None:
    # at 2 the real distribution function is 2/4, the synthetic 1/4; nowhere do they differ more
    assert ks_complement(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 4, 5])) == pytest.approx(0.75)
    assert ks_complement(np.array([1.0, 2]), np.array([7.0, 8, 9])) == 0
    assert ks_complement(np.array([1.0, NAN, 2]), np.array([NAN, NAN, 1.0, 2.0])) == 1  # missing are left out
    assert np.isnan(ks_complement(np.array([NAN]), np.array([1.0])))


def test_tv_by_hand() -> None:
    # shares (1/2, 1/2, 0) and (1/4, 1/4, 1/2): half of the absolute differences is 1/2
    assert tv_complement(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])) == pytest.approx(0.5)
    assert tv_complement(np.array([0, -1]), np.array([0, 0, -1])) == 1
    assert np.isnan(tv_complement(np.array([-1]), np.array([0])))


def test_correlation_similarity_by_hand() -> None:
    # r is 1 in the real data and -1 in the synthetic, the furthest that it can be
    pair = trend({"x": [1.0, 2, 3], "y": [1.0, 2, 3]}, {"x": [1.0, 2, 3], "y": [3.0, 2, 1]}, ("float", "float"))
    assert (pair.measure, pair.strong) == ("correlation", True)
    assert (pair.score, pair.strength) == pytest.approx((0.0, 1.0))
    # real r = 1, synthetic r = 0
    half = trend({"x": [0.0, 1], "y": [0.0, 1]}, {"x": [0.0, 1, 0, 1], "y": [0.0, 0, 1, 1]}, ("float", "float"))
    assert half.score == pytest.approx(0.5)
    # rows that lack one of the two are left out
    gaps = trend({"x": [1.0, 2, 3, 9], "y": [1.0, 2, 3, NAN]}, {"x": [1.0, 2, 3], "y": [2.0, 4, 6]}, ("float", "float"))
    assert gaps.score == pytest.approx(1)


def test_contingency_similarity_by_hand() -> None:
    # real cells ax 1/2, by 1/2; synthetic ax, ay, bx, by each 1/4: |1/4| + |1/4| + |1/4| + |1/4| = 1, half of it 1/2
    real = {"p": ["a", "a", "b", "b"], "q": ["x", "x", "y", "y"]}
    pair = trend(real, {"p": ["a", "a", "b", "b"], "q": ["x", "y", "x", "y"]}, ("category", "category"))
    assert pair.measure == "contingency"
    assert pair.score == pytest.approx(0.5)
    assert pair.strength == pytest.approx(1)
    # missing is a category of its own: cells (a, x) and (missing, y) against (a, x) alone
    gaps = trend({"p": ["a", None], "q": ["x", "y"]}, {"p": ["a", "a"], "q": ["x", "x"]}, ("category", "category"))
    assert gaps.score == pytest.approx(0.5)


def test_mixed_pairs_by_hand() -> None:
    """Ten bins of equal width between each table's own extremes; the maximum, and what is missing, in an eleventh."""
    letters = ["a"] * 5 + ["b"] * 5 + ["c"]
    real = {"x": [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "k": letters}
    # the same shape on a range a hundred times as wide falls in the same bins of its own
    wide = {"x": [100.0 * v for v in real["x"]], "k": letters}
    pair = trend(real, wide, ("float", "category"))
    assert pair.score == 1
    # by the real column's bins all but 0 lie in the last, where the real data have 9 and 10: three cells are shared
    assert pair.shared_bins == pytest.approx(3 / 11)
    # 9.9 leaves the bin of 9 of its table? No: its bins end at its own maximum 10
    moved = {"x": [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 10], "k": letters}
    assert trend(real, moved, ("float", "category")).score == pytest.approx(10 / 11)
    # a missing number shares the maximum's bin
    gap = {"x": [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 10, NAN], "k": letters}
    assert trend(moved, gap, ("float", "category")).score == 1


def test_constant_and_missing_columns_have_no_trend() -> None:
    constant = trend({"x": [1.0, 1, 1], "y": [1.0, 2, 3]}, {"x": [1.0, 2, 3], "y": [1.0, 2, 3]}, ("float", "float"))
    assert np.isnan(constant.score) and not constant.strong
    empty = trend({"x": [NAN, NAN], "y": [1.0, 2]}, {"x": [1.0, 2], "y": [1.0, 2]}, ("float", "float"))
    assert np.isnan(empty.score)
    # a large constant leaves no room for ten bins
    same = {"x": [1e17] * 3, "k": ["a", "b", "c"]}
    large = trend(same, same, ("float", "category"))
    assert np.isnan(large.score)


# independent references


@many
@given(numbers.map(np.array), numbers.map(np.array))
def test_ks_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    here = ks_complement(a, b)
    left, right = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(left) or not len(right):
        assert np.isnan(here)
    else:
        left, right = np.round(left, 14), np.round(right, 14)
        assert here == pytest.approx(1 - ks_2samp(left, right, method="asymp").statistic, abs=1e-12)


@many
@given(numbers, numbers)
def test_pearson_is_scipys(a: list[float], b: list[float]) -> None:
    n = min(len(a), len(b))
    x, y = np.array(a[:n]), np.array(b[:n])
    both = ~(np.isnan(x) | np.isnan(y))
    here = pearson(x, y)
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        assert np.isnan(here)
        return
    assert -1 <= here <= 1
    spread = min(np.ptp(x[both]) / np.abs(x[both]).max(), np.ptp(y[both]) / np.abs(y[both]).max())
    if spread > 1e-6:  # below, both lose their digits
        assert here == pytest.approx(pearsonr(x[both], y[both]).statistic, abs=1e-6)


@many
@given(codes, codes)
def test_cramers_v_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    n = min(len(a), len(b))
    x, y = a[:n] + 1, b[:n] + 1
    here = cramers_v(x, y)
    table = pd.crosstab(x, y).to_numpy()
    if min(table.shape) < 2:
        assert np.isnan(here)
    else:
        chi2 = chi2_contingency(table, correction=False).statistic
        assert here == pytest.approx(np.sqrt(chi2 / n / (min(table.shape) - 1)), abs=1e-9)


def counted(real: pd.DataFrame, synthetic: pd.DataFrame, a: str, b: str) -> float:
    """Contingency similarity by counting pairs in plain Python."""

    def cells(frame: pd.DataFrame) -> Counter:
        made = frame[[a, b]].copy()
        for c in (a, b):
            if pd.api.types.is_numeric_dtype(made[c]):
                edges = np.histogram_bin_edges(made[c].dropna(), bins=10)
                made[c] = [len(edges) if np.isnan(v) else sum(v >= e for e in edges) for v in made[c]]
            made[c] = made[c].astype(object).where(made[c].notna(), None)
        return Counter(zip(made[a], made[b]))

    left, right = cells(real), cells(synthetic)
    return 1 - 0.5 * sum(abs(left[k] / len(real) - right[k] / len(synthetic)) for k in left | right)


def test_pair_trends_of_a_table_by_plain_counting() -> None:
    real, synthetic = people(400), people(300, seed=1)
    kinds = {"age": "integer", "income": "float", "work": "category", "rich": "category"}
    pairs = pair_trends(*encode(real[list(kinds)], synthetic[list(kinds)], kinds), rows=None, rng=RNG)
    assert [(p.first, p.second) for p in pairs] == list(combinations(kinds, 2))
    for p in pairs:
        if p.measure == "correlation":
            r, s = (pearsonr(*t[[p.first, p.second]].dropna().to_numpy(float).T).statistic for t in (real, synthetic))
            assert p.score == pytest.approx(1 - abs(r - s) / 2)
            assert p.strength == pytest.approx(abs(r))
        else:
            assert p.score == pytest.approx(counted(real, synthetic, p.first, p.second))


@many
@given(codes, codes)
def test_counting_sparse_cells_is_counting_dense_ones(a: np.ndarray, b: np.ndarray) -> None:
    big = 10**7
    assert contingency_similarity(a * big, b * big) == pytest.approx(contingency_similarity(a, b))
    gap = sum(abs((a == k).mean() - (b == k).mean()) for k in range(-1, 5))
    assert contingency_similarity(a, b) == pytest.approx(1 - gap / 2)


# properties

tables = st.integers(0, 10_000).map(lambda seed: people(40, seed))


@some
@given(tables)
def test_identical_tables_score_one(table: pd.DataFrame) -> None:
    report = zoo.evaluate(table, table, metrics="fidelity.*")
    assert report["fidelity.shapes"].value == 1
    assert report["fidelity.trends_all"].value == pytest.approx(1, abs=1e-12)
    assert report["fidelity.trends"].value == pytest.approx(1, abs=1e-12)


@some
@given(tables, tables, st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_does_not_matter(real: pd.DataFrame, synthetic: pd.DataFrame, random: Any) -> None:
    order, columns = list(range(len(synthetic))), list(real)
    random.shuffle(order)
    random.shuffle(columns)
    first = zoo.evaluate(real, synthetic, metrics="fidelity.*")
    second = zoo.evaluate(real[columns], synthetic.iloc[order][columns], metrics="fidelity.*")
    for name in first.names:
        assert first[name].value == pytest.approx(second[name].value, abs=1e-12), name


@some
@given(tables, tables)
def test_shapes_and_all_trends_are_symmetric(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Strong pairs are chosen by the real side, so ``fidelity.trends`` need not be."""
    kinds = {"age": "integer", "income": "float", "work": "category", "rich": "category"}
    there, back = (encode(x[list(kinds)], y[list(kinds)], kinds) for x, y in ((a, b), (b, a)))
    assert column_shapes(*there) == pytest.approx(column_shapes(*back))
    ways = [[p.score for p in pair_trends(*t, rows=None, rng=RNG)] for t in (there, back)]
    assert ways[0] == pytest.approx(ways[1], nan_ok=True)


@many
@given(numbers.map(np.array))
def test_shapes_do_not_depend_on_the_unit(a: np.ndarray) -> None:
    b = np.arange(7.0)
    assert ks_complement(a.round(3) * 16, b * 16) == pytest.approx(ks_complement(a.round(3), b), nan_ok=True)


# what the two averages tell


def test_only_strong_pairs_tell_a_generator_without_dependence() -> None:
    real = people(3000)
    naive = zoo.evaluate(real, independent(real, 3000), metrics="fidelity.*")
    good = zoo.evaluate(real, copies(real, 3000), metrics="fidelity.*")
    assert naive["fidelity.shapes"].value > 0.97
    assert naive["fidelity.trends"].value < naive["fidelity.trends_all"].value < 0.95
    assert good["fidelity.trends"].value > 0.94
    assert naive["fidelity.trends"].normalised < 0.1
    details = good["fidelity.trends"].details
    names = {tuple(p[:2]) for p in details["pairs"]}
    assert ("age", "income") in names and ("age", "since") not in names
    assert all(p[5] for p in details["pairs"])
    assert len(good["fidelity.trends_all"].details["pairs"]) == 10


def test_large_tables_are_counted_on_a_sample() -> None:
    real, synthetic = people(3000), people(3000, seed=1)
    kinds = {"work": "category", "rich": "category"}
    encoded = encode(real[list(kinds)], synthetic[list(kinds)], kinds)
    (full,) = pair_trends(*encoded, rows=None, rng=RNG)
    (part,) = pair_trends(*encoded, rows=1000, rng=np.random.default_rng(5))
    assert part.score != full.score
    assert part.score == pytest.approx(full.score, abs=0.05)


def test_one_column_has_no_pairs() -> None:
    report = zoo.evaluate(people(50)[["income"]], people(50, 1)[["income"]], metrics="fidelity.*")
    assert report["fidelity.trends"].value is None
    assert "one column" in report["fidelity.trends"].reason
    assert report["fidelity.shapes"].value is not None
