"""Tables from and to files: round trips, and one clear error for each thing that can be wrong with a file."""

import datetime as dt
import gzip
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from zoo.data.table_check import equal_tables
from zoo.data.table_io import read_table, write_table
from zoo.errors import DataError

N = 4
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lists(values: st.SearchStrategy[Any], missing: Any = ...) -> st.SearchStrategy[list[Any]]:
    return st.lists(values if missing is ... else st.one_of(st.just(missing), values), min_size=N, max_size=N)


def ints(dtype: str) -> st.SearchStrategy[pd.Series]:
    info = np.iinfo(dtype.lower())
    some = lists(st.integers(int(info.min), int(info.max)), *([pd.NA] if dtype[0] in "IU" else []))
    return some.map(lambda v: pd.Series(pd.array(v, dtype=dtype)))


def times(dtype: str) -> st.SearchStrategy[pd.Series]:
    moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
    return lists(moments, pd.NaT).map(lambda v: pd.Series(v, dtype="datetime64[us]").astype(dtype))


FLOATS = st.floats(allow_infinity=False, allow_nan=False)
COLUMNS: dict[str, st.SearchStrategy[pd.Series]] = {
    **{d: ints(d) for d in ("int8", "int64", "uint64", "Int32", "Int64", "UInt8")},
    "float64": lists(FLOATS, np.nan).map(lambda v: pd.Series(v, dtype="float64")),
    "float32": lists(st.floats(width=32, allow_infinity=False), np.nan).map(lambda v: pd.Series(v, dtype="float32")),
    "Float64": lists(FLOATS, pd.NA).map(lambda v: pd.Series(pd.array(v, dtype="Float64"))),
    "bool": lists(st.booleans()).map(lambda v: pd.Series(v, dtype="bool")),
    "boolean": lists(st.booleans(), pd.NA).map(lambda v: pd.Series(pd.array(v, dtype="boolean"))),
    "str": lists(TEXT, None).map(lambda v: pd.Series(v, dtype="str")),
    "string": lists(TEXT, pd.NA).map(lambda v: pd.Series(v, dtype="string")),
    "object text": lists(TEXT, None).map(lambda v: pd.Series(v, dtype="object")),
    "object bool": lists(st.booleans(), None).map(lambda v: pd.Series(v, dtype="object")),
    "object date": lists(st.dates(), None).map(lambda v: pd.Series(v, dtype="object")),
    "category": lists(st.sampled_from(["b", "a", ""]), None).map(
        lambda v: pd.Series(pd.Categorical(v, categories=["b", "", "a", "unused"]))
    ),
    "ordered": lists(st.sampled_from([2, 10, 1]), None).map(
        lambda v: pd.Series(pd.Categorical(v, categories=[10, 1, 2, 7], ordered=True))
    ),
    "float category": lists(st.sampled_from([0.1, -2.0]), None).map(lambda v: pd.Series(pd.Categorical(v))),
    "bool category": lists(st.booleans()).map(lambda v: pd.Series(pd.Categorical(v, categories=[True, False]))),
    **{d: times(d) for d in ("datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]")},
    "zoned": lists(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1)), pd.NaT).map(
        lambda v: pd.Series(pd.to_datetime(v, utc=True)).dt.tz_convert("Europe/Zurich")
    ),
    "timedelta64[s]": lists(st.integers(-(10**6), 10**6)).map(lambda v: pd.Series(v).astype("timedelta64[s]")),
    "timedelta64[ns]": lists(st.integers(-(10**15), 10**15)).map(lambda v: pd.Series(v).astype("timedelta64[ns]")),
}
TABLES = st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({n: COLUMNS[n] for n in names}).map(pd.DataFrame)
)


# Round trips


