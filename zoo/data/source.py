"""Data and their schema from wherever they lie: a file, a folder or an SQL database, as a schema file says."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from zoo.data.form import native_form
from zoo.errors import OptionError
from zoo.schema import Schema

_ADDRESS = re.compile(
    r"(sqlite|postgresql|postgres|mysql|mariadb|oracle|mssql|duckdb|snowflake|cockroachdb|redshift)(\+\w+)?://"
)


def is_address(text: str) -> bool:
    """Whether a text is the SQLAlchemy address of a database."""
    return _ADDRESS.match(text) is not None


def read_source(
    source: str | Path, modality: str = "tabular", *, table: str | None = None, overrides: Any = None
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

    Returns
    -------
    data, schema
        The data conform to the schema.
    """
    in_base = is_address(str(source))
    if table is not None and not in_base:
        raise OptionError(f"--table {table} is for SQL addresses such as sqlite:///file.db; {source} is none")
    if modality == "tabular":
        return _read_tabular(str(source), table, overrides)
    if in_base:
        raise OptionError(f"SQL databases hold tables; data of modality {modality!r} come from a file")
    form = native_form(modality)
    native = form.read(str(source))
    return native, form.infer(native) if overrides is None else Schema.from_yaml(overrides)


def _read_tabular(source: str, table: str | None, overrides: Any) -> tuple[Any, Schema]:
    from zoo.data.table_io import read_table
    from zoo.data.table_overrides import conform, read_overrides
    from zoo.data.table_schema import infer_schema
    from zoo.data.table_sql import read_sql
    from zoo.data.tabular import check_shape

    given = {"columns": {}} if overrides is None else read_overrides(overrides)
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
