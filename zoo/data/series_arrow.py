"""Series in Arrow and Hugging Face's types: a list a channel, a value a static attribute, one row a series."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zoo.data.series_batch import SeriesBatch
from zoo.data.series_schema import category_channels, numeric_channels, statics
from zoo.data.tabular import TableForm, column_feature, is_class_label
from zoo.errors import DataError
from zoo.schema import Schema

if TYPE_CHECKING:
    import datasets


def series_features(schema: Schema) -> "datasets.Features":
    """A ``List(float32)`` a numeric channel, null where nothing was observed; a list of ``ClassLabel`` (or of values)
    a categorical one; static attributes as in tables. The lists are as long as the series."""
    import datasets

    found = {c.name: datasets.List(datasets.Value("float32")) for c in numeric_channels(schema)}
    found |= {c.name: datasets.List(column_feature(c)) for c in category_channels(schema)}
    return datasets.Features(found | dict(TableForm().features(statics(schema))))


def series_to_arrow(batch: SeriesBatch, schema: Schema) -> pa.Table:
    """The batch in the storage types of :func:`series_features`."""
    inside = batch.inside  # (N, T)
    offsets = pa.array(np.concatenate([[0], np.cumsum(batch.lengths)]).astype(np.int32))  # (N + 1,)
    columns = {}
    for i, column in enumerate(numeric_channels(schema)):
        flat = batch.values[:, :, i][inside]  # (steps of all series,)
        items = pa.array(flat, type=pa.float32(), mask=~batch.mask[:, :, i][inside])
        columns[column.name] = pa.ListArray.from_arrays(offsets, items)
    for k, column in enumerate(category_channels(schema)):
        codes = batch.categories[:, :, k][inside]
        if is_class_label(column):
            items = pa.array(codes, mask=codes < 0)
        else:
            values = pa.array(list(column.categories), type=column_feature(column).pa_type)
            items = values.take(pa.array(codes, mask=codes < 0))
        columns[column.name] = pa.ListArray.from_arrays(offsets, items)
    static = TableForm().to_arrow(batch.static, statics(schema))
    return pa.table(columns | dict(zip(static.column_names, static.columns, strict=True)))


def series_from_dataset(data: Any, schema: Schema | None) -> SeriesBatch:
    """A batch from a ``datasets.Dataset``: lists of numbers become numeric channels, lists of classes or texts
    categorical ones, all else static attributes.

    Raises
    ------
    DataError
        If there is no list column, a list is missing or empty, or the lists of one series differ in length.
    """
    import datasets

    if not isinstance(data, datasets.Dataset):
        raise DataError(f"time series are needed, not datasets.{type(data).__name__}; give one split, dataset['train']")
    listed = [n for n, f in data.features.items() if isinstance(f, (datasets.List, datasets.LargeList))]
    if not listed:
        raise DataError("no column of the dataset is a list; give each channel as a list of its steps")
    if len(data) == 0:
        raise DataError("the dataset has no series; give at least one")
    table = data.with_format("arrow")[:]
    lists = {n: table.column(n).combine_chunks() for n in listed}
    lengths = _common_lengths(lists)
    place = np.repeat(np.arange(len(lengths)), lengths)  # (steps,) series of each step
    step = np.arange(len(place)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    n, t = len(lengths), int(lengths.max())
    values, names, codes, code_names, categories = [], [], [], [], []
    for name, column in lists.items():
        flat, inner = column.flatten(), data.features[name].feature
        found = _categories(flat, inner, name, schema)
        if found is None:
            number: np.ndarray = np.full((n, t), np.nan, dtype=np.float32)
            number[place, step] = flat.to_numpy(zero_copy_only=False).astype(np.float32)
            values.append(number)
            names.append(name)
        else:
            code = np.full((n, t), -1, dtype=np.int64)
            code[place, step], kinds = found
            codes.append(code)
            code_names.append(name)
            categories.append(kinds)
    rest = [c for c in data.column_names if c not in listed]
    known = None if schema is None else statics(schema)
    static = TableForm().coerce(data.select_columns(rest), known) if rest else pd.DataFrame(index=pd.RangeIndex(n))
    return SeriesBatch(
        values=np.stack(values, axis=2) if values else np.empty((n, t, 0), dtype=np.float32),
        channels=tuple(names),
        lengths=lengths,
        categories=np.stack(codes, axis=2) if codes else None,  # type: ignore[arg-type]
        category_channels=tuple(code_names),
        category_values=tuple(categories),
        static=static,
    )


def _common_lengths(lists: dict[str, Any]) -> np.ndarray:
    """Steps of each series, ``int64 (N,)``, which all channels must agree on."""
    lengths, first = None, ""
    for name, column in lists.items():
        own = column.value_lengths().to_numpy(zero_copy_only=False)
        if column.null_count or (own == 0).any():
            raise DataError(f"channel {name!r} has a series without steps; drop it")
        if lengths is not None and (own != lengths).any():
            odd = int(np.argmax(own != lengths))
            raise DataError(
                f"series {odd} has {own[odd]} steps in channel {name!r}, {lengths[odd]} in {first!r}; make them equal"
            )
        lengths, first = own, first or name
    assert lengths is not None
    return lengths.astype(np.int64)


def _categories(
    flat: pa.Array, inner: Any, name: str, schema: Schema | None
) -> tuple[np.ndarray, tuple[Any, ...]] | None:
    """Codes (-1 missing) and values of a categorical channel's steps; None when it is numeric."""
    import datasets

    if isinstance(inner, datasets.ClassLabel):
        return flat.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), tuple(inner.names)
    if not isinstance(inner, datasets.Value):
        raise DataError(f"channel {name!r} is a list of lists; give each channel as a list of numbers or texts")
    known = schema is not None and name in schema and not schema[name].is_numeric
    if (
        known
        or pa.types.is_boolean(flat.type)
        or not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type))
    ):
        if known:
            assert schema is not None
            values = list(schema[name].categories)
        else:
            values = sorted(flat.unique().drop_null().to_pylist())
        place = pd.Index(values).get_indexer(pd.Index(flat.to_pandas()))
        unknown = (place < 0) & ~flat.is_null().to_numpy(zero_copy_only=False)
        if unknown.any():
            raise DataError(f"channel {name!r} holds {flat[int(np.argmax(unknown))].as_py()!r}, which the schema lacks")
        return place.astype(np.int64), tuple(values)
    return None
