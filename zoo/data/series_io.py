"""Series on disk and as long tables: ``.npz`` archives, and Parquet or CSV with one row a step."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.atomic import atomic_file
from zoo.data.series_batch import SeriesBatch
from zoo.data.series_windows import as_times, split_channels
from zoo.data.tabular import check_shape
from zoo.errors import DataError, nearest

SERIES, TIME = "series", "time"
_METADATA = b"zoo.series"  # in Parquet: which columns are channels and which static, and the categories
_NPZ = ("values", "channels", "lengths", "categories", "category_channels", "category_values", "times", "static")


# Long tables


def from_table(table: pd.DataFrame, layout: dict[str, Any] | None = None) -> SeriesBatch:
    """Series from a long table: one row a step, the column ``series`` says of which series.

    Series stand in the order of their first rows; a column ``time`` puts the steps in order and becomes ``times``,
    without one the rows' order counts. Of the other columns, those that are no floats and have one value throughout
    each series are static attributes, the rest channels: numbers become numeric ones, all else categorical ones.

    Parameters
    ----------
    table
        The long table.
    layout
        What :func:`to_table` gave, instead of the rule for static attributes.

    Raises
    ------
    DataError
        Naming the column that is not there or cannot be used.
    """
    check_shape(table)
    if SERIES not in table.columns:
        raise DataError(
            f"a long table needs the column {SERIES!r}; {nearest(SERIES, table.columns)}; a single recording is cut "
            "into series by zoo.data.timeseries.windows"
        )
    if table[SERIES].isna().any():
        raise DataError(f"column {SERIES!r} is missing in row {int(table[SERIES].isna().argmax())}; fill it in")
    place, _ = pd.factorize(table[SERIES])  # (rows,) number of the series
    timed = TIME in table.columns and (layout is None or layout["timed"])
    times = as_times(table[TIME]) if timed else np.arange(len(table))
    order = np.lexsort((times, place))
    table, place, times = table.iloc[order], place[order], times[order]
    lengths = np.bincount(place)
    first = np.cumsum(lengths) - lengths  # (N,) first row of each series
    step = np.arange(len(place)) - first[place]
    others = [n for n in table.columns if n != SERIES and not (timed and n == TIME)]
    static = [n for n in others if _is_static(table[n], place)] if layout is None else layout["static"]
    channels = [n for n in others if n not in static]
    if not channels:
        raise DataError("no column of the table changes within a series; a channel is needed")
    if layout is not None:
        kinds = {n: pd.CategoricalDtype(pd.Index(values)) for n, values in layout["categories"].items()}
        table = table.astype(kinds)
    values, names, codes, code_names, categories = split_channels(table, channels)
    n, t = len(lengths), int(lengths.max())
    spread = np.full((n, t, len(names)), np.nan, dtype=np.float32)
    spread[place, step] = values
    coded = np.full((n, t, len(code_names)), -1, dtype=np.int64)
    coded[place, step] = codes
    all_times = None
    if timed:
        all_times = np.full((n, t), np.datetime64("NaT") if times.dtype.kind == "M" else np.nan, dtype=times.dtype)
        all_times[place, step] = times
    return SeriesBatch(
        values=spread,
        channels=names,
        lengths=lengths,
        categories=coded,
        category_channels=code_names,
        category_values=categories,
        static=table.iloc[first][static].reset_index(drop=True),
        times=all_times,
    )


def _is_static(values: pd.Series, place: np.ndarray) -> bool:
    """Whether a column that is no float has one value throughout each series; ``place`` is sorted."""
    if pd.api.types.is_float_dtype(values):
        return False
    codes, _ = pd.factorize(values)
    return bool(((codes[1:] == codes[:-1]) | (place[1:] != place[:-1])).all())


def to_table(batch: SeriesBatch) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The long table of a batch, and its layout (which columns are static, whether there are times, the categories).

    Raises
    ------
    DataError
        If a channel or attribute has the name of the columns that the long table needs.
    """
    taken = {SERIES} | ({TIME} if batch.times is not None else set())
    for name in (*batch.channels, *batch.category_channels, *batch.static.columns):
        if name in taken:
            raise DataError(f"{name!r} names a column of every long table; rename the channel or write .npz")
    inside = batch.inside  # (N, T)
    place = np.repeat(np.arange(len(batch)), batch.lengths)  # (rows,)
    columns: dict[str, Any] = {SERIES: place}
    if batch.times is not None:
        columns[TIME] = batch.times[inside]
    for i, name in enumerate(batch.channels):
        columns[name] = np.where(batch.mask[:, :, i], batch.values[:, :, i], np.float32(np.nan))[inside]
    for k, name in enumerate(batch.category_channels):
        values = pd.Index(list(batch.category_values[k]))
        columns[name] = pd.Categorical.from_codes(batch.categories[:, :, k][inside], categories=values)
    for name in batch.static.columns:
        columns[name] = batch.static[name].array.take(place)
    layout = {
        "static": list(batch.static.columns),
        "timed": batch.times is not None,
        "categories": dict(zip(batch.category_channels, map(list, batch.category_values), strict=True)),
    }
    return pd.DataFrame(columns, copy=False), layout