@quick
@given(table=TABLES)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_parquet_and_arrow_keep_every_dtype(suffix: str, table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    before = table.copy(deep=True)
    write_table(table, path)
    pd.testing.assert_frame_equal(table, before)
    read = read_table(path)
    pd.testing.assert_frame_equal(read, table)
    assert equal_tables(read, table)
    write_table(table.iloc[:0], path)
    assert read_table(path).dtypes.equals(table.dtypes)


@pytest.mark.parametrize("name", sorted(COLUMNS))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parquet_keeps_each_dtype(name: str, data: st.DataObject, tmp_path: Path) -> None:
    table = pd.DataFrame({"x": data.draw(COLUMNS[name])})
    write_table(table, tmp_path / "t.pq")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.pq"), table)


# Words that no reader takes for a number, a truth or a missing value; the last one is missing in a column of numbers.
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).map(
    lambda t: "w" + t
)
PLAIN = st.fixed_dictionaries(
    {
        "whole": lists(st.integers(-(2**63), 2**63 - 1)).map(lambda v: pd.Series(v, dtype="int64")),
        "part": lists(FLOATS, np.nan).map(lambda v: pd.Series([0.5, *v[1:]], dtype="float64")),
        'a "quoted", name': lists(st.one_of(WORD, st.sampled_from(["NA", "None", "nan"])), None).map(
            lambda v: pd.Series(["word", *v[1:]], dtype="str")
        ),
        "truth": lists(st.booleans()).map(lambda v: pd.Series(v, dtype="bool")),
        "last": lists(WORD, None).map(lambda v: pd.Series(["word", *v[1:]], dtype="str")),
    }
).map(pd.DataFrame)


