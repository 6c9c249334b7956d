"""Time series: the native form is ``SeriesBatch``; :func:`windows` cuts long recordings into one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoo.data.form import NativeForm
from zoo.data.series_batch import SeriesBatch
from zoo.data.series_schema import (
    check_series,
    equal_series,
    infer_series,
    protect_series,
    recode,
    replace_content,
    starts_with,
    statics,
)
from zoo.data.series_windows import windows
from zoo.data.table_fill import fill
from zoo.data.tabular import concat_tables, with_range_index
from zoo.errors import DataError, SchemaError
from zoo.schema import Schema

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

__all__ = ["SeriesBatch", "SeriesForm", "windows"]


class SeriesForm(NativeForm):
    """Operations on batches of time series.

    Samples are always padded to the schema's ``max_length``, so that a part of a batch is cut from it byte for byte.
    Times are kept, read and written, and no part of the schema: generated series are evenly spaced and undated.
    """

    modality = "timeseries"

    def coerce(self, data: Any, schema: Schema | None = None) -> SeriesBatch:
        """A batch from a ``SeriesBatch``, an array, a list of arrays, a long table or a ``datasets.Dataset``.

        Parameters
        ----------
        data
            A ``SeriesBatch``; an array ``(N, T, C)`` or ``(N, T)``; a list of arrays ``(T_i, C)`` or ``(T_i,)``; a
            ``DataFrame`` as :func:`zoo.data.series_io.from_table` takes it; a ``datasets.Dataset`` with a list a
            channel, as ``to_dataset`` makes it.
        schema
            Decides the order of channels, the codes of categorical channels, the dtypes of attributes that come from
            a data set, and the padding.

        Raises
        ------
        DataError
            For another type, no series, no channels, or parts that do not fit.
        """
        batch = _as_batch(data, schema)
        if len(batch) == 0:
            raise DataError("there are no series; give at least one")
        if not batch.channels and not batch.category_channels:
            raise DataError("the series have no channels; give at least one")
        for name in (*batch.channels, *batch.category_channels, *batch.static.columns):
            if not isinstance(name, str):
                raise DataError(f"name {name!r} of a channel or attribute is no text; use str({name!r})")
        if not isinstance(batch.static.index, pd.RangeIndex) or batch.static.index[:1].tolist() != [0]:
            batch = replace(batch, static=with_range_index(batch.static))
        batch = _canonical(batch)
        if schema is not None and schema.modality == self.modality:
            batch = recode(batch, schema)
            longest = schema.shape.get("max_length", 0)
            if batch.lengths.max() <= longest:
                batch = batch.padded(longest)
        return batch

    def infer(self, data: SeriesBatch) -> Schema:
        return infer_series(data)

    def check(self, data: SeriesBatch, schema: Schema) -> None:
        check_series(data, schema)

    def length(self, data: SeriesBatch) -> int:
        return len(data)

    def slice(self, data: SeriesBatch, start: int, stop: int) -> SeriesBatch:
        return data[start:stop]

    def take(self, data: SeriesBatch, index: np.ndarray) -> SeriesBatch:
        return data[np.asarray(index)]

    def column(self, data: SeriesBatch, name: str) -> pd.Series | None:
        """A static attribute; None for a channel, which has a value a step."""
        return data.static.get(name)

    def concat(self, parts: Sequence[SeriesBatch]) -> SeriesBatch:
        """Join batches of the same channels; shorter ones are padded. Times stay if all parts have them."""
        if len(parts) == 1:
            return parts[0]
        longest = max(p.values.shape[1] for p in parts)
        padded = [p.padded(longest) for p in parts]
        timed = all(p.times is not None for p in padded)
        return replace(
            padded[0],
            values=np.concatenate([p.values for p in padded]),
            lengths=np.concatenate([p.lengths for p in padded]),
            mask=np.concatenate([p.mask for p in padded]),
            categories=np.concatenate([p.categories for p in padded]),
            static=concat_tables([p.static for p in padded]),
            times=np.concatenate([p.times for p in padded]) if timed else None,
        )

    def equal(self, a: SeriesBatch, b: SeriesBatch) -> bool:
        return equal_series(a, b)

    def starts_with(self, longer: SeriesBatch, prefix: SeriesBatch) -> bool:
        """Whether each series continues the one of ``prefix``: the same steps first, the same attributes."""
        return starts_with(longer, prefix)

    def statics(self, schema: Schema) -> Schema:
        """The schema of the static attributes alone, as a table's."""
        return statics(schema)

    def features(self, schema: Schema) -> "datasets.Features":
        from zoo.data.series_arrow import series_features

        return series_features(schema)

    def to_arrow(self, data: SeriesBatch, schema: Schema) -> "pa.Table":
        from zoo.data.series_arrow import series_to_arrow

        return series_to_arrow(data, schema)

    def read(self, path: str) -> SeriesBatch:
        """``.npz``, or a long table; see :mod:`zoo.data.series_io`."""
        from zoo.data.series_io import read_series

        return self.coerce(read_series(path))

    def write(self, data: SeriesBatch, path: str) -> None:
        """``.npz`` or a long table as ``.parquet`` keep everything; a ``.csv`` loses dtypes."""
        from zoo.data.series_io import write_series

        write_series(data, path)

    def protect(self, data: SeriesBatch, schema: Schema) -> tuple[SeriesBatch, Schema]:
        return protect_series(data, schema)

    def finish(self, block: SeriesBatch, schema: Schema, first_row: int, seed: int = 0) -> SeriesBatch:
        """Make identifiers and free texts among the attributes, bring all into the schema's order, and pad."""
        columns = {}
        for column in statics(schema):
            if column.name in block.static:
                columns[column.name] = block.static[column.name].array
            elif column.kind in ("identifier", "text"):
                columns[column.name] = fill(column, first_row, len(block), seed)
            else:
                raise SchemaError(f"the block lacks the static attribute {column.name!r}, which has to be sampled")
        static = pd.DataFrame(columns, index=pd.RangeIndex(len(block)), copy=False)
        return replace(block.padded(schema.shape["max_length"]), static=static)


