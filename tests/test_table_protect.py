"""Private tables: extremes and rare values of fewer than several units do not reach the learner or the schema."""

import dataclasses
import datetime as dt

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from zoo.data.table_protect import RARE, SEVERAL, protect_table
from zoo.data.tabular import TableForm
from zoo.schema import Schema

FORM = TableForm()


def protect(table: pd.DataFrame, **changes: object) -> tuple[pd.DataFrame, Schema]:
    before = table.copy()
    found, schema = protect_table(table, FORM.infer(table).replace(private=True, **changes))
    pd.testing.assert_frame_equal(table, before)
    FORM.check(found, schema)
    return found, schema


@given(
    st.lists(st.integers(-1000, 1000), min_size=25, max_size=200),
    st.lists(st.sampled_from("abcdefghij"), min_size=25, max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_several_rows_stand_behind_all_that_is_kept(numbers: list[int], letters: list[str]) -> None:
    n = min(len(numbers), len(letters))
    table = pd.DataFrame({"x": np.array(numbers[:n], dtype=float) + 0.5, "k": letters[:n]})
    found, schema = protect(table)
    low, high = found.x.min(), found.x.max()
    assert (table.x <= low).sum() >= SEVERAL and (table.x >= high).sum() >= SEVERAL
    inner = table.x.between(low, high)
    np.testing.assert_array_equal(found.x[inner], table.x[inner])
    if schema["x"].kind != "constant":
        assert (schema["x"].minimum, schema["x"].maximum) == (low, high)
    counts = found.k.value_counts()
    assert set(schema["k"].categories) >= set(counts.index)
    assert counts.min() >= SEVERAL or len(schema["k"].categories) == 1
    common = table.k.value_counts().loc[lambda c: c >= SEVERAL].index
    keeps = table.k.isin(common)
    assert (found.k[keeps] == table.k[keeps]).all()


def test_rare_text_is_pooled_and_missing_stays() -> None:
    table = pd.DataFrame({"city": ["Oslo"] * 30 + [f"h{i}" for i in range(12)] + [None] * 5})
    found, schema = protect(table)
    assert set(schema["city"].categories) == {"Oslo", RARE}
    assert (found.city == RARE).sum() == 12 and found.city.isna().sum() == 5
    few, schema = protect(pd.DataFrame({"city": ["Oslo"] * 30 + ["Bern"] * 20 + ["h1", "h2"]}))
    assert set(schema["city"].categories) == {"Oslo", "Bern"} and (few.city == "Oslo").sum() == 32


def test_ordered_and_numeric_categories_go_to_their_neighbours() -> None:
    grades = pd.Categorical([10] * 2 + [20] * 15 + [30] * 3 + [40] * 15, categories=[10, 20, 30, 40], ordered=True)
    found, schema = protect(pd.DataFrame({"g": grades}))
    assert schema["g"].categories == (20, 40) and schema["g"].kind == "ordinal"
    assert found.g.tolist() == [20] * 17 + [20] * 3 + [40] * 15


def test_people_count_and_not_their_rows() -> None:
    who = np.repeat([f"p{i}" for i in range(40)], 5)
    city = np.where(np.isin(who, ["p0", "p1"]), "Tiny", np.where(np.arange(200) % 2, "Oslo", "Bern"))
    spend = np.where(who == "p3", 9999.5, np.arange(200) / 4 + 0.25)
    found, schema = protect(pd.DataFrame({"who": who, "city": city, "spend": spend}), unit="who")
    assert "Tiny" not in schema["city"].categories
    assert schema["spend"].maximum < 50 and found.spend.max() < 50
    rich = pd.DataFrame({"who": who, "spend": spend}).loc[lambda t: t.spend >= schema["spend"].maximum]
    assert rich.who.nunique() >= SEVERAL


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=60, freq="D"),
        pd.date_range("2020-01-01 12:30", periods=60, freq="37min", tz="Europe/Rome"),
        pd.to_timedelta(np.arange(60) ** 2, unit="s"),
        pd.Series([dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(60)]),
    ],
    ids=["days", "zoned", "durations", "dates"],
)
def test_times_are_pulled_in_too(times: pd.Index) -> None:
    table = pd.DataFrame({"t": times}).sample(120, replace=True, random_state=0).reset_index(drop=True)
    found, _ = protect(table)
    assert (table.t <= found.t.min()).sum() >= SEVERAL and (table.t >= found.t.max()).sum() >= SEVERAL
    assert found.t.min() > table.t.min() and found.t.max() < table.t.max()
    assert found.t.dtype == table.t.dtype


def test_only_sensitive_columns_of_a_table_that_is_not_private() -> None:
    table = pd.DataFrame({"a": np.arange(100) + 0.5, "b": np.arange(100) + 0.5})
    schema = FORM.infer(table)
    columns = tuple(dataclasses.replace(c, sensitive=c.name == "b") for c in schema)
    found, after = protect_table(table, schema.replace(columns=columns))
    pd.testing.assert_series_equal(found.a, table.a)
    assert (found.b.min(), found.b.max()) == (9.5, 90.5) and after["a"].maximum == 99.5


def test_tables_smaller_than_several_become_constants() -> None:
    found, schema = protect(pd.DataFrame({"x": [1.5, 2.5, 9.0], "k": ["a", "b", "a"], "i": [3, 9, 4]}))
    assert found.x.nunique() == found.k.nunique() == found.i.nunique() == 1
    assert schema["x"].kind == "constant"
    assert "b" not in set(found.k)