@quick
@given(table=PLAIN)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".jsonl", ".jsonl.gz"])
def test_text_formats_keep_numbers_truths_and_words(suffix: str, table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(table, path)
    pd.testing.assert_frame_equal(read_table(path), table)


def test_json_lines_write_times_as_iso_and_missing_as_null(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "when": pd.to_datetime(["2024-02-29 12:00:01", None]),
            "day": pd.Series([dt.date(2024, 2, 29), None], dtype=object),
            "took": pd.to_timedelta([1500, None], unit="ms"),
            "kind": pd.Categorical(["ä", None]),
            "n": pd.array([2**60 + 1, None], dtype="Int64"),
        }
    )
    write_table(table, tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text(encoding="utf-8") == (
        '{"when": "2024-02-29T12:00:01", "day": "2024-02-29", "took": 1.5, "kind": "ä", "n": 1152921504606846977}\n'
        '{"when": null, "day": null, "took": null, "kind": null, "n": null}\n'
    )


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    for suffix in (".csv", ".csv.gz", ".tsv", ".jsonl.gz", ".parquet", ".arrow"):
        for name in ("one", "two"):
            write_table(table, tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes(), suffix


def test_a_named_index_comes_back_as_columns_and_an_unnamed_one_is_dropped(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    table.to_parquet(tmp_path / "named.parquet")
    assert read_table(tmp_path / "named.parquet").to_dict("list") == {"key": ["x", "y"], "a": [1, 2]}
    table.rename_axis(None).to_parquet(tmp_path / "unnamed.parquet")
    assert read_table(tmp_path / "unnamed.parquet").to_dict("list") == {"a": [1, 2]}
    write_table(table, tmp_path / "ours.parquet")  # an index is no data
    assert list(read_table(tmp_path / "ours.parquet")) == ["a"]


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    for i in range(3):
        write_table(pd.DataFrame({"a": [i, i + 10]}), tmp_path / "parts" / f"part-{i}.parquet")
    (tmp_path / "parts" / "_SUCCESS").write_text("")
    assert read_table(tmp_path / "parts")["a"].tolist() == [0, 10, 1, 11, 2, 12]


def test_arrow_streams_are_read(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    with pa.OSFile(str(tmp_path / "s.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    assert read_table(tmp_path / "s.arrow")["a"].tolist() == [1, 2]


def test_csv_reads_what_people_write(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfn,code,mixed\r\n1,NA,NA\r\nNA,CH,x\r\n\r\n2.5,"a\nb",\r\n')
    table = read_table(path)
    assert list(table) == ["n", "code", "mixed"]  # the byte-order mark is no part of the name
    assert table["n"].tolist()[::2] == [1.0, 2.5] and table["n"].isna().tolist() == [False, True, False]
    assert table["code"].tolist() == ["NA", "CH", "a\nb"]  # text stays text
    assert table["mixed"].tolist()[:2] == ["NA", "x"] and table["mixed"].isna().tolist() == [False, False, True]
    path.write_text("when,zip\n2024-01-01,00123\n")
    assert read_table(path)["when"].tolist() == ["2024-01-01"]
    path.write_text("a,b\n")
    assert read_table(path).shape == (0, 2)


# What may be wrong with a file


def refused(path: Path, *words: str) -> str:
    with pytest.raises(DataError) as raised:
        read_table(path)
    message = str(raised.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    return message


def test_missing_files_show_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    refused(tmp_path / "dta.csv", "there is no file", "dta.csv", "did you mean 'data.csv'")
    refused(tmp_path / "data", "data.csv", ".parquet")
    refused(tmp_path / "none" / "x.csv", "there is no file", "nor a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty" / "x.parquet", "empty folder")


def test_unreadable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "x.csv", "cannot read", "Not a directory")


def test_unknown_types(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"PK")
    refused(path, "t.xlsx", "unknown type '.xlsx'", ".csv", ".parquet")
    with pytest.raises(DataError, match=r"unknown type '\.xlsx'"):
        write_table(pd.DataFrame({"a": [1]}), path)
    assert path.read_bytes() == b"PK"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet", ".arrow"])
def test_empty_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"")
    refused(path, str(path), "is empty")


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv.gz", ".jsonl.gz"])
def test_cut_gzip(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write_table(pd.DataFrame({"a": np.arange(1000)}), path)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, str(path), "no complete gzip file")
    path.write_bytes(b"a,b\n1,2\n")
    refused(path, str(path), "no complete gzip file")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_cut_and_foreign_columnar_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write_table(pd.DataFrame({"a": np.random.default_rng(0).normal(size=1000)}), path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-1], whole[100:], b"a,b\n1,2\n", b"PAR1", b"ARROW1"):
        path.write_bytes(content)
        refused(path, str(path), "is damaged")


def test_damaged_pages_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(pd.DataFrame({"a": np.random.default_rng(0).normal(size=5000)}), path)
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)
    refused(path, str(path), "is damaged")


def test_folders_without_data(tmp_path: Path) -> None:
    refused(tmp_path, "holds no .parquet file")
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "_metadata.parquet").write_bytes(b"")
    refused(tmp_path, "holds no .parquet file", ".csv")
    (tmp_path / "p.parquet").write_bytes(b"nothing")
    refused(tmp_path, "is damaged")


def test_names_that_stand_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,a\n1,2,3\n")
    refused(path, str(path), "column 'a' twice")
    path.write_text('"a","x\ny",a\n1,2,3\n')
    refused(path, "column 'a' twice")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", "column 'a' twice")
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 1, "a": 2}\n')
    refused(tmp_path / "t.jsonl", "line 2", "a key stands twice")
    with pytest.raises(DataError, match="column 'a' twice"):
        write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n\n", ["has no header"]),
        (",a\n0,1\n", ["column 1 has no name", "index=False"]),
        ("a,b\n1,2,3\n", ["the header names 2 columns, the first row has 3 fields"]),
        ("a,b\n1\n", ["the header names 2 columns, the first row has 1 field"]),
        ("a,b\n1,2\n3,4,5\n", ["no valid CSV", "line 3"]),
        ("a,b\n1,2\n3,4\n5", ["line 4 has 1 fields", "cut"]),
        ('a,b\n1,"2\n3,4\n', ["no valid CSV"]),
    ],
)
def test_rows_that_do_not_fit_the_header(content: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    refused(path, str(path), *words)


def test_other_encodings_name_the_byte_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{i},Genf\n" for i in range(5000))
    path.write_bytes(f"n,city\n{rows}1,Zürich\n".encode("latin-1"))
    at = len(f"n,city\n{rows}1,Z")
    refused(path, "not UTF-8", "byte 0xfc", "line 5002", f"at byte {at}", "latin-1")
    path.write_text("a,b\n1,2\n", encoding="utf-16")
    refused(path, "not UTF-8", "line 1, at byte 0")
    path.write_bytes("a,b\n1,ü".encode()[:-1])
    refused(path, "not UTF-8", "ends inside a character")
    path = tmp_path / "t.jsonl"
    path.write_bytes('{"a": "x"}\n{"a": "ü"}\n'.encode("latin-1"))
    refused(path, "not UTF-8", "byte 0xfc", "line 2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1}\n{"a": 2\n', ["line 2", "no JSON object"]),
        ('{"a": 1}\n[2]\n', ["line 2", "list instead of an object"]),
        ("\n\n", ["holds no rows"]),
    ],
)
def test_broken_json_lines(content: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    refused(path, str(path), *words)


# What may be wrong when writing

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet", ".arrow")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folders_that_cannot_be_written(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/t.*; choose a writable folder"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "file" / f"t{suffix}")


