"""The autoregressive family: against enumeration and torch; conditions, gaps, likelihood, updates, wide columns."""

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
from zoo.data.digit_columns import DigitColumns
from zoo.errors import ArtifactError
from zoo.generators.tabular.autoregressive import Autoregressive
from zoo.nn.column_network import ColumnNetwork, draw_orders
from zoo.nn.column_sampler import Admitted, ColumnSampler


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind, "visits": r.poisson(np.exp(x.clip(max=2)))})


@pytest.fixture(scope="module")
def fitted() -> Autoregressive:
    train = zoo.TrainConfig(max_steps=500, batch_size=256, learning_rate=1e-2)
    return Autoregressive(hidden=64, inner=32, bins=40).fit(dependent(), seed=0, train=train)


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
    network = ColumnNetwork(digits.sizes, [size > 4 for size in digits.sizes], 16, 8)
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
        network = ColumnNetwork([32], [ordered], 8, 4)
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


# The family


def test_a_dependent_table_is_learned(fitted: Autoregressive) -> None:
    table, made = dependent(), fitted.sample(8000, seed=1)
    both = [np.corrcoef(t.x[t.y.notna()], t.y.dropna())[0, 1] for t in (table, made)]
    assert both[1] == pytest.approx(both[0], abs=0.06)
    assert made.y.isna().mean() == pytest.approx(0.2, abs=0.03)
    for kind in ("high", "low"):
        assert made.x[made.kind == kind].mean() == pytest.approx(table.x[table.kind == kind].mean(), abs=0.12)
    assert made.visits.corr(made.x) == pytest.approx(table.visits.corr(table.x), abs=0.06)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_the_data(as_table: bool, fitted: Autoregressive) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 6000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(6000, conditions=asked, seed=2), dependent()
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.1)
    assert made.x.std() == pytest.approx(plain.x.std(), abs=0.1)


def test_ranges_sets_and_missing_values_hold_together(fitted: Autoregressive) -> None:
    plain = dependent(40_000)
    made = fitted.sample(6000, conditions={"x": (1.0, 1.5), "y": (0.5, None), "kind": ["low", "high"]}, seed=1)
    assert made.x.between(1.0, 1.5).all() and (made.y >= 0.5).all()
    kept = plain[plain.x.between(1.0, 1.5) & (plain.y >= 0.5)]
    assert made.y.mean() == pytest.approx(kept.y.mean(), abs=0.12)
    assert (made.kind == "high").mean() == pytest.approx((kept.kind == "high").mean(), abs=0.08)
    assert fitted.sample(500, conditions={"y": None}, seed=1).y.isna().all()
    assert set(fitted.sample(500, conditions={"x": [0.25, -0.5]}, seed=1).x) == {0.25, -0.5}
    assert set(fitted.sample(500, conditions={"visits": [0, 3]}, seed=1).visits) == {0, 3}
    rows = pd.DataFrame({"x": [0.5, -0.5, 1.0], "y": [1.0, np.nan, 2.0], "kind": ["low", "high", "low"]})
    pd.testing.assert_frame_equal(
        fitted.sample(3, conditions=rows, seed=1)[["x", "y", "kind"]], rows, check_dtype=False
    )


def test_temperature_makes_rows_likelier_at_every_allowed_value(fitted: Autoregressive) -> None:
    spread = []
    for temperature in (0.01, 0.5, 1.0, 10.0):
        made = fitted.sample(4000, seed=1, temperature=temperature).dropna()
        spread.append((made.y - 2 * made.x).std())
    assert spread[1] < spread[2] < spread[3] and np.isfinite(spread).all()


def test_gaps_of_a_table_are_filled_by_what_stands_beside_them(fitted: Autoregressive) -> None:
    table = dependent()
    kept = table.copy()
    filled = fitted.impute(table, seed=1)
    pd.testing.assert_frame_equal(table, kept)
    gone = table.y.isna()
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled[~gone], table[~gone])
    assert (filled.y - 2 * filled.x)[gone].std() < 0.9  # 0.5 in truth, 2 without looking at x
    pd.testing.assert_frame_equal(fitted.impute(table, seed=1), filled)


def test_likelihood_prefers_what_is_likely(fitted: Autoregressive) -> None:
    table = dependent().dropna().head(1000)
    turned = table.assign(y=table.y.to_numpy()[::-1])
    weight = fitted.log_prob(table)
    assert weight.shape == (1000,) and np.isfinite(weight).all()
    assert weight.mean() > fitted.log_prob(turned).mean() + 1


