"""Tables larger than memory: one pass over Parquet that finds what the whole holds, and draws rows to train on.

The pass reads a batch of rows at a time. Of all rows it takes in: how many, how many are missing in each column, ends
of numbers and times, lengths of texts, their different values (up to :data:`MAX_DISTINCT`; beyond, those of the drawn
rows stand), quantiles of numbers by a mergeable sketch, with which the drawn rows are compared. The rows to train on
are a uniform sample without replacement: each row draws a number, and the rows with the smallest are kept, so that the
sample depends on the seed and the rows' order alone, not on how they lie in files or batches.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from zoo.data.export import tracked
from zoo.data.table_csv import one_line
from zoo.data.table_io import frame_of
from zoo.data.table_schema import infer_schema, missing_together
from zoo.errors import DataError, OptionError
from zoo.schema import Column, Schema
from zoo.statistics.quantile_sketch import QuantileSketch

MAX_DISTINCT = 100_000
_BATCH_ROWS = 131_072
_LOOKED_AT = 20_000  # rows whose size in memory is measured


@dataclass
class ColumnScan:
    """What a pass has found of one column."""

    missing: int = 0
    low: Any = None
    high: Any = None
    distinct: pa.Array | None = None
    sketch: QuantileSketch | None = field(default=None, repr=False)

    def add(self, values: pa.Array) -> None:
        """Take in a batch."""
        self.missing += values.null_count
        kind = values.type
        if pa.types.is_dictionary(kind):
            values, kind = values.dictionary_decode(), kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            self._add_texts(values)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
            ends = pc.min_max(values)
            for name, pick in (("low", min), ("high", max)):
                new, old = ends["min" if name == "low" else "max"].as_py(), getattr(self, name)
                setattr(self, name, new if old is None else old if new is None else pick(old, new))
            if not pa.types.is_temporal(kind):
                self.sketch = self.sketch or QuantileSketch()
                self.sketch.add(values.drop_null().to_numpy(zero_copy_only=False))

    def _add_texts(self, values: pa.Array) -> None:
        lengths = pc.min_max(pc.utf8_length(values))
        if lengths["min"].as_py() is not None:
            ends = (lengths["min"].as_py(), lengths["max"].as_py())
            self.low = ends[0] if self.low is None else min(self.low, ends[0])
            self.high = ends[1] if self.high is None else max(self.high, ends[1])
        if self.distinct is None or len(self.distinct) <= MAX_DISTINCT:
            new = pc.unique(values.drop_null().cast(pa.large_string()))
            self.distinct = new if self.distinct is None else pc.unique(pa.concat_arrays([self.distinct, new]))


@dataclass
class TableScan:
    """What a pass has found: number of rows, each column, and the rows drawn."""

    rows: int
    columns: dict[str, ColumnScan]
    sample: pd.DataFrame


def farthest(scan: TableScan) -> tuple[str, float] | None:
    """The number whose distribution in the rows drawn is farthest from that in all rows, and how far.

    The distance is the largest difference of the shares of rows below the whole's percentiles, as of Kolmogorov and
    Smirnov; None if there are no numbers.
    """
    shares = np.arange(1, 100) / 100
    out = {}
    for name, found in scan.columns.items():
        if found.sketch is None or not found.sketch.count or name not in scan.sample:
            continue
        drawn = np.sort(scan.sample[name].dropna().to_numpy(dtype=np.float64))
        if not len(drawn):
            continue
        ends = found.sketch.quantiles(shares)
        below, upto = (np.searchsorted(drawn, ends, side=side) / len(drawn) for side in ("left", "right"))
        out[name] = float(np.maximum(np.maximum(below - shares, shares - upto), 0).max())
    return max(out.items(), key=lambda item: item[1]) if out else None


def parquet_size(source: str | Path) -> tuple[int, int] | None:
    """Rows and bytes in memory, by the first rows of a Parquet file or folder; None for anything else."""
    files = _files(Path(source).expanduser())
    if not files or not all(p.is_file() for p in files):
        return None
    try:
        rows = sum(pq.read_metadata(p).num_rows for p in files)
        with pq.ParquetFile(files[0]) as opened:
            first = next(opened.iter_batches(_LOOKED_AT), None)
        if first is None or not first.num_rows:
            return rows, 0
        held = int(frame_of(pa.Table.from_batches([first]), str(files[0])).memory_usage(deep=True).sum())
    except (OSError, pa.ArrowException):
        return None  # whoever reads it says what is wrong
    return rows, held * rows // first.num_rows


def scan_table(source: str | Path, rows: int, *, seed: int = 0, progress: bool | None = None) -> TableScan:
    """Pass once over a Parquet file or folder, in bounded memory.

    Parameters
    ----------
    source
        The file or folder.
    rows
        Rows to draw at most; at least 1.
    seed
        The same seed draws the same rows.
    progress
        Show a bar; by default when standard error is a terminal.

    Raises
    ------
    DataError
        If it is no Parquet, or its files do not agree.
    """
    known = parquet_size(source)
    if known is None:
        raise DataError(f"{source} is no Parquet file or folder; only those are read in passes, write it as Parquet")
    if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
        raise OptionError(f"rows to train on must be a whole number of at least 1, not {rows!r}")
    path = Path(source).expanduser()
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    keep = _Smallest(int(rows), rng)
    columns: dict[str, ColumnScan] = {}
    try:
        schema = pa.dataset.dataset(path, format="parquet", partitioning="hive" if path.is_dir() else None).schema
        for batch in tracked(_batches(path, schema), max(1, known[0] // _BATCH_ROWS), progress, "reading"):
            for name, values in zip(batch.schema.names, batch.columns):
                columns.setdefault(name, ColumnScan()).add(values)
            keep.add(batch)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read: {one_line(error)}; its files must have the same columns") from error
    sample = frame_of(keep.table(schema), str(source))
    return TableScan(keep.seen, columns, sample)


def _files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [p for p in files if p.suffix.lower() in (".parquet", ".pq") and not p.name.startswith((".", "_"))]


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows in the schema's columns, file by file: a scan of the whole data set at once reads far ahead."""
    for file in _files(path):
        with pq.ParquetFile(file) as opened:
            if opened.schema_arrow.equals(schema):
                yield from opened.iter_batches(_BATCH_ROWS)
                continue
        # Columns in the folders' names, or of a narrower type in this file.
        root = str(path) if path.is_dir() else None
        part = pa.dataset.dataset(
            [str(file)], schema=schema, format="parquet", partitioning="hive", partition_base_dir=root
        )
        yield from part.to_batches(batch_size=_BATCH_ROWS, batch_readahead=0, fragment_readahead=0)


