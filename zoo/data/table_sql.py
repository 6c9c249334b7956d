"""Tables from and to SQL databases by SQLAlchemy address, such as ``postgresql://me@host/base`` or ``sqlite:///file.db``.

Rows are fetched in chunks that become typed arrays at once, so that Python objects exist for one chunk only. Writing
is one transaction: another connection sees the whole table or none of it (a database that commits with each
``CREATE TABLE``, as MySQL does, may keep an empty one). Keys come with the table.

SQLAlchemy and a driver of PostgreSQL (pg8000) are the extra ``sql``; other databases need their own driver.
"""

import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import WriteOptions, write_csv

from zoo.data.table_csv import one_line
from zoo.data.table_values import arrow_type, frame, plain
from zoo.errors import DataError, MissingExtraError, ZooError, nearest
from zoo.schema import Column, ForeignKey, Schema

if TYPE_CHECKING:
    import sqlalchemy as sa

_FETCH_ROWS = 50_000
_INSERT_ROWS = 10_000


@dataclass(frozen=True)
class SqlTable:
    """A table of a database: its rows and what the database says of its keys."""

    data: pd.DataFrame
    primary_key: str | None
    foreign_keys: tuple[ForeignKey, ...]


def read_sql(address: str, table: str | None, *, chunk_rows: int = _FETCH_ROWS) -> SqlTable:
    """Read a table of a database.

    Parameters
    ----------
    address
        SQLAlchemy's; ``postgresql://`` takes the driver pg8000 unless another is named.
    table
        Its name, or ``schema.name``.
    chunk_rows
        Rows fetched at one time.

    Returns
    -------
    SqlTable
        Whole numbers are ``int64`` (``Int64`` with missing ones), numerics and reals ``float64``, times
        ``datetime64[us]`` (UTC where they carry a zone), intervals ``timedelta64[us]``, days ``datetime.date``, all
        else text.

    Raises
    ------
    MissingExtraError
        Without SQLAlchemy or the driver.
    DataError
        If the database cannot be reached, has no such table, or holds what no table here can.
    """
    with _engine(address) as (engine, shown):
        import sqlalchemy as sa

        found = _reflect(engine, table, shown)
        makers = {column.name: _reader(column, shown) for column in found.columns}
        parts: dict[str, list[Any]] = {name: [] for name in makers}
        rows = 0
        with engine.connect() as connection:
            options = {"stream_results": True, "yield_per": chunk_rows}
            # Seconds of intervals: pg8000 1.31 reads "-00:00:03" as three seconds.
            asked = [sa.extract("epoch", c).label(c.name) if _is_interval(c) else c for c in found.columns]
            for chunk in connection.execution_options(**options).execute(sa.select(*asked)).partitions():
                rows += len(chunk)
                for name, values in zip(makers, zip(*chunk)):
                    parts[name].append(_typed(makers[name], list(values), name, shown))
        for name, made in parts.items():
            parts[name] = made or [_typed(makers[name], [], name, shown)]
        data = frame({name: _finish(pd.concat(made, ignore_index=True)).array for name, made in parts.items()}, rows)
        primary = [c.name for c in found.primary_key.columns]
        foreign = tuple(
            ForeignKey(column=key.parent.name, parent=key.column.table.name, parent_column=key.column.name)
            for key in sorted(found.foreign_keys, key=lambda k: k.parent.name)
            if key.constraint is not None and len(key.constraint.columns) == 1
        )
        return SqlTable(data, primary[0] if len(primary) == 1 else None, foreign)


def write_sql(blocks: Iterable[pd.DataFrame], schema: Schema, address: str, table: str | None) -> None:
    """Write blocks of a table to a new table of a database, in one transaction.

    Parameters
    ----------
    blocks
        Tables of ``schema``; consumed one at a time.
    schema
        Decides types, which columns may be null, and the primary key.
    address, table
        As for :func:`read_sql`; the table must not exist.

    Raises
    ------
    MissingExtraError
        Without SQLAlchemy or the driver.
    DataError
        If the table exists, or the database cannot be reached or refuses a row; nothing is written then.
    """
    with _engine(address) as (engine, shown):
        import sqlalchemy as sa

        name, space = _split(table, shown)
        if sa.inspect(engine).has_table(name, schema=space):
            raise DataError(f"table {name!r} exists in {shown}; drop it, or choose another --table")
        columns = [
            sa.Column(
                c.name,
                _sql_type(plain(c), c, engine.dialect.name),
                nullable=c.nullable or (c.kind == "constant" and not c.categories),
                primary_key=c.name == schema.primary_key,
                autoincrement=False,
            )
            for c in schema
        ]
        target = sa.Table(name, sa.MetaData(), *columns, schema=space)
        copies = engine.dialect.name == "postgresql" and engine.dialect.driver == "pg8000"
        with engine.begin() as connection:
            target.create(connection)
            for block in blocks:
                rows = _arrow_rows(block, schema, native_intervals=engine.dialect.name == "postgresql")
                if copies:
                    _copy(connection, target, rows)
                    continue
                for part in rows.to_batches(_INSERT_ROWS):
                    if part.num_rows:
                        connection.execute(sa.insert(target), part.to_pylist())


