"""A schema of a table that a person overrules in part: what is said wins, what is not said is found in the data.

A kind that is not the inferred one brings its own details: categories of a ``category``, range of a number, pattern of
an ``identifier``. What the data contradict (text as numbers, repeating values as identifiers) is refused in one line.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zoo.data.table_patterns import identifier_pattern, integer_pattern
from zoo.data.table_schema import (
    AUTO,
    check_type,
    describe_numbers,
    describe_texts,
    infer_column,
    infer_durations,
    infer_times,
    iso_times,
    missing_together,
    number_type,
)
from zoo.data.table_values import arrow_strings, category_dtype, detect_times, plain_values
from zoo.errors import SchemaError, nearest
from zoo.schema import KINDS, Column, Schema
from zoo.schema_yaml import read_fields, read_yaml

# Fields that only some kinds have; the others belong to all.
_ONLY = {
    "categories": {"boolean", "category", "ordinal", "constant"},
    "names": {"boolean", "category", "ordinal", "constant"},
    "minimum": {"integer", "float", "datetime", "date", "duration", "text"},
    "maximum": {"integer", "float", "datetime", "date", "duration", "text"},
    "decimals": {"float"},
    "masses": {"integer", "float"},
    "pattern": {"category", "ordinal", "constant", "datetime", "duration", "identifier", "text"},
}


def overruled_schema(data: pd.DataFrame, overrides: Any) -> Schema:
    """See :func:`zoo.data.table_schema.infer_schema`, which calls this."""
    about = read_overrides(overrides)
    given = about.pop("columns")
    for name in given:
        if name not in data.columns:
            raise SchemaError(f"schema: the table has no column {name!r}; {nearest(name, map(str, data.columns))}")
    if about.pop("modality", "tabular") != "tabular":
        raise SchemaError("schema: a table's modality is 'tabular'")
    columns = [overruled_column(data[name], given.get(name, {})) for name in data.columns]
    plain = {**about, "modality": "tabular", "columns": []}
    told = Schema.from_dict({k: v for k, v in plain.items() if k in ("modality", "columns", "shape", "private")})
    rest = {k: v for k, v in plain.items() if k not in ("modality", "columns", "shape", "private")}
    whole = Schema.from_dict({**rest, "modality": "tabular", "columns": [c.to_dict() for c in columns]})
    return whole.replace(columns=missing_together(data, columns), private=told.private, shape=told.shape)


def read_overrides(overrides: Any) -> dict[str, Any]:
    """Overrides in any form as a mapping whose ``columns`` are a mapping of names to fields."""
    if isinstance(overrides, (str, os.PathLike)):
        return read_yaml(overrides)
    if isinstance(overrides, Schema):
        overrides = overrides.to_dict()
        overrides["columns"] = {c.pop("name"): c for c in overrides["columns"]}
    if not isinstance(overrides, Mapping):
        raise SchemaError(f"schema: overrides are a mapping or the path of a YAML file, not {type(overrides).__name__}")
    if "columns" not in overrides:
        overrides = {"columns": overrides}
    columns = {
        name: fields.to_dict() if isinstance(fields, Column) else fields
        for name, fields in dict(overrides["columns"]).items()
    }
    for fields in columns.values():
        if isinstance(fields, dict):
            fields.pop("name", None)
    return {**overrides, "columns": {name: read_fields(name, fields) for name, fields in columns.items()}}


def overruled_column(values: pd.Series, given: Mapping[str, Any]) -> Column:
    """The column of some values, of which some fields are given."""
    if not given:
        return infer_column(values)
    name, where = values.name, f"schema: column {values.name!r}"
    if given.get("dtype", str(values.dtype)) != str(values.dtype):
        values = cast(values, str(given["dtype"]))
    kind = given.get("kind")
    if kind is not None and kind not in KINDS:
        raise SchemaError(f"{where}: unknown kind {kind!r}; {nearest(str(kind), KINDS)}")
    column = infer_column(values, given.get("pii", AUTO))
    kind = kind or column.kind
    for key, kinds in _ONLY.items():
        if key in given and kind not in kinds:
            raise SchemaError(f"{where}: kind {kind!r} has no {key}; remove that line, or change the kind")
    if kind != column.kind:
        told = given.get("pii", AUTO)
        column = as_kind(values, kind, None if told == AUTO else told)
    if column.nullable and given.get("nullable") is False:
        raise SchemaError(f"{where}: nullable is false, and row {int(values.isna().argmax())} is missing")
    found: dict[str, Any] = {k: v for k, v in given.items() if k != "dtype"}
    return Column(**{**{f.name: getattr(column, f.name) for f in dataclasses.fields(column)}, **found, "name": name})


def as_kind(values: pd.Series, kind: str, personal: str | None) -> Column:
    """A column of the kind that a person asks for, described as that kind needs."""
    stored, name = str(values.dtype), str(values.name)
    values = plain_values(values)
    about: dict[str, Any] = {"name": name, "dtype": stored, "nullable": bool(values.isna().any())}
    holds, present = check_type(values), values.dropna()

    def impossible(why: str) -> SchemaError:
        return SchemaError(f"schema: column {name!r} cannot be of kind {kind!r}: {why}")

    if not len(present):
        raise impossible("all its values are missing; it is a constant")
    if kind in ("category", "ordinal", "boolean", "constant"):
        return _as_discrete(values, kind, about, impossible)
    if kind in ("integer", "float"):
        if holds not in ("integer", "float"):
            raise impossible(f"it holds {holds} values such as {present.iloc[0]!r}")
        numbers = present.to_numpy(dtype=number_type(values.dtype))
        if kind == "integer" and holds == "float" and (numbers != np.rint(numbers)).any():
            raise impossible(f"{numbers[numbers != np.rint(numbers)][0]} is no whole number")
        return describe_numbers(numbers, kind, about)
    if kind in ("datetime", "date"):
        if holds == kind:
            return infer_times(present, kind, about)
        iso = detect_times(arrow_strings(present)) if holds == "string" and kind == "datetime" else None
        if iso is None:
            raise impossible(f"it holds {holds} values such as {present.iloc[0]!r}; use pd.to_datetime first")
        return iso_times(arrow_strings(present), iso, about)
    if kind == "duration":
        if holds != kind:
            raise impossible(f"it holds {holds} values such as {present.iloc[0]!r}; use pd.to_timedelta first")
        return infer_durations(present, about)
    if kind == "text":
        if holds != "string":
            raise impossible(f"it holds {holds} values such as {present.iloc[0]!r}; use .astype(str) first")
        return describe_texts(arrow_strings(values), about, personal)
    return _as_identifier(values, present, holds, about, personal, impossible)


def _as_discrete(values: pd.Series, kind: str, about: dict[str, Any], impossible: Any) -> Column:
    if isinstance(values.dtype, pd.CategoricalDtype):
        found = values.cat.categories.tolist()
        pattern = infer_column(values).pattern
    else:
        found, pattern = sorted(values.dropna().unique().tolist()), None
    if not all(isinstance(v, (str, int, float)) for v in found):
        raise impossible(f"values such as {found[0]!r} are no categories; use .astype(str) first")
    if kind == "boolean" and len(found) > 2:
        raise impossible(f"it has {len(found)} different values")
    if kind == "constant" and (len(found) > 1 or about["nullable"]):
        raise impossible("its values differ")
    return Column(kind=kind, categories=tuple(found), pattern=pattern, **about)  # type: ignore[arg-type]


def _as_identifier(
    values: pd.Series, present: pd.Series, holds: str, about: dict[str, Any], personal: str | None, impossible: Any
) -> Column:
    if about["nullable"] or not present.is_unique:
        why = "a value is missing" if about["nullable"] else f"{present[present.duplicated()].iloc[0]!r} stands twice"
        raise impossible(f"{why}; of kind 'text' it is made anew too, and may repeat and be missing")
    if holds not in ("integer", "string"):
        raise impossible(f"it holds {holds} values such as {present.iloc[0]!r}")
    pattern = integer_pattern(values.to_numpy(dtype=number_type(values.dtype))) if holds == "integer" else None
    if pattern is None:
        texts = arrow_strings(values if holds == "string" else values.astype("str"))
        pattern = identifier_pattern(pa.chunked_array(texts.chunks, pa.large_string()), personal)
    if pattern is None:
        raise impossible("its values have no structure in common; give its pattern, or kind 'text'")
    return Column(kind="identifier", pattern=pattern, pii=personal, **about)


def cast(values: pd.Series, dtype: str) -> pd.Series:
    """The values in another dtype that the schema asks for.

    Raises
    ------
    SchemaError
        If they cannot be.
    """
    try:
        from zoo.data.table_values import to_dtype

        if dtype.endswith("[pyarrow]"):
            return pd.Series(to_dtype(values.array, dtype), index=values.index, name=values.name)
        return values.astype(dtype)  # type: ignore[call-overload]
    except (TypeError, ValueError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise SchemaError(f"schema: column {values.name!r} cannot be brought to dtype {dtype!r}: {why}") from error


def conform(data: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """A table whose columns have the dtypes, and the order of categories, that an overruled schema says."""
    changed = {}
    for column in schema:
        if column.name not in data:
            continue
        values = data[column.name]
        if column.dtype == "category":
            dtype = category_dtype(column)
            if values.dtype != dtype:
                changed[column.name] = values.astype(dtype)
        elif str(values.dtype) != column.dtype:
            changed[column.name] = cast(values, column.dtype)
    return data.assign(**changed) if changed else data
