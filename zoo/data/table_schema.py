"""Inferring the schema of a table: what kind each column is, and its categories, range, decimals and pattern.

The rules, in order; *present* values are those that are not missing:

- all values missing, or one value and none missing: ``constant`` (times and pandas categories keep their kind);
- dtype ``category``: ``category``, or ``ordinal`` when it is ordered; with all its categories, used or not;
- booleans: ``boolean``; ``datetime64``: ``datetime``; ``timedelta64``: ``duration``; ``datetime.date``: ``date``;
- integers: ``identifier`` when at least 50 rows are all distinct, none missing, and they either rise strictly or fill
  at least half of their range (a permuted count); else ``integer``;
- floats: ``float``, with ``decimals`` when all values have at most 6 digits after the point (0 for integers that
  became floats because some were missing);
- strings: ``datetime`` when all have one ISO 8601 form (what a CSV file makes of times); ``identifier`` when at least
  50 rows are all distinct and of one structure (see :mod:`zoo.data.table_fill`); ``category`` when there are at most 50
  different ones, or when at least half of the rows share their value with another row (a postcode with thousands of
  values is a category, a name is not); else free ``text``. Sentences that hardly repeat are ``text`` at any number.

The heuristics can be overruled: ``schema.replace(columns={"code": dataclasses.replace(schema["code"], kind=…)})``.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoo.data.table_fill import describe_text, identifier_pattern, integer_pattern
from zoo.data.table_values import DURATION_UNITS, SECONDS, TIME_PATTERNS, arrow_strings, detect_iso
from zoo.errors import DataError
from zoo.schema import Column, Schema

MIN_IDENTIFIERS = 50
MAX_RARE_CATEGORIES = 50
MAX_DECIMALS = 6

# What an ``object`` column may not hold, as pandas names it, and what to do.
_REMEDIES = {
    "integer": "pd.to_numeric(df[{name!r}])",
    "floating": "pd.to_numeric(df[{name!r}])",
    "mixed-integer-float": "pd.to_numeric(df[{name!r}])",
    "decimal": "df[{name!r}].astype(float)",
    "complex": "df[{name!r}].map(abs), or two columns of real and imaginary parts",
    "bytes": "df[{name!r}].str.decode('utf-8')",
    "datetime": "pd.to_datetime(df[{name!r}])",
    "datetime64": "pd.to_datetime(df[{name!r}])",
    "timedelta": "pd.to_timedelta(df[{name!r}])",
    "timedelta64": "pd.to_timedelta(df[{name!r}])",
    "time": "df[{name!r}].astype(str)",
    "period": "df[{name!r}].astype(str)",
    "interval": "df[{name!r}].astype(str)",
}


def infer_schema(data: pd.DataFrame) -> Schema:
    """The schema of a table in one pass over its columns.

    Raises
    ------
    DataError
        For a column of mixed or unsupported types or with infinite numbers; names it and the remedy.
    """
    return Schema(modality="tabular", columns=tuple(infer_column(data[name]) for name in data.columns))


def infer_column(values: pd.Series) -> Column:
    """The :class:`~zoo.schema.Column` of one column; its name is the series' name."""
    dtype = values.dtype
    kind = check_type(values)
    about: dict[str, Any] = {"name": str(values.name), "dtype": str(dtype), "nullable": bool(values.isna().any())}
    if kind == "category":
        return _infer_category(values, about)
    present = values.dropna() if about["nullable"] else values
    if not len(present):
        return Column(kind="constant", **about)
    if kind == "string":
        return _infer_strings(values, about)
    if kind in ("datetime", "date"):
        return _infer_times(present, kind, about)
    if kind == "duration":
        return _infer_durations(present, about)
    if kind == "boolean":
        found = sorted({bool(v) for v in present.unique()})
        one = len(found) == 1 and not about["nullable"]
        return Column(kind="constant" if one else "boolean", categories=tuple(found), **about)
    return _infer_numbers(present.to_numpy(dtype=_number_type(dtype)), kind, about)