@contextmanager
def _engine(address: str) -> Iterator[tuple["sa.Engine", str]]:
    """An engine, and how the address is shown (without its password); errors of the database are one line."""
    try:
        import sqlalchemy as sa
    except ImportError as error:
        raise MissingExtraError(
            "SQL databases need SQLAlchemy; install it with: pip install 'generative-zoo[sql]'"
        ) from error
    try:
        url = sa.make_url(address)
    except sa.exc.ArgumentError as error:
        raise DataError(f"this is no address of a database: {one_line(error)}") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+pg8000")
    shown = url.render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(url)
    except ImportError as error:
        raise MissingExtraError(
            f"{url.drivername} needs a driver that is not installed ({one_line(error)}); PostgreSQL's comes with: "
            "pip install 'generative-zoo[sql]'"
        ) from error
    except sa.exc.NoSuchModuleError as error:
        raise DataError(f"{shown}: {one_line(error)}; give an address such as sqlite:///file.db") from error
    if engine.dialect.name == "sqlite":
        _transactional(engine)
    drivers: Any = getattr(engine.dialect.loaded_dbapi, "Error", sa.exc.DBAPIError)  # COPY goes past SQLAlchemy
    try:
        yield engine, shown
    except ZooError:
        raise
    except (sa.exc.SQLAlchemyError, drivers) as error:
        cause = getattr(error, "orig", None) or error
        raise DataError(f"{shown}: {_said(cause)}") from error
    finally:
        engine.dispose()


def _said(error: BaseException) -> str:
    """What a driver says, in one line; pg8000 gives PostgreSQL's fields as a dictionary."""
    first = error.args[0] if error.args else None
    return one_line(Exception(first["M"])) if isinstance(first, dict) and "M" in first else one_line(error)


def _transactional(engine: "sa.Engine") -> None:
    """Python's driver of SQLite would commit with each CREATE TABLE; SQLAlchemy documents how to stop it."""
    import sqlalchemy as sa

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


def _split(table: str | None, shown: str) -> tuple[str, str | None]:
    if not table:
        raise DataError(f"{shown} is a database; name the table with --table NAME")
    space, _, name = table.rpartition(".")
    return name, space or None


def _reflect(engine: "sa.Engine", table: str | None, shown: str) -> "sa.Table":
    import sqlalchemy as sa

    inspector = sa.inspect(engine)
    space = table.rpartition(".")[0] or None if table else None
    known = [*inspector.get_table_names(schema=space), *inspector.get_view_names(schema=space)]
    if not table:
        raise DataError(f"{shown} is a database; name the table with --table; {nearest('', known)}")
    name, space = _split(table, shown)
    if name not in known:
        raise DataError(f"{shown} has no table {name!r}; {nearest(name, known)}")
    return sa.Table(name, sa.MetaData(), schema=space, autoload_with=engine, resolve_fks=True)


# Reading


def _reader(column: "sa.Column[Any]", shown: str) -> Any:
    """What makes a typed array of a list of the column's Python values."""
    import sqlalchemy as sa

    kind = column.type
    if isinstance(kind, sa.LargeBinary):
        raise DataError(f"column {column.name!r} of {shown} holds bytes; read a view without it")
    if isinstance(kind, sa.Boolean):
        return lambda values: pd.array(values, dtype="boolean")
    if isinstance(kind, sa.Integer):
        return lambda values: pd.array(values, dtype="Int64")
    if isinstance(kind, (sa.Numeric, sa.Float)):  # siblings since SQLAlchemy 2.1
        return lambda values: np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    if isinstance(kind, sa.Date):
        return lambda values: pd.Series(values, dtype=object)
    if isinstance(kind, (sa.DateTime, sa.TIMESTAMP)):
        utc = bool(getattr(kind, "timezone", False))
        return lambda values: pd.Series(pd.to_datetime(pd.Series(values, dtype=object), utc=utc)).dt.as_unit("us")
    if _is_interval(column):
        return _durations
    if isinstance(kind, sa.types.NullType):
        return _by_value
    return lambda values: pd.array([_text(v) for v in values], dtype="str")


