"""Inferring the schema of a table: what kind each column is, and its categories, range, decimals and pattern.

The rules, in order; *present* values are those that are not missing:

- all values missing, or one value and none missing: ``constant`` (times and pandas categories keep their kind);
- dtype ``category``: ``category``, or ``ordinal`` when it is ordered; with all its categories, used or not;
- booleans: ``boolean``; ``datetime64``: ``datetime``; ``timedelta64``: ``duration``; ``datetime.date``: ``date``;
- integers: ``identifier`` when at least 50 rows are all distinct, none missing, and they either rise strictly or fill
  at least half of their range (a permuted count); else ``integer``;
- floats: ``float``, with ``decimals`` when all values have at most 6 digits after the point (0 for integers that
  became floats because some were missing);
- strings: ``datetime`` when all have one ISO 8601 form (what a CSV file makes of times) or one like 31.12.2024;
  personal data by form or name (:mod:`zoo.data.table_pii`) are ``identifier`` or ``text`` and made up; ``identifier``
  when at least 50 rows are all distinct and of one structure (see :mod:`zoo.data.table_patterns`); ``category`` when
  there are at most 50 different ones, or when at least half of the rows share their value with another row (a postcode
  with thousands of values is a category, a name is not); else free ``text``. Sentences that hardly repeat are ``text``
  at any number.

Numbers with more than 20 different values also get their ``masses``: what at least a twentieth of the rows share, such
as the zero of an amount that most people do not have.

Everything can be overruled, see :func:`infer_schema` and :mod:`zoo.data.table_overrides`.
"""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoo.data.table_patterns import describe_text, identifier_pattern, integer_pattern
from zoo.data.table_pii import personal_kind, personal_number
from zoo.data.table_values import (
    DAY_FORMATS,
    DURATION_UNITS,
    SECONDS,
    TIME_PATTERNS,
    arrow_strings,
    detect_times,
    plain_values,
)
from zoo.errors import DataError, SchemaError
from zoo.schema import Column, Schema

MIN_IDENTIFIERS = 50
MAX_RARE_CATEGORIES = 50
MAX_DECIMALS = 6
MIN_MASS = 0.05  # share of the rows that makes a number a point mass
MAX_MASSES = 8
_FEW_NUMBERS = 20
AUTO = "auto"
_NO_KEYS = frozenset({"name", "first_name", "last_name", "address"})  # all different by chance at most

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


def infer_schema(data: pd.DataFrame, overrides: Any = None) -> Schema:
    """The schema of a table in one pass over its columns.

    Parameters
    ----------
    data
        The table.
    overrides
        What is known better, as a mapping or the path of a YAML file, in the form of ``Schema.to_yaml``; all that is
        not said is inferred. A column may be given by its fields or by its kind alone:
        ``{"columns": {"zip": "category", "age": {"maximum": 120, "unit": "years"}}, "primary_key": "id"}``.

    Raises
    ------
    DataError
        For a column of mixed or unsupported types or with infinite numbers; names it and the remedy.
    SchemaError
        For an override of an unknown column or field, or one that the data contradict.
    """
    if overrides is None:
        return Schema(modality="tabular", columns=missing_together(data, [infer_column(data[n]) for n in data.columns]))
    from zoo.data.table_overrides import overruled_schema

    return overruled_schema(data, overrides)


def missing_together(data: pd.DataFrame, columns: list[Column]) -> tuple[Column, ...]:
    """Texts that are missing in exactly the rows in which another column is note so in their pattern."""
    texts = [c for c in columns if c.kind == "text" and c.nullable and c.pattern is not None]
    if not texts:
        return tuple(columns)
    masks = {c.name: np.packbits(data[c.name].isna().to_numpy()).tobytes() for c in columns if c.nullable}
    first: dict[bytes, str] = {}
    for column in sorted(columns, key=lambda c: c.kind == "text"):  # learned columns lead; sorting is stable
        if column.nullable and column.kind != "identifier":
            first.setdefault(masks[column.name], column.name)
    out = []
    for column in columns:
        leader = first.get(masks.get(column.name, b""), column.name)
        if column in texts and leader != column.name:
            pattern = json.loads(str(column.pattern)) | {"together": leader}
            column = dataclasses.replace(column, pattern=json.dumps(pattern))
        out.append(column)
    return tuple(out)


