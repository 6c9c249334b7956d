"""How the values of table columns are represented: strings in Arrow, ISO 8601 times, categories as codes.

Everything that reads or builds a column of a ``DataFrame`` (schema inference, checks, the codec, texts) goes through
the functions here, so that one spelling of a dtype is handled in one place. All are vectorised; strings are never
turned into Python objects unless the column's dtype is ``object``.
"""

import dataclasses
import functools
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.arrays import ArrowStringArray

from zoo.conditions import Condition
from zoo.errors import ConditionError, DataError, SchemaError, nearest
from zoo.schema import Column

STRING_DTYPES = frozenset({"str", "string", "object"})

# Seconds in one step of a NumPy time unit.
SECONDS = {"D": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
DURATION_UNITS = {"days": "D", "hours": "h", "minutes": "m", "seconds": "s"}

_CLOCK = {"m": "%H:%M", "s": "%H:%M:%S", "ms": "%H:%M:%S.%3f", "us": "%H:%M:%S.%f"}
_CLOCK_REGEX = {
    "m": r"\d\d:\d\d",
    "s": r"\d\d:\d\d:\d\d",
    "ms": r"\d\d:\d\d:\d\d\.\d{3}",
    "us": r"\d\d:\d\d:\d\d\.\d{6}",
}
_DAY_REGEX = r"\d{4}-\d\d-\d\d"

# strftime pattern (with ``%3f`` for milliseconds) -> (regular expression, NumPy unit, separator, zone)
ISO_FORMATS: dict[str, tuple[str, str, str, str]] = {"%Y-%m-%d": (f"^{_DAY_REGEX}$", "D", "", "")} | {
    f"%Y-%m-%d{mark}{_CLOCK[unit]}{zone}": (f"^{_DAY_REGEX}{mark}{_CLOCK_REGEX[unit]}{zone}$", unit, mark, zone)
    for unit in _CLOCK
    for mark in (" ", "T")
    for zone in ("", "Z")
}
# Other ways in which people write times as text: strftime pattern -> (regular expression, NumPy unit). The month stands
# first where both readings of slashes are possible.
DAY_FORMATS: dict[str, tuple[str, str]] = {
    day + clock: (f"^{re.sub('%[dm]', '[0-9]{2}', day).replace('%Y', '[0-9]{4}').replace('.', '[.]')}{regex}$", unit)
    for day in ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d")
    for clock, regex, unit in (("", "", "D"), (" %H:%M", r" \d\d:\d\d", "m"), (" %H:%M:%S", r" \d\d:\d\d:\d\d", "s"))
}
# The patterns of true datetime columns only say to which unit all values are rounded.
TIME_PATTERNS: dict[str, str] = {p: f[1] for p, f in ISO_FORMATS.items()} | {"%Y-%m-%d %H": "h"}


def frame(columns: dict[str, Any], n: int) -> pd.DataFrame:
    """A table of ``n`` rows from arrays, without copies; objects stay objects, which pandas would take for text."""
    index = pd.RangeIndex(n)
    kept = {k: pd.Series(v, index=index, dtype=object, copy=False) if v.dtype == "O" else v for k, v in columns.items()}
    return pd.DataFrame(kept, index=index, copy=False)


# Arrow-backed dtypes: worked on as pandas' own, and given back as they came


_ARROW = "[pyarrow]"
_ARROW_PLAIN = {
    "halffloat": "Float32",
    "float": "Float32",
    "double": "Float64",
    "bool": "boolean",
    "string": "string",
    "large_string": "string",
    "string_view": "string",
    "date32[day]": "object",
    "date64[ms]": "object",
} | {f"{u}int{size}": f"{u.upper()}Int{size}" for u in ("", "u") for size in (8, 16, 32, 64)}


@functools.cache
def arrow_type(dtype: str) -> pa.DataType | None:
    """The Arrow type that a dtype like ``int64[pyarrow]`` names; None for pandas' own dtypes.

    Raises
    ------
    SchemaError
        If tables of that type cannot be learned.
    """
    if not dtype.endswith(_ARROW):
        return None
    name = dtype.removesuffix(_ARROW)
    if name in _ARROW_PLAIN:
        return pa.type_for_alias({"date32[day]": "date32", "date64[ms]": "date64"}.get(name, name))
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns)(?:, tz=([A-Za-z0-9_+:/\-]{1,64}))?\]", name):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"duration\[(s|ms|us|ns)\]", name):
        return pa.duration(found[1])
    if found := re.fullmatch(r"decimal(128|256)\((\d{1,2}), (\d{1,2})\)", name):
        return (pa.decimal128 if found[1] == "128" else pa.decimal256)(int(found[2]), int(found[3]))
    if found := re.fullmatch(r"dictionary<values=(large_)?string, indices=(u?int\d+), ordered=([01])>", name):
        values = pa.large_string() if found[1] else pa.string()
        return pa.dictionary(pa.type_for_alias(found[2]), values, ordered=found[3] == "1")
    raise SchemaError(f"the dtype {dtype} cannot be learned; cast that column to text, a number or a time")