def _as_batch(data: Any, schema: Schema | None) -> SeriesBatch:
    if isinstance(data, SeriesBatch):
        return data
    if isinstance(data, np.ndarray):
        return SeriesBatch(data)
    if isinstance(data, pd.DataFrame):
        from zoo.data.series_io import from_table

        return from_table(data)
    if isinstance(data, (list, tuple)) and all(isinstance(s, np.ndarray) for s in data):
        return _from_list(data)
    if type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "features"):
        from zoo.data.series_arrow import series_from_dataset

        return series_from_dataset(data, schema)
    raise DataError(
        f"time series are needed, not {type(data).__name__}; give a SeriesBatch, an array (N, T, C), a list of arrays "
        "(T, C), a long DataFrame or a datasets.Dataset"
    )


def _from_list(series: Sequence[np.ndarray]) -> SeriesBatch:
    if not series:
        raise DataError("there are no series; give at least one")
    each = [s[:, None] if s.ndim == 1 else s for s in series]  # (T_i, C)
    for i, one in enumerate(each):
        if one.ndim != 2 or one.shape[1] != each[0].shape[1] or not len(one) or one.dtype.kind not in "fiub":
            raise DataError(f"series {i} has shape {one.shape} of {one.dtype}; give numbers of shape (T, C), one C")
    lengths = np.array([len(s) for s in each])
    values = np.full((len(each), lengths.max(), each[0].shape[1]), np.nan, dtype=np.float32)
    for i, one in enumerate(each):
        values[i, : len(one)] = one
    return SeriesBatch(values, lengths=lengths)


def _canonical(batch: SeriesBatch) -> SeriesBatch:
    """NaN exactly where the mask is False, the mask and the codes empty beyond the lengths."""
    inside = batch.inside[:, :, None]
    if (batch.mask & np.isnan(batch.values)).any():
        where = np.argwhere(batch.mask & np.isnan(batch.values))[0]
        raise DataError(f"channel {batch.channels[where[2]]!r}: the mask is True at a NaN; leave the mask out")
    mask = batch.mask & inside
    clean = np.array_equal(mask, ~np.isnan(batch.values)) and not (~inside & (batch.categories >= 0)).any()
    if clean and np.array_equal(mask, batch.mask):
        return batch
    values = np.where(mask, batch.values, np.float32(np.nan))
    return replace_content(batch, values, np.where(inside, batch.categories, -1))
