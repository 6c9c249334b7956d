"""Columns in sequence: shared values, trees by bit masks against plain ones, conditional distributions, odd states."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from scipy import stats

from zoo.data.code_tree import CodeTree
from zoo.data.column_sequence import ColumnSequence
from zoo.data.leaf_tree import LeafTree
from zoo.data.point_columns import PointColumns
from zoo.data.tabular import TableForm
from zoo.statistics.neighbour_groups import neighbour_groups
from zoo.statistics.pair_factors import PairFactors
from zoo.statistics.tree_ensemble import TreeEnsemble, join


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Trees by bit masks


def some_trees(seed: int, trees: int, splits: int, features: int) -> TreeEnsemble:
    r = rng(seed)
    leaf = np.stack([r.integers(0, i + 1, trees) for i in range(splits)], axis=1).astype(np.uint8)
    threshold = np.where(r.random((trees, splits)) < 0.2, 255, r.integers(0, 60, (trees, splits))).astype(np.uint8)
    feature = r.integers(0, features, (trees, splits)).astype(np.uint16)
    return TreeEnsemble(leaf, feature, threshold, r.normal(size=(trees, splits + 1)).astype(np.float16))


def plain_sum(ensemble: TreeEnsemble, levels: np.ndarray) -> np.ndarray:
    """Row by row, split by split."""
    out = []
    for row in levels.T.tolist():
        total = 0.0
        for t in range(len(ensemble)):
            at = 0
            for i in range(ensemble.leaf.shape[1]):
                goes_right = row[int(ensemble.feature[t, i])] > int(ensemble.threshold[t, i])
                if at == int(ensemble.leaf[t, i]) and goes_right:
                    at = i + 1
            total += float(ensemble.value[t, at])
        out.append(total)
    return np.array(out)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 7), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_bit_masks_find_the_leaves_of_plain_trees(seed: int, trees: int, splits: int, features: int) -> None:
    ensemble = some_trees(seed, trees, splits, features)
    ensemble.check(features)
    levels = rng(seed + 1).integers(0, 255, (features, 30)).astype(np.uint8)
    levels[:, :20] %= 64
    np.testing.assert_allclose(ensemble(levels), plain_sum(ensemble, levels), atol=1e-4)
    some = np.array([3, 3, 17])
    np.testing.assert_array_equal(ensemble(levels, some), ensemble(levels)[some])


def test_joined_trees_add_up() -> None:
    a, b = some_trees(1, 3, 6, 4), some_trees(2, 9, 6, 4)
    levels = rng().integers(0, 60, (4, 50)).astype(np.uint8)
    np.testing.assert_allclose(join([a, b])(levels), a(levels) + b(levels), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("leaf", lambda a: a + 9),
        ("feature", lambda a: a + 4),
        ("value", lambda a: a * np.float16(np.nan)),
        ("threshold", lambda a: a.astype(np.int64)),
        ("value", lambda a: a[:, 1:]),
    ],
)
def test_arrays_that_are_no_trees_are_refused(name: str, change: Any) -> None:
    arrays = some_trees(0, 5, 6, 4).arrays()
    with pytest.raises(ValueError, match="trees"):
        TreeEnsemble(**{**arrays, name: change(arrays[name])}).check(4)


# Conditional distributions


def code_tree(size: int = 23, features: int = 3) -> CodeTree:
    counts = rng(4).integers(0, 40, size)
    counts[7] = 400
    tree = CodeTree.plan(counts, 60)
    assert len(tree.forks) > 3
    tree.trees[:4] = [some_trees(k, 5, 6, features) for k in range(3)] + [None]
    return tree


def leaf_tree(size: int = 23) -> LeafTree:
    levels = rng(1).integers(0, 60, (3, 3000)).astype(np.uint8)
    rows = np.clip(levels[0] // 4 + rng(2).integers(0, 9, 3000), 0, size - 1)
    feature, children = (
        np.array([0, 1, -1, -1, -1], np.int32),
        np.array([[1, 4], [2, 3], [0, 0], [0, 0], [0, 0]], np.int32),
    )
    return LeafTree.count_rows(feature, np.array([30, 9, 0, 0, 0], np.uint8), children, levels, rows, size)


CONDITIONALS = {"code tree": code_tree, "leaf tree": leaf_tree}


@pytest.mark.parametrize("kind", CONDITIONALS)
def test_draws_have_the_probabilities_that_are_said(kind: str) -> None:
    tree: Any = CONDITIONALS[kind]()
    size, n = len(tree.counts), 60_000
    level = rng(9).integers(0, 60, (3, 1)).astype(np.uint8)
    levels = np.repeat(level, n, axis=1)
    share = tree.probability(np.repeat(level, size, axis=1), np.arange(size))
    assert share.sum() == pytest.approx(1, abs=1e-6)
    seen = np.bincount(tree.draw(levels, rng().random(n)), minlength=size)
    likely = share * n > 5
    assert stats.chisquare(seen[likely], share[likely] / share[likely].sum() * seen[likely].sum()).pvalue > 1e-3
    weight = np.zeros(size)
    weight[[3, 7, 8, 9, 15]] = [1, 0.3, 1, 1, 0.5]
    drawn, mass = tree.draw_within(levels, rng(1).random(n), weight)
    np.testing.assert_allclose(mass, (share * weight).sum(), rtol=1e-6)
    seen = np.bincount(drawn, minlength=size)
    assert seen[weight == 0].sum() == 0
    wanted = share * weight
    likely = wanted * n > 5
    assert stats.chisquare(seen[likely], wanted[likely] / wanted[likely].sum() * seen[likely].sum()).pvalue > 1e-3


def test_calibrated_forks_send_right_as_many_as_training_rows_went() -> None:
    tree = code_tree()
    levels = rng(3).integers(0, 60, (3, 40_000)).astype(np.uint8)
    share = tree.counts / tree.counts.sum()
    before = np.bincount(tree.draw(levels, rng().random(40_000)), minlength=23) / 40_000
    same = tree.copy()
    tree.calibrate(levels, rng(1).random(40_000))
    after = np.bincount(tree.draw(levels, rng().random(40_000)), minlength=23) / 40_000
    assert np.abs(after - share).sum() < 0.5 * np.abs(before - share).sum()
    assert (same.base != tree.base).any()  # a copy keeps its own


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_leaves_together_have_what_occurred_whatever_the_smoothing(seed: int) -> None:
    r = rng(seed)
    levels = r.integers(0, 60, (3, 2000)).astype(np.uint8)
    rows = np.clip(levels[0] // 10 + r.integers(0, 90, 2000), 0, 99)
    feature, children = np.array([0, -1, 1, -1, -1], np.int32), np.array([[1, 2], [0, 0], [3, 4], [0, 0], [0, 0]])
    threshold = np.array([30, 0, 9, 0, 0], np.uint8)
    counted = LeafTree.count_rows(feature, threshold, children.astype(np.int32), levels, rows, 100)
    names = ("feature", "threshold", "children", "leaf", "position", "count")
    tree = LeafTree(*(getattr(counted, name) for name in names), 100, smoothing=float(r.choice([1, 30, 1000])))
    every = np.arange(100)
    mean = np.mean([tree.probability(np.repeat(levels[:, i : i + 1], 100, axis=1), every) for i in range(300)], axis=0)
    assert mean.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(tree._total @ tree._likely, np.bincount(tree._group, weights=tree.counts), rtol=0.02)


def test_leaving_one_out_smooths_noise_and_leaves_what_is_certain_alone() -> None:
    levels = rng().integers(0, 60, (3, 4000)).astype(np.uint8)
    feature, children = np.array([0, -1, -1], np.int32), np.array([[1, 2], [0, 0], [0, 0]], np.int32)
    of = [
        LeafTree.count_rows(feature, np.array([30, 0, 0], np.uint8), children, levels, rows, 2)
        for rows in (rng(1).integers(0, 2, 4000), (levels[0] > 30).astype(np.int64))
    ]
    assert of[0].smoothing > 100 > 10 > of[1].smoothing


def test_factors_bring_what_leaves_do_not_tell_apart() -> None:
    levels = rng().integers(0, 6, (3, 6000)).astype(np.uint8)
    rows = ((levels[1] + rng(1).integers(0, 3, 6000)) % 6).astype(np.int64)  # the leaves know of feature 0 alone
    tree = LeafTree.count_rows(
        np.array([0, -1, -1], np.int32),
        np.array([2, 0, 0], np.uint8),
        np.array([[1, 2], [0, 0], [0, 0]], np.int32),
        levels,
        rows,
        6,
    )
    assert tree.pairs.feature.tolist() == [1]
    drawn = tree.draw(levels, rng(2).random(6000))
    assert (((drawn - levels[1]) % 6) < 3).mean() > 0.95  # half by the leaves
    assert tree.updated(levels, rows).pairs.observed.sum() == 2 * tree.pairs.observed.sum()


def test_noise_gets_no_factors() -> None:
    levels, rows = rng().integers(0, 60, (8, 3000)).astype(np.uint8), rng(1).integers(0, 9, 3000)
    weights = np.full((3000, 9), 1 / 9, dtype=np.float32)
    assert len(PairFactors.learn(levels, weights, rows)) <= 1
    assert len(PairFactors.learn(levels[:, :1], weights[:1], rows[:1])) == 0


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_factors_bring_pairs_to_what_occurred(seed: int) -> None:
    r = rng(seed)
    levels = r.integers(0, 5, (2, 4000)).astype(np.uint8)
    outcome = np.clip((levels[0] + levels[1]) // 3 + r.integers(0, 3, 4000), 0, 4)
    flat = np.tile(np.bincount(outcome, minlength=5) / 4000, (4000, 1)).astype(np.float32)
    pairs = PairFactors.learn(levels, flat.copy(), outcome)
    weights = pairs.weigh(flat.copy(), levels)
    weights /= weights.sum(axis=1, keepdims=True)
    for level in levels:
        for value in range(5):
            seen = np.bincount(outcome[level == value], minlength=5)
            np.testing.assert_allclose(weights[level == value].sum(axis=0), seen, atol=0.06 * seen.sum())


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=300), st.integers(2, 64))
@settings(max_examples=80, deadline=None)
def test_neighbours_share_a_group_and_groups_are_used(counts: list[int], most: int) -> None:
    group = neighbour_groups(np.array(counts), most)
    assert group[0] == 0 and set(np.diff(group).tolist()) <= {0, 1} and group[-1] < most
    if len(counts) <= most:
        assert group.tolist() == list(range(len(counts)))
    elif (np.array(counts) > 0).sum() >= most:
        assert group[-1] + 1 >= most // 8 + 1


def test_a_heavy_value_takes_no_groups_from_the_others() -> None:
    assert neighbour_groups(np.array([100_000] + [10] * 99), 16)[-1] + 1 >= 8


@given(st.lists(st.integers(0, 300), min_size=1, max_size=80), st.integers(2, 100))
@settings(max_examples=80, deadline=None)
def test_a_planned_tree_reaches_every_code_that_occurred(counts: list[int], least: int) -> None:
    tree = CodeTree.plan(np.array(counts), least)
    for low, middle, high in tree.forks.tolist():
        assert 0 <= low < middle < high <= len(counts)
        assert sum(counts[low:middle]) > 0 and sum(counts[middle:high]) > 0 and sum(counts[low:high]) >= least
    drawn = tree.draw(np.zeros((0, 4000), np.uint8), rng().random(4000))
    if sum(counts):
        assert all(counts[k] > 0 for k in np.unique(drawn))


def test_counting_more_rows_adds_up() -> None:
    tree = leaf_tree()
    levels, rows = rng(5).integers(0, 60, (3, 500)).astype(np.uint8), rng(6).integers(0, 23, 500)
    more = tree.updated(levels, rows)
    np.testing.assert_array_equal(more.counts, tree.counts + np.bincount(rows, minlength=23))
    same = LeafTree.restore(more.arrays(), 23, 3)
    np.testing.assert_array_equal(same.draw(levels, rng().random(500)), more.draw(levels, rng().random(500)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("feature", lambda a: a + 5),
        ("children", lambda a: a * 0),
        ("children", lambda a: a + 9),
        ("count", lambda a: -a),
        ("position", lambda a: a + 30),
        ("leaf", lambda a: a[::-1]),
        ("leaf", lambda a: np.minimum(a, 2)),
        ("children", lambda a: a[:, ::-1]),
        ("smoothing", lambda a: -a),
        ("smoothing", lambda a: a * np.nan),
        ("classes", lambda a: 2 * a),
        ("classes", lambda a: a[1:]),
        ("classes", lambda a: a // 2),
        ("pairs.feature", lambda a: a + 3),
        ("pairs.feature", lambda a: a[:0]),
        ("pairs.value", lambda a: a | 128),
        ("pairs.observed", lambda a: -a),
        ("pairs.expected", lambda a: a * np.float32(np.inf)),
        ("pairs.expected", lambda a: a[:, :0]),
        ("pairs.expected", lambda a: a.astype(np.float64)),
        ("pairs.prior", lambda a: a * np.float32(np.nan)),
    ],
)
def test_an_altered_leaf_tree_is_refused(name: str, change: Any) -> None:
    arrays = leaf_tree().arrays()
    LeafTree.restore(arrays, 23, 3)
    with pytest.raises(ValueError, match="tree"):
        LeafTree.restore({**arrays, name: change(arrays[name])}, 23, 3)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("counts", lambda a: -a),
        ("counts", lambda a: a[1:]),
        ("forks", lambda a: a[:, ::-1]),
        ("forks", lambda a: a[1:]),
        ("base", lambda a: a * np.nan),
        ("trees", lambda a: a + 1),
        ("leaf", lambda a: a[1:]),
    ],
)
def test_an_altered_code_tree_is_refused(name: str, change: Any) -> None:
    arrays = code_tree().arrays()
    CodeTree.restore(arrays, 23, 3)
    with pytest.raises(ValueError, match=r"column|trees"):
        CodeTree.restore({**arrays, name: change(arrays[name])}, 23, 3)


# Tables


def test_shared_values_come_back_exactly_and_in_proportion() -> None:
    r, n = rng(), 20_000
    gain = np.where(r.random(n) < 0.9, 0, r.choice([114, 2174, 3103, 7688, 15024, 99999], n))
    money = np.where(r.random(n) < 0.1, 19.99, np.exp(r.normal(size=n)))
    table = pd.DataFrame({"gain": gain, "money": money})
    columns = PointColumns(TableForm().infer(table), 256)
    encoded = columns.codec.encode(table)
    columns.fit(encoded)
    back = columns.decode(columns.encode(encoded), rng(1))
    assert set(back.gain) == set(gain)
    np.testing.assert_array_equal(back.gain, gain)
    assert (back.money == 19.99).mean() == (money == 19.99).mean()
    rest = money[money != 19.99]
    assert stats.ks_2samp(back.money[back.money != 19.99], rest).statistic < 0.01
    assert np.isin(rest, columns.grids["money"]).sum() <= 2  # the least and the greatest, which the schema names
    arrays = columns.arrays()
    with pytest.raises(ValueError, match="the quantiles of column"):
        columns.set_arrays(arrays | {"knots.0": arrays["knots.0"][::-1]})


def test_positions_there_and_back_and_the_target_first() -> None:
    r, n = rng(), 3000
    table = pd.DataFrame(
        {
            "x": r.normal(size=n).round(1),
            "k": pd.Series(r.choice(list("abcdef"), n)).mask(r.random(n) < 0.1),
            "g": pd.Categorical(r.choice(["s", "m", "l"], n), ["s", "m", "l"], ordered=True),
            "y": r.random(n) < 0.3,
        }
    )
    sequence = ColumnSequence(TableForm().infer(table), 500)
    encoded = sequence.columns.codec.encode(table)
    positions = sequence.fit(encoded, n, rng())
    assert sequence.order == ("y", "x", "k", "g")
    np.testing.assert_array_equal(sequence.encode(encoded, n), positions)
    back = sequence.decode(positions, rng())
    pd.testing.assert_frame_equal(back[["k", "g", "y"]], table[["k", "g", "y"]])
    again = ColumnSequence(sequence.columns.codec.schema, 500)
    again.set_arrays(sequence.arrays())
    np.testing.assert_array_equal(again.encode(encoded, n), positions)
    arrays = sequence.arrays()
    for key, value in (
        ("order", arrays["order"] * 0),
        ("codes.0", arrays["codes.0"] * 0),
        ("level.1", arrays["level.1"][::-1]),
    ):
        with pytest.raises(ValueError, match=r"order|levels"):
            again.set_arrays(arrays | {key: value})