@functools.cache
def plain_dtype(dtype: str) -> str:
    """pandas' own dtype for an Arrow-backed one; other dtypes as they are."""
    found = arrow_type(dtype)
    if found is None:
        return dtype
    if pa.types.is_timestamp(found):
        return f"datetime64[{found.unit}{f', {found.tz}' if found.tz else ''}]"
    if pa.types.is_duration(found):
        return f"timedelta64[{found.unit}]"
    if pa.types.is_decimal(found):
        return "Float64"
    if pa.types.is_dictionary(found):
        return "category"
    return _ARROW_PLAIN[dtype.removesuffix(_ARROW)]


def plain(column: Column) -> Column:
    """The column as if it were stored in pandas' own dtype."""
    if not column.dtype.endswith(_ARROW):
        return column
    return dataclasses.replace(column, dtype=plain_dtype(column.dtype))


def plain_values(values: pd.Series) -> pd.Series:
    """The values of an Arrow-backed column in pandas' own dtype; others as they are."""
    if not isinstance(values.dtype, pd.ArrowDtype):
        return values
    dtype, kept = plain_dtype(str(values.dtype)), values.dtype.pyarrow_dtype
    array: Any = pa.array(values.array)
    if dtype == "string":
        made: Any = from_arrow_strings(array.cast(pa.large_string()), "string")
    elif dtype == "object":
        made = pd.Series(array.to_pandas(date_as_object=True), dtype=object).array
    elif pa.types.is_dictionary(kept):
        made = pd.Series(array.to_pandas()).array
    else:
        of_float = pa.types.is_decimal(kept) or pa.types.is_float16(kept)
        floats = array.cast(pa.float64()) if of_float else None
        given = values if floats is None else pd.Series(floats.to_pandas())
        made = given.astype(dtype).array  # type: ignore[call-overload]
    return pd.Series(made, index=values.index, name=values.name, copy=False)


def to_dtype(values: Any, dtype: str) -> Any:
    """A pandas array in the Arrow-backed dtype that a schema names; unchanged for pandas' own dtypes."""
    target = arrow_type(dtype)
    if target is None:
        return values
    array: Any = pa.array(pd.Series(values, copy=False), from_pandas=True)
    if pa.types.is_decimal(target):
        array = pc.round(array, ndigits=target.scale)
    if pa.types.is_dictionary(target):
        words = [str(c) for c in values.categories]
        array = pa.DictionaryArray.from_arrays(
            array.indices.cast(target.index_type), pa.array(words, target.value_type)
        )
        array = array.cast(target)
    make: Any = pd.arrays.ArrowExtensionArray
    return make(pa.chunked_array([array] if isinstance(array, pa.Array) else array.chunks).cast(target))


def string_dtype(dtype: str) -> Any:
    """pandas' dtype for ``"str"`` (missing is NaN) or ``"string"`` (missing is ``pd.NA``)."""
    return pd.StringDtype("pyarrow", na_value=np.nan if dtype == "str" else pd.NA)


