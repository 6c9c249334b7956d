"""What a batch of series is: inferring its schema, checking it, and keeping single people out of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.series_batch import SeriesBatch
from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_protect import SEVERAL, protect_table
from zoo.data.table_schema import find_decimals, infer_column
from zoo.errors import DataError, SchemaError, nearest
from zoo.schema import Column, Schema


def infer_series(batch: SeriesBatch) -> Schema:
    """The schema of a batch: numeric channels, categorical channels, static attributes, and the lengths.

    Numeric channels are ``float`` with the range of what was observed and, where all values have at most six digits
    after the point, their ``decimals``; without any observation the range is open. Categorical channels have all
    their values as categories, used or not. Channels are nullable when a step within a series' length is missing.
    Static attributes follow the rules of tables (:mod:`zoo.data.table_schema`).

    Raises
    ------
    DataError
        For infinite numbers; names the channel and the remedy.
    """
    inside = batch.inside  # (N, T)
    columns = []
    for i, name in enumerate(batch.channels):
        known = batch.mask[:, :, i]
        seen = batch.values[:, :, i][known]  # (observations,)
        if not np.isfinite(seen).all():
            raise DataError(f"channel {name!r} holds {seen[~np.isfinite(seen)][0]}; put NaN where nothing was observed")
        column = Column(
            name=name, kind="float", dtype="float32", role="channel", nullable=bool((known != inside).any())
        )
        if len(seen):
            low, high = float(seen.min()), float(seen.max())
            column = replace(column, minimum=low, maximum=high, decimals=find_decimals(seen))
        columns.append(column)
    for k, name in enumerate(batch.category_channels):
        codes, values = batch.categories[:, :, k], batch.category_values[k]
        columns.append(_category_channel(name, values, bool((codes[inside] < 0).any())))
    columns += [replace(infer_column(batch.static[name]), role="static") for name in batch.static.columns]
    shape = {"min_length": int(batch.lengths.min()), "max_length": int(batch.lengths.max())}
    return Schema(modality="timeseries", columns=tuple(columns), shape=shape)


def _category_channel(name: str, values: tuple[Any, ...], nullable: bool) -> Column:
    kinds = {type(v) for v in values}
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        raise DataError(f"categorical channel {name!r} has values {values[:4]}; give all text or all numbers")
    dtype = {str: "str", int: "int64", float: "float64", bool: "bool"}[kinds.pop()] if kinds else "str"
    kind: Any = "category" if values else "constant"
    return Column(name=name, kind=kind, dtype=dtype, role="channel", nullable=nullable, categories=values)


def numeric_channels(schema: Schema) -> tuple[Column, ...]:
    """The numeric channels, in order."""
    return tuple(c for c in schema if c.role == "channel" and c.is_numeric)


def category_channels(schema: Schema) -> tuple[Column, ...]:
    """The categorical channels, in order."""
    return tuple(c for c in schema if c.role == "channel" and not c.is_numeric)


def statics(schema: Schema) -> Schema:
    """The schema of the static attributes alone, as a table's."""
    return Schema(modality="tabular", columns=schema.by_role("static", "label"))


def check_series(batch: Any, schema: Schema) -> None:
    """Check channels and their order, lengths, missing values, ranges, categories and static attributes.

    Raises
    ------
    SchemaError
        For the first violation; names the channel or attribute and the offending value.
    """
    if not isinstance(batch, SeriesBatch):
        raise SchemaError(f"time series are a SeriesBatch, not {type(batch).__name__}")
    numeric, categorical = numeric_channels(schema), category_channels(schema)
    _check_names("channel", batch.channels, [c.name for c in numeric])
    _check_names("categorical channel", batch.category_channels, [c.name for c in categorical])
    shortest, longest = schema.shape.get("min_length", 1), schema.shape.get("max_length")
    for length in (batch.lengths.min(), batch.lengths.max()) if len(batch) else ():
        if length < shortest or (longest is not None and length > longest):
            raise SchemaError(f"a series of {length} steps; the schema allows {shortest} to {longest}")
    if batch.static.shape[1] or len(statics(schema)):
        check_table(batch.static, statics(schema))
    inside = batch.inside
    if (batch.mask & (~inside[:, :, None] | np.isnan(batch.values))).any():
        raise SchemaError("the mask is True where there is no value; leave it out, NaN means missing")
    for i, column in enumerate(numeric):
        _check_missing(column, inside & ~batch.mask[:, :, i])
        _check_range(column, batch.values[:, :, i], batch.mask[:, :, i])
    for k, column in enumerate(categorical):
        if batch.category_values[k] != column.categories:
            raise SchemaError(
                f"categorical channel {column.name!r} has values {batch.category_values[k][:4]}, "
                f"the schema {column.categories[:4]}"
            )
        _check_missing(column, inside & (batch.categories[:, :, k] < 0))


