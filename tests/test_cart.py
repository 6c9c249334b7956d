"""CART: leaves of at least so many rows, dependence, counting new rows."""

import numpy as np
import pandas as pd
import pytest

from zoo.errors import SchemaError
from zoo.generators.tabular.cart import Cart


def steps(n: int = 6000, seed: int = 0) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    kind = r.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    x = r.normal(size=n) + pd.Series(kind).map({"a": 0, "b": 5, "c": -5}).to_numpy()
    return pd.DataFrame({"kind": kind, "x": x, "high": x > 2})


@pytest.mark.parametrize("min_leaf", [50, 200, 1000])
def test_leaves_hold_as_many_rows_as_asked(min_leaf: int) -> None:
    table = steps()
    generator = Cart(min_leaf=min_leaf).fit(table)
    for tree in generator._trees:
        rows = np.bincount(tree.leaf, weights=tree.count)
        assert rows[rows > 0].min() >= min_leaf
        assert rows.sum() == len(table)


def test_smaller_leaves_follow_more_closely() -> None:
    table = steps()
    error = {}
    for min_leaf in (50, 2500):
        made = Cart(min_leaf=min_leaf).fit(table).sample(6000, seed=0)
        error[min_leaf] = ((made.x > 2) != made.high).mean()
    assert error[50] < 0.01 < error[2500]


def test_leaves_are_a_hundredth_of_the_rows_within_limits() -> None:
    for n, least in ((1000, 100), (15_000, 150), (40_000, 250)):
        fewest = min(np.bincount(t.leaf, weights=t.count)[np.unique(t.leaf)].min() for t in Cart().fit(steps(n))._trees)
        assert least <= fewest < 2 * least


def test_dependence_that_leaves_are_too_few_for() -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame({name: r.choice(["u", "v"], 6000) for name in "abcdefgh"})
    score = (table == "u").sum(axis=1) + r.normal(size=6000) > 4.5
    table["sum"] = np.where(score, "yes", "no")
    made = Cart(min_leaf=1500).fit(table, seed=0).sample(6000, seed=0)
    for name in "abcdefgh":
        real, drawn = (((t[name] == "u") == (t["sum"] == "yes")).mean() for t in (table, made))
        assert drawn == pytest.approx(real, abs=0.03)  # 0.62; 0.5 without the pair


def test_too_few_rows_for_two_leaves_leave_columns_independent() -> None:
    generator = Cart().fit(steps(150))
    assert all((tree.feature == -1).all() for tree in generator._trees)


def test_new_rows_are_counted() -> None:
    generator = Cart().fit(steps(3000), seed=0)
    before = generator.sample(3000, seed=0)
    new = steps(9000, seed=1)
    new = new[(new.kind == "b") & new.x.between(before.x.min(), before.x.max())]
    share = (before.kind == "b").mean()
    after = generator.update(new).sample(3000, seed=0)
    expected = (3000 * share + len(new)) / (3000 + len(new))
    assert (after.kind == "b").mean() == pytest.approx(expected, abs=0.03)
    assert after.x[after.kind == "b"].mean() == pytest.approx(5, abs=0.2)
    with pytest.raises(SchemaError, match="'kind'"):
        generator.update(steps(10).assign(kind="d"))


def test_an_update_counts_in_the_same_leaves() -> None:
    table = steps(4000)
    once = Cart().fit(table, seed=0)
    twice = Cart().fit(table, seed=0).update(table)
    for a, b in zip(once._trees, twice._trees, strict=True):
        np.testing.assert_array_equal(2 * a.count, b.count)
        assert a.smoothing == b.smoothing


def test_shares_come_out_as_they_went_in() -> None:
    table = steps(20_000)
    made = Cart(min_leaf=20).fit(table, seed=0).sample(200_000, seed=0)
    for name in ("kind", "high"):
        share, drawn = (t[name].value_counts(normalize=True).sort_index() for t in (table, made))
        np.testing.assert_allclose(drawn, share, atol=0.004)


def test_what_is_certain_stays_certain_beside_noise() -> None:
    r = np.random.default_rng(0)
    level = r.integers(0, 8, 4000)
    table = pd.DataFrame({"noise": r.normal(size=4000), "level": level, "word": np.array(list("hgfedcba"))[level]})
    made = Cart().fit(table, seed=0).sample(20_000, seed=0)
    word = np.array(list("hgfedcba"))[made.level.to_numpy()]
    assert (made.word.to_numpy() == word).mean() > 0.98  # 1 in 8 of independent columns