def test_probabilities_of_discrete_rows_sum_to_one() -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": pd.Series(r.choice(["x", "y"], 300)).mask(r.random(300) < 0.2), "n": r.integers(0, 9, 300)}
    )
    generator = Autoregressive(hidden=16, inner=8, bins=4).fit(table, train=zoo.TrainConfig(max_steps=20))
    rows = pd.DataFrame(list(itertools.product(["x", "y", None], range(9))), columns=["a", "n"]).astype({"a": "str"})
    total = np.exp(generator.log_prob(rows)).sum()
    assert total == pytest.approx(1, abs=0.15)  # a number that straddles two bins counts in one of them


def test_update_moves_towards_new_rows_and_repeats(fitted: Autoregressive, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    new = dependent()
    new = new[new.kind == "high"]
    moved = [
        zoo.load(str(tmp_path / "a")).update(new, seed=3, train=zoo.TrainConfig(epochs=30, learning_rate=1e-2))
        for _ in range(2)
    ]
    assert (moved[0].sample(4000, seed=1).kind == "high").mean() > 0.8 > 2 * (dependent().kind == "high").mean()
    pd.testing.assert_frame_equal(*(m.sample(50, seed=1) for m in moved))
    with pytest.raises(zoo.errors.ZooError):
        moved[0].update(new.assign(kind="unheard of"))
    assert moved[0].sample(5, seed=1).equals(moved[1].sample(5, seed=1))


def test_a_hundred_thousand_categories_train_in_narrow_arrays() -> None:
    r = np.random.default_rng(0)
    often = r.choice(5, 60_000, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    code = r.permutation(np.r_[np.arange(100_000), often])
    table = pd.DataFrame({"name": pd.Categorical(code.astype(str)), "odd": code % 2 == 1})
    train = zoo.TrainConfig(max_steps=300, learning_rate=1e-2)
    generator = Autoregressive(hidden=32, inner=16).fit(table, train=train)
    assert max(a.shape[0] for a in generator._sampler.arrays.values()) < 1000
    made = generator.sample(20_000, seed=0)
    assert (made.name == "0").mean() == pytest.approx((table.name == "0").mean(), rel=0.25)
    assert made.name.nunique() > 8000
    asked = table[["name"]].head(40).reset_index(drop=True)
    assert (generator.sample(40, conditions=asked, seed=0).name == asked.name).all()
    assert set(generator.sample(300, conditions={"name": ["0", "1", "77777"]}, seed=0).name) <= {"0", "1", "77777"}


def test_small_tables_are_not_learned_by_heart() -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame({f"c{i}": r.integers(0, 4, 300) for i in range(6)} | {"z": r.normal(size=300)})
    generator = Autoregressive().fit(table.head(200), seed=0)
    ahead = (
        generator.log_prob(table.head(200)).mean() - generator.log_prob(table.tail(100).reset_index(drop=True)).mean()
    )
    assert generator.training["stopped_by"] == "early_stopping" and ahead < 0.6


def test_torch_is_not_imported_to_sample(fitted: Autoregressive, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    code = (
        "import sys, zoo; g = zoo.load(sys.argv[1]); g.sample(5, conditions={'kind': 'low'}); g.impute(g.sample(5));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a.pop("network.head"),
        lambda a: a.update({"network.more": a["network.head"]}),
        lambda a: a.update({"more": a["network.head"]}),
        lambda a: a["network.inner"].__setitem__(0, np.nan),
        lambda a: a.update({"network.embed": a["network.embed"][:-1]}),
        lambda a: a["columns.edges.0"].__setitem__(0, 0.5),
    ],
    ids=["less", "more", "other", "nan", "shape", "edges"],
)
def test_altered_arrays_are_refused(edit: Any) -> None:
    table = pd.DataFrame({"name": pd.Categorical([f"n{i}" for i in range(200)] * 2), "x": np.arange(400.0)})
    generator = Autoregressive(hidden=8, inner=4).fit(table, train=zoo.TrainConfig(max_steps=1))
    arrays = {k: v.copy() for k, v in generator._arrays().items()}
    generator._set_arrays({k: v.copy() for k, v in arrays.items()})
    edit(arrays)
    with pytest.raises((ArtifactError, ValueError, KeyError)):
        generator._set_arrays(arrays)
