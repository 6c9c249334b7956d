"""One SHA-256 of data in a native form, whatever file it was read from: the catalogue's canonical hash."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.image import ImageBatch
from zoo.data.table_values import arrow_strings
from zoo.data.timeseries import SeriesBatch
from zoo.errors import DataError


def fingerprint(data: Any) -> str:
    """SHA-256, in hexadecimal, of names, types and values; the index of a table does not count.

    Parameters
    ----------
    data
        A ``DataFrame``, ``SeriesBatch``, ``ImageBatch`` or a dict of tables.
    """
    digest = hashlib.sha256()
    if isinstance(data, Mapping):
        for name, table in data.items():
            _add(digest, "table", str(name).encode())
            _add_table(digest, table)
    elif isinstance(data, pd.DataFrame):
        _add_table(digest, data)
    elif isinstance(data, ImageBatch):
        _add_array(digest, "pixels", data.pixels)
        _add(digest, "classes", repr(data.classes).encode())
        if data.labels is not None:
            _add_array(digest, "labels", data.labels)
    elif isinstance(data, SeriesBatch):
        _add(digest, "channels", repr((data.channels, data.category_channels, data.category_values)).encode())
        for name in ("values", "mask", "lengths", "categories"):
            _add_array(digest, name, getattr(data, name))
        if data.times is not None:
            _add_array(digest, "times", data.times)
        _add_table(digest, data.static)
    else:
        raise DataError(f"{type(data).__name__} is no native form; give a DataFrame, SeriesBatch or ImageBatch")
    return digest.hexdigest()


def _add(digest: Any, name: str, content: bytes | memoryview) -> None:
    """Add one named part; lengths keep neighbours apart."""
    digest.update(f"{name}\0{len(content)}\0".encode())
    digest.update(content)


def _add_array(digest: Any, name: str, values: np.ndarray) -> None:
    if values.dtype.kind in "mM":
        _add(digest, name, str(values.dtype).encode())
        values = values.astype(np.int64)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)  # NaN has many bit patterns
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    _add(digest, f"{name} {plain.dtype.str} {plain.shape}", plain.reshape(-1).view(np.uint8).data)


def _add_table(digest: Any, table: pd.DataFrame) -> None:
    for name in table.columns:
        values = table[name]
        _add(digest, "column", f"{name} {values.dtype}".encode())
        if isinstance(values.dtype, pd.CategoricalDtype):
            _add(digest, "categories", repr(values.cat.categories.tolist()).encode())
            _add_array(digest, "codes", values.cat.codes.to_numpy())
        elif isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
            _add_strings(digest, values)
        else:
            missing = values.isna().to_numpy()
            if isinstance(values.dtype, pd.api.extensions.ExtensionDtype):
                _add_array(digest, "missing", missing)
                values = values.fillna(0) if missing.any() else values
            _add_array(digest, "values", values.to_numpy(dtype=getattr(values.dtype, "numpy_dtype", None)))


def _add_strings(digest: Any, values: pd.Series) -> None:
    array: Any = arrow_strings(values).combine_chunks()
    missing = values.isna().to_numpy()
    array = array.fill_null("")
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    _add_array(digest, "lengths", np.where(missing, -1, np.diff(offsets)) if len(array) else np.empty(0, np.int64))
    data = array.buffers()[2]
    _add(digest, "text", memoryview(data)[offsets[0] : offsets[-1]] if data is not None and len(array) else b"")
