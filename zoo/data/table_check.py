"""Whether a table conforms to a schema, and whether two tables are equal."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from zoo.conditions import bounds, to_number
from zoo.data.table_values import (
    DAY_FORMATS,
    ISO_FORMATS,
    STRING_DTYPES,
    arrow_strings,
    codes_of,
    is_textual,
    plain,
    plain_values,
)
from zoo.errors import SchemaError, nearest
from zoo.schema import Column, Schema


def check_table(data: Any, schema: Schema) -> None:
    """Check columns and their order, dtypes, missing values, categories, ranges and the uniqueness of keys.

    Raises
    ------
    SchemaError
        For the first violation; names the column and the offending value.
    """
    if not isinstance(data, pd.DataFrame):
        raise SchemaError(f"a table is a pandas.DataFrame, not {type(data).__name__}")
    check_columns(list(data.columns), schema)
    for column in schema:
        check_column(data[column.name], column)
        found_in_data = column.kind == "identifier" and column.pattern is not None
        if (found_in_data or column.name == schema.primary_key) and not data[column.name].is_unique:
            twice = data[column.name][data[column.name].duplicated()].iloc[0]
            raise SchemaError(
                f"column {column.name!r} identifies rows, but {twice!r} stands twice; drop the duplicates"
            )


def check_columns(names: list[Any], schema: Schema) -> None:
    """Check that a table has the schema's columns in its order; raises ``SchemaError``."""
    if names == schema.names:
        return
    known = set(schema.names)
    for name in schema.names:
        if name not in names:
            raise SchemaError(f"the table lacks column {name!r}; {nearest(name, names)}")
    for name in names:
        if name not in known:
            raise SchemaError(f"column {name!r} is not in the schema; {nearest(str(name), schema.names)}")
    if len(set(names)) < len(names):
        raise SchemaError(f"column {next(n for n in names if names.count(n) > 1)!r} stands twice; drop one of them")
    wrong = next((a, b) for a, b in zip(names, schema.names) if a != b)
    raise SchemaError(f"column {wrong[0]!r} stands where {wrong[1]!r} should; use df = df[schema.names]")


def check_column(values: pd.Series, column: Column) -> None:
    """Check one column's dtype, missing values, categories and range; raises ``SchemaError``."""
    where = f"column {column.name!r}"
    if str(values.dtype) != column.dtype:
        raise SchemaError(
            f"{where} has dtype {values.dtype}, the schema says {column.dtype}; "
            f"use df[{column.name!r}] = df[{column.name!r}].astype({column.dtype!r})"
        )
    values, column = plain_values(values), plain(column)
    missing = values.isna().to_numpy()
    if not column.nullable and missing.any():
        raise SchemaError(f"{where} has a missing value in row {int(np.argmax(missing))}, the schema allows none")
    if missing.all():
        return
    if column.is_discrete:
        _check_categories(values, column)
    elif column.kind == "text":
        _check_lengths(values, column)
    elif column.kind == "datetime" and column.dtype in STRING_DTYPES:
        _check_iso(values, column)
        _check_range(values, column, missing)
    elif column.is_numeric or column.is_time:
        _check_range(values, column, missing)


def _check_categories(values: pd.Series, column: Column) -> None:
    if isinstance(values.dtype, pd.CategoricalDtype):
        found = values.cat.categories.tolist()
        if column.categories and found != list(column.categories):
            other = [c for c in found if c not in column.categories] or found
            raise SchemaError(
                f"column {column.name!r} has categories {_listed(found)}, the schema {_listed(column.categories)}"
                f" ({other[0]!r} differs); use .cat.set_categories"
            )
        if values.cat.ordered != (column.kind == "ordinal"):
            raise SchemaError(f"column {column.name!r}: kind {column.kind!r} against ordered={values.cat.ordered}")
    codes = codes_of(values, column)
    unknown = codes == -2
    if unknown.any():
        value = values.iloc[int(np.argmax(unknown))]
        raise SchemaError(
            f"column {column.name!r}: unknown category {value!r}; {nearest(str(value), column.categories)}"
        )


def _listed(values: Any) -> str:
    shown = ", ".join(repr(v) for v in list(values)[:4])
    return f"[{shown}{', …' if len(values) > 4 else ''}]"


def _check_lengths(values: pd.Series, column: Column) -> None:
    if not is_textual(values):
        raise SchemaError(f"column {column.name!r} holds values that are no text; use .astype(str)")
    if column.minimum is None and column.maximum is None:
        return
    lengths = pc.min_max(pc.utf8_length(arrow_strings(values)))
    low, high = lengths["min"].as_py(), lengths["max"].as_py()
    if (column.minimum is not None and low < column.minimum) or (column.maximum is not None and high > column.maximum):
        raise SchemaError(
            f"column {column.name!r} has texts of {low} to {high} characters, "
            f"the schema allows {column.minimum} to {column.maximum}"
        )


def _check_iso(values: pd.Series, column: Column) -> None:
    pattern = column.pattern
    regex = ISO_FORMATS[pattern][0] if pattern in ISO_FORMATS else DAY_FORMATS.get(str(pattern), (None,))[0]
    if regex is None:
        known = nearest(str(pattern), [*ISO_FORMATS, *DAY_FORMATS])
        raise SchemaError(f"column {column.name!r}: unknown time pattern {pattern!r}; {known}")
    fits = pc.fill_null(pc.match_substring_regex(arrow_strings(values), regex), True)
    if not pc.all(fits).as_py():
        value = values[~np.asarray(fits)].iloc[0]
        raise SchemaError(f"column {column.name!r}: {value!r} is no time of the form {pattern}")


def _check_range(values: pd.Series, column: Column, missing: np.ndarray) -> None:
    try:
        numbers = to_number(values, column)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"column {column.name!r} holds a value that is no {column.kind}: {error}") from error
    low, high = bounds(column)
    if np.dtype(column.dtype).kind == "f" if column.dtype.startswith("float") else False:
        kind = np.dtype(
            column.dtype
        ).type  # a bound that the column's precision cannot write is rounded like the values
        low, high = float(kind(low)), float(kind(high))
    bad = ~missing & ~((numbers >= low) & (numbers <= high) & np.isfinite(numbers))
    if bad.any():
        value = values.iloc[int(np.argmax(bad))]
        shown = f"{value!r}" if isinstance(value, str) else f"{value}"
        raise SchemaError(
            f"column {column.name!r}: {shown} is outside {column.minimum} to {column.maximum}; clip it, "
            "or widen the schema's range"
        )
    if column.kind == "integer" and column.dtype.lower().startswith("float"):
        part = ~missing & (numbers != np.rint(numbers))
        if part.any():
            raise SchemaError(f"column {column.name!r}: {values.iloc[int(np.argmax(part))]} is no whole number")


def equal_tables(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Same columns, dtypes and values in the same order; missing equals missing, the index does not matter."""
    if list(a.columns) != list(b.columns) or len(a) != len(b):
        return False
    for name in a.columns:
        x, y = a[name], b[name]
        if x.dtype != y.dtype:
            return False
        if isinstance(x.dtype, pd.CategoricalDtype):
            if list(x.cat.categories) != list(y.cat.categories):
                return False
            if not np.array_equal(x.cat.codes.to_numpy(), y.cat.codes.to_numpy()):
                return False
        elif isinstance(x.dtype, pd.StringDtype):
            if not arrow_strings(x).equals(arrow_strings(y)):
                return False
        elif not x.array.equals(y.array) if hasattr(x.array, "equals") else not x.equals(y):
            return False
    return True
