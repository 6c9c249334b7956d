"""A table's schema for people: one line a column, as ``zoo schema`` shows it."""

import json
from typing import TYPE_CHECKING, Any

from zoo.data.table_pii import FAKES
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5  # categories


def schema_rows(schema: Schema, missing: dict[str, float] | None = None) -> list[tuple[str, str, str, str, str]]:
    """Name, kind, dtype, missing and what is known of the values, of each column.

    Parameters
    ----------
    schema
        A table's schema.
    missing
        Share of missing values by column, if it is known.
    """
    rows: list[tuple[str, str, str, str, str]] = []
    for column in schema:
        share = (missing or {}).get(column.name)
        gaps = "none" if not column.nullable else "may be" if share is None else f"{100 * share:.2g} %"
        rows.append((column.name, column.kind, column.dtype, gaps, "; ".join(_about(column, schema))))
    return rows


def missing_shares(data: "pd.DataFrame") -> dict[str, float]:
    """Share of missing values of each column."""
    return {str(name): float(data[name].isna().mean()) for name in data.columns}


def _about(column: Column, schema: Schema) -> list[str]:
    out = []
    if column.name == schema.primary_key:
        out.append("primary key")
    out += [f"in {k.parent}.{k.parent_column}" for k in schema.foreign_keys if k.column == column.name]
    out += _values(column)
    if column.decimals is not None:
        out.append(f"{column.decimals} decimals")
    if column.masses:
        out.append(f"often {', '.join(map(_short, column.masses))}")
    if column.unit:
        out.append(f"in {column.unit}")
    if column.pii:
        out.append(f"personal ({column.pii}): {_treated(column)}")
    elif column.sensitive:
        out.append("sensitive")
    if column.name == schema.unit:
        out.append("the unit that privacy protects")
    return out


def _values(column: Column) -> list[str]:
    if column.kind in ("identifier", "text"):
        return [_pattern(column)]
    if column.is_discrete:
        listed = [_short(c) for c in column.categories[:_SHOWN]]
        more = len(column.categories) - _SHOWN
        if not listed:
            return ["nothing but missing values"]
        return [(" < " if column.kind == "ordinal" else ", ").join(listed) + (f", … {more} more" if more > 0 else "")]
    out = []
    if column.minimum is not None or column.maximum is not None:
        ends = ("" if v is None else _short(v) for v in (column.minimum, column.maximum))
        out.append(" … ".join(ends) + (" s" if column.kind == "duration" else ""))
    if column.pattern and column.is_time:
        out.append(f"whole {column.pattern}" if column.kind == "duration" else f"as {column.pattern}")
    return out


def _pattern(column: Column) -> str:
    found: dict[str, Any] = json.loads(column.pattern) if column.pattern else {}
    if "fake" in found or found.get("form") == "fake":
        return "made up"
    if found.get("form") in ("sequence", "shuffled"):
        width = found.get("width", 1)
        number = str(max(0, found["start"])).rjust(width, "0")
        order = "counts on from" if found["form"] == "sequence" else "counts in a shuffled order from"
        return f"{order} {found.get('prefix', '')}{number}{found.get('suffix', '')}"
    if found.get("form") == "shape":
        return f"like {_sketch(found['parts'])}"
    if "shapes" in found:
        shapes = [_sketch(parts) for _, parts in found["shapes"]]
        return f"like {', '.join(shapes[:3])}" + (f", … {len(shapes) - 3} more" if len(shapes) > 3 else "")
    words = len(found.get("words", ()))
    return f"{column.minimum} to {column.maximum} characters of {f'{words} common' if words else 'placeholder'} words"


def _sketch(parts: list[Any]) -> str:
    """A shape in one word: 9 a digit, A a capital, a a small letter, * anything else."""
    out = ""
    for part in parts:
        if isinstance(part, str):
            out += part
            continue
        alphabet, n = part
        mark = "9" if alphabet.isdigit() else "A" if alphabet.isupper() else "a" if alphabet.islower() else "*"
        out += mark * n
    return out if len(out) <= 24 else out[:23] + "…"


def _treated(column: Column) -> str:
    if column.kind in ("identifier", "text"):
        return "made up" if column.pii in FAKES or column.pii == "email" else "new ones of this shape"
    if column.is_discrete:
        return "rare values pooled"
    return "learned, extremes pulled in"


def _short(value: Any) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"
