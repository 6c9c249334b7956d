"""Columns as codes: there and back within the bin, heavy values exactly, conditions as weights of bins."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from zoo.conditions import Condition
from zoo.data.binned_columns import BinnedColumns
from zoo.data.tabular import TableForm
from zoo.errors import ConditionError


def made(table: pd.DataFrame, bins: int = 20) -> tuple[BinnedColumns, np.ndarray]:
    columns = BinnedColumns(TableForm().infer(table), bins)
    encoded = columns.codec.encode(table)
    columns.fit(encoded)
    return columns, columns.encode(encoded)


NUMBERS = st.lists(st.integers(-40, 40) | st.none(), min_size=12, max_size=150).filter(
    lambda v: len({x for x in v if x is not None}) > 1
)


@given(NUMBERS, st.integers(2, 30), st.sampled_from(["Int64", "Float64"]))
@settings(max_examples=80, deadline=None)
def test_codes_there_and_back_stay_in_their_bins(values: list[int | None], bins: int, dtype: str) -> None:
    table = pd.DataFrame({"x": pd.array(values, dtype=dtype)})
    columns, codes = made(table, bins)
    if "x" not in columns.edges:
        return  # counts rows: an identifier
    nullable = columns.schema["x"].nullable
    assert len(columns.edges["x"]) - 1 <= bins
    assert codes.min() >= 0 and codes.max() < columns.sizes["x"]
    back = columns.decode(codes, np.random.default_rng(0))
    np.testing.assert_array_equal(back.x.isna(), table.x.isna())
    assert back.x.dropna().between(table.x.min(), table.x.max()).all()
    inner = codes[:, 0][codes[:, 0] < len(columns.edges["x"]) - 1]
    assert len(inner) == table.x.notna().sum() or not nullable
    # Bins keep the order of the numbers.
    known = table.x.notna().to_numpy()
    order = np.argsort(table.x[known].to_numpy(dtype=float), kind="stable")
    assert (np.diff(codes[known, 0][order]) >= 0).all()


def test_a_number_comes_back_within_its_bin() -> None:
    x = np.random.default_rng(0).normal(size=5000)
    columns, codes = made(pd.DataFrame({"x": x}))
    back = columns.decode(codes, np.random.default_rng(1)).x.to_numpy()
    again = columns.encode({"x": back})
    assert (np.abs(again - codes) <= 0).mean() > 0.999
    lows, highs = (np.array([f(x[codes[:, 0] == k]) for k in range(20)]) for f in (np.min, np.max))
    slack = 0.02
    assert (back >= lows[codes[:, 0]] - slack).all() and (back <= highs[codes[:, 0]] + slack).all()
    assert np.bincount(codes[:, 0]).min() > 200  # about equally many each


def test_heavy_integers_come_back_exactly() -> None:
    r = np.random.default_rng(0)
    hours = np.where(r.random(8000) < 0.5, 40, r.integers(1, 99, 8000))
    gain = np.where(r.random(8000) < 0.9, 0, r.integers(1, 99_999, 8000))
    table = pd.DataFrame({"hours": hours, "gain": gain})
    columns, codes = made(table, 30)
    back = columns.decode(codes, np.random.default_rng(1))
    for name, heavy in (("hours", 40), ("gain", 0)):
        its = codes[table[name] == heavy, columns.names.index(name)]
        assert len(np.unique(its)) == 1
        assert (codes[table[name] != heavy, columns.names.index(name)] == its[0]).mean() < 0.02
        assert (back[name][table[name] == heavy] == heavy).mean() > 0.98


def test_conditions_weigh_bins_by_the_part_that_is_admitted() -> None:
    x = np.random.default_rng(0).random(10_000)
    columns, _ = made(pd.DataFrame({"x": pd.Series(x).mask(x > 0.95)}), 10)
    column = columns.schema["x"]
    weights, ends = columns.admitted(Condition(column, low=0.19, high=0.475))
    assert ends is not None and ends.tolist() == [[0.19, 0.475]]
    np.testing.assert_allclose(weights[0], [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0], atol=0.06)
    weights, _ = columns.admitted(Condition(column, values=np.array([np.nan, 0.5])))
    assert weights[0].tolist() == [0] * 10 + [1] and weights[1].argmax() == 5
    whole = pd.DataFrame({"k": np.arange(100) // 7})
    columns, _ = made(whole)
    with pytest.raises(ConditionError, match="no value of 'k' lies between"):
        columns.admitted(Condition(columns.schema["k"], low=3.2, high=3.8))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("edges.0", np.array([0.0, 0.6, 0.5, 1.0])),
        ("edges.0", np.array([0.0, np.nan, 1.0])),
        ("edges.0", np.array([0.1, 1.0])),
        ("grid.0", np.array([3.0, 1.0])),
        ("grid.0", np.array([0.0, np.inf])),
        ("grid.0", np.zeros((2, 2))),
    ],
)
def test_an_altered_state_is_refused(key: str, value: np.ndarray) -> None:
    columns, _ = made(pd.DataFrame({"x": np.random.default_rng(0).random(100)}))
    arrays = columns.arrays()
    columns.set_arrays(arrays)
    with pytest.raises(ValueError, match="the bins of column 'x'"):
        columns.set_arrays(arrays | {key: value})
