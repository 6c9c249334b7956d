"""Time series for the harness: each series is also a row of summary features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.timeseries import SeriesBatch
from zoo.errors import DataError, SchemaError, nearest
from zoo.evaluation.kit import Features, Kit, same_type
from zoo.evaluation.table import Table, encode_tables, hash_columns, table_features, table_points
from zoo.evaluation.views import marginals
from zoo.schema import Column, Schema

_LAGS = (1, 2, 4, 8)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MAX_CROSS = 12  # channels whose mutual correlations are features


@dataclass(eq=False)
class Series:
    """A batch and its static attributes, encoded with those of the other parts."""

    batch: SeriesBatch
    static: Table


def _masked_quantiles(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Quantiles over time, nearest rank: ``float (N, Q, C)``, NaN where nothing was observed."""
    ordered = np.sort(np.where(mask, values, np.inf), axis=1)
    count = mask.sum(1)  # (N, C)
    ranks = np.stack([np.clip(np.round(q * (count - 1)), 0, None) for q in _QUANTILES], axis=1).astype(int)
    out = np.take_along_axis(ordered, ranks, axis=1)
    return np.where(np.isfinite(out), out, np.nan)


def summary_features(batch: SeriesBatch) -> dict[str, np.ndarray]:
    """Summary of each series, ``float (N,)`` by name.

    Of each numeric channel: mean, standard deviation, five quantiles, mean absolute step, autocorrelation at
    lags 1, 2, 4 and 8, share observed; correlations of channels; of each categorical channel the share of
    each of its first ten values and the rate of change; the length.
    """
    mask = batch.mask
    x = np.where(mask, batch.values, 0).astype(np.float64)  # (N, T, C)
    inside = (np.arange(x.shape[1])[None, :] < batch.lengths[:, None])[..., None]
    count = np.maximum(mask.sum(1), 1)
    mean = x.sum(1) / count  # (N, C)
    centred = np.where(mask, x - mean[:, None], 0)
    variance = (centred**2).sum(1) / count
    quantiles = _masked_quantiles(batch.values.astype(np.float64), mask)
    out: dict[str, np.ndarray] = {"length": batch.lengths.astype(np.float64)}
    both = mask[:, 1:] & mask[:, :-1]
    step = np.where(both, np.abs(np.diff(x, axis=1)), 0).sum(1) / np.maximum(both.sum(1), 1)
    for j, name in enumerate(batch.channels):
        seen = mask[:, :, j].any(1)
        out[f"{name}: mean"] = np.where(seen, mean[:, j], np.nan)
        out[f"{name}: sd"] = np.where(seen, np.sqrt(variance[:, j]), np.nan)
        out[f"{name}: step"] = np.where(both[:, :, j].any(1), step[:, j], np.nan)
        out[f"{name}: observed"] = mask[:, :, j].sum(1) / inside[:, :, 0].sum(1)
        for k, q in enumerate(_QUANTILES):
            out[f"{name}: q{q:g}"] = quantiles[:, k, j]
    safe = np.where(variance > 0, variance, np.nan)
    for lag in _LAGS:
        if lag >= x.shape[1]:
            break
        pairs = np.maximum((mask[:, lag:] & mask[:, :-lag]).sum(1), 1)
        acf = (centred[:, lag:] * centred[:, :-lag]).sum(1) / pairs / safe
        for j, name in enumerate(batch.channels):
            out[f"{name}: acf{lag}"] = acf[:, j]
    for a in range(min(len(batch.channels), _MAX_CROSS)):
        for b in range(a):
            shared = np.maximum((mask[:, :, a] & mask[:, :, b]).sum(1), 1)
            cross = (centred[:, :, a] * centred[:, :, b]).sum(1) / shared
            out[f"{batch.channels[a]} x {batch.channels[b]}"] = cross / np.sqrt(safe[:, a] * safe[:, b])
    for k, name in enumerate(batch.category_channels):
        codes = batch.categories[:, :, k]
        seen = np.maximum((codes >= 0).sum(1), 1)
        for value in range(min(len(batch.category_values[k]), 10)):
            out[f"{name}: share {value}"] = (codes == value).sum(1) / seen
        changed = (codes[:, 1:] != codes[:, :-1]) & (codes[:, 1:] >= 0)
        out[f"{name}: changes"] = changed.sum(1) / seen
    return out


