"""The autoregressive family's network: digits, arithmetic against torch and enumeration, draws, orders."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from digit_samplers import calibrated
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.data.code_digits import CodeDigits
from zoo.data.digit_columns import DigitColumns
from zoo.nn.column_network import ColumnNetwork, draw_orders
from zoo.nn.column_sampler import Admitted, ColumnSampler

# Digits


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6), st.integers(2, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_digits_write_every_code(widths: list[int], widest: int, seed: int) -> None:
    digits = CodeDigits(widths, widest)
    codes = np.random.default_rng(seed).integers(0, widths, (50, len(widths)))
    codes = np.concatenate([codes, np.zeros((1, len(widths)), int), np.array([widths]) - 1])
    split = digits.split(codes)
    assert max(digits.sizes) <= widest and (split < np.array(digits.sizes)).all() and (split >= 0).all()
    np.testing.assert_array_equal(digits.join(split), codes)
    for c, width in enumerate(widths):
        weights = np.random.default_rng(seed).random((2, width)).astype(np.float32)
        product, places = np.ones((2, len(codes))), digits.digits[c]
        for k, (level, j) in enumerate(zip(digits.levels(c, weights), places, strict=True)):
            product *= level[:, digits.prefix(split, c, k), split[:, j]]
        np.testing.assert_allclose(product, weights[:, codes[:, c]], rtol=1e-5)


def test_shared_values_come_back_exactly_and_digits_of_numbers_are_in_order() -> None:
    r = np.random.default_rng(0)
    paid = np.where(r.random(5000) < 0.9, 0.0, r.choice(r.integers(100, 99_999, 40), 5000))
    table = pd.DataFrame({"kind": r.choice(["a", "b", "c", "d"], 5000), "x": r.normal(size=5000), "paid": paid})
    columns = DigitColumns(zoo.create("tabular/gaussian_copula").fit(table).schema, 256, 128)
    digits = columns.fit(columns.binned.codec.encode(table))  # (n, D)
    back = columns.binned.decode(columns.join(digits), r)
    values, counts = np.unique(paid, return_counts=True)
    often = values[counts >= 10]
    assert len(often) > 20
    for value in often:
        assert (back.paid[paid == value] == value).all()
    assert [columns.names[columns._order[c]] for c in columns.digits.owner] == ["kind", "paid", "x", "x"]
    assert columns.ordered == [False, True, True, True]


# The network's arithmetic, with weights drawn at random: nothing here depends on training.


def small(widths: list[int], widest: int, seed: int = 0) -> tuple[ColumnSampler, ColumnNetwork]:
    torch.manual_seed(seed)
    digits = CodeDigits(widths, widest)
    network = ColumnNetwork(digits.sizes, [size > 4 for size in digits.sizes], 16, 8, [0.0] * len(digits.sizes))
    with torch.no_grad():
        network.head.mul_(6)
        network.embed.mul_(2)
        network.head_waves.normal_()
    arrays = network.published()
    network.set_published(arrays)
    return ColumnSampler(digits, 16, 8, arrays), network


def every(sampler: ColumnSampler) -> tuple[np.ndarray, np.ndarray]:
    """All rows of codes and their probabilities."""
    codes = np.array(list(itertools.product(*map(range, sampler.digits.widths))))
    return codes, np.exp(sampler.log_probability(sampler.digits.split(codes)))


def test_numpy_computes_what_torch_does() -> None:
    sampler, network = small([3, 4, 2], 10)
    codes, probability = every(sampler)
    order = draw_orders(1, torch.arange(3), 1.0)
    nll = network.nll(torch.from_numpy(codes), order).sum(0).detach().numpy()
    np.testing.assert_allclose(np.log(probability), -nll, atol=1e-4)


def test_neighbours_of_an_ordered_value_learn_with_it() -> None:
    torch.manual_seed(0)
    moved = []
    for ordered in (False, True):
        network = ColumnNetwork([32], [ordered], 8, 4, [0.0])
        torch.nn.init.constant_(network.inner_bias, 1.0)  # a layer that is not silent
        network.nll(torch.full((8, 1), 10), torch.zeros((1, 1, 1), dtype=torch.bool)).sum().backward()
        before = network.tables()[1].detach()
        with torch.no_grad():
            for p in network.parameters():
                p -= 0 if p.grad is None else 0.01 * p.grad
        change = (network.tables()[1].detach() - before).numpy()  # (32, M)
        moved.append(change @ change[10] / (change[10] @ change[10]))  # (32,): 1 is as value 10
    assert (np.abs(np.delete(moved[0], 10)) < 0.1).all()
    assert moved[1][9] > 0.7 and moved[1][11] > 0.7 and moved[1][30] < 0.2


def test_each_digit_has_a_dropout_of_its_own() -> None:
    torch.manual_seed(0)
    network = ColumnNetwork([3, 4, 5], [False] * 3, 16, 8, [0.0, 0.5, 0.0])
    codes, given = torch.tensor([[1, 2, 3]] * 4), draw_orders(1, torch.arange(3), 1.0)
    steps = [network.nll(codes, given) for _ in range(2)]  # (D, B)
    still = network.eval().nll(codes, given)
    assert torch.equal(steps[0][[0, 2]], still[[0, 2]]) and torch.equal(steps[1][[0, 2]], still[[0, 2]])
    assert not torch.equal(steps[0][1], steps[1][1])


def test_calibration_gives_digits_their_frequencies() -> None:
    sampler, _ = small([7, 3, 5], 4)
    far, drawn = calibrated(sampler, small([7, 3, 5], 4)[0])
    assert max(before for before, _ in far) > 0.05
    assert all(after < max(0.5 * before, 0.02) for before, after in far)
    assert sampler.digits.join(drawn).max(axis=0).tolist() == [6, 2, 4]


def test_probabilities_sum_to_one_although_digits_can_write_more() -> None:
    sampler, _ = small([7, 2, 11], 4)
    assert np.prod(sampler.digits.sizes) > 7 * 2 * 11
    assert every(sampler)[1].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("alike", [False, True])
def test_draws_have_the_probabilities(alike: bool) -> None:
    sampler, _ = small([7, 2, 5], 4)
    codes, probability = every(sampler)
    drawn = np.zeros((200_000, len(sampler.digits.sizes)), dtype=np.int64)
    sampler.draw(drawn, (), range(drawn.shape[1]), np.random.default_rng(0), alike=alike)
    place = np.ravel_multi_index(tuple(sampler.digits.join(drawn).T), tuple(sampler.digits.widths))
    counts = np.bincount(place, minlength=len(codes))
    expected = probability * len(drawn)
    big = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[big].sum()
    assert chi2 < big.sum() + 4 * (2 * big.sum()) ** 0.5


def test_weights_of_restricted_draws_correct_them() -> None:
    """Draws of single columns among what is admitted, times their weights, have the law of filtering."""
    sampler, _ = small([7, 3, 5], 4)
    codes, probability = every(sampler)
    allowed = np.zeros((1, 7)), np.array([[1.0, 0.0, 0.5]])
    allowed[0][0, [1, 2, 6]] = 1
    wanted = probability * allowed[0][0, codes[:, 0]] * allowed[1][0, codes[:, 1]]
    drawn = np.zeros((100_000, len(sampler.digits.sizes)), dtype=np.int64)
    admitted = {0: Admitted(allowed[0]), 1: Admitted(allowed[1], np.zeros(100_000, dtype=np.int64))}
    weight = np.exp(sampler.draw(drawn, (), range(drawn.shape[1]), np.random.default_rng(0), admitted=admitted))
    place = np.ravel_multi_index(tuple(sampler.digits.join(drawn).T), (7, 3, 5))
    share = np.bincount(place, weights=weight, minlength=len(codes)) / weight.sum()
    np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.006)
    assert weight.mean() == pytest.approx(wanted.sum(), rel=0.02)


def test_gaps_are_drawn_given_what_each_row_has() -> None:
    sampler, _ = small([2, 3, 2], 10)
    r = np.random.default_rng(0)
    codes = r.integers(0, [2, 3, 2], (40_000, 3))
    known = r.random(codes.shape) < 0.5
    before = codes.copy()
    sampler.draw(codes, known, range(3), r)
    np.testing.assert_array_equal(codes[known], before[known])
    last_gone = known[:, 0] & known[:, 1] & ~known[:, 2] & (before[:, 0] == 1) & (before[:, 1] == 2)
    rows, probability = every(sampler)
    given_ = probability[(rows[:, 0] == 1) & (rows[:, 1] == 2)]
    assert codes[last_gone, 2].mean() == pytest.approx(given_[1] / given_.sum(), abs=0.04)


def test_orders_keep_digits_together_and_see_no_column_from_itself() -> None:
    torch.manual_seed(0)
    owner = torch.tensor([0, 1, 1, 2, 3])
    seen = draw_orders(400, owner, 0.25)
    assert torch.equal(seen[:100], torch.ones(5, 5).tril(-1).bool().expand(100, 5, 5))
    assert not seen.diagonal(dim1=1, dim2=2).any()
    assert torch.equal(seen | seen.transpose(1, 2), ~torch.eye(5, dtype=torch.bool).expand(400, 5, 5))
    assert seen[:, 2, 1].all() and torch.equal(seen[:, 1, [0, 3, 4]], seen[:, 2, [0, 3, 4]])
    assert 0.2 < seen[100:, 0, 4].float().mean() < 0.5  # the last column is often seen by the first