def arrow_strings(series: pd.Series) -> pa.ChunkedArray:
    """The values of a column of strings as Arrow ``large_string``; no copy for Arrow-backed dtypes.

    Raises
    ------
    DataError
        If a value is no valid text.
    """
    try:
        values = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    except (pa.ArrowException, UnicodeError, TypeError) as error:
        raise DataError(
            f"column {series.name!r} holds a value that is no valid text; clean it, or drop the column"
        ) from error
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def from_arrow_strings(values: pa.Array | pa.ChunkedArray, dtype: str) -> Any:
    """A pandas array of dtype ``str``, ``string`` or ``object`` from Arrow ``large_string``; no copy but for object."""
    if dtype == "object":
        return values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
    make: Any = ArrowStringArray
    return make(values, dtype=string_dtype(dtype))


def join(*parts: Any) -> pa.Array:
    """Strings of ``large_string`` arrays and scalars, one behind the other."""
    return pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))  # all must be of one type


def is_textual(values: pd.Series) -> bool:
    """Whether a column holds strings: dtype ``str`` or ``string``, or ``object`` with nothing but strings."""
    if isinstance(values.dtype, pd.StringDtype):
        return True
    return values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) == "string"


def _all_match(values: pa.ChunkedArray, regex: str) -> bool:
    return pc.all(pc.match_substring_regex(values, regex)).as_py()


def detect_times(values: pa.ChunkedArray) -> str | None:
    """The one pattern of :data:`ISO_FORMATS` or :data:`DAY_FORMATS` in which all present strings are valid times."""
    present = values.drop_null()
    if not len(present):
        return None
    for pattern, (regex, _) in DAY_FORMATS.items():
        if _all_match(present[:1], regex) and _all_match(present, regex):
            times = pc.strptime(present, format=pattern, unit="s", error_is_null=True)
            # There and back: the 31st of April is the 1st of May to some.
            if not times.null_count and _formatted(times, pattern).equals(present):
                return pattern
    return _detect_iso(present)


def text_times(values: pd.Series, pattern: str | None = None) -> pd.Series:
    """Times that are written as text, in a pattern or in the one that all have; ISO 8601 and what pandas knows."""
    if pattern is None and is_textual(values):
        pattern = detect_times(arrow_strings(values))
    if pattern not in DAY_FORMATS:
        return pd.to_datetime(values)
    return pd.to_datetime(values, format=pattern)


def _formatted(times: Any, pattern: str) -> Any:
    # Arrow writes seconds of a timestamp[s] without a fraction.
    return pc.strftime(times, format=pattern).cast(pa.large_string())


def _detect_iso(present: pa.ChunkedArray) -> str | None:
    pattern = next((p for p, (regex, *_) in ISO_FORMATS.items() if _all_match(present[:1], regex)), None)
    if pattern is None or not _all_match(present, ISO_FORMATS[pattern][0]):
        return None
    times = pd.to_datetime(pd.Series(from_arrow_strings(present, "str")), format="ISO8601", errors="coerce", utc=True)
    return None if times.isna().any() else pattern


def format_iso(times: np.ndarray, pattern: str) -> pa.Array:
    """Strings in a pattern from ``datetime64 (n,)``, NaT as null."""
    if pattern in DAY_FORMATS:
        return _formatted(pa.array(times.astype("datetime64[s]")), pattern)
    _, unit, mark, zone = ISO_FORMATS[pattern]
    if unit == "D":
        return pa.array(times.astype("datetime64[D]")).cast(pa.large_string())
    text = pa.array(times.astype(f"datetime64[{'s' if unit == 'm' else unit}]")).cast(pa.large_string())
    if unit == "m":
        text = pc.utf8_slice_codeunits(text, 0, 16)
    if mark == "T":
        text = pc.replace_substring(text, " ", "T", max_replacements=1)
    return join(text, pa.scalar("Z", pa.large_string())) if zone else text


