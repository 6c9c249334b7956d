"""Tables from and to SQL databases: SQLite and a real PostgreSQL."""

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from postgres import postgres

import zoo
from zoo.cli import main
from zoo.data.source import is_address, read_source
from zoo.data.table_check import equal_tables
from zoo.data.table_sql import read_sql, write_sql
from zoo.errors import DataError, MissingExtraError, OptionError

N = 120


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'base.db'}"
    address: str = request.getfixturevalue("server")
    engine = sa.create_engine(address.replace("postgresql", "postgresql+pg8000"))
    with engine.begin() as connection:  # each test has an empty database
        connection.execute(sa.text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
    return address


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    seen = pd.Series(pd.Timestamp("2024-01-01 10:00:00.123456") + pd.to_timedelta(np.arange(N), "h")).dt.as_unit("us")
    return pd.DataFrame(
        {
            "id": np.arange(1, N + 1),
            "Name with space": pd.Series([f'it\'s "{i}", no {i * 7}\nline' for i in range(N)], dtype="str"),
            "empty": pd.Series(["", None, "x", "\\N"] * (N // 4), dtype="str"),
            "age": pd.array([None, *rng.integers(1, 99, N - 1)], dtype="Int64"),
            "amount": np.where(rng.random(N) < 0.2, np.nan, np.round(rng.gamma(2, 50, N), 2)),
            "member": rng.random(N) < 0.5,
            "maybe": pd.array([None, True, False] * (N // 3), dtype="boolean"),
            "born": pd.Series([dt.date(1950 + i % 60, 2, 3) for i in range(N)], dtype=object),
            "seen": seen,
        }
    )


def written(table: pd.DataFrame, address: str, name: str = "people", **keys: str) -> None:
    write_sql(iter([table.iloc[:50], table.iloc[50:]]), zoo.infer_schema(table).replace(**keys), address, name)


def test_there_and_back(base: str) -> None:
    table = people()
    written(table, base, primary_key="id")
    found = read_sql(base, "people", chunk_rows=33)
    assert found.primary_key == "id"
    pd.testing.assert_frame_equal(found.data, table)
    assert equal_tables(found.data, table)


def test_zones_intervals_and_categories_in_postgresql(server: str) -> None:
    table = pd.DataFrame(
        {
            "zoned": pd.Series(pd.date_range("2024-03-30", periods=9, freq="h", tz="Europe/Zurich")).dt.as_unit("us"),
            "took": pd.Series(pd.to_timedelta([90.5, -3, None, *range(6)], unit="s")).dt.as_unit("us"),
            "kind": pd.Categorical(["b", "a", None] * 3, categories=["b", "a"]),
            "big": np.arange(9, dtype="uint64") + np.uint64(2**63),
            "exact": pd.Series(["1.25"] * 8 + [None]).astype(pd.ArrowDtype(__import__("pyarrow").decimal128(10, 2))),
        }
    )
    written(table, server, "types")
    data = read_sql(server, "types").data
    assert data["zoned"].equals(table["zoned"].dt.tz_convert("UTC"))
    assert data["took"].equals(table["took"])
    assert data["kind"].tolist()[:2] == ["b", "a"] and data["kind"].isna().sum() == 3
    assert data["exact"].tolist()[:8] == [1.25] * 8
    assert data["big"].tolist()[0] == 2.0**63  # numeric becomes a float


def test_keys_come_with_the_table(base: str) -> None:
    engine = sa.create_engine(base.replace("postgresql", "postgresql+pg8000"))
    with engine.begin() as connection:
        for line in (
            "CREATE TABLE place (code INTEGER PRIMARY KEY, title TEXT)",
            "CREATE TABLE person (id INTEGER PRIMARY KEY, place INTEGER REFERENCES place (code), note NUMERIC(8, 2))",
            "INSERT INTO place VALUES (1, 'x'), (2, 'y')",
            "INSERT INTO person VALUES (10, 1, 2.50), (11, 2, 3.25), (12, NULL, NULL)",
        ):
            connection.execute(sa.text(line))
    engine.dispose()
    data, schema = read_source(base, table="person")
    assert schema.primary_key == "id"
    (key,) = schema.foreign_keys
    assert (key.column, key.parent, key.parent_column) == ("place", "place", "code")
    assert (str(data["place"].dtype), schema["note"].decimals) == ("Int64", 2)


def test_nothing_half_written(base: str) -> None:
    table = people()

    def breaks() -> Iterator[pd.DataFrame]:
        yield table.iloc[:50]
        raise KeyboardInterrupt

    schema = zoo.infer_schema(table)
    with pytest.raises(KeyboardInterrupt):
        write_sql(breaks(), schema, base, "people")
    with pytest.raises(DataError, match="has no table 'people'"):
        read_sql(base, "people")
    twice = pd.concat([table, table.iloc[:1]], ignore_index=True)
    with pytest.raises(DataError, match=r"(?i)unique"):
        write_sql(iter([twice]), schema.replace(primary_key="id"), base, "people")
    with pytest.raises(DataError, match="has no table 'people'"):
        read_sql(base, "people")
    written(table, base)
    with pytest.raises(DataError, match="table 'people' exists in"):
        written(table, base)
    assert len(read_sql(base, "people").data) == N
    with pytest.raises(DataError, match="has no table 'peple'; did you mean 'people'"):
        read_sql(base, "peple")
    with pytest.raises(DataError, match="name the table with --table"):
        read_sql(base, None)


def test_a_password_is_never_shown(server: str) -> None:
    for address in (
        server.replace("/postgres", "/none"),
        server.replace("127.0.0.1", "127.0.0.1:1", 1).rsplit(":", 1)[0],
    ):
        with pytest.raises(DataError) as raised:
            read_sql(address, "people")
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(DataError, match='database "none" does not exist'):
        read_sql(server.replace("/postgres", "/none"), "people")


def test_columns_without_a_type_and_bytes(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'odd.db'}"
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE odd (a, b, c, n INTEGER)"))
        connection.execute(sa.text("INSERT INTO odd VALUES (1, 1.5, 'x', 1), (2, NULL, 3, 2)"))
        connection.execute(sa.text("CREATE TABLE bytes (a BLOB)"))
        connection.execute(sa.text("CREATE TABLE wrong (n INTEGER)"))
        connection.execute(sa.text("INSERT INTO wrong VALUES ('many')"))
    engine.dispose()
    data = read_sql(address, "odd").data
    assert {c: str(t) for c, t in data.dtypes.items()} == {"a": "int64", "b": "float64", "c": "str", "n": "int64"}
    with pytest.raises(DataError, match=r"column 'a' of .* holds bytes"):
        read_sql(address, "bytes")
    with pytest.raises(DataError, match=r"column 'n' of .* holds a value that is not of its type"):
        read_sql(address, "wrong")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"postgresql\+psycopg needs a driver.*generative-zoo\[sql\]"):
        read_sql("postgresql+psycopg://host/base", "people")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'generative-zoo\[sql\]'"):
        read_sql("sqlite:///x.db", "people")


def test_what_is_an_address() -> None:
    assert is_address("sqlite:///x.db") and is_address("postgresql+psycopg://u@h/b")
    assert not any(map(is_address, ("data.csv", "s3://bucket/x.parquet", "hf://x", "c:/x", "https://x/y.csv")))
    with pytest.raises(OptionError, match="--table people is for SQL addresses"):
        read_source("data.csv", table="people")


def test_fit_and_sample_by_command_line(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(people(), base, primary_key="id")
    folder = str(tmp_path / "made")
    for arguments in (
        ["schema", base, "--table", "people"],
        ["fit", "tabular/gaussian_copula", base, "--table", "people", "-o", folder],
        ["sample", folder, "-n", "300", "--seed", "1", "-o", base, "--table", "synthetic"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code, capsys.readouterr().err
    assert "primary key" in capsys.readouterr().out
    made = read_sql(base, "synthetic")
    expected = zoo.load(folder).sample(300, seed=1)
    assert made.primary_key == "id"
    pd.testing.assert_frame_equal(made.data, expected)