@contextmanager
def nearly_full(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    small = pd.DataFrame({"a": [1.5]})
    write_table(small, path)
    before = path.read_bytes()
    big = pd.DataFrame({"a": np.random.default_rng(0).normal(size=100_000)})
    with nearly_full(50_000), pytest.raises(DataError, match=r"cannot write .*t\..*free some space"):
        write_table(big, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_values_that_the_format_cannot_hold(tmp_path: Path) -> None:
    mixed = pd.DataFrame({"x": pd.Series([1, "a"], dtype=object)})
    for suffix in (".parquet", ".arrow", ".jsonl"):
        with pytest.raises(DataError, match="cannot be written") as raised:
            write_table(mixed, tmp_path / f"t{suffix}")
        assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_is_made_and_the_file_is_as_open_as_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "t.csv"
    write_table(pd.DataFrame({"a": [1]}), path)
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_gzip_is_gzip(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.csv.gz")
    assert gzip.decompress((tmp_path / "t.csv.gz").read_bytes()) == b"a\n1\n"


# Codes that look like numbers


def test_csv_keeps_leading_zeros_and_numbers_that_no_type_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "zip,account,n,when,part\n01234,12345678901234567890123,1,00:05,0.5\n98765,1,,07:30,00\n,2,3,,1.5\n"
    )
    table = read_table(path)
    assert table["zip"].tolist()[:2] == ["01234", "98765"] and table["zip"].isna().tolist() == [False, False, True]
    assert table["account"].tolist() == ["12345678901234567890123", "1", "2"]
    assert table["n"].dtype == "float64" and table["when"].tolist()[:2] == ["00:05", "07:30"]
    path.write_text("a,b\n0,10\n1,0\n")
    assert read_table(path).dtypes.tolist() == ["int64", "int64"]  # a zero alone is a number
    path.write_text('a\tb\n"007"\t1\n"010"\t2\n')
    path.rename(tmp_path / "t.tsv")
    assert read_table(tmp_path / "t.tsv")["a"].tolist() == ["007", "010"]


def test_zeros_are_found_across_the_borders_of_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.data import table_csv

    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n01234,5\n")
    for size in range(1, 12):
        monkeypatch.setattr(table_csv, "_CHUNK", size)
        assert read_table(tmp_path / "t.csv")["a"].tolist() == ["1", "3", "01234"], size


def test_columns_can_be_asked_as_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\nNA,3\n")
    table = read_table(tmp_path / "t.csv", dtypes={"a": "str", "b": "int64"})
    assert table["a"].tolist() == ["1", "NA"] and table["b"].dtype == "int64"


def test_whole_numbers_as_objects_get_advice_that_helps() -> None:
    from zoo.data.table_schema import infer_column

    for values, cure in (([1, 2], "pd.to_numeric"), ([10**30, 1], r"astype\(str\)")):
        with pytest.raises(DataError, match=cure):
            infer_column(pd.Series(values, dtype=object, name="x"))