# Files


def read_series(path: str) -> SeriesBatch:
    """A batch from ``.npz`` or from a long table (``.parquet``, ``.csv``, and what else tables are read from)."""
    if Path(path).suffix.lower() == ".npz":
        return _read_npz(path)
    from zoo.data.table_io import read_table

    table, layout = read_table(path), None
    if Path(path).suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        kept = (pq.read_schema(path).metadata or {}).get(_METADATA)
        layout = None if kept is None else json.loads(kept)
    return from_table(table, layout)


def write_series(batch: SeriesBatch, path: str) -> None:
    """Write ``.npz`` (everything, exactly), ``.parquet`` (likewise, as a long table) or ``.csv``, atomically."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".parquet", ".csv"):
        raise DataError(f"series are written as .npz, .parquet or .csv, not as {path}")
    if suffix == ".npz":
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **_arrays(batch))  # type: ignore[arg-type]
        return
    table, layout = to_table(batch)
    with atomic_file(path) as temporary:
        if suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            arrow = pa.Table.from_pandas(table, preserve_index=False)
            metadata = {**arrow.schema.metadata, _METADATA: json.dumps(layout)}
            pq.write_table(arrow.replace_schema_metadata(metadata), temporary, compression="zstd")


def _arrays(batch: SeriesBatch) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``. ``static`` is a Parquet file's bytes, which keep every dtype; categories are JSON."""
    out: dict[str, np.ndarray] = {
        "values": np.where(batch.mask, batch.values, np.float32(np.nan)),
        "channels": np.array(batch.channels, dtype=str),
        "lengths": batch.lengths,
    }
    if batch.category_channels:
        out["categories"] = batch.categories
        out["category_channels"] = np.array(batch.category_channels)
        out["category_values"] = np.array([json.dumps(list(v)) for v in batch.category_values])
    if batch.times is not None:
        out["times"] = batch.times
    if batch.static.shape[1]:
        buffer = io.BytesIO()
        batch.static.to_parquet(buffer, index=False)
        out["static"] = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    return out


def _read_npz(path: str) -> SeriesBatch:
    """What :func:`write_series` wrote; or any archive with ``values (N, T[, C])`` and arrays of N attributes."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        if "values" not in found:
            raise DataError(f"{path} has no array 'values' of shape (N, T, C); {nearest('values', found)}")
        static = pd.read_parquet(io.BytesIO(found["static"].tobytes())) if "static" in found else pd.DataFrame()
        values = [tuple(json.loads(v)) for v in found.get("category_values", ())]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}; give an .npz of NumPy arrays") from error
    extra = {k: v for k, v in found.items() if k not in (*_NPZ, "mask")}
    for name, attribute in extra.items():
        if attribute.shape != found["values"].shape[:1]:
            raise DataError(
                f"{path}: array {name!r} has shape {attribute.shape}, one value a series is needed; drop it"
            )
    if "static" not in found:
        text = {k: v for k, v in extra.items() if v.dtype.kind == "U"}
        static = pd.DataFrame({k: pd.Series(v, dtype="str") if k in text else v for k, v in extra.items()})
        static = static if len(extra) else pd.DataFrame(index=pd.RangeIndex(len(found["values"])))
    return SeriesBatch(
        values=found["values"],
        channels=tuple(map(str, found.get("channels", ()))),
        lengths=found.get("lengths"),  # type: ignore[arg-type]
        mask=found.get("mask"),  # type: ignore[arg-type]
        categories=found.get("categories"),  # type: ignore[arg-type]
        category_channels=tuple(map(str, found.get("category_channels", ()))),
        category_values=tuple(values),
        static=static,
        times=found.get("times"),
    )