class _Smallest:
    """The rows whose random numbers are the smallest: a uniform sample without replacement, in the rows' order."""

    def __init__(self, rows: int, rng: np.random.Generator) -> None:
        self.rows, self.rng, self.seen, self.limit = rows, rng, 0, 1.0
        self.parts: list[pa.Table] = []
        self.keys = np.empty(0)

    def add(self, batch: pa.RecordBatch) -> None:
        drawn = self.rng.random(batch.num_rows)
        self.seen += batch.num_rows
        mine = np.flatnonzero(drawn < self.limit)
        if not len(mine):
            return
        self.parts.append(pa.Table.from_batches([batch]).take(pa.array(mine)))
        self.keys = np.concatenate([self.keys, drawn[mine]])
        if len(self.keys) > self.rows + max(self.rows // 4, _BATCH_ROWS):
            self._prune()

    def _prune(self) -> None:
        if len(self.keys) > self.rows:
            kept = np.sort(np.argpartition(self.keys, self.rows - 1)[: self.rows])
            self.parts = [pa.concat_tables(self.parts).take(pa.array(kept)).combine_chunks()]
            self.keys = self.keys[kept]
            self.limit = float(self.keys.max())

    def table(self, schema: pa.Schema) -> pa.Table:
        self._prune()
        made = pa.concat_tables(self.parts) if self.parts else schema.empty_table()
        return made.replace_schema_metadata(schema.metadata)


def widened_schema(scan: TableScan, overrides: Any = None) -> Schema:
    """The schema of the rows drawn, with what the whole table adds: ends, lengths, categories, where numbers count on.

    A missing value so rare that no drawn row has it is left out: there is nothing to learn it from.
    """
    schema = infer_schema(scan.sample, overrides)
    told = {} if overrides is None else _told(overrides)
    columns = [_widened(c, scan, told.get(c.name, {})) for c in schema]
    return schema.replace(columns=missing_together(scan.sample, columns))


def _told(overrides: Any) -> dict[str, Any]:
    from zoo.data.table_overrides import read_overrides

    columns: dict[str, Any] = read_overrides(overrides)["columns"]
    return columns


def _widened(column: Column, scan: TableScan, told: dict[str, Any]) -> Column:
    found = scan.columns.get(column.name)
    if found is None:
        return column
    changes: dict[str, Any] = {}
    if column.kind in ("integer", "float", "text", "datetime", "date", "duration") and found.high is not None:
        if column.kind != "text" or column.pii is None:
            changes |= _ends(column, found)
    elif column.kind == "category" and column.dtype != "category" and found.distinct is not None:
        if len(found.distinct) <= MAX_DISTINCT:
            changes["categories"] = tuple(found.distinct.take(pc.sort_indices(found.distinct)).to_pylist())
    elif column.kind == "identifier" and isinstance(found.high, int):
        about = json.loads(str(column.pattern))
        if about.get("form") == "sequence":
            about |= {"start": found.high + about["step"], "spread": min(scan.rows, 2**31)}
            changes["pattern"] = json.dumps(about)
    changes = {key: value for key, value in changes.items() if key not in told}
    column = dataclasses.replace(column, **changes)
    counts = column.kind == "integer" and "kind" not in told and not column.nullable and found.missing == 0
    if counts and _are_keys(scan, column.name, found):
        size = found.high - found.low + 1
        pattern = json.dumps({"form": "shuffled", "start": found.high + 1, "size": min(size, 2**31)})
        return Column(name=column.name, kind="identifier", dtype=column.dtype, pattern=pattern, pii=column.pii)
    return column


def _ends(column: Column, found: ColumnScan) -> dict[str, Any]:
    low, high = found.low, found.high
    if column.kind == "datetime":
        if not hasattr(low, "isoformat"):
            return {}  # times as text: those of the rows drawn
        stamps = [pd.Timestamp(v) for v in (low, high)]
        low, high = ((t.tz_convert("UTC") if t.tzinfo else t).isoformat() for t in stamps)
    elif column.kind == "date":
        low, high = (str(v)[:10] for v in (low, high))
    elif column.kind == "duration":
        low, high = (pd.Timedelta(v) / pd.Timedelta(seconds=1) for v in (low, high))
    return {"minimum": low, "maximum": high}


def _are_keys(scan: TableScan, name: str, found: ColumnScan) -> bool:
    """Whether integers number the rows in some order: all drawn ones differ, and the rows fill half of the range."""
    fills = isinstance(found.high, int) and found.high - found.low < 2 * scan.rows
    return fills and len(scan.sample) >= 1000 and bool(scan.sample[name].is_unique)