def check_type(values: pd.Series) -> str:
    """How the values of a column are stored.

    Returns
    -------
    str
        ``integer``, ``float``, ``boolean``, ``string``, ``category``, ``datetime``, ``date`` or ``duration``.

    Raises
    ------
    DataError
        For types that no table here can hold.
    """
    name, dtype = values.name, values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if isinstance(dtype, pd.StringDtype):
        return "string"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "datetime"
    if isinstance(dtype, pd.ArrowDtype):
        raise DataError(
            f"column {name!r} has the unsupported dtype {dtype}; "
            "convert the table with df.convert_dtypes(dtype_backend='numpy_nullable')"
        )
    if isinstance(dtype, pd.SparseDtype):
        raise DataError(f"column {name!r} is sparse; use df[{name!r}] = df[{name!r}].sparse.to_dense()")
    known = {"i": "integer", "u": "integer", "f": "float", "b": "boolean", "M": "datetime", "m": "duration"}
    if str(dtype) == "object":
        return _check_objects(values)
    letter, size = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 0)
    if letter not in known or (letter == "f" and size > 8):
        cure = _REMEDIES.get({"c": "complex"}.get(letter, ""), "df[{name!r}].astype(str)").format(name=name)
        raise DataError(f"column {name!r} has the unsupported dtype {dtype}; use df[{name!r}] = {cure}")
    return known[letter]


def _check_objects(values: pd.Series) -> str:
    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in ("string", "boolean", "date", "empty"):
        return "string" if found == "empty" else found
    name = values.name
    present = values[values.notna()]
    if found in _REMEDIES:
        cure = _REMEDIES[found].format(name=name)
        raise DataError(
            f"column {name!r} holds {found} values such as {_short(present.iloc[0])} as Python objects; "
            f"use df[{name!r}] = {cure}"
        )
    types = present.map(type)
    other = present[types != types.iloc[0]]
    if len(other):
        raise DataError(
            f"column {name!r} mixes types, {_short(present.iloc[0])} and {_short(other.iloc[0])}; "
            f"use df[{name!r}] = df[{name!r}].astype(str)"
        )
    raise DataError(
        f"column {name!r} holds {types.iloc[0].__name__} objects such as {_short(present.iloc[0])}; "
        f"drop it, spread it over columns, or use df[{name!r}] = df[{name!r}].astype(str)"
    )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "…"


def _number_type(dtype: Any) -> Any:
    """NumPy's number type of a pandas dtype, masked or not."""
    return getattr(dtype, "numpy_dtype", dtype)


def _infer_category(values: pd.Series, about: dict[str, Any]) -> Column:
    name, kinds = values.name, values.cat.categories
    listed = [v.item() if isinstance(v, np.generic) else v for v in kinds.tolist()]
    if not all(isinstance(v, (str, int, float)) for v in listed) or len({type(v) for v in listed}) > 1:
        raise DataError(
            f"column {name!r} has categories of dtype {kinds.dtype}, they must be all text or all numbers; "
            f"use df[{name!r}] = df[{name!r}].astype(str).astype('category')"
        )
    if any(isinstance(v, float) and not np.isfinite(v) for v in listed):
        raise DataError(f"column {name!r} has an infinite category; rename it")
    pattern = None if pd.Index(listed, dtype=None if listed else object).dtype == kinds.dtype else str(kinds.dtype)
    if not listed:
        return Column(kind="constant", pattern=pattern, **about)
    plain = len(listed) == 1 and not values.cat.ordered and not about["nullable"]
    kind = "ordinal" if values.cat.ordered else "constant" if plain else "category"
    return Column(kind=kind, categories=tuple(listed), pattern=pattern, **about)  # type: ignore[arg-type]


def _infer_numbers(values: np.ndarray, kind: str, about: dict[str, Any]) -> Column:
    """``values`` are the present ones."""
    if kind == "float" and not np.isfinite(values).all():
        infinite = values[~np.isfinite(values)][0]
        name = about["name"]
        raise DataError(
            f"column {name!r} holds {infinite}; use df[{name!r}] = df[{name!r}].replace([np.inf, -np.inf], np.nan)"
        )
    low, high = values.min().item(), values.max().item()
    if low == high and not about["nullable"]:
        return Column(kind="constant", categories=(low,), **about)
    if kind == "float":
        return Column(kind="float", minimum=low, maximum=high, decimals=find_decimals(values), **about)
    if len(values) >= MIN_IDENTIFIERS and not about["nullable"]:
        pattern = integer_pattern(values)
        if pattern is not None:
            return Column(kind="identifier", pattern=pattern, **about)
    return Column(kind="integer", minimum=low, maximum=high, **about)


