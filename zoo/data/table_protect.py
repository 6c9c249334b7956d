"""Private tables before anything is learned from them: extremes pulled in, rare values pooled.

Both are done until at least :data:`SEVERAL` units (rows, or people where ``schema.unit`` names the column that tells
them apart) stand behind what is kept: each end of a number or time is that of a value beyond which several units lie,
and each category is one of several units. What is pooled goes to the category ``(rare)``, or to the nearest common
category where the categories are ordered or no text, or where the rare ones together are still too few.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from zoo.conditions import to_number
from zoo.data.table_codec import TableCodec
from zoo.data.table_schema import infer_column
from zoo.data.table_values import codes_of
from zoo.schema import Column, Schema

SEVERAL = 10
RARE = "(rare)"


def protect_table(data: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, Schema]:
    """A table and its schema without what would give single people away.

    Parameters
    ----------
    data
        A table that conforms to ``schema``. Not changed.
    schema
        With ``private``, or with columns that are ``sensitive``; only those are treated if it is not private.

    Returns
    -------
    table, schema
        The schema's ranges and categories are those of the treated table.
    """
    units = np.arange(len(data)) if schema.unit is None else pd.factorize(data[schema.unit])[0]
    columns, described = {}, []
    for column in schema:
        values = data[column.name]
        if schema.private or column.sensitive:
            if column.kind in ("category", "ordinal"):
                values, column = _pool(values, column, units)
            elif column.is_numeric or column.is_time:
                values, column = _pull_in(values, column, units)
        columns[column.name] = values.array
        described.append(column)
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(data)), copy=False)
    return table, schema.replace(columns=tuple(described))


def _pull_in(values: pd.Series, column: Column, units: np.ndarray) -> tuple[pd.Series, Column]:
    """Clip a number or time to the values at which several units stand, counted from either end."""
    numbers = to_number(values, column)
    known = np.flatnonzero(~np.isnan(numbers))
    order = known[np.argsort(numbers[known], kind="stable")]
    if not len(order):
        return values, column
    low, high = (numbers[_several(order[::step], units)] for step in (1, -1))
    low, high = min(low, high), max(low, high)  # fewer units than twice several: all become one middle value
    codec = TableCodec(Schema(modality="tabular", columns=(column,)))
    clipped = codec.decode({column.name: np.clip(numbers, low, high)}, len(values))[column.name]
    found = infer_column(clipped)
    if found.kind == "constant":
        return clipped, dataclasses.replace(
            column, kind="constant", categories=found.categories, minimum=None, maximum=None
        )
    if found.kind == column.kind:
        return clipped, dataclasses.replace(column, minimum=found.minimum, maximum=found.maximum)
    return clipped, dataclasses.replace(column, minimum=_end(column, low), maximum=_end(column, high))


def _end(column: Column, number: float) -> Any:
    """An end of the range in the form that the column's kind keeps it in."""
    if column.kind in ("datetime", "date"):
        return pd.Timestamp(number, unit="s").isoformat()
    return int(number) if column.kind == "integer" else number


def _several(order: np.ndarray, units: np.ndarray) -> int:
    """The row in ``order`` with which the first several units are complete; the middle one if there are fewer."""
    _, first = np.unique(units[order], return_index=True)
    if len(first) < SEVERAL:
        return int(order[len(order) // 2])
    return int(order[np.sort(first)[SEVERAL - 1]])


def _pool(values: pd.Series, column: Column, units: np.ndarray) -> tuple[pd.Series, Column]:
    """Pool the categories of fewer than several units."""
    codes = codes_of(values, column)
    size = len(column.categories)
    pairs = np.unique(np.stack([codes[codes >= 0], units[codes >= 0]]), axis=1)
    behind = np.bincount(pairs[0], minlength=size)  # units of each category
    rare = behind < SEVERAL
    if not rare.any():
        return values, column
    place = np.arange(size)
    common = np.flatnonzero(~rare)
    kept = [column.categories[i] for i in common]
    text = column.kind == "category" and all(isinstance(c, str) for c in column.categories) and RARE not in kept
    enough = len(np.unique(pairs[1][rare[pairs[0]]])) >= SEVERAL
    if (text and enough) or not len(common):
        kept.append(RARE if isinstance(column.categories[0], str) else column.categories[int(np.argmax(behind))])
        place[rare] = len(kept) - 1
        place[common] = np.arange(len(common))
    else:
        if column.kind == "ordinal" or not isinstance(column.categories[0], str):
            nearest = np.abs(common[None, :] - np.arange(size)[:, None]).argmin(axis=1)
        else:
            nearest = np.full(size, int(np.argmax(behind[common])))
        place = np.where(rare, nearest, np.searchsorted(common, np.arange(size)))
    kind = column.kind if len(kept) > 1 or column.nullable or column.kind == "ordinal" else "constant"
    names = () if not column.names else tuple(column.names[i] for i in common)
    names = names if len(names) == len(kept) else ()
    pooled = dataclasses.replace(column, kind=kind, categories=tuple(kept), names=names)
    codec = TableCodec(Schema(modality="tabular", columns=(dataclasses.replace(pooled, kind=column.kind),)))
    moved = np.where(codes < 0, -1, place[codes])
    return codec.decode({column.name: moved}, len(values))[column.name], pooled
