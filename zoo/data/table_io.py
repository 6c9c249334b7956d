"""Tables from and to files: CSV, Parquet, Arrow and JSON lines, told apart by the suffix.

What can go wrong with a file (not there, empty, cut short, another encoding, a header that names a column twice) is one
``DataError`` that names the file and the remedy. Writing is atomic. Parquet and Arrow keep every dtype; CSV keeps what
its text says: numbers, booleans and text, where an empty field is a missing value and times stay text.
"""

import datetime as dt
import gzip
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from zoo.atomic import atomic_file
from zoo.data.table_csv import create_bytes, one_line, open_bytes, read_csv, refuse_twice, write_csv, wrong_encoding
from zoo.data.table_values import arrow_type
from zoo.errors import DataError, nearest

ACCEPTED = "a .csv, .tsv, .jsonl (each also with .gz), .parquet, .arrow or .feather file, or a folder of Parquet files"

_DTYPES = b"zoo.dtypes"  # key of the file's metadata
_PLAIN = (str, int, float)  # categories that JSON can write; bool is an int
_JSON_ROWS = 10_000  # rows that are Python objects at one time


def read_table(path: str | Path, *, dtypes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv``, ``.jsonl`` (or ``.ndjson``; each also with ``.gz``), ``.parquet``, ``.arrow`` or
        ``.feather`` file, or a folder of Parquet files. Text is UTF-8, with or without a byte-order mark.
    dtypes
        Columns of a text file that are to be read as text: those whose dtype is ``str``, ``string`` or ``object``.

    Returns
    -------
    pandas.DataFrame
        With a ``RangeIndex``; a named index that was stored becomes columns again, an unnamed one is dropped. It may
        have no rows.

    Raises
    ------
    DataError
        For a file that is missing, empty, damaged, not readable, in another encoding or of an unknown type; for rows
        that are longer or shorter than the header, and for column names that are empty or stand twice.
    """
    source = Path(path).expanduser()
    try:
        if source.is_dir():
            table = _read_folder(source)
        else:
            reader = _by_suffix(source, _READERS)
            if source.stat().st_size == 0:
                raise DataError(f"{source} is empty; give a file with a header and rows")
            texts = {name for name, dtype in (dtypes or {}).items() if dtype in ("str", "string", "object")}
            table = reader(source, texts) if reader in _CSV else reader(source)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {source}{_siblings(source)}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{source} is no complete gzip file ({error}); fetch or compress it again") from error
    except pa.ArrowException as error:
        raise DataError(f"{source} is damaged or no {_kind(source)} file: {one_line(error)}; write it again") from error
    except OSError as error:
        if error.errno is None:  # Arrow's own, about what the file holds
            raise DataError(
                f"{source} is damaged or no {_kind(source)} file: {one_line(error)}; write it again"
            ) from error
        raise DataError(f"cannot read {source}: {error.strerror}; give a file that you may read") from error
    refuse_twice(table.columns, str(source))
    return table


def write_table(data: pd.DataFrame, path: str | Path) -> None:
    """Write a table; the file appears complete or stays as it was.

    Parameters
    ----------
    data
        The table; its index is no data and is left out.
    path
        Suffixes as for :func:`read_table`. JSON lines write times as ISO 8601 text and missing values as null.

    Raises
    ------
    DataError
        For an unknown suffix, column names that stand twice, a value that the format cannot hold, a folder that cannot
        be written, a full disk.
    """
    target = Path(path).expanduser()
    writer = _by_suffix(target, _WRITERS)
    refuse_twice(data.columns, "the table")
    with atomic_file(str(target)) as temporary:
        try:
            writer(data, temporary)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeEncodeError) as error:
            raise DataError(
                f"the table cannot be written to {target}: {one_line(error)}; cast that column first"
            ) from error


def _by_suffix(path: Path, table: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    name = path.name.lower()
    for suffix in sorted(table, key=len, reverse=True):
        if name.endswith(suffix):
            return table[suffix]
    if not path.suffix and path.parent.is_dir() and not path.exists():
        raise DataError(f"there is no {path}{_siblings(path)}; give {ACCEPTED}")
    raise DataError(f"{path} is of an unknown type {path.suffix!r}; give {ACCEPTED}")


def _kind(path: Path) -> str:
    return "Parquet" if path.is_dir() or path.suffix.lower() in (".parquet", ".pq") else "Arrow"


def _siblings(path: Path) -> str:
    """What is near, for the end of a message about a missing file."""
    try:
        names = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    except OSError:
        return f", nor a folder {path.parent}"
    return f"; {nearest(path.name, names)}" if names else f"; {path.parent} is an empty folder"


# Parquet and Arrow


def _read_folder(folder: Path) -> pd.DataFrame:
    files = [p for p in folder.rglob("*") if p.suffix.lower() in (".parquet", ".pq")]
    if not any(not p.name.startswith((".", "_")) for p in files):
        raise DataError(f"folder {folder} holds no .parquet file; give {ACCEPTED}")
    return frame_of(pq.read_table(folder, partitioning="hive"), str(folder))


def _read_parquet(path: Path) -> pd.DataFrame:
    with pq.ParquetFile(path) as file:
        return frame_of(file.read(), str(path))


def _read_arrow(path: Path) -> pd.DataFrame:
    with pa.OSFile(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        opened = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        return frame_of(opened.read_all(), str(path))


def frame_of(table: pa.Table, where: str) -> pd.DataFrame:
    """pandas' table, with the dtypes it was written with."""
    refuse_twice(table.column_names, where)
    metadata = table.schema.metadata or {}
    out = table.to_pandas()
    if not isinstance(out.index, pd.RangeIndex) and all(name is not None for name in out.index.names):
        out = out.reset_index()
    out = out.set_axis(pd.RangeIndex(len(out)), axis=0)
    stored = json.loads(metadata.get(_DTYPES, b"{}"))
    return out.assign(**{n: _restore(out[n], about) for n, about in stored.items() if n in out})


def to_arrow(data: pd.DataFrame) -> pa.Table:
    """A table for a Parquet or Arrow file; what these formats would change of the dtypes stands in its metadata."""
    table = pa.Table.from_pandas(data, preserve_index=False)
    dtypes: dict[str, Any] = {}
    for name in data.columns:
        dtype = data[name].dtype
        dtypes[name] = {"dtype": str(dtype)}
        if isinstance(dtype, pd.CategoricalDtype) and all(isinstance(c, _PLAIN) for c in dtype.categories.tolist()):
            listed = {"categories": dtype.categories.tolist(), "of": str(dtype.categories.dtype)}
            dtypes[name] |= {**listed, "ordered": bool(dtype.ordered)}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _DTYPES: json.dumps(dtypes)})


