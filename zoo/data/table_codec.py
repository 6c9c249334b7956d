"""``TableCodec``: the columns of a table as codes and numbers, and back, exactly and fast.

A generator of tables learns from integer codes (discrete columns) and real numbers (numeric and time columns). The
way back gives each column the dtype of the schema, rounds to what the column can hold and stays in its range.
Strings are taken from a small Arrow array of the categories, so a million rows cost milliseconds a column.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zoo.conditions import bounds, to_number
from zoo.data.table_values import (
    SECONDS,
    STRING_DTYPES,
    category_dtype,
    codes_of,
    format_iso,
    frame,
    from_arrow_strings,
    plain,
    plain_values,
    time_unit,
    to_dtype,
)
from zoo.errors import SchemaError, nearest
from zoo.schema import Column, Schema

# Python's and ISO's four-digit years, in seconds since 1970; nanoseconds in 64 bits reach less far.
_YEARS = (-62135596800.0, 253402300799.0)
_NANOSECONDS = (-9223372036.0, 9223372036.0)


class TableCodec:
    """Columns of a table <-> codes and numbers.

    Parameters
    ----------
    schema
        The table's schema.

    Attributes
    ----------
    discrete : tuple of str
        Columns learned as codes: boolean, category, ordinal.
    numeric : tuple of str
        Columns learned as numbers: integer, float, datetime, date, duration. Times are seconds, see
        :func:`zoo.conditions.to_number`; nanoseconds are therefore kept to about a microsecond.
    constant : tuple of str
        Columns with one value, or with missing values only; nothing is to be learned.

    Notes
    -----
    Identifiers and free text are none of these: they are made anew by ``TableForm.finish``.

    >>> import pandas as pd
    >>> from zoo.data.tabular import TableForm
    >>> table = pd.DataFrame({"age": [31, 47, 60], "city": ["Bern", "Oslo", "Bern"]})
    >>> codec = TableCodec(TableForm().infer(table))
    >>> codec.encode(table)["city"]
    array([0, 1, 0])
    >>> codec.decode({"age": np.array([30.2, 99.0]), "city": np.array([1, 1])}, 2).to_dict("list")
    {'age': [31, 60], 'city': ['Oslo', 'Oslo']}
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        kinds = {c.name: c for c in schema}
        self.discrete = tuple(n for n, c in kinds.items() if c.kind in ("boolean", "category", "ordinal"))
        self.numeric = tuple(n for n, c in kinds.items() if c.is_numeric or c.is_time)
        self.constant = tuple(n for n, c in kinds.items() if c.kind == "constant")
        # Partials of module functions, not closures: a generator that holds a codec can be sent to a worker process.
        self._decoders: dict[str, Callable[[np.ndarray], Any]] = {}
        for column in map(plain, schema):
            if column.is_discrete:
                self._decoders[column.name] = _discrete_decoder(column)
            elif column.is_time:
                self._decoders[column.name] = functools.partial(_decode_time, column, time_unit(column), _ticks(column))
            elif column.is_numeric:
                self._decoders[column.name] = functools.partial(_decode_number, column, bounds(column))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of categories of each discrete column."""
        return {name: len(self.schema[name].categories) for name in self.discrete}

    def encode(self, data: pd.DataFrame) -> dict[str, np.ndarray]:
        """Codes and numbers of a table.

        Parameters
        ----------
        data
            A table that has all discrete and numeric columns of the schema.

        Returns
        -------
        dict of str to numpy.ndarray
            ``int64 (n,)`` codes, -1 where missing, of each discrete column; ``float64 (n,)`` numbers, NaN where
            missing, of each numeric one.

        Raises
        ------
        SchemaError
            If a value is no category of its column, or no number or time.
        """
        out = {}
        for name in (*self.discrete, *self.numeric):
            column = plain(self.schema[name])
            if name not in data:
                raise SchemaError(f"the table has no column {name!r}; {nearest(name, map(str, data.columns))}")
            if column.is_discrete:
                out[name] = codes_of(data[name], column)
                if len(out[name]) and out[name].min() == -2:
                    value = data[name].iloc[int(np.argmin(out[name]))]
                    raise SchemaError(
                        f"column {name!r}: {value!r} is no known category; {nearest(str(value), column.categories)}"
                    )
            else:
                try:
                    out[name] = to_number(plain_values(data[name]), column)
                except (TypeError, ValueError) as error:
                    raise SchemaError(
                        f"column {name!r} holds a value that is no {column.kind}; expected dtype {column.dtype}"
                    ) from error
        return out

    def decode(self, columns: Mapping[str, np.ndarray], n: int) -> pd.DataFrame:
        """The table of given codes and numbers.

        Parameters
        ----------
        columns
            As from :meth:`encode`, for each column in :attr:`discrete` and :attr:`numeric`; any integer or float
            dtype. Numbers are rounded to what the column holds (integers, decimals, the unit of time) and clipped
            into its range.
        n
            Number of rows.

        Returns
        -------
        pandas.DataFrame
            Discrete, numeric and constant columns in the schema's order and dtypes, with a ``RangeIndex``;
            identifiers and free text are left out.

        Raises
        ------
        SchemaError
            If a column is not given, has another length, an unknown code, or a missing value where none may be.
        """
        out = {}
        for column in self.schema:
            name = column.name
            if name not in self._decoders:
                continue
            if column.kind == "constant":
                values = np.full(n, 0 if column.categories else -1, dtype=np.int64)
            elif name not in columns:
                raise SchemaError(f"column {name!r} is not given; decode needs each discrete and numeric column")
            else:
                values = np.asarray(columns[name])
                _check_values(column, values, n)
            out[name] = to_dtype(self._decoders[name](values), column.dtype)
        return frame(out, n)


def _check_values(column: Column, values: np.ndarray, n: int) -> None:
    where = f"column {column.name!r}"
    if values.shape != (n,):
        raise SchemaError(f"{where}: {n} rows need values of shape ({n},), not {values.shape}")
    if n == 0:
        return
    if column.is_discrete:
        low, high = int(values.min()), int(values.max())
        if low < -1 or high >= len(column.categories):
            raise SchemaError(f"{where}: codes {low} to {high} given, -1 to {len(column.categories) - 1} are known")
        missing = low == -1
    else:
        missing = bool(np.isnan(values).any())
    if missing and not column.nullable:
        raise SchemaError(f"{where}: a value is missing, and the column is not nullable")


# Discrete columns


def _discrete_decoder(column: Column) -> Callable[[np.ndarray], Any]:
    """From codes to a pandas array; the value at code -1 (the last of each lookup table) is missing."""
    values, dtype = list(column.categories), column.dtype
    if dtype == "category":
        return functools.partial(_take_category, category_dtype(column))
    if dtype in ("str", "string"):
        try:
            return functools.partial(_take_strings, pa.array([*values, None], pa.large_string()), dtype)
        except pa.ArrowException as error:
            raise SchemaError(
                f"column {column.name!r} is of dtype {dtype} but not all its categories are text"
            ) from error
    if dtype == "object" or dtype.startswith(("datetime64", "timedelta64")):
        table = np.empty(len(values) + 1, dtype=object)
        table[:-1] = values
        if dtype == "object":
            return functools.partial(_take, table)
        if values:
            raise SchemaError(f"column {column.name!r} of dtype {dtype} needs kind 'datetime' or 'duration'")
        return functools.partial(_all_missing, dtype)
    pandas_dtype = pd.api.types.pandas_dtype(dtype)
    try:
        if isinstance(pandas_dtype, np.dtype):
            filler = [np.nan] if pandas_dtype.kind == "f" else values[:1]  # non-nullable types have no -1
            return functools.partial(_take, np.array([*values, *filler], dtype=pandas_dtype))
        return functools.partial(_take_masked, pd.Series([*values, None], dtype=dtype).array)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"column {column.name!r}: its categories are not of dtype {dtype}") from error


def _take(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return table[codes]


def _take_masked(table: Any, codes: np.ndarray) -> Any:
    return table.take(np.where(codes < 0, len(table) - 1, codes))


def _take_category(dtype: pd.CategoricalDtype, codes: np.ndarray) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _take_strings(table: pa.Array, dtype: str, codes: np.ndarray) -> Any:
    place = codes.astype(np.int32)
    place[place < 0] = len(table) - 1
    return from_arrow_strings(table.take(pa.array(place)), dtype)


def _all_missing(dtype: str, codes: np.ndarray) -> Any:
    return pd.Series([None], dtype=dtype).array.take(np.zeros(len(codes), dtype=np.int64))


# Numbers and times


def _decode_number(column: Column, span: tuple[float, float], values: np.ndarray) -> Any:
    values = np.array(values, dtype=np.float64)  # a copy, worked on in place
    missing = np.isnan(values) if column.nullable else None
    if column.kind == "integer" or column.dtype.lstrip("Uu").startswith(("int", "Int")):
        return _to_integers(column, span, values, missing)
    if column.decimals is not None:
        np.round(values, column.decimals, out=values)
        values += 0.0  # no minus zero
    np.clip(values, *span, out=values)
    if column.dtype.startswith("Float"):
        exact = values.astype(column.dtype.lower(), copy=False)
        return pd.arrays.FloatingArray(exact, np.zeros(len(exact), dtype=bool) if missing is None else missing)
    if column.dtype == "object":
        raise SchemaError(f"column {column.name!r}: numbers of dtype object are not supported; give a number type")
    return values.astype(column.dtype, copy=False)


def _to_integers(column: Column, span: tuple[float, float], values: np.ndarray, missing: np.ndarray | None) -> Any:
    np.rint(values, out=values)
    np.clip(values, *span, out=values)
    if column.dtype.startswith("float"):
        return values.astype(column.dtype, copy=False)
    if missing is not None:
        values[missing] = 0.0
    base = np.dtype(column.dtype.lower())
    limits = np.iinfo(base)
    low = limits.min if column.minimum is None else max(limits.min, int(np.ceil(column.minimum)))
    high = limits.max if column.maximum is None else min(limits.max, int(np.floor(column.maximum)))
    # Casting a float that rounds to 2**63 would wrap round: those take the exact end of the range.
    above, below = values >= float(high), values <= float(low)
    values[above | below] = 0.0
    whole = values.astype(base)
    whole[below], whole[above] = low, high
    if not column.dtype[0].isupper():
        return whole
    if missing is None:
        return pd.arrays.IntegerArray(whole, np.zeros(len(whole), dtype=bool))
    whole[missing] = 1  # what stands under the mask is not seen; one value keeps the bytes reproducible
    return pd.arrays.IntegerArray(whole, missing)


def _ticks(column: Column) -> tuple[int, int]:
    """Range of a time column in whole steps of its unit, rounded inwards."""
    unit = time_unit(column)
    step = SECONDS[unit]
    widest = _NANOSECONDS if "ns" in column.dtype else _YEARS
    ends = []
    for value, limit, inwards in zip((column.minimum, column.maximum), widest, (np.ceil, np.floor)):
        if value is None:
            ends.append(int(inwards(limit / step)))
        elif column.kind == "duration":
            ticks = value / step
            whole = round(ticks)
            ends.append(whole if abs(ticks - whole) < 1e-6 else int(inwards(ticks)))
        else:
            stamp = pd.Timestamp(value)
            exact = (stamp if stamp.tzinfo is None else stamp.tz_convert(None)).to_datetime64()
            floor = exact.astype(f"datetime64[{unit}]")
            late = inwards is np.ceil and floor < exact
            ends.append(int(floor.astype(np.int64)) + int(late))
    return ends[0], ends[1]


def _decode_time(column: Column, unit: str, ticks: tuple[int, int], seconds: np.ndarray) -> Any:
    """Times from seconds, rounded to ``unit`` and clipped to ``ticks`` steps of it."""
    values = np.asarray(seconds, dtype=np.float64)
    # Times a whole number, which is exact to half a microsecond from 1834 to 2106; 1e-6 itself is rounded.
    values = values / SECONDS[unit] if SECONDS[unit] >= 1 else values * round(1 / SECONDS[unit])
    missing = np.isnan(values)
    np.rint(values, out=values)
    np.clip(values, -9.2e18, 9.2e18, out=values)
    values[missing] = 0.0
    steps = np.clip(values.astype(np.int64), *ticks)
    if column.kind == "duration":
        out = steps.astype(f"timedelta64[{unit}]").astype(column.dtype)
        out[missing] = np.timedelta64("NaT")
        return out
    times = steps.astype(f"datetime64[{unit}]")
    times[missing] = np.datetime64("NaT")
    if column.kind == "date" and column.dtype == "object":
        return times.astype("datetime64[D]").astype(object)  # NaT becomes None
    if column.dtype in STRING_DTYPES:
        return from_arrow_strings(format_iso(times, str(column.pattern)), column.dtype)
    if "," not in column.dtype:
        return times.astype(column.dtype)
    zoned: Any = pd.api.types.pandas_dtype(column.dtype)
    return pd.DatetimeIndex(times.astype(f"datetime64[{zoned.unit}]")).tz_localize("UTC").tz_convert(zoned.tz).array