def infer_column(values: pd.Series, personal: str | None = AUTO) -> Column:
    """The :class:`~zoo.schema.Column` of one column; its name is the series' name.

    ``personal`` overrules which kind of personal data it holds; None says that it holds none.
    """
    stored = str(values.dtype)
    try:
        values = plain_values(values)
    except SchemaError as error:
        raise DataError(f"column {values.name!r}: {error}") from error
    kind = check_type(values)
    about: dict[str, Any] = {"name": str(values.name), "dtype": stored, "nullable": bool(values.isna().any())}
    if kind == "category":
        return _infer_category(values, about, personal)
    present = values.dropna() if about["nullable"] else values
    if not len(present):
        return Column(kind="constant", **about)
    if kind == "string":
        return _infer_strings(values, about, personal)
    if kind in ("datetime", "date"):
        return infer_times(present, kind, about)
    if kind == "duration":
        return infer_durations(present, about)
    if kind == "boolean":
        found = sorted({bool(v) for v in present.unique()})
        one = len(found) == 1 and not about["nullable"]
        return Column(kind="constant" if one else "boolean", categories=tuple(found), **about)
    return _infer_numbers(present.to_numpy(dtype=number_type(values.dtype)), kind, about, personal)


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
        huge = found == "integer" and any(not -(2**63) <= v < 2**64 for v in present)  # no number type holds them
        cure = (_REMEDIES["time"] if huge else _REMEDIES[found]).format(name=name)
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


def number_type(dtype: Any) -> Any:
    """NumPy's number type of a pandas dtype, masked or not."""
    return getattr(dtype, "numpy_dtype", dtype)


def _infer_category(values: pd.Series, about: dict[str, Any], personal: str | None) -> Column:
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
    if kind == "category" and isinstance(listed[0], str):
        found = personal_kind(str(name), pa.array(listed, pa.large_string()), True) if personal == AUTO else personal
        about |= {"pii": found, "sensitive": found is not None}
    return Column(kind=kind, categories=tuple(listed), pattern=pattern, **about)  # type: ignore[arg-type]


def _infer_numbers(values: np.ndarray, kind: str, about: dict[str, Any], personal: str | None) -> Column:
    """``values`` are the present ones."""
    _refuse_infinite(values, kind, about["name"])
    low, high = values.min().item(), values.max().item()
    if low == high and not about["nullable"]:
        return Column(kind="constant", categories=(low,), **about)
    if kind == "float":
        return describe_numbers(values, kind, about)
    personal = personal_number(about["name"], values) if personal == AUTO else personal
    if len(values) >= MIN_IDENTIFIERS and not about["nullable"]:
        pattern = integer_pattern(values)
        if pattern is None and personal is not None and len(np.unique(values)) == len(values):
            pattern = identifier_pattern(pa.chunked_array([pa.array(values.astype(str), pa.large_string())]), personal)
        if pattern is not None:
            return Column(kind="identifier", pattern=pattern, pii=personal, **about)
    return describe_numbers(values, kind, about | {"pii": personal, "sensitive": personal is not None})


def describe_numbers(values: np.ndarray, kind: str, about: dict[str, Any]) -> Column:
    """An ``integer`` or ``float`` column of present values."""
    _refuse_infinite(values, kind, about["name"])
    low, high = values.min().item(), values.max().item()
    decimals = find_decimals(values) if values.dtype.kind == "f" and kind == "float" else None
    if kind == "integer":
        low, high = int(low), int(high)
    masses = find_masses(values)
    return Column(kind=kind, minimum=low, maximum=high, decimals=decimals, masses=masses, **about)  # type: ignore[arg-type]