def _check_names(what: str, found: tuple[str, ...], wanted: list[str]) -> None:
    if list(found) == wanted:
        return
    for name in wanted:
        if name not in found:
            raise SchemaError(f"{what} {name!r} is not there; {nearest(name, found)}")
    for name in found:
        if name not in wanted:
            raise SchemaError(f"{what} {name!r} is not in the schema; {nearest(name, wanted)}")
    raise SchemaError(f"{what}s are {list(found)}, the schema has them in the order {wanted}")


def _check_missing(column: Column, missing: np.ndarray) -> None:
    """``missing (N, T)``: steps within length that hold nothing."""
    if not column.nullable and missing.any():
        series, step = np.argwhere(missing)[0]
        raise SchemaError(
            f"channel {column.name!r} is missing in series {series} at step {step}, the schema allows no missing value"
        )


def _check_range(column: Column, values: np.ndarray, mask: np.ndarray) -> None:
    low = np.float32(-np.inf if column.minimum is None else column.minimum)
    high = np.float32(np.inf if column.maximum is None else column.maximum)
    bad = mask & ~((values >= low) & (values <= high) & np.isfinite(values))
    if bad.any():
        raise SchemaError(
            f"channel {column.name!r}: {values[bad][0]} is outside {column.minimum} to {column.maximum}; clip it, "
            "or widen the schema's range"
        )


def equal_series(a: SeriesBatch, b: SeriesBatch) -> bool:
    """Same names, shapes, dtypes and values, static attributes and times; missing equals missing."""
    names = ("channels", "category_channels", "category_values")
    if any(getattr(a, n) != getattr(b, n) for n in names) or a.values.shape != b.values.shape:
        return False
    if (a.times is None) != (b.times is None):
        return False
    if a.times is not None and b.times is not None:
        alike = a.times.dtype == b.times.dtype and np.array_equal(a.times, b.times, equal_nan=True)
        if not alike:
            return False
    same = np.array_equal(a.lengths, b.lengths) and np.array_equal(a.mask, b.mask)
    same = same and np.array_equal(a.values, b.values, equal_nan=True)
    return same and np.array_equal(a.categories, b.categories) and equal_tables(a.static, b.static)


def starts_with(longer: SeriesBatch, prefix: SeriesBatch) -> bool:
    """Whether each series of ``longer`` begins with the one of ``prefix`` and has its static attributes."""
    if len(longer) != len(prefix) or (longer.lengths < prefix.lengths).any():
        return False
    cut = longer.padded(max(longer.values.shape[1], prefix.values.shape[1]))
    given = prefix.padded(cut.values.shape[1])
    inside = given.inside[:, :, None]
    values = np.where(inside & cut.mask, cut.values, np.nan)
    begun = replace_content(cut, values, np.where(inside, cut.categories, -1), given.lengths)
    return equal_series(replace(begun, times=None), replace(given, times=None))


def replace_content(
    batch: SeriesBatch, values: np.ndarray, categories: np.ndarray, lengths: np.ndarray | None = None
) -> SeriesBatch:
    """The same batch with other values and codes; the mask follows from the values' NaN."""
    lengths = batch.lengths if lengths is None else lengths
    return replace(batch, values=values, categories=categories, lengths=lengths, mask=None)  # type: ignore[arg-type]