def _is_interval(column: "sa.Column[Any]") -> bool:
    import sqlalchemy as sa

    return isinstance(column.type, sa.Interval) or type(column.type).__name__ == "INTERVAL"


def _durations(seconds: list[Any]) -> Any:
    micro = [None if s is None else round(s * 1_000_000) for s in seconds]
    return pd.array(micro, dtype="Int64").astype("timedelta64[us]")


def _by_value(values: list[Any]) -> Any:
    """Values of a column without a declared type, as SQLite allows."""
    present = [v for v in values if v is not None]
    if present and all(type(v) is int for v in present):
        return pd.array(values, dtype="Int64")
    if present and all(type(v) in (int, float) for v in present):
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return pd.array([_text(v) for v in values], dtype="str")


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.isoformat() if isinstance(value, (dt.time, dt.date)) else str(value)


def _typed(make: Any, values: list[Any], name: str, shown: str) -> pd.Series:
    try:
        return pd.Series(make(values), name=name)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"column {name!r} of {shown} holds a value that is not of its type: {one_line(error)}"
        ) from error


def _finish(values: pd.Series) -> pd.Series:
    """NumPy's types where nothing is missing."""
    if str(values.dtype) in ("Int64", "boolean") and not values.isna().any():
        return values.astype("int64" if str(values.dtype) == "Int64" else "bool")
    return values


# Writing


def _sql_type(column: Column, stored: Column, dialect: str) -> Any:
    import sqlalchemy as sa

    exact = arrow_type(stored.dtype)
    if exact is not None and pa.types.is_decimal(exact):
        return sa.Numeric(exact.precision, exact.scale)
    dtype = column.dtype.lower()
    if dtype in ("object", "category"):
        if column.kind == "date":
            return sa.Date()
        of = {bool: sa.Boolean, int: sa.BigInteger, float: sa.Double}
        found = {of.get(type(c), sa.Text) for c in column.categories}
        return found.pop()() if len(found) == 1 else sa.Text()
    if dtype.startswith("datetime64"):
        return sa.DateTime(timezone="," in dtype)
    if dtype.startswith("timedelta64"):
        return sa.Interval() if dialect == "postgresql" else sa.Double()
    if dtype == "uint64":
        return sa.Numeric(20, 0)
    if dtype.startswith(("int", "uint")):
        return sa.BigInteger() if dtype in ("int64", "uint32") else sa.Integer()
    if dtype.startswith("float"):
        return sa.Double()
    return sa.Boolean() if dtype in ("bool", "boolean") else sa.Text()


def _arrow_rows(block: pd.DataFrame, schema: Schema, native_intervals: bool) -> pa.Table:
    """A block as Arrow, in types whose Python values every driver takes: times to the microsecond, UTC."""
    columns = {}
    for column in schema:
        values = block[column.name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(object)
        array = pa.array(values, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_timestamp(array.type):
            array = array.cast(pa.timestamp("us", "UTC" if array.type.tz else None), safe=False)
        elif pa.types.is_duration(array.type):
            array = array.cast(pa.duration("us"), safe=False)
            if not native_intervals:
                seconds = array.cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6
                array = pa.array(seconds, from_pandas=True)
        columns[column.name] = array
    return pa.table(columns)


def _copy(connection: "sa.Connection", target: "sa.Table", rows: pa.Table) -> None:
    """PostgreSQL's COPY: many times faster than a statement a row. Text is quoted, and what is empty is null."""

    for i, field in enumerate(rows.schema):
        if pa.types.is_duration(field.type):
            micro = rows.column(i).cast(pa.int64()).cast(pa.string())
            text = pc.binary_join_element_wise(micro, "microseconds", " ")
            rows = rows.set_column(i, field.name, text)
    text = io.BytesIO()
    options = WriteOptions(include_header=False, quoting_style="needed")
    write_csv(rows, text, options)
    text.seek(0)
    quote = connection.dialect.identifier_preparer
    names = ", ".join(quote.quote(name) for name in rows.column_names)
    cursor: Any = connection.connection.cursor()
    cursor.execute(f"COPY {quote.format_table(target)} ({names}) FROM STDIN WITH (FORMAT csv)", stream=text)