def find_masses(values: np.ndarray) -> tuple[Any, ...]:
    """Numbers that a twentieth of ``values (n,)`` or more are, at most 8, in order; none if there are few numbers."""
    counts = pd.Series(values).value_counts()
    if len(counts) <= _FEW_NUMBERS:
        return ()
    heavy = counts[counts >= max(2.0, MIN_MASS * len(values))]
    listed = sorted(zip((-heavy.to_numpy()).tolist(), heavy.index.to_numpy().tolist()))[:MAX_MASSES]
    return tuple(sorted(value for _, value in listed))


def _refuse_infinite(values: np.ndarray, kind: str, name: str) -> None:
    if kind == "float" and not np.isfinite(values).all():
        infinite = values[~np.isfinite(values)][0]
        raise DataError(
            f"column {name!r} holds {infinite}; use df[{name!r}] = df[{name!r}].replace([np.inf, -np.inf], np.nan)"
        )


def find_decimals(values: np.ndarray) -> int | None:
    """The fewest digits after the point, at most 6, that write all finite ``values (n,)`` exactly; else None."""
    probe = values[:: max(1, len(values) // 1000)]
    for digits in range(MAX_DECIMALS + 1):
        if all(np.array_equal(np.round(v.astype(np.float64), digits).astype(v.dtype), v) for v in (probe, values)):
            return digits
    return None


def infer_times(present: pd.Series, kind: str, about: dict[str, Any]) -> Column:
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


def infer_durations(present: pd.Series, about: dict[str, Any]) -> Column:
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


def _infer_strings(values: pd.Series, about: dict[str, Any], personal: str | None) -> Column:
    texts = arrow_strings(values)
    present = texts.drop_null()
    iso = detect_times(present)
    if iso is not None:
        return iso_times(present, iso, about)
    counts = present.value_counts()
    distinct, each = counts.field("values"), counts.field("counts").to_numpy()
    if len(distinct) == 1 and not about["nullable"]:
        return Column(kind="constant", categories=(distinct[0].as_py(),), **about)
    categorical = is_categorical(distinct, each)
    if personal == AUTO:
        personal = personal_kind(about["name"], distinct, categorical)
    if len(texts) >= MIN_IDENTIFIERS and not about["nullable"] and len(distinct) == len(texts):
        pattern = None if personal in _NO_KEYS else identifier_pattern(present, personal)
        if pattern is not None:
            return Column(kind="identifier", pattern=pattern, pii=personal, **about)
    if categorical and personal is None:
        return Column(kind="category", categories=tuple(sort(distinct)), **about)
    return describe_texts(texts, about, personal)


def iso_times(present: pa.ChunkedArray, iso: str, about: dict[str, Any]) -> Column:
    """A ``datetime`` column of present strings in one form."""
    # Times that begin with the day are not in the order of their characters.
    times = pc.min_max(pc.strptime(present, format=iso, unit="s") if iso in DAY_FORMATS else present)
    low, high = (pd.Timestamp(times[end].as_py()).isoformat() for end in ("min", "max"))
    return Column(kind="datetime", minimum=low, maximum=high, pattern=iso, **about)


def describe_texts(texts: pa.ChunkedArray, about: dict[str, Any], personal: str | None) -> Column:
    """A ``text`` column; its lengths are those of the data, unless its values are made up."""
    pattern = describe_text(texts, personal=personal)
    ends: dict[str, Any] = {}
    if personal is None:
        lengths = pc.min_max(pc.utf8_length(texts))
        ends = {"minimum": lengths["min"].as_py(), "maximum": lengths["max"].as_py()}
    return Column(kind="text", pattern=pattern, pii=personal, **ends, **about)


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