def protect_series(batch: SeriesBatch, schema: Schema) -> tuple[SeriesBatch, Schema]:
    """Private series without what single people stand out by; a series is a person's, or ``schema.unit`` tells whose.

    Values beyond what :data:`~zoo.data.table_protect.SEVERAL` people reach are pulled in to there; categories that
    fewer people show become missing. Static attributes are protected as tables are.
    """
    known = statics(schema)
    known = known.replace(private=True, unit=schema.unit if schema.unit in known else None)
    units = np.arange(len(batch)) if known.unit is None else pd.factorize(batch.static[known.unit])[0]
    values, codes, columns = batch.values.copy(), batch.categories.copy(), {}
    for i, column in enumerate(numeric_channels(schema)):
        if not batch.mask[:, :, i].any():
            continue
        low, high = _common_range(values[:, :, i], batch.mask[:, :, i], units)
        np.clip(values[:, :, i], low, high, out=values[:, :, i])
        columns[column.name] = replace(column, minimum=float(low), maximum=float(high))
    for k, column in enumerate(category_channels(schema)):
        shown = [len(np.unique(units[(codes[:, :, k] == c).any(1)])) for c in range(len(column.categories))]
        kept = [c for c, people in enumerate(shown) if people >= SEVERAL]
        place = np.full(len(shown) + 1, -1)  # the last is that of code -1
        place[kept] = np.arange(len(kept))
        lost = bool(((codes[:, :, k] >= 0) & (place[codes[:, :, k]] < 0)).any())
        codes[:, :, k] = place[codes[:, :, k]]
        columns[column.name] = replace(
            column,
            kind="category" if kept else "constant",
            categories=tuple(column.categories[c] for c in kept),
            names=tuple(column.names[c] for c in kept) if column.names else (),
            nullable=column.nullable or lost,
        )
    static = batch.static
    if len(known):
        static, known = protect_table(static, known)
        columns |= {c.name: c for c in known}
    schema = schema.replace(columns=columns)
    values_of = tuple(c.categories for c in category_channels(schema))
    return replace(replace_content(batch, values, codes), static=static, category_values=values_of), schema


def _common_range(values: np.ndarray, mask: np.ndarray, units: np.ndarray) -> tuple[np.float32, np.float32]:
    """The range that several people reach at each end (the middle one's where there are fewer)."""
    ends = []
    for sign in (-1, 1):
        top = np.where(mask, sign * values, -np.inf).max(1)  # (N,)
        reached = np.sort(pd.Series(top).groupby(units).max().to_numpy())  # (people,)
        reached = reached[np.isfinite(reached)]
        ends.append(sign * reached[-1 - min(SEVERAL - 1, len(reached) // 2)])
    return min(ends), max(ends)


def recode(batch: SeriesBatch, schema: Schema) -> SeriesBatch:
    """Bring the channels' order and the codes of categorical channels to those of a schema."""
    numeric = [c.name for c in numeric_channels(schema)]
    categorical = category_channels(schema)
    _check_names("channel", tuple(sorted(batch.channels)), sorted(numeric))
    _check_names("categorical channel", tuple(sorted(batch.category_channels)), sorted(c.name for c in categorical))
    order = [batch.channels.index(n) for n in numeric]
    codes = np.empty((*batch.values.shape[:2], len(categorical)), dtype=np.int64)
    for k, column in enumerate(categorical):
        source = batch.category_channels.index(column.name)
        place = [-1] * (len(batch.category_values[source]) + 1)
        for c, value in enumerate(batch.category_values[source]):
            if (batch.categories[:, :, source] == c).any():
                try:
                    place[c] = column.code_of(value)
                except LookupError as error:
                    raise SchemaError(f"categorical channel {error}") from error
        codes[:, :, k] = np.array(place)[batch.categories[:, :, source]]
    names = [c.name for c in statics(schema)]
    static: pd.DataFrame = batch.static
    if set(names) == set(static.columns):
        static = static[names]
    return replace(
        batch,
        values=batch.values[:, :, order],
        mask=batch.mask[:, :, order],
        channels=tuple(numeric),
        categories=codes,
        category_channels=tuple(c.name for c in categorical),
        category_values=tuple(c.categories for c in categorical),
        static=static,
    )
