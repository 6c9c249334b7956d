"""CTGAN: what it learns in seconds, conditions in law and without exception, rare categories, what it refuses."""

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.errors import ConfigError
from zoo.generators.tabular.ctgan import CTGAN


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind})


@pytest.fixture(scope="module")
def fitted() -> CTGAN:
    train = zoo.TrainConfig(epochs=80, batch_size=200)
    return CTGAN(width=64, latent=16, bins=20).fit(dependent(), seed=0, train=train)


def test_a_dependent_table_is_learned(fitted: CTGAN) -> None:
    table, made = dependent(), fitted.sample(8000, seed=1)
    assert made.x.corr(made.y) > 0.65 * table.x.corr(table.y)
    gap, real = (t.x[t.kind == "high"].mean() - t.x[t.kind == "low"].mean() for t in (made, table))
    assert gap == pytest.approx(real, rel=0.25)
    for quantile in (0.25, 0.75):  # not only on average: the law of y in each class
        for k in ("high", "low"):
            a, b = (t.y[t.kind == k].quantile(quantile) for t in (made, table))
            assert a == pytest.approx(b, abs=0.7), (k, quantile)


def test_packed_rows_are_learned_from_too() -> None:
    """Batches that packs do not divide, and a last batch of fewer rows than a pack."""
    train = zoo.TrainConfig(epochs=4, batch_size=100)
    generator = CTGAN(width=16, latent=4, bins=10, pac=8).fit(dependent(603), seed=0, train=train)
    assert generator.training["steps"] >= 24
    made = generator.sample(3000, seed=0)
    assert (made.kind == "high").mean() == pytest.approx((dependent(603).kind == "high").mean(), abs=0.03)


def test_marginals_are_calibrated(fitted: CTGAN) -> None:
    table, made = dependent(), fitted.sample(20_000, seed=1)
    assert (made.kind == "high").mean() == pytest.approx((table.kind == "high").mean(), abs=0.015)
    assert made.y.isna().mean() == pytest.approx(table.y.isna().mean(), abs=0.015)
    for q in (0.1, 0.5, 0.9):
        assert made.x.quantile(q) == pytest.approx(table.x.quantile(q), abs=0.1)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_filtering(as_table: bool, fitted: CTGAN) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 6000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(6000, conditions=asked, seed=2), fitted.sample(30_000, seed=3)
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.06)
    assert made.x.std() == pytest.approx(plain.x.std(), abs=0.06)


def test_ranges_sets_and_missing_values_hold(fitted: CTGAN) -> None:
    made = fitted.sample(2000, conditions={"x": (1.03, 1.5), "y": (0.5, None)}, seed=1)
    assert len(made) == 2000 and made.x.between(1.03, 1.5).all() and (made.y >= 0.5).all()
    assert fitted.sample(500, conditions={"y": None}, seed=1).y.isna().all()
    assert set(fitted.sample(500, conditions={"x": [0.25, -0.5]}, seed=1).x) == {0.25, -0.5}
    rows = pd.DataFrame({"x": [0.5, -0.5, 1.0], "y": [1.0, np.nan, 2.0], "kind": ["low", "high", "low"]})
    pd.testing.assert_frame_equal(fitted.sample(3, conditions=rows, seed=1), rows, check_dtype=False)


def test_a_rare_category_asked_for_is_proposed_by_the_conditional_vector(fitted: CTGAN) -> None:
    """Half of the proposals name it, and their ratios bring the law back: the mean ratio is 1."""
    columns = fitted.columns
    weight = np.zeros(columns.sizes["kind"])
    weight[0] = 1.0
    latent, log_ratio = fitted.propose(40_000, {"kind": weight}, np.random.default_rng(0))
    named = latent[-1] == fitted._places["kind"].start
    assert named.mean() == pytest.approx(0.5 + 0.5 * fitted._prior[fitted._places["kind"].start], abs=0.02)
    assert np.exp(log_ratio).mean() == pytest.approx(1, abs=0.02)


def test_numbers_alone_are_named_by_their_bins() -> None:
    table = dependent(600)[["x", "y"]]
    made = CTGAN(width=16, latent=4).fit(table, train=zoo.TrainConfig(max_steps=3)).sample(50, seed=0)
    assert len(made) == 50


def test_patience_is_refused() -> None:
    with pytest.raises(ConfigError, match="patience"):
        CTGAN(width=8).fit(dependent(50), train=zoo.TrainConfig(patience=3))


def test_an_unsound_artifact_is_refused(fitted: CTGAN) -> None:
    def broken(**changes: np.ndarray) -> None:
        other = CTGAN(**fitted.config)
        other._schema = fitted.schema
        other._set_arrays({**fitted._arrays(), **changes})

    broken()
    marginals = fitted._arrays()["marginals"]
    for wrong in (-marginals, marginals[1:], np.full_like(marginals, np.nan), 2 * marginals):
        with pytest.raises(ValueError, match="marginals"):
            broken(marginals=wrong)


def test_a_hundred_thousand_categories_train_and_can_be_asked_for() -> None:
    r = np.random.default_rng(0)
    name = pd.Series([f"n{i}" for i in r.permutation(np.r_[np.arange(100_000), r.integers(0, 500, 5000)])])
    table = pd.DataFrame({"name": pd.Categorical(name), "x": r.normal(size=len(name))})
    fitted = CTGAN(width=16, latent=4).fit(table, train=zoo.TrainConfig(max_steps=3))
    fitted._block_size = 256
    assert fitted.sample(256, seed=0).name.nunique() > 150
    rows = table[["name"]].head(20)
    assert fitted.sample(20, conditions=rows, seed=0).name.tolist() == name[:20].tolist()
