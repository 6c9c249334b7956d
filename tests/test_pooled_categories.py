"""Columns of very many categories: pooled by likeness, drawn back by frequency, asked for exactly."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.conditions import Conditions, parse
from zoo.data.binned_columns import BinnedColumns
from zoo.data.pooled_categories import PooledCategories
from zoo.data.tabular import TableForm


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.integers(2, 60), st.integers(0, 2**31))
def test_every_category_has_a_code_and_every_code_its_mass(k: int, limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.floor(rng.pareto(1.0, k) * 3).astype(np.int64)
    counts[0] += 1
    pool = PooledCategories.fit(counts, rng.normal(size=k), limit)
    assert pool.size <= limit and len(np.unique(pool.code)) == pool.size
    back = PooledCategories.from_arrays(pool.arrays(), k, limit)
    np.testing.assert_array_equal(back.code, pool.code)
    codes = rng.integers(0, pool.size, 500)
    drawn = pool.draw(codes, np.random.default_rng(0))
    np.testing.assert_array_equal(pool.code[drawn], codes)
    np.testing.assert_array_equal(back.draw(codes, np.random.default_rng(0)), drawn)
    among = rng.random(k) < 0.2
    among[rng.integers(k)] = True
    held = codes[np.isin(codes, pool.code[among])]
    within = pool.draw(held, rng, among)
    assert among[within].all() and (pool.code[within] == held).all()
    weight = pool.weigh(among)
    assert ((weight > 0) == np.isin(np.arange(pool.size), pool.code[among])).all() and weight.max() <= 1
    code, part = pool.weigh_each(np.arange(k))
    assert (code == pool.code).all() and (part > 0).all() and (part <= 1).all()


def test_frequencies_survive() -> None:
    rng = np.random.default_rng(0)
    counts = np.r_[4000, rng.integers(0, 30, 500)]
    pool = PooledCategories.fit(counts, rng.normal(size=501), 50)
    assert pool.code[0] == 0 and (pool.code == 0).sum() == 1  # frequent: a code of its own
    mass = np.bincount(pool.code, counts, minlength=pool.size)
    drawn = pool.draw(rng.choice(pool.size, size=200_000, p=mass / mass.sum()), rng)
    made = np.bincount(drawn, minlength=501)
    assert (made[counts == 0] == 0).all()
    assert np.abs(made / 200_000 - counts / counts.sum()).sum() < 0.06


@pytest.mark.parametrize(
    ("name", "value"),
    [("code", [0, 1]), ("code", [0, 5, 5]), ("code", [-1, 0, 1]), ("share", [0.0] * 3), ("share", [np.nan, 1, 1])],
)
def test_unsound_state_is_refused(name: str, value: list[float]) -> None:
    arrays = PooledCategories.fit(np.array([3, 1, 1]), np.zeros(3), 2).arrays()
    arrays[name] = np.array(value, dtype=arrays[name].dtype)
    with pytest.raises(ValueError, match="pooled categories are none"):
        PooledCategories.from_arrays(arrays, 3, 2)


def shops(n: int = 6000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    shop = r.zipf(1.3, n) % 3000
    spent = np.where(shop % 2, 100.0, 10.0) + r.normal(size=n)
    named = pd.Series([f"shop {i}" for i in shop]).mask(r.random(n) < 0.1)
    return pd.DataFrame({"shop": pd.Categorical(named), "spent": spent})


def test_a_table_goes_there_and_back_and_conditions_are_exact() -> None:
    table = shops()
    schema = TableForm().infer(table)
    columns = BinnedColumns(schema, 20, categories=40)
    encoded = columns.codec.encode(table)
    columns.fit(encoded)
    codes = columns.encode(encoded)
    j = columns.names.index("shop")
    assert columns.widths[j] <= 41 and codes[:, j].max() == columns.widths[j] - 1
    back = columns.decode(codes, np.random.default_rng(0))
    pd.testing.assert_series_equal(back["shop"].isna(), table["shop"].isna())
    kept = table["shop"].value_counts().index[:3]
    assert (back["shop"][table["shop"].isin(kept)] == table["shop"][table["shop"].isin(kept)]).mean() > 0.99
    wanted = [c for c in table["shop"].cat.categories[:7]]
    asked = parse({"shop": wanted}, schema, schema.names, family="test", n=len(table))
    weight, ends = columns.admitted(asked["shop"])
    assert ends is None and weight.shape == (1, columns.widths[j])
    drawn = codes.copy()
    drawn[:, j] = np.random.default_rng(0).choice(np.flatnonzero(weight[0]), len(table))
    assert set(columns.decode(drawn, np.random.default_rng(1), None, asked)["shop"].unique()) <= set(wanted)
    rows = parse(table[["shop"]], schema, schema.names, family="test", n=len(table))
    given_rows = rows["shop"].rows
    assert given_rows is not None
    each = columns.row_weights("shop", given_rows)
    assert (each.argmax(axis=1) == codes[:, j]).all()
    exact = columns.decode(codes, np.random.default_rng(1), None, Conditions({"shop": rows["shop"]}))
    pd.testing.assert_series_equal(exact["shop"], table["shop"])


def test_likeness_survives_pooling() -> None:
    """Rare shops that charge alike share codes: the column still says what a row costs."""
    table = shops(20_000)
    columns = BinnedColumns(TableForm().infer(table), 20, categories=40)
    encoded = columns.codec.encode(table)
    columns.fit(encoded)
    codes = columns.encode(encoded)[:, columns.names.index("shop")]
    dear = pd.Series(table["spent"] > 50).groupby(codes).transform("mean")
    assert np.corrcoef(dear, table["spent"] > 50)[0, 1] > 0.9


def test_a_hundred_thousand_categories_are_no_burden() -> None:
    r = np.random.default_rng(0)
    name = pd.Series(r.permutation(np.r_[np.arange(100_000), r.integers(0, 100_000, 20_000)])).astype(str)
    table = pd.DataFrame({"name": pd.Categorical(name), "x": r.normal(size=120_000)})
    generator = zoo.create("tabular/tvae", width=16, latent=4)
    generator.fit(table, train=zoo.TrainConfig(epochs=1, batch_size=5000))
    assert generator.sample(8192, seed=0)["name"].nunique() > 7000
    assert (generator.sample(20, conditions={"name": name[0]}, seed=0)["name"] == name[0]).all()
    rows = table[["name"]].head(20)
    assert generator.sample(20, conditions=rows, seed=0)["name"].tolist() == name[:20].tolist()
