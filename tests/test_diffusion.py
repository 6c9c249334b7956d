"""Masked diffusion: against enumeration and torch; the plan of unmasking; conditions, gaps, likelihood, updates."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.data.code_digits import CodeDigits
from zoo.errors import ArtifactError
from zoo.generators.tabular.diffusion import Diffusion, unmasking_steps
from zoo.nn.column_sampler import Admitted
from zoo.nn.denoiser_sampler import DenoiserSampler
from zoo.nn.mask_denoiser import MaskDenoiser, draw_masks
from zoo.statistics.pair_information import pair_information


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind, "visits": r.poisson(np.exp(x.clip(max=2)))})


@pytest.fixture(scope="module")
def fitted() -> Diffusion:
    train = zoo.TrainConfig(max_steps=500, batch_size=256, learning_rate=5e-3)
    return Diffusion(hidden=64, inner=32, bins=40).fit(dependent(), seed=0, train=train)


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


def test_a_dependent_table_is_learned(fitted: Diffusion) -> None:
    table, made = dependent(), fitted.sample(8000, seed=1)
    both = [np.corrcoef(t.x[t.y.notna()], t.y.dropna())[0, 1] for t in (table, made)]
    assert both[1] == pytest.approx(both[0], abs=0.06)
    assert made.y.isna().mean() == pytest.approx(0.2, abs=0.03)
    for kind in ("high", "low"):
        assert made.x[made.kind == kind].mean() == pytest.approx(table.x[table.kind == kind].mean(), abs=0.12)
    assert made.visits.corr(made.x) == pytest.approx(table.visits.corr(table.x), abs=0.06)


def test_fewer_steps_than_columns_keep_what_depends_most() -> None:
    r = np.random.default_rng(0)
    pairs = [r.integers(0, 4, 3000) for _ in range(3)]
    table = pd.DataFrame({f"c{2 * i + k}": p + 0 for i, p in enumerate(pairs) for k in range(2)}).astype("str")
    generator = Diffusion(hidden=32, inner=16, steps=3).fit(table, train=zoo.TrainConfig(max_steps=300))
    made = generator.sample(3000, seed=0)
    for i in range(3):
        assert (made[f"c{2 * i}"] == made[f"c{2 * i + 1}"]).mean() > 0.8  # 0.25 if they came together


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_the_data(as_table: bool, fitted: Diffusion) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 6000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(6000, conditions=asked, seed=2), dependent()
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.1)
    assert made.x.std() == pytest.approx(plain.x.std(), abs=0.1)


def test_ranges_sets_and_missing_values_hold_together(fitted: Diffusion) -> None:
    plain = dependent(40_000)
    made = fitted.sample(6000, conditions={"x": (1.0, 1.5), "y": (0.5, None), "kind": ["low", "high"]}, seed=1)
    assert made.x.between(1.0, 1.5).all() and (made.y >= 0.5).all()
    kept = plain[plain.x.between(1.0, 1.5) & (plain.y >= 0.5)]
    assert made.y.mean() == pytest.approx(kept.y.mean(), abs=0.12)
    assert (made.kind == "high").mean() == pytest.approx((kept.kind == "high").mean(), abs=0.08)
    assert fitted.sample(500, conditions={"y": None}, seed=1).y.isna().all()
    assert set(fitted.sample(500, conditions={"x": [0.25, -0.5]}, seed=1).x) == {0.25, -0.5}
    rows = pd.DataFrame({"x": [0.5, -0.5, 1.0], "y": [1.0, np.nan, 2.0], "kind": ["low", "high", "low"]})
    pd.testing.assert_frame_equal(
        fitted.sample(3, conditions=rows, seed=1)[["x", "y", "kind"]], rows, check_dtype=False
    )


def test_gaps_of_a_table_are_filled_by_what_stands_beside_them(fitted: Diffusion) -> None:
    table = dependent()
    filled, gone = fitted.impute(table, seed=1), table.y.isna()
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled[~gone], table[~gone])
    assert (filled.y - 2 * filled.x)[gone].std() < 0.9  # 0.5 in truth, 2 without looking at x


def test_likelihood_prefers_what_is_likely(fitted: Diffusion) -> None:
    table = dependent().dropna().head(1000)
    weight = fitted.log_prob(table)
    assert weight.shape == (1000,) and np.isfinite(weight).all()
    assert weight.mean() > fitted.log_prob(table.assign(y=table.y.to_numpy()[::-1])).mean() + 1


def test_a_hundred_thousand_categories_train_in_narrow_arrays() -> None:
    r = np.random.default_rng(0)
    often = r.choice(5, 60_000, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    code = r.permutation(np.r_[np.arange(100_000), often])
    table = pd.DataFrame({"name": pd.Categorical(code.astype(str)), "odd": code % 2 == 1})
    train = zoo.TrainConfig(max_steps=300, learning_rate=5e-3)
    generator = Diffusion(hidden=32, inner=16).fit(table, train=train)
    assert max(a.shape[0] for a in generator._sampler.arrays.values()) < 1000
    made = generator.sample(20_000, seed=0)
    assert (made.name == "0").mean() == pytest.approx((table.name == "0").mean(), rel=0.25)
    assert made.name.nunique() > 8000
    assert set(generator.sample(300, conditions={"name": ["0", "1", "77777"]}, seed=0).name) <= {"0", "1", "77777"}


def test_small_tables_are_not_learned_by_heart() -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame({f"c{i}": r.integers(0, 4, 300) for i in range(6)} | {"z": r.normal(size=300)})
    generator = Diffusion().fit(table.head(200), seed=0)
    ahead = (
        generator.log_prob(table.head(200)).mean() - generator.log_prob(table.tail(100).reset_index(drop=True)).mean()
    )
    assert generator.training["stopped_by"] == "early_stopping" and ahead < 0.6


def test_threads_change_no_byte(fitted: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fitted.sample(6000, seed=3)
    monkeypatch.setattr("zoo.nn.denoiser_sampler.cores", lambda: 1)
    pd.testing.assert_frame_equal(fitted.sample(6000, seed=3), made)


def test_torch_is_not_imported_to_sample(fitted: Diffusion, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    code = (
        "import sys, zoo; g = zoo.load(sys.argv[1]); g.sample(5, conditions={'kind': 'low'}); g.impute(g.sample(5));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.pop("network.enter"),
        lambda a: a.pop("step"),
        lambda a: a.update({"network.more": a["network.head"]}),
        lambda a: a.update({"more": a["network.head"]}),
        lambda a: a["network.leave"].__setitem__(0, np.nan),
        lambda a: a.update({"network.bias": a["network.bias"][:-1]}),
        lambda a: a["step"].__setitem__(slice(None), a["step"][::-1].copy()),
        lambda a: a.update({"step": a["step"].astype(np.float32)}),
        lambda a: a["columns.edges.0"].__setitem__(0, 0.5),
    ],
    ids=["less", "no steps", "more", "other", "nan", "shape", "order", "steps", "edges"],
)
def test_altered_arrays_are_refused(edit: Any) -> None:
    table = pd.DataFrame({"name": pd.Categorical([f"n{i}" for i in range(200)] * 2), "x": np.arange(400.0)})
    generator = Diffusion(hidden=8, inner=4).fit(table, train=zoo.TrainConfig(max_steps=1))
    arrays = {k: v.copy() for k, v in generator._arrays().items()}
    generator._set_arrays({k: v.copy() for k, v in arrays.items()})
    edit(arrays)
    with pytest.raises((ArtifactError, ValueError, KeyError)):
        generator._set_arrays(arrays)