def _restore(values: pd.Series, about: dict[str, Any]) -> pd.Series:
    """Parquet has no seconds and no categories but text, pandas reads objects as text."""
    if about["dtype"] == "category":
        if "categories" not in about:
            return values
        of = pd.Index(about["categories"], dtype=about["of"])
        return values.astype(pd.CategoricalDtype(of, ordered=about["ordered"]))
    if str(values.dtype) == about["dtype"]:
        return values
    if about["dtype"].endswith("[pyarrow]"):
        return values.astype(pd.ArrowDtype(arrow_type(about["dtype"])))
    restored = values.astype(about["dtype"])
    return restored.where(values.notna(), None) if about["dtype"] == "object" else restored


def _write_parquet(data: pd.DataFrame, path: str) -> None:
    pq.write_table(to_arrow(data), path, compression="zstd")


def _write_arrow(data: pd.DataFrame, path: str) -> None:
    table = to_arrow(data)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


# JSON lines


def _read_json(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                rows.append(_json_row(line.decode("utf-8-sig" if number == 1 else "utf-8")))
            except UnicodeDecodeError as error:
                raise wrong_encoding(path) from error
            except ValueError as error:
                raise DataError(f"{path}: line {number} is no JSON object ({one_line(error)}); correct it") from error
    if not rows:
        raise DataError(f"{path} holds no rows; give one JSON object a line")
    return pd.DataFrame(rows)


def _json_row(line: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    row = json.loads(line, object_pairs_hook=unique)
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__} instead of an object")
    return row


def _write_json(data: pd.DataFrame, path: str) -> None:
    with create_bytes(path) as file:
        for start in range(0, len(data), _JSON_ROWS):
            for row in to_arrow(data.iloc[start : start + _JSON_ROWS]).to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=_as_json).encode() + b"\n")


def _as_json(value: Any) -> Any:
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _read_commas(path: Path, texts: Collection[str] = ()) -> pd.DataFrame:
    return read_csv(path, ",", texts)


def _read_tabs(path: Path, texts: Collection[str] = ()) -> pd.DataFrame:
    return read_csv(path, "\t", texts)


def _csv_writer(separator: str) -> Callable[[pd.DataFrame, str], None]:
    return lambda data, path: write_csv(data, path, separator)


_CSV = (_read_commas, _read_tabs)
_READERS: dict[str, Callable[..., pd.DataFrame]] = {
    **{f"{s}{z}": read for s, read in ((".csv", _read_commas), (".tsv", _read_tabs)) for z in ("", ".gz")},
    **{f"{s}{z}": _read_json for s in (".jsonl", ".ndjson") for z in ("", ".gz")},
    **dict.fromkeys((".parquet", ".pq"), _read_parquet),
    **dict.fromkeys((".arrow", ".feather"), _read_arrow),
}
_WRITERS: dict[str, Callable[[pd.DataFrame, str], None]] = {
    **{f"{s}{z}": _csv_writer(c) for s, c in ((".csv", ","), (".tsv", "\t")) for z in ("", ".gz")},
    **{f"{s}{z}": _write_json for s in (".jsonl", ".ndjson") for z in ("", ".gz")},
    **dict.fromkeys((".parquet", ".pq"), _write_parquet),
    **dict.fromkeys((".arrow", ".feather"), _write_arrow),
}