def time_unit(column: Column) -> str:
    """The NumPy unit to which values of a time column are rounded: the pattern's, else the dtype's, else days."""
    column = plain(column)
    if column.kind == "duration":
        if column.pattern is not None:
            if column.pattern not in DURATION_UNITS:
                raise SchemaError(
                    f"column {column.name!r}: unknown duration pattern {column.pattern!r}; "
                    f"{nearest(column.pattern, DURATION_UNITS)}"
                )
            return DURATION_UNITS[column.pattern]
    elif column.pattern is not None:
        if column.dtype in STRING_DTYPES and column.pattern in DAY_FORMATS:
            return DAY_FORMATS[column.pattern][1]
        known = ISO_FORMATS if column.dtype in STRING_DTYPES else TIME_PATTERNS
        if column.pattern not in known:
            raise SchemaError(
                f"column {column.name!r}: unknown time pattern {column.pattern!r}; {nearest(column.pattern, known)}"
            )
        return TIME_PATTERNS[column.pattern]
    if column.kind == "date":
        return "D"
    if "64[" not in column.dtype:
        raise SchemaError(f"column {column.name!r} holds times as {column.dtype}; its pattern must say how, '%Y-%m-%d'")
    return column.dtype.split("[")[1].rstrip("]").split(",")[0]


def column_step(column: Column) -> float:
    """Distance of neighbouring values in the numbers of ``to_number``: 1 of integers, the unit of times in seconds,
    a decimal's last digit; 0 of floats that are not rounded.
    """
    if column.is_time:
        return SECONDS[time_unit(column)]
    if column.kind == "integer":
        return 1.0
    return 0.0 if column.decimals is None else 10.0**-column.decimals


def asked_range(condition: Condition) -> tuple[float, float]:
    """The closed range that a condition asks of a number or time, drawn in to values that the column can hold.

    Raises
    ------
    ConditionError
        If no value of the column lies in it.
    """
    column = condition.column
    low = -np.inf if condition.low is None else condition.low
    high = np.inf if condition.high is None else condition.high
    step = column_step(column)
    if step and np.isfinite(low):
        low = float(np.ceil(low / step - 1e-9) * step)
    if step and np.isfinite(high):
        high = float(np.floor(high / step + 1e-9) * step)
    if low > high:
        raise ConditionError(f"no value of {column.name!r} lies between {condition.low!r} and {condition.high!r}")
    return low, high


def category_dtype(column: Column) -> pd.CategoricalDtype:
    """The pandas dtype of a ``category`` column; ``pattern`` names the dtype of the categories if it is unusual."""
    values = pd.Index(list(column.categories))
    if column.pattern is not None:
        try:
            values = values.astype(column.pattern)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"column {column.name!r}: its categories are not of dtype {column.pattern!r}") from error
    elif not len(values):
        values = pd.Index([], dtype=object)
    return pd.CategoricalDtype(values, ordered=column.kind == "ordinal")


def codes_of(series: pd.Series, column: Column) -> np.ndarray:
    """Codes ``int64 (n,)`` of a discrete column, -1 where missing and -2 where the value is no category."""
    series, column = plain_values(series), plain(column)
    if isinstance(series.dtype, pd.CategoricalDtype):
        place = series.cat.codes.to_numpy()
        known = pd.Index(list(column.categories)).get_indexer(series.cat.categories)
        table = np.append(np.where(known < 0, -2, known), -1)
        return table[place].astype(np.int64)  # place -1 takes the last
    if all(isinstance(c, str) for c in column.categories) and is_textual(series):
        values = arrow_strings(series)
        found = pc.index_in(values, value_set=pa.array(column.categories, pa.large_string()), skip_nulls=True)
        codes = found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()
    else:
        codes = pd.Index(list(column.categories), dtype=object).get_indexer(series.astype(object))
        codes = codes.astype(np.float64)
        codes[codes < 0] = np.nan
    missing = series.isna().to_numpy()
    unknown = np.isnan(codes) if codes.dtype.kind == "f" else np.zeros(len(codes), dtype=bool)
    out = np.where(unknown, -2, codes).astype(np.int64)
    out[missing] = -1
    return out
