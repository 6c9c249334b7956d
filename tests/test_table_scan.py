"""Tables in bounded passes: sketches against exact quantiles, uniform draws, and the schema of the whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.data.source import read_source
from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_io import to_arrow, write_table
from zoo.data.table_scan import farthest, parquet_size, scan_table, widened_schema
from zoo.errors import DataError, OptionError
from zoo.statistics.quantile_sketch import QuantileSketch

N = 30_000


def people(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": np.arange(1, n + 1),
            "key": rng.permutation(n),
            "age": rng.integers(18, 80, n),
            "amount": np.where(rng.random(n) < 0.2, np.nan, np.round(rng.gamma(2, 50, n), 2)),
            "city": rng.choice(["Bern", "Oslo", "Rome"], n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "D"),
            "grade": pd.Categorical(rng.choice(["lo", "hi"], n), categories=["lo", "hi"], ordered=True),
        }
    )
    table.loc[7, "city"], table.loc[8, "age"], table.loc[9, "amount"] = "Thule", 117, 99_999.5  # seldom drawn
    return table


def parts(table: pd.DataFrame, folder: Path, rows: int) -> Path:
    for i, start in enumerate(range(0, len(table), rows)):
        write_table(table.iloc[start : start + rows], folder / f"part-{i:03d}.parquet")
    return folder


# The sketch


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300),
    st.integers(0, 2**31),
    st.lists(st.floats(0, 1), max_size=5),
)
def test_a_sketch_with_room_is_exact(values: list[float], seed: int, shares: list[float]) -> None:
    sketch = QuantileSketch(size=1000, seed=seed)
    sketch.add(np.array(values))
    expected = np.quantile(values, shares, method="inverted_cdf") if shares else np.empty(0)
    np.testing.assert_array_equal(sketch.quantiles(np.array(shares)), expected)


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_places_of_quantiles_are_within_the_bound(order: str) -> None:
    n, size, shares = 200_000, 500, np.linspace(0.01, 0.99, 50)
    values = np.arange(n, dtype=np.float64)
    values = {"rising": values, "falling": values[::-1], "mixed": np.random.default_rng(1).permutation(n)}[order]
    errors = []
    for seed in range(10):
        halves = [QuantileSketch(size, seed), QuantileSketch(size, seed + 100)]
        for part in np.array_split(values, 37):
            halves[len(part) % 2].add(np.append(part, np.nan))
        halves[0].merge(halves[1])
        assert halves[0].count == n
        assert sum(len(level) for level in halves[0]._levels) < 2 * size * np.log2(n / size)
        errors.append(halves[0].quantiles(shares) / n - shares)
    assert np.std(errors) < 1.42 / size and np.abs(errors).max() < 5 * 1.42 / size
    assert np.isnan(QuantileSketch().quantiles(np.array([0.5]))).all()


# Rows drawn


def test_the_draw_depends_on_seed_and_rows_alone(tmp_path: Path) -> None:
    table = people(5000)
    one = parts(table, tmp_path / "one", 5000)
    pq.write_table(to_arrow(table), tmp_path / "groups.parquet", row_group_size=77)
    first = scan_table(one, 700, seed=3).sample
    assert len(first) == 700 and first["id"].is_monotonic_increasing and first["id"].is_unique
    for other in (parts(table, tmp_path / "many", 617), tmp_path / "groups.parquet"):
        assert equal_tables(scan_table(other, 700, seed=3).sample, first)
    assert not equal_tables(scan_table(one, 700, seed=4).sample, first)
    assert equal_tables(scan_table(one, 10_000).sample, table)


def test_the_draw_is_uniform(tmp_path: Path) -> None:
    folder = parts(pd.DataFrame({"i": np.arange(200_000)}), tmp_path, 50_000)
    drawn = scan_table(folder, 2000, seed=0).sample["i"].to_numpy()
    share = np.histogram(drawn, bins=20, range=(0, 200_000))[0]
    assert ((share - 100) ** 2 / 100).sum() < 43.8  # chi-square of 19 degrees at 0.001


# The schema of the whole


def test_the_schema_is_that_of_all_rows(tmp_path: Path) -> None:
    table = people()
    scan = scan_table(parts(table, tmp_path, 7000), 2000, seed=1)
    assert scan.rows == N and "Thule" not in set(scan.sample["city"]) and scan.sample["age"].max() < 117
    schema, exact = widened_schema(scan), zoo.infer_schema(table)
    for name in ("age", "city", "when", "grade"):
        assert schema[name] == exact[name]
    assert (schema["amount"].maximum, schema["amount"].decimals) == (99_999.5, 2)
    assert schema["id"] == exact["id"]
    assert schema["key"].kind == "identifier" and '"start": 30000' in str(schema["key"].pattern)
    assert scan.columns["amount"].missing == table["amount"].isna().sum()
    check_table(scan.sample, schema)
    made = zoo.create("tabular/gaussian_copula").fit(scan.sample, schema=schema).sample(100, seed=0)
    check_table(made, schema)
    name, distance = farthest(scan) or ("", 1.0)
    assert name in table and 0 < distance < 0.06
    told = widened_schema(scan, {"age": {"maximum": 130}, "key": "integer"})
    assert told["age"].maximum == 130 and told["age"].minimum == 18 and told["key"].kind == "integer"


def test_source_draws_only_when_it_must(tmp_path: Path) -> None:
    table = people(3000)
    folder = parts(table, tmp_path / "p", 1000)
    assert parquet_size(folder) is not None and parquet_size(folder)[0] == 3000  # type: ignore[index]
    data, schema = read_source(folder)
    assert equal_tables(data, table) and schema == zoo.infer_schema(table)
    data, schema = read_source(folder, max_rows=100, seed=2)
    assert len(data) == 100 and schema["age"].maximum == 117
    write_table(table, tmp_path / "t.csv")
    with pytest.raises(OptionError, match="--max-rows is for Parquet"):
        read_source(tmp_path / "t.csv", max_rows=10)
    with pytest.raises(OptionError, match="rows to train on"):
        scan_table(folder, 0)
    with pytest.raises(DataError, match="no Parquet file or folder"):
        scan_table(tmp_path / "t.csv", 10)


def test_files_that_do_not_agree(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": [1, 2]}), tmp_path / "a.parquet")
    write_table(pd.DataFrame({"a": ["x", "y"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="its files must have the same columns"):
        scan_table(tmp_path, 2)


def test_folders_whose_names_hold_a_column(tmp_path: Path) -> None:
    for year in (2023, 2024):
        write_table(pd.DataFrame({"a": np.arange(50) + year}), tmp_path / f"year={year}" / "p.parquet")
    scan = scan_table(tmp_path, 10)
    assert sorted(scan.sample) == ["a", "year"] and scan.rows == 100
    assert (scan.columns["year"].low, scan.columns["year"].high) == (2023, 2024)
