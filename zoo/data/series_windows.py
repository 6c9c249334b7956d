"""Labelled windows of a long recording: from a table with one row a moment to a ``SeriesBatch``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.series_batch import SeriesBatch
from zoo.errors import DataError, nearest

_TOLERANCE = 0.5  # of the usual step: clocks of sensors jitter by a second, a gap is a whole step at least


def windows(
    table: pd.DataFrame,
    *,
    channels: Sequence[str],
    length: int,
    stride: int,
    label: str | None = None,
    time: str | None = None,
) -> SeriesBatch:
    """Cut a recording into windows of equal length.

    Parameters
    ----------
    table
        One row a moment, in the order of time unless ``time`` is given.
    channels
        Columns that become channels: numbers become numeric channels, all else categorical ones (pandas categories
        keep their order, others are sorted).
    length
        Steps of a window, at least 1.
    stride
        Steps from one window's start to the next one's; below ``length`` windows overlap.
    label
        Column that becomes a static attribute of the same name and dtype: the value that most of the window's rows
        have, the smaller one when two are equally frequent. Rows without a label do not count; a window without any
        gets a missing one.
    time
        Column of times (or numbers). Rows are put in its order, and no window reaches across a gap: a step that
        differs from the median step by half of it or more. The windows keep their times.

    Returns
    -------
    SeriesBatch
        As many windows as fit, in the order of time.

    Raises
    ------
    DataError
        If a column is not there, a number is out of range, or no window fits.

    Examples
    --------
    >>> table = pd.DataFrame({"x": [1.0, 2, 3, 4, 5], "on": ["no", "no", "yes", "yes", "yes"]})
    >>> cut = windows(table, channels=["x"], length=3, stride=2, label="on")
    >>> cut.values[:, :, 0].tolist(), cut.static["on"].tolist()
    ([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]], ['no', 'yes'])
    """
    for name, value in (("length", length), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise DataError(f"{name}={value!r} must be a whole number of at least 1")
    if not channels:
        raise DataError("channels is empty; name at least one column")
    for name in (*channels, *(n for n in (label, time) if n is not None)):
        if name not in table.columns:
            raise DataError(f"the table has no column {name!r}; {nearest(str(name), map(str, table.columns))}")
    if time is not None:
        table = table.sort_values(time, kind="stable", ignore_index=True)
    index = _starts(table, int(length), int(stride), time)[:, None] + np.arange(length)  # (N, T) rows of the table
    values, names, codes, code_names, categories = split_channels(table, channels)
    static = pd.DataFrame(index=range(len(index)))
    if label is not None:
        static[label] = _majority(table[label], index)
    return SeriesBatch(
        values=values[index],
        channels=names,
        categories=codes[index],
        category_channels=code_names,
        category_values=categories,
        static=static,
        times=None if time is None else as_times(table[time])[index],
    )


def _starts(table: pd.DataFrame, length: int, stride: int, time: str | None) -> np.ndarray:
    """First rows of the windows, ``int64 (N,)``; each run without a gap is cut from its own beginning."""
    cuts = np.array([], dtype=np.int64)
    if time is not None and len(table) > 1:
        if table[time].isna().any():
            raise DataError(f"column {time!r} is missing in a row; drop rows without a time")
        steps = np.diff(as_times(table[time])).astype(np.float64)
        usual = np.median(steps)
        cuts = np.flatnonzero(np.abs(steps - usual) > _TOLERANCE * usual) + 1
    ends = np.append(cuts, len(table))
    begins = np.insert(cuts, 0, 0)
    starts = [np.arange(a, b - length + 1, stride) for a, b in zip(begins, ends, strict=True) if b - a >= length]
    if not starts:
        longest = int((ends - begins).max())
        raise DataError(
            f"no window of {length} steps fits; the longest stretch without a gap has {longest}: shorten length"
        )
    return np.concatenate(starts)


def _majority(values: pd.Series, index: np.ndarray) -> Any:
    """The most frequent value of each window, with the column's dtype."""
    codes, distinct = pd.factorize(values, sort=True)  # (rows,) -1 where missing
    if not len(distinct):
        return values.array.take(index[:, 0])
    counts = np.stack([(codes[index] == k).sum(1) for k in range(len(distinct))], axis=1)  # (N, values)
    place = np.where(counts.any(1), counts.argmax(1), -1)
    return distinct.array.take(place, allow_fill=bool((place < 0).any()))


def split_channels(
    table: pd.DataFrame, names: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """Columns of a table as channels.

    Returns
    -------
    values, channels
        ``float32 (rows, C)`` and the names of the numeric channels.
    codes, category_channels, category_values
        ``int64 (rows, K)``, -1 where missing; names and values of the categorical channels.
    """
    numeric = [n for n in names if pd.api.types.is_numeric_dtype(table[n]) and not pd.api.types.is_bool_dtype(table[n])]
    values = np.empty((len(table), len(numeric)), dtype=np.float32)
    for i, name in enumerate(numeric):
        values[:, i] = table[name].to_numpy(dtype=np.float32, na_value=np.nan)
    other = [n for n in names if n not in numeric]
    codes = np.empty((len(table), len(other)), dtype=np.int64)
    categories = []
    for k, name in enumerate(other):
        column = table[name]
        if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
            raise DataError(f"channel {name!r} holds {column.dtype}; channels are numbers or categories, drop it")
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes[:, k], distinct = column.cat.codes, column.cat.categories.tolist()
        else:
            try:
                codes[:, k], found = pd.factorize(column, sort=True)
            except TypeError as error:
                raise DataError(f"channel {name!r} mixes types; use df[{name!r}].astype(str)") from error
            distinct = found.tolist()
        categories.append(tuple(distinct))
    return values, tuple(numeric), codes, tuple(other), tuple(categories)


def as_times(values: pd.Series) -> np.ndarray:
    """Times as ``datetime64`` (UTC when they carry a zone; strings are parsed) or ``float64``."""
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    try:
        parsed = pd.to_datetime(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"column {values.name!r} holds no times: {error}; use pd.to_datetime") from error
    return (parsed.dt.tz_convert(None) if parsed.dt.tz is not None else parsed).to_numpy()
