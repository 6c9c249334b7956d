"""TVAE: what it learns in seconds, conditions in law and without exception, limits of training, wide columns."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.generators.tabular.tvae import TVAE


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind})


@pytest.fixture(scope="module")
def fitted() -> TVAE:
    return TVAE(width=64, latent=8).fit(dependent(), seed=0, train=zoo.TrainConfig(epochs=30, batch_size=100))


def test_a_dependent_table_is_learned(fitted: TVAE) -> None:
    table, made = dependent(), fitted.sample(8000, seed=1)
    assert np.corrcoef(made.x, made.y.fillna(0))[0, 1] == pytest.approx(
        np.corrcoef(table.x, table.y.fillna(0))[0, 1], abs=0.08
    )
    assert made.y.isna().mean() == pytest.approx(0.2, abs=0.04)
    for kind in ("high", "low"):
        assert made.x[made.kind == kind].mean() == pytest.approx(table.x[table.kind == kind].mean(), abs=0.12)
    assert (made.kind == "high").mean() == pytest.approx((table.kind == "high").mean(), abs=0.04)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_filtering(as_table: bool, fitted: TVAE) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 6000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(6000, conditions=asked, seed=2), fitted.sample(30_000, seed=3)
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.06)
    assert made.x.std() == pytest.approx(plain.x.std(), abs=0.06)


def test_ranges_sets_and_missing_values_hold(fitted: TVAE) -> None:
    plain = fitted.sample(60_000, seed=4)
    made = fitted.sample(4000, conditions={"x": (1.0, 1.5), "y": (0.5, None)}, seed=1)
    assert made.x.between(1.0, 1.5).all() and (made.y >= 0.5).all()
    kept = plain[plain.x.between(1.0, 1.5) & (plain.y >= 0.5)]
    assert made.y.mean() == pytest.approx(kept.y.mean(), abs=0.1)
    assert fitted.sample(500, conditions={"y": None}, seed=1).y.isna().all()
    assert set(fitted.sample(500, conditions={"x": [0.25, -0.5]}, seed=1).x) == {0.25, -0.5}
    rows = pd.DataFrame({"x": [0.5, -0.5, 1.0], "y": [1.0, np.nan, 2.0], "kind": ["low", "high", "low"]})
    pd.testing.assert_frame_equal(fitted.sample(3, conditions=rows, seed=1), rows, check_dtype=False)


def test_temperature_makes_rows_likelier_at_every_allowed_value(fitted: TVAE) -> None:
    spread = []
    for temperature in (0.01, 0.5, 1.0, 10.0):
        made = fitted.sample(4000, seed=1, temperature=temperature)
        table = dependent()
        kept = made.dropna()
        spread.append((kept.y - 2 * kept.x).std())
        assert len(made) == 4000 and made.x.between(table.x.min(), table.x.max()).all()
    assert spread[0] < spread[2] < spread[3]


def test_patience_stops_early_and_time_is_kept() -> None:
    noise = pd.DataFrame({"a": np.random.default_rng(0).integers(0, 2, 600), "b": np.random.default_rng(1).random(600)})
    patient = TVAE(width=16).fit(noise, train=zoo.TrainConfig(epochs=300, patience=3, validation_fraction=0.2))
    assert patient.training["epochs"] < 300
    hurried = TVAE(width=16).fit(noise, train=zoo.TrainConfig(epochs=100_000, max_minutes=0.02))
    assert hurried.training["epochs"] < 100_000 and len(hurried.sample(5, seed=0)) == 5


def test_half_precision_learns_too() -> None:
    config = zoo.TrainConfig(epochs=20, batch_size=50, precision="bf16")
    made = TVAE(width=64, latent=8).fit(dependent(1000), train=config).sample(1000, seed=0)
    assert made.x[made.kind == "high"].mean() - made.x[made.kind == "low"].mean() > 0.4


def test_thousands_of_categories_train_and_can_be_asked_for() -> None:
    r = np.random.default_rng(0)
    name = pd.Series(r.permutation(np.r_[np.arange(6000), r.integers(0, 6000, 2000)])).astype(str)
    table = pd.DataFrame({"name": pd.Categorical(name), "x": r.normal(size=8000)})
    generator = TVAE(width=16, latent=4).fit(table, train=zoo.TrainConfig(epochs=1))
    generator._block_size = 256
    assert generator.sample(256, seed=0).name.nunique() > 150
    assert (generator.sample(20, conditions={"name": name[0]}, seed=0).name == name[0]).all()
    rows = table[["name"]].head(20)
    assert generator.sample(20, conditions=rows, seed=0).name.tolist() == name[:20].tolist()


def test_a_saved_one_samples_without_torch(fitted: TVAE, tmp_path: Path) -> None:
    """Importing torch takes half a gigabyte and seconds."""
    fitted.save(tmp_path / "tvae")
    code = (
        "import sys, zoo\n"
        "made = zoo.load(sys.argv[1]).sample(20, conditions={'kind': 'high', 'x': (0, None)}, seed=1)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.stdout.write(made.to_csv(index=False))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "tvae"], capture_output=True, text=True, check=True)
    assert done.stdout == fitted.sample(20, conditions={"kind": "high", "x": (0, None)}, seed=1).to_csv(index=False)
