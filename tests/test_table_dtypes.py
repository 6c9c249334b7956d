"""Columns come back with the dtypes of the original, Arrow-backed ones too, and missing values stay together."""

import datetime as dt
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import zoo
from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_codec import TableCodec
from zoo.data.table_io import read_table, write_table
from zoo.data.table_values import DAY_FORMATS, arrow_type, plain_dtype
from zoo.data.tabular import TableForm
from zoo.errors import SchemaError
from zoo.schema import Schema

FORM = TableForm()
N = 90
RNG = np.random.default_rng(0)
_MOMENTS = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=int(h)) for h in RNG.integers(0, 9999, N)]


def arrow(values: Any, kind: pa.DataType) -> pd.Series:
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, kind)])))


ARROW: dict[str, pd.Series] = {
    "int64": arrow([None, *RNG.integers(0, 99, N - 1).tolist()], pa.int64()),
    "uint8": arrow(RNG.integers(0, 99, N).tolist(), pa.uint8()),
    "double": arrow([None, *np.round(RNG.normal(size=N - 1), 2).tolist()], pa.float64()),
    "float": arrow(np.round(RNG.normal(size=N), 1).tolist(), pa.float32()),
    "bool": arrow([None, *[True, False] * (N // 2)][:N], pa.bool_()),
    "string": arrow([None, *["a", "b", "c"] * (N // 3)][:N], pa.string()),
    "large_string": arrow(["a", "b", "c"] * (N // 3), pa.large_string()),
    "key": arrow([f"K-{i:04d}" for i in range(N)], pa.string()),
    "count": arrow(list(range(N)), pa.int32()),
    "iso": arrow([m.strftime("%Y-%m-%d") for m in _MOMENTS], pa.string()),
    "timestamp": arrow([None, *_MOMENTS[1:]], pa.timestamp("us")),
    "zoned": arrow(_MOMENTS, pa.timestamp("ms", "Europe/Zurich")),
    "nanoseconds": arrow(_MOMENTS, pa.timestamp("ns")),
    "date": arrow([None, *[m.date() for m in _MOMENTS[1:]]], pa.date32()),
    "duration": arrow([dt.timedelta(minutes=i % 17) for i in range(N)], pa.duration("s")),
    "decimal": arrow([None, *[decimal.Decimal(i) / 8 for i in range(1, N)]], pa.decimal128(10, 3)),
    "dictionary": arrow(["x", "y", None] * (N // 3), pa.dictionary(pa.int32(), pa.string())),
    "nothing": arrow([None] * N, pa.int64()),
}


@pytest.mark.parametrize("name", ARROW)
def test_arrow_dtypes_there_and_back(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"x": ARROW[name], "y": RNG.normal(size=N)})
    before = table.copy(deep=True)
    schema = FORM.infer(table)
    check_table(table, schema)
    assert schema["x"].dtype == str(table["x"].dtype) and schema["x"].dtype.endswith("[pyarrow]")
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert Schema.from_yaml(schema.to_yaml()) == schema
    codec = TableCodec(schema)
    made = codec.decode(codec.encode(table), N)
    if "x" in made:
        assert made["x"].dtype == table["x"].dtype
        assert made["x"].tolist() == table["x"].tolist() or made["x"].equals(table["x"])
        assert equal_tables(made, table)
    generator = zoo.create("tabular/gaussian_copula").fit(table)
    sampled = generator.sample(40, seed=1)
    check_table(sampled, schema)
    assert sampled["x"].dtype == table["x"].dtype
    assert generator.to_dataset(10, seed=1).features == FORM.features(schema)
    pd.testing.assert_frame_equal(table, before)
    if name not in ("dictionary",):
        write_table(sampled, tmp_path / "t.parquet")
        assert equal_tables(read_table(tmp_path / "t.parquet"), sampled)


def test_conditions_and_gaps_in_arrow_columns() -> None:
    table = pd.DataFrame({"n": ARROW["int64"], "s": ARROW["string"], "t": ARROW["timestamp"], "y": RNG.normal(size=N)})
    generator = zoo.create("tabular/gaussian_copula").fit(table)
    made = generator.sample(20, conditions={"s": "b", "n": (10, None)}, seed=1)
    assert (made["s"] == "b").all() and (made["n"] >= 10).all()
    filled = generator.impute(table, seed=1)
    assert filled.dtypes.equals(table.dtypes) and not filled.isna().any().any()


def test_types_that_cannot_be_learned() -> None:
    for dtype in ("list<item: int64>[pyarrow]", "binary[pyarrow]", "time64[us][pyarrow]"):
        with pytest.raises(SchemaError, match="cannot be learned"):
            arrow_type(dtype)
    assert plain_dtype("int64") == "int64" and plain_dtype("uint16[pyarrow]") == "UInt16"
    assert plain_dtype("timestamp[us, tz=Europe/Zurich][pyarrow]") == "datetime64[us, Europe/Zurich]"


def gaps(n: int) -> pd.DataFrame:
    """A place is known or not as a whole; b is missing where c is x."""
    rng = np.random.default_rng(0)
    c = rng.choice(["x", "y", "z"], n)
    table = pd.DataFrame({"lat": rng.normal(size=n), "lon": rng.normal(size=n), "town": rng.choice(["p", "q", "r"], n)})
    table.loc[rng.random(n) < 0.2] = None
    return table.assign(b=np.where(c == "x", np.nan, rng.normal(size=n)), c=c)


@pytest.mark.parametrize(("family", "apart", "least"), [("gaussian_copula", 0.005, 0.95), ("tvae", 0.08, 0.7)])
def test_families_keep_what_is_missing_together(family: str, apart: float, least: float) -> None:
    """Independent gaps would differ in 0.32 of the rows, and leave b missing in a third of those with c = x."""
    table = gaps(3000)
    train = zoo.TrainConfig(max_steps=200, progress=False)
    gone = (made := zoo.create(f"tabular/{family}").fit(table, train=train).sample(4000, seed=1)).isna()
    assert 0.15 < gone["lat"].mean() < 0.25
    assert (gone["lat"] != gone["lon"]).mean() < apart
    assert (gone["lat"] != gone["town"]).mean() < apart
    assert gone["b"][made["c"] == "x"].mean() > least
    assert gone["b"][made["c"] != "x"].mean() < 0.15


# Times that are written in other ways than ISO 8601


@pytest.mark.parametrize("form", sorted(DAY_FORMATS))
def test_times_in_other_forms_are_times_and_come_back_so(form: str) -> None:
    moments = [dt.datetime(1995, 1, 1) + dt.timedelta(seconds=int(s)) for s in RNG.integers(0, 8 * 10**8, 400)]
    texts = pd.Series([m.strftime(form) for m in moments], dtype="str").mask(RNG.random(400) < 0.1)
    table = pd.DataFrame({"when": texts, "y": RNG.normal(size=400)})
    schema = FORM.infer(table)
    column = schema["when"]
    assert (column.kind, column.pattern) == ("datetime", form)
    known = pd.to_datetime(texts, format=form)
    assert (pd.Timestamp(column.minimum), pd.Timestamp(column.maximum)) == (known.min(), known.max())
    check_table(table, schema)
    codec = TableCodec(schema)
    assert equal_tables(codec.decode(codec.encode(table), 400), table)
    generator = zoo.create("tabular/gaussian_copula").fit(table)
    made = generator.sample(300, seed=1)
    check_table(made, schema)
    assert pd.to_datetime(made["when"], format=form).notna().sum() == made["when"].notna().sum()
    low, high = "2000-01-01", "2004-12-31"
    inside = generator.sample(50, conditions={"when": (low, high)}, seed=1)["when"]
    assert pd.to_datetime(inside, format=form).between(low, "2005-01-01").all()
    asked = generator.sample(3, conditions={"when": texts.dropna().iloc[0]}, seed=1)["when"]
    assert (asked == texts.dropna().iloc[0]).all()
    assert "fidelity.shapes" in str(zoo.evaluate(table, made, quick=True))


def test_days_that_do_not_exist_are_no_times() -> None:
    texts = [f"{d:02d}.{m:02d}.2024" for d in range(1, 29) for m in range(1, 13)]
    assert FORM.infer(pd.DataFrame({"d": texts}))["d"].kind == "datetime"
    for wrong in ("31.04.2024", "30.02.2024", "01.13.2024", "00.01.2024", "soon"):
        assert FORM.infer(pd.DataFrame({"d": [*texts, wrong]}))["d"].kind != "datetime", wrong
    slashes = FORM.infer(pd.DataFrame({"d": ["01/02/2024", "12/11/2023"]}))["d"]
    assert slashes.pattern == "%m/%d/%Y" and slashes.minimum == "2023-12-11T00:00:00"
    assert FORM.infer(pd.DataFrame({"d": ["01/02/2024", "13/11/2023"]}))["d"].pattern == "%d/%m/%Y"
