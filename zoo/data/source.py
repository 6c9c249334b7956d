"""Data and their schema from wherever they lie: a file, a folder or an SQL database, as a schema file says."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from zoo.data.form import native_form
from zoo.errors import OptionError
from zoo.say import say
from zoo.schema import Schema

_ADDRESS = re.compile(
    r"(sqlite|postgresql|postgres|mysql|mariadb|oracle|mssql|duckdb|snowflake|cockroachdb|redshift)(\+\w+)?://"
)


def is_address(text: str) -> bool:
    """Whether a text is the SQLAlchemy address of a database."""
    return _ADDRESS.match(text) is not None


def read_source(
    source: str | Path,
    modality: str = "tabular",
    *,
    table: str | None = None,
    overrides: Any = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> tuple[Any, Schema]:
    """Read data and find their schema.

    Parameters
    ----------
    source
        A file or folder that the modality reads.
    modality
        Which native form.
    table
        For a database: the table's name.
    overrides
        What is known better of the schema, as the path of a YAML file: of tables in part (see
        :func:`zoo.infer_schema`), of other modalities the whole of it.
    max_rows
        Of Parquet, rows to draw at most; by default as many as take a quarter of the machine's memory. The schema is
        that of all rows, see :mod:`zoo.data.table_scan`.
    seed
        Of the rows drawn.

    Returns
    -------
    data, schema
        The data conform to the schema.
    """
    in_base = is_address(str(source))
    if table is not None and not in_base:
        raise OptionError(f"--table {table} is for SQL addresses such as sqlite:///file.db; {source} is none")
    if modality == "related" and (overrides is not None or max_rows is not None or in_base):
        raise OptionError(f"related tables are read whole from a folder, with no schema file; {source} is given")
    if modality == "tabular":
        return _read_tabular(str(source), table, overrides, max_rows, seed)
    if max_rows is not None:
        raise OptionError(f"--max-rows is for tables, not for data of modality {modality!r}")
    if in_base:
        raise OptionError(f"SQL databases hold tables; data of modality {modality!r} come from a file")
    form = native_form(modality)
    native = form.read(str(source))
    return native, form.infer(native) if overrides is None else Schema.from_yaml(overrides)


def _read_tabular(
    source: str, table: str | None, overrides: Any, max_rows: int | None, seed: int
) -> tuple[Any, Schema]:
    from zoo.data.table_io import read_table
    from zoo.data.table_overrides import conform, read_overrides
    from zoo.data.table_schema import infer_schema
    from zoo.data.table_sql import read_sql
    from zoo.data.tabular import check_shape

    drawn = None if is_address(source) else _draw(source, overrides, max_rows, seed)
    if drawn is not None:
        return drawn
    if max_rows is not None:
        raise OptionError(f"--max-rows is for Parquet, which {source} is not; write it as Parquet")
    given: dict[str, Any] = {"columns": {}} if overrides is None else read_overrides(overrides)
    dtypes = {n: c["dtype"] for n, c in given["columns"].items() if "dtype" in c}
    if is_address(source):
        found = read_sql(source, table)
        data = found.data
        if found.primary_key is not None:
            given.setdefault("primary_key", found.primary_key)
        if found.foreign_keys:
            given.setdefault("foreign_keys", [dataclasses.asdict(key) for key in found.foreign_keys])
    else:
        data = read_table(source, dtypes=dtypes)
    check_shape(data)
    schema = infer_schema(data, given)
    return conform(data, schema), schema


def _draw(source: str, overrides: Any, max_rows: int | None, seed: int) -> tuple[Any, Schema] | None:
    """Rows drawn from Parquet that is larger than is asked for, or than memory takes; None if it is not."""
    from zoo.data.table_overrides import conform
    from zoo.data.table_scan import farthest, parquet_size, scan_table, widened_schema

    size = parquet_size(source)
    if size is None or size[0] == 0:
        return None
    rows, held = size
    if max_rows is None:
        budget = _memory() // 4
        if held <= budget:
            return None
        max_rows = max(1, rows * budget // held)
    elif rows <= max_rows:
        return None
    say(
        f"{source} holds {rows:,} rows, about {held / 1e9:,.1f} GB in memory: one pass finds the schema of them all, "
        f"{max_rows:,} rows, drawn uniformly with seed {seed}, are learned from"
    )
    scan = scan_table(source, max_rows, seed=seed)
    far = farthest(scan)
    if far is not None:
        say(f"the drawn rows' distributions of numbers differ from the whole's by at most {far[1]:.2%} ({far[0]!r})")
    schema = widened_schema(scan, overrides)
    return conform(scan.sample, schema), schema


def _memory() -> int:
    """Bytes of the machine's memory; where it cannot be asked, 8 GB."""
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else 8 * 10**9
