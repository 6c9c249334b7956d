"""Related tables from and to a folder: a file a table, whose name is the table's."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from zoo.data.table_io import read_table, write_table
from zoo.errors import DataError

_FILE = re.compile(r"(?P<name>[^.].*?)\.(csv|tsv|jsonl|ndjson)(\.gz)?$|(?P<plain>[^.].*?)\.(parquet|pq|arrow|feather)$")


def read_database(path: str | Path) -> dict[str, pd.DataFrame]:
    """The tables of a folder, in the order of their names; other files are left alone.

    Raises
    ------
    DataError
        If there is no folder, it holds no table, or one table twice.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; related tables are a folder with a CSV or Parquet file for each table")
    tables: dict[str, pd.DataFrame] = {}
    for name, file in _files(folder):
        if name in tables:
            raise DataError(f"{folder} holds table {name!r} twice ({file.name}); move one of the files away")
        tables[name] = read_table(file)
    if not tables:
        raise DataError(f"{folder} holds no tables; give a folder with a CSV or Parquet file for each table")
    return tables


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.iterdir()):
        found = _FILE.fullmatch(file.name)
        if found is not None and file.is_file():
            yield found["name"] or found["plain"], file


def holds_database(path: str | Path) -> bool:
    """Whether a path is a folder of several tables, and not of the parts of one (Parquet files of equal columns)."""
    folder = Path(path).expanduser()
    files = [file for _, file in _files(folder)] if folder.is_dir() else []
    if len(files) < 2 or any(file.suffix.lower() not in (".parquet", ".pq") for file in files):
        return len(files) > 1
    return len({tuple(pq.read_schema(file).names) for file in files}) > 1


def write_database(tables: Mapping[str, pd.DataFrame], path: str | Path) -> None:
    """Write each table as a file of a folder: Parquet, or CSV when the folder's name ends in ``.csv``.

    Each file appears complete or stays as it was.

    Raises
    ------
    DataError
        If the folder cannot be written, or a table's name cannot name a file.
    """
    folder = Path(path).expanduser()
    suffix = ".csv" if folder.suffix.lower() == ".csv" else ".parquet"
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; related tables are written to a folder")
    for name, table in tables.items():
        if name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise DataError(f"table {name!r} cannot name a file; rename it")
        write_table(table, folder / f"{name}{suffix}")
