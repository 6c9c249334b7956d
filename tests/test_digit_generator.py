"""Families of networks over digits: conditions, gaps, likelihood, updates, wide columns, altered artifacts."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.errors import ArtifactError
from zoo.generators.tabular.autoregressive import Autoregressive
from zoo.generators.tabular.diffusion import Diffusion
from zoo.nn.digit_generator import DigitGenerator

FAMILIES = [
    pytest.param(cls, marks=pytest.mark.xdist_group(cls.name), id=cls.name) for cls in (Autoregressive, Diffusion)
]


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind, "visits": r.poisson(np.exp(x.clip(max=2)))})


@pytest.fixture(scope="module", params=FAMILIES)
def fitted(request: pytest.FixtureRequest) -> DigitGenerator:
    train = zoo.TrainConfig(max_steps=1200, batch_size=256, learning_rate=1e-2)
    generator: DigitGenerator = request.param(hidden=64, inner=32, bins=40).fit(dependent(), seed=0, train=train)
    return generator


def test_a_dependent_table_is_learned(fitted: DigitGenerator) -> None:
    table, made = dependent(), fitted.sample(8000, seed=1)
    both = [np.corrcoef(t.x[t.y.notna()], t.y.dropna())[0, 1] for t in (table, made)]
    assert both[1] == pytest.approx(both[0], abs=0.06)
    assert made.y.isna().mean() == pytest.approx(0.2, abs=0.03)
    for kind in ("high", "low"):
        assert made.x[made.kind == kind].mean() == pytest.approx(table.x[table.kind == kind].mean(), abs=0.12)
    assert made.visits.corr(made.x) == pytest.approx(table.visits.corr(table.x), abs=0.06)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_the_data(as_table: bool, fitted: DigitGenerator) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 6000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(6000, conditions=asked, seed=2), dependent()
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.1)
    assert made.x.std() == pytest.approx(plain.x.std(), abs=0.1)


def test_ranges_sets_and_missing_values_hold_together(fitted: DigitGenerator) -> None:
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


def test_temperature_makes_rows_likelier_at_every_allowed_value(fitted: DigitGenerator) -> None:
    spread = []
    for temperature in (0.01, 0.5, 1.0, 10.0):
        made = fitted.sample(4000, seed=1, temperature=temperature).dropna()
        spread.append((made.y - 2 * made.x).std())
    assert spread[1] < spread[2] < spread[3] and np.isfinite(spread).all()


def test_gaps_of_a_table_are_filled_by_what_stands_beside_them(fitted: DigitGenerator) -> None:
    table = dependent()
    kept = table.copy()
    filled = fitted.impute(table, seed=1)
    pd.testing.assert_frame_equal(table, kept)
    gone = table.y.isna()
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled[~gone], table[~gone])
    assert (filled.y - 2 * filled.x)[gone].std() < 0.9  # 0.5 in truth, 2 without looking at x
    pd.testing.assert_frame_equal(fitted.impute(table, seed=1), filled)


def test_likelihood_prefers_what_is_likely(fitted: DigitGenerator) -> None:
    table = dependent().dropna().head(1000)
    turned = table.assign(y=table.y.to_numpy()[::-1])
    weight = fitted.log_prob(table)
    assert weight.shape == (1000,) and np.isfinite(weight).all()
    assert weight.mean() > fitted.log_prob(turned).mean() + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_of_discrete_rows_sum_to_one(family: type[DigitGenerator]) -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": pd.Series(r.choice(["x", "y"], 300)).mask(r.random(300) < 0.2), "n": r.integers(0, 9, 300)}
    )
    generator = family(hidden=16, inner=8, bins=4).fit(table, train=zoo.TrainConfig(max_steps=20))
    rows = pd.DataFrame(list(itertools.product(["x", "y", None], range(9))), columns=["a", "n"]).astype({"a": "str"})
    total = np.exp(generator.log_prob(rows)).sum()
    assert total == pytest.approx(1, abs=0.15)  # a number that straddles two bins counts in one of them


def test_update_moves_towards_new_rows_and_repeats(fitted: DigitGenerator, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hundred_thousand_categories_train_in_narrow_arrays(family: type[DigitGenerator]) -> None:
    r = np.random.default_rng(0)
    often = r.choice(5, 60_000, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    code = r.permutation(np.r_[np.arange(100_000), often])
    table = pd.DataFrame({"name": pd.Categorical(code.astype(str)), "odd": code % 2 == 1})
    train = zoo.TrainConfig(max_steps=300, learning_rate=1e-2)
    generator = family(hidden=32, inner=16).fit(table, train=train)
    assert max(a.shape[0] for a in generator._sampler.arrays.values()) < 1000
    made = generator.sample(20_000, seed=0)
    assert (made.name == "0").mean() == pytest.approx((table.name == "0").mean(), rel=0.25)
    assert made.name.nunique() > 8000
    asked = table[["name"]].head(40).reset_index(drop=True)
    assert (generator.sample(40, conditions=asked, seed=0).name == asked.name).all()
    assert set(generator.sample(300, conditions={"name": ["0", "1", "77777"]}, seed=0).name) <= {"0", "1", "77777"}


@pytest.mark.parametrize("family", FAMILIES)
def test_small_tables_are_not_learned_by_heart(family: type[DigitGenerator]) -> None:
    r = np.random.default_rng(0)
    table = pd.DataFrame({f"c{i}": r.integers(0, 4, 300) for i in range(6)} | {"z": r.normal(size=300)})
    generator = family().fit(table.head(200), seed=0)
    ahead = (
        generator.log_prob(table.head(200)).mean() - generator.log_prob(table.tail(100).reset_index(drop=True)).mean()
    )
    assert generator.training["stopped_by"] == "early_stopping" and ahead < 0.6


def test_torch_is_not_imported_to_sample(fitted: DigitGenerator, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    code = (
        "import sys, zoo; g = zoo.load(sys.argv[1]); g.sample(5, conditions={'kind': 'low'}); g.impute(g.sample(5));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)


@pytest.mark.parametrize("family", FAMILIES)
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
def test_altered_arrays_are_refused(edit: Any, family: type[DigitGenerator]) -> None:
    table = pd.DataFrame({"name": pd.Categorical([f"n{i}" for i in range(200)] * 2), "x": np.arange(400.0)})
    generator = family(hidden=8, inner=4).fit(table, train=zoo.TrainConfig(max_steps=1))
    arrays = {k: v.copy() for k, v in generator._arrays().items()}
    generator._set_arrays({k: v.copy() for k, v in arrays.items()})
    edit(arrays)
    with pytest.raises((ArtifactError, ValueError, KeyError)):
        generator._set_arrays(arrays)
