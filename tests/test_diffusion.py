"""Masked diffusion: arithmetic against torch and enumeration, draws step by step, masks, the plan of unmasking."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from digit_samplers import calibrated
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.data.code_digits import CodeDigits
from zoo.generators.tabular.diffusion import Diffusion, unmasking_steps
from zoo.nn.column_sampler import Admitted
from zoo.nn.denoiser_sampler import DenoiserSampler
from zoo.nn.mask_denoiser import MaskDenoiser, draw_masks
from zoo.statistics.pair_information import pair_information

# The network's arithmetic, with weights drawn at random: nothing here depends on training.


def small(widths: list[int], widest: int, step: list[int] | None = None) -> tuple[DenoiserSampler, MaskDenoiser]:
    torch.manual_seed(0)
    digits = CodeDigits(widths, widest)
    network = MaskDenoiser(digits.sizes, 16, 8, 2, 0.0, [0.0] * len(digits.sizes))
    with torch.no_grad():
        network.head.mul_(6)
        network.embed.mul_(2)
        network.leave.normal_(std=0.3)
        network.bias.normal_()
    arrays = network.published()
    network.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()})
    plan = np.array(range(len(digits.sizes)) if step is None else step)
    return DenoiserSampler(digits, 16, 8, 2, plan, arrays), network


def every(sampler: DenoiserSampler) -> tuple[np.ndarray, np.ndarray]:
    """All rows of codes and their probabilities when they are unmasked one by one."""
    codes = np.array(list(itertools.product(*map(range, sampler.digits.widths))))
    return codes, np.exp(sampler.log_probability(sampler.digits.split(codes)))


def frequencies(sampler: DenoiserSampler, drawn: np.ndarray) -> np.ndarray:
    widths = sampler.digits.widths
    place = np.ravel_multi_index(tuple(sampler.digits.join(drawn).T), tuple(widths))
    return np.bincount(place, minlength=int(np.prod(widths)))


def test_numpy_computes_what_torch_does() -> None:
    sampler, network = small([3, 4, 2], 10)
    codes, probability = every(sampler)
    total = torch.zeros(len(codes))
    for j in range(3):
        seen = torch.arange(3).expand(len(codes), 3) < j
        total += network.nll(torch.from_numpy(codes), seen)[j]
    np.testing.assert_allclose(np.log(probability), -total.detach().numpy(), atol=1e-4)
    assert probability.sum() == pytest.approx(1, abs=1e-5)


def test_what_is_masked_changes_nothing() -> None:
    _, network = small([3, 4, 2], 10)
    seen = torch.tensor([[True, False, False]]).expand(2, 3)
    nll = network.nll(torch.tensor([[2, 0, 1], [2, 3, 1]]), seen)
    assert torch.equal(nll[2, 0], nll[2, 1])


@pytest.mark.parametrize("alike", [False, True])
def test_draws_step_by_step_have_the_probabilities(alike: bool) -> None:
    sampler, _ = small([7, 2, 5], 4)
    _, probability = every(sampler)
    drawn = np.zeros((200_000, len(sampler.digits.sizes)), dtype=np.int64)
    sampler.draw(drawn, (), range(drawn.shape[1]), np.random.default_rng(0), alike=alike)
    counts, expected = frequencies(sampler, drawn), probability * len(drawn)
    big = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[big].sum()
    assert chi2 < big.sum() + 4 * (2 * big.sum()) ** 0.5


def test_digits_of_one_step_are_independent_given_those_before() -> None:
    sampler, network = small([2, 3, 4], 10, [1, 0, 1])
    drawn = np.zeros((200_000, 3), dtype=np.int64)
    sampler.draw(drawn, (), range(3), np.random.default_rng(0))
    codes = torch.tensor(list(itertools.product(range(2), range(3), range(4))))
    none, middle = torch.zeros(len(codes), 3, dtype=torch.bool), torch.tensor([[False, True, False]])
    given_nothing = network.nll(codes, none)[1]  # the digit of the first step
    given_middle = network.nll(codes, middle.expand(len(codes), 3))
    expected = torch.exp(-given_nothing - given_middle[0] - given_middle[2]).detach().numpy() * len(drawn)
    big = expected > 5
    chi2 = ((frequencies(sampler, drawn) - expected) ** 2 / expected)[big].sum()
    assert big.sum() > 8 and chi2 < big.sum() + 4 * (2 * big.sum()) ** 0.5


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


def test_masks_are_beginnings_of_orders() -> None:
    torch.manual_seed(0)
    owner, place = torch.tensor([0, 1, 1, 2, 3]), torch.tensor([4, 0, 3, 1, 2])
    seen = draw_masks(5000, owner, place, 0.25)
    lengths = torch.bincount(seen.sum(1), minlength=6)
    assert lengths[5] == 0 and (lengths[:5] - 1000).abs().max() < 5  # even, and something is always masked
    fixed = seen[:1250]
    assert torch.equal(fixed, place < fixed.sum(1, keepdim=True))
    assert (seen[:, 1] >= seen[:, 2]).all()  # coarse digits first
    assert 0.35 < seen[1250:, 0].float().mean() < 0.45 and seen[1250:, 4].any()


def test_calibration_gives_digits_their_frequencies() -> None:
    sampler, _ = small([7, 3, 5], 4)
    far, drawn = calibrated(sampler, small([7, 3, 5], 4)[0])
    assert all(after < max(0.5 * before, 0.02) for before, after in far)
    assert sampler.digits.join(drawn).max(axis=0).tolist() == [6, 2, 4]


# The plan


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=80)
def test_every_step_is_used_and_coarse_digits_come_first(lengths: list[int], steps: int, seed: int) -> None:
    owner = [c for c, k in enumerate(lengths) for _ in range(k)]
    information = np.random.default_rng(seed).random((len(owner), len(owner)))
    information = np.triu(information, 1) + np.triu(information, 1).T
    step = unmasking_steps(owner, information, steps)
    assert step.dtype == np.int32 and set(step.tolist()) == set(range(min(steps, len(owner))))
    assert all(b >= a for a, b, same in zip(step, step[1:], np.diff(owner) == 0, strict=False) if same)


def test_what_depends_on_each_other_is_not_unmasked_together() -> None:
    information = np.zeros((6, 6))
    for a, b in ((0, 1), (2, 3), (4, 5)):
        information[a, b] = information[b, a] = 1.0
    step = unmasking_steps(list(range(6)), information, 3)
    assert all(step[a] != step[b] for a, b in ((0, 1), (2, 3), (4, 5)))
    assert np.bincount(step).tolist() == [2, 2, 2]


def test_information_of_pairs() -> None:
    r = np.random.default_rng(0)
    a, c = r.integers(0, 4, 8000), r.integers(0, 5, 8000)
    found = pair_information(np.stack([a, a, c, (a + c) % 2], axis=1), [4, 4, 5, 2], r)
    assert found[0, 1] == pytest.approx(np.log(4), abs=0.01)
    np.testing.assert_array_equal(found, found.T)
    assert found[0, 2] < 0.002 and found[0, 3] > 0.01 and (found.diagonal() == 0).all()
    p = np.histogram2d(c, (a + c) % 2, bins=(5, 2))[0] / 8000
    exact = (p * np.log(p / (p.sum(1, keepdims=True) * p.sum(0)))).sum()
    assert found[2, 3] == pytest.approx(exact, abs=0.001)


# The family


def test_fewer_steps_than_columns_keep_what_depends_most() -> None:
    r = np.random.default_rng(0)
    pairs = [r.integers(0, 4, 3000) for _ in range(3)]
    table = pd.DataFrame({f"c{2 * i + k}": p + 0 for i, p in enumerate(pairs) for k in range(2)}).astype("str")
    generator = Diffusion(hidden=32, inner=16, steps=3).fit(table, train=zoo.TrainConfig(max_steps=300))
    made = generator.sample(3000, seed=0)
    for i in range(3):
        assert (made[f"c{2 * i}"] == made[f"c{2 * i + 1}"]).mean() > 0.8  # 0.25 if they came together


def test_threads_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, _ = small([7, 2, 5], 4)
    drawn = [np.zeros((6000, len(sampler.digits.sizes)), dtype=np.int64) for _ in range(2)]
    for digits, threads in zip(drawn, (1, 3), strict=True):
        monkeypatch.setattr("zoo.threads.cores", lambda threads=threads: threads)
        sampler.draw(digits, (), range(digits.shape[1]), np.random.default_rng(0))
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.pop("step"),
        lambda a: a["step"].__setitem__(slice(None), a["step"][::-1].copy()),
        lambda a: a.update({"step": a["step"].astype(np.float32)}),
        lambda a: a["network.leave"].__setitem__(0, np.nan),
    ],
    ids=["none", "order", "floats", "nan"],
)
def test_an_altered_plan_is_refused(edit: Any) -> None:
    generator = Diffusion(hidden=8, inner=4).fit(
        pd.DataFrame({"x": np.arange(4000.0)}), train=zoo.TrainConfig(max_steps=1)
    )
    arrays = {k: v.copy() for k, v in generator._arrays().items()}
    generator._set_arrays({k: v.copy() for k, v in arrays.items()})
    edit(arrays)
    with pytest.raises(ValueError, match=r"steps|finite"):
        generator._set_arrays(arrays)