def _static_schema(parts: Mapping[str, SeriesBatch], schema: Schema | None) -> Schema:
    """The schema of the static attributes: given, or by their dtypes."""
    if schema is not None:
        return Schema(modality="tabular", columns=schema.by_role("static", "label"))
    columns = []
    for name in parts["train"].static.columns:
        values = parts["train"].static[name]
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            columns.append(Column(name=str(name), kind="datetime"))
        elif pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
            columns.append(Column(name=str(name), kind="float"))
        else:
            distinct = tuple(pd.unique(values.dropna()))
            kind: Any = "category" if distinct else "constant"
            columns.append(Column(name=str(name), kind=kind, categories=distinct, nullable=True))
    return Schema(modality="tabular", columns=tuple(columns))


class SeriesKit(Kit):
    """Time series: a ``SeriesBatch``."""

    modality = "timeseries"
    naive = "shuffled steps"

    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema
        self.statics: Schema | None = None

    def prepare(self, parts: Mapping[str, Any], target: str | None) -> dict[str, Any]:
        same_type(parts, "SeriesBatch")
        train = parts["train"]
        for part, batch in parts.items():
            for what in ("channels", "category_channels"):
                ours, theirs = getattr(train, what), getattr(batch, what)
                if ours != theirs:
                    odd = next(iter(set(ours) ^ set(theirs)), "their order")
                    raise SchemaError(f"{part}: {what} {theirs} differ from train's {ours} in {odd!r}; make them equal")
            if batch.category_values != train.category_values:
                raise SchemaError(f"{part}: category_values differ from train's; encode both with the same values")
        self.statics = _static_schema(parts, self.schema)
        if target is not None and target not in self.statics:
            raise DataError(f"target {target!r} is no static attribute; {nearest(target, self.statics.names)}")
        tables = encode_tables(self.statics, {part: batch.static for part, batch in parts.items()})
        return {part: Series(batch, tables[part]) for part, batch in parts.items()}

    def length(self, data: Series) -> int:
        return len(data.batch)

    def take(self, data: Series, index: np.ndarray) -> Series:
        return Series(data.batch[index], data.static.take(index))

    def independent(self, data: Series, n: int, rng: np.random.Generator) -> Series:
        """Lengths and gaps of real series; every value drawn alone from all values of its channel."""
        source = data.batch
        out = source[rng.integers(len(source), size=n)]
        values, codes = out.values.copy(), out.categories.copy()
        for j in range(values.shape[2]):
            pool = source.values[:, :, j][source.mask[:, :, j]]
            where = out.mask[:, :, j]
            values[:, :, j][where] = pool[rng.integers(len(pool), size=where.sum())] if len(pool) else np.nan
        for k in range(codes.shape[2]):
            pool = source.categories[:, :, k][source.categories[:, :, k] >= 0]
            where = codes[:, :, k] >= 0
            codes[:, :, k][where] = pool[rng.integers(len(pool), size=where.sum())] if len(pool) else -1
        batch = SeriesBatch(
            values=values,
            channels=out.channels,
            lengths=out.lengths,
            mask=out.mask,
            categories=codes,
            category_channels=out.category_channels,
            category_values=out.category_values,
            static=out.static,
            times=out.times,
        )
        return Series(batch, data.static.independent(n, rng))

    def _table(self, data: Series) -> Table:
        numbers = summary_features(data.batch)
        static = data.static
        return Table(
            names=(*numbers, *static.names),
            numbers={**numbers, **static.numbers},
            codes=static.codes,
            categories=static.categories,
            times=static.times,
            ignored=static.ignored,
        )

    def features(self, *parts: Series, without: str | None = None) -> Features:
        return table_features(tuple(self._table(p) for p in parts), without)

    def labels(self, data: Series, target: str) -> np.ndarray:
        return data.static.numbers[target] if target in data.static.numbers else data.static.codes[target]

    def default_target(self) -> str | None:
        if self.schema is not None and self.schema.by_role("label"):
            return self.schema.by_role("label")[0].name
        assert self.statics is not None
        discrete = [c.name for c in self.statics if c.is_discrete]
        return discrete[0] if len(discrete) == 1 else None

    def as_table(self, data: Series) -> Table:
        """All observed values of each channel, whatever the series and step, and the static attributes."""
        batch, static = data.batch, data.static
        numbers = {c: batch.values[:, :, j][batch.mask[:, :, j]] for j, c in enumerate(batch.channels)}
        codes = {}
        for k, c in enumerate(batch.category_channels):
            flat = batch.categories[:, :, k]
            codes[c] = flat[np.arange(flat.shape[1])[None, :] < batch.lengths[:, None]]
        categories = {c: np.array(v, dtype=object) for c, v in zip(batch.category_channels, batch.category_values)}
        names = dict.fromkeys((*batch.channels, *batch.category_channels, *static.names))
        return Table(
            names=tuple(names),
            numbers={**numbers, **static.numbers},
            codes={**codes, **static.codes},
            categories={**categories, **static.categories},
            times=static.times,
            ignored=static.ignored,
        )

    def points(self, reference: Series, *parts: Series) -> tuple[np.ndarray, ...]:
        return table_points(self._table(reference), *(self._table(p) for p in parts))

    def numeric_count(self, data: Series) -> int:
        return len(self._table(self.take(data, np.arange(1))).numbers)

    def fingerprints(self, *parts: Series) -> tuple[np.ndarray, ...]:
        longest = max(p.batch.values.shape[1] for p in parts)
        return tuple(self._hash(p, longest) for p in parts)

    @staticmethod
    def _hash(part: Series, longest: int) -> np.ndarray:
        batch = part.batch
        pad = ((0, 0), (0, longest - batch.values.shape[1]), (0, 0))
        values = np.pad(np.where(batch.mask, batch.values, np.nan), pad, constant_values=np.nan)
        values = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0)).astype(np.float32)
        codes = np.pad(batch.categories, pad, constant_values=-1)
        columns = [linear_hash(values.view(np.uint32)), linear_hash(codes.astype(np.uint64)), batch.lengths]
        return hash_columns([*columns, *part.static.numbers.values(), *part.static.codes.values()])

    def views(self, train: Series, synthetic: Series, *, private: bool, rng: np.random.Generator) -> dict[str, Any]:
        real, made = self.as_table(train), self.as_table(synthetic)
        lines: dict[str, Any] = {
            "channels": list(train.batch.channels[:4]),
            "synthetic": _lines(synthetic.batch, rng),
        }
        lines["real"] = None if private else _lines(train.batch, rng)
        return {"columns": marginals(real, made, self.schema, private=private), "lines": lines}


def linear_hash(values: np.ndarray) -> np.ndarray:
    """A ``uint64`` hash of each row of whole numbers: inner product with fixed random odd numbers modulo
    2**64.
    """
    flat = values.reshape(len(values), -1).astype(np.uint64)
    weights = np.random.default_rng(20).integers(0, 2**63, size=flat.shape[1], dtype=np.uint64) * np.uint64(2)
    return (flat * (weights + np.uint64(1))).sum(axis=1, dtype=np.uint64)


def _lines(
    batch: SeriesBatch, rng: np.random.Generator, n: int = 6, steps: int = 200
) -> list[list[list[float | None]]]:
    """A few series: for each of the first four channels, up to 200 steps with None for gaps."""
    picked = batch[rng.choice(len(batch), min(n, len(batch)), replace=False)]
    values = np.where(picked.mask, picked.values, np.nan)[:, :steps, :4].transpose(2, 0, 1)  # (C, n, T)
    return [[[None if np.isnan(v) else round(float(v), 5) for v in one] for one in channel] for channel in values]