def find_decimals(values: np.ndarray) -> int | None:
    """The fewest digits after the point, at most 6, that write all finite ``values (n,)`` exactly; else None."""
    probe = values[:: max(1, len(values) // 1000)]
    for digits in range(MAX_DECIMALS + 1):
        if all(np.array_equal(np.round(v.astype(np.float64), digits).astype(v.dtype), v) for v in (probe, values)):
            return digits
    return None


def _infer_times(present: pd.Series, kind: str, about: dict[str, Any]) -> Column:
    if kind == "date":
        days = present.to_numpy().astype("datetime64[D]")
        return Column(kind="date", minimum=str(days.min()), maximum=str(days.max()), **about)
    low, high = present.min(), present.max()
    stamps = present.dt.tz_convert(None) if present.dt.tz is not None else present
    pattern = _coarsest(
        stamps.to_numpy(), {u: p for p, u in TIME_PATTERNS.items() if not p.endswith("Z") and "T" not in p}
    )
    if present.dt.tz is not None:
        low, high = low.tz_convert("UTC"), high.tz_convert("UTC")
    return Column(kind="datetime", minimum=low.isoformat(), maximum=high.isoformat(), pattern=pattern, **about)


def _infer_durations(present: pd.Series, about: dict[str, Any]) -> Column:
    low, high = (v / pd.Timedelta(seconds=1) for v in (present.min(), present.max()))
    pattern = _coarsest(present.to_numpy(), {u: p for p, u in DURATION_UNITS.items()})
    return Column(kind="duration", minimum=low, maximum=high, pattern=pattern, **about)


def _coarsest(times: np.ndarray, patterns: dict[str, str]) -> str | None:
    """The pattern of the coarsest unit in which all ``times`` are whole; None when it is their own."""
    own = np.datetime_data(times.dtype)[0]
    ticks = times.astype(np.int64)
    for unit in sorted(patterns, key=lambda u: -SECONDS[u]):
        if SECONDS[unit] <= SECONDS[own]:
            break
        if not (ticks % round(SECONDS[unit] / SECONDS[own])).any():
            return patterns[unit]
    return None


def _infer_strings(values: pd.Series, about: dict[str, Any]) -> Column:
    texts = arrow_strings(values)
    present = texts.drop_null()
    iso = detect_iso(present)
    if iso is not None:
        times = pc.min_max(present)
        low, high = (pd.Timestamp(times[end].as_py()).isoformat() for end in ("min", "max"))
        return Column(kind="datetime", minimum=low, maximum=high, pattern=iso, **about)
    counts = present.value_counts()
    distinct, each = counts.field("values"), counts.field("counts").to_numpy()
    if len(distinct) == 1 and not about["nullable"]:
        return Column(kind="constant", categories=(distinct[0].as_py(),), **about)
    if len(texts) >= MIN_IDENTIFIERS and not about["nullable"] and len(distinct) == len(texts):
        pattern = identifier_pattern(present)
        if pattern is not None:
            return Column(kind="identifier", pattern=pattern, **about)
    if is_categorical(distinct, each):
        return Column(kind="category", categories=tuple(sort(distinct)), **about)
    lengths = pc.min_max(pc.utf8_length(present))
    return Column(
        kind="text",
        minimum=lengths["min"].as_py(),
        maximum=lengths["max"].as_py(),
        pattern=describe_text(texts),
        **about,
    )


def sort(distinct: pa.Array) -> list[str]:
    """Strings in the order of their code points, so that the order of the rows does not matter."""
    return distinct.take(pc.sort_indices(distinct)).to_pylist()


def is_categorical(distinct: pa.Array, counts: np.ndarray) -> bool:
    """Whether strings with these distinct values and counts are categories rather than free text."""
    rows, single = int(counts.sum()), int((counts == 1).sum())
    if len(distinct) > 4 and 2 * single > rows:
        words = pc.mean(pc.add(pc.count_substring(distinct, " "), 1)).as_py()
        if words >= 5:
            return False
    return len(distinct) <= MAX_RARE_CATEGORIES or 2 * single <= rows
