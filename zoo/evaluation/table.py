"""Tables for the harness: every column as numbers or as codes over the categories of all parts together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.table_values import text_times
from zoo.errors import DataError, SchemaError, nearest
from zoo.evaluation.kit import Features, Kit, same_type
from zoo.schema import Column, Schema

_MAX_CATEGORIES = 254  # histogram boosting takes codes 0 to 254; the last one gathers what is rarer
_MAX_WIDTH = 4_096  # categories of all columns together that distances tell apart: 16,000 rows take 262 MB
_FEWEST_CATEGORIES = 8


@dataclass(eq=False)
class Table:
    """Columns of N rows: ``numbers`` are float (N,) with NaN for missing, ``codes`` int64 (N,) with -1.

    Codes index ``categories[name]``, shared by all tables that were encoded together. Instants count in the
    column's own resolution since 1970 and are listed in ``times`` with that resolution (``"us"``).
    """

    names: tuple[str, ...]
    numbers: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]
    categories: dict[str, np.ndarray]
    times: dict[str, str]
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        for column in (*self.numbers.values(), *self.codes.values()):
            return len(column)
        return 0

    def take(self, index: np.ndarray) -> "Table":
        return self._map(lambda column: column[index])

    def independent(self, n: int, rng: np.random.Generator) -> "Table":
        """``n`` rows in which each column is drawn alone, with replacement."""
        return self._map(lambda column: column[rng.integers(len(column), size=n)])

    def _map(self, change: Any) -> "Table":
        numbers = {name: change(self.numbers[name]) for name in self.names if name in self.numbers}
        codes = {name: change(self.codes[name]) for name in self.names if name in self.codes}
        return Table(self.names, numbers, codes, self.categories, self.times, self.ignored)


def role_of(column: Column) -> str | None:
    """How a column is compared: ``number``, ``time``, ``category``, or None for one that is not compared.

    Identifiers are made anew and free text has its own modality. A constant is what its dtype says.
    """
    if column.kind in ("identifier", "text"):
        return None
    if column.kind in ("integer", "float", "duration"):
        return "number"
    if column.kind in ("datetime", "date"):
        return "time"
    if column.kind == "constant":
        if column.dtype.startswith("datetime"):
            return "time"
        if column.dtype.startswith(("int", "uint", "float", "Int", "UInt", "Float", "timedelta")):
            return "number"
    return "category"


def _numbers(values: pd.Series, part: str, name: str) -> np.ndarray:
    try:
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            return values.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan)
        single = values.dtype == np.float32
        out = values.to_numpy() if single else pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{part}: column {name!r} must be numeric as its schema says ({error})") from error
    if np.isinf(out).any():
        raise DataError(f"{part}: column {name!r} holds infinite numbers; replace them or make them missing")
    return out


def _instants(values: pd.Series, part: str, name: str, unit: str | None) -> tuple[np.ndarray, str]:
    try:
        stamps = values if pd.api.types.is_datetime64_any_dtype(values.dtype) else text_times(values)
        if getattr(stamps.dtype, "tz", None) is not None:
            stamps = stamps.dt.tz_convert("UTC").dt.tz_localize(None)
        array = stamps.to_numpy()
        if array.dtype.kind != "M":
            raise ValueError("its values are no instants")
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{part}: column {name!r} must hold instants as its schema says ({error})") from error
    unit = unit or np.datetime_data(array.dtype)[0]
    array = array.astype(f"datetime64[{unit}]")
    out = array.astype(np.int64).astype(np.float64)
    out[np.isnat(array)] = np.nan
    return out, unit


def _family(values: Any) -> set[str]:
    """What the values of a category are: text, numbers, booleans, or else their type."""
    known = {bool: "booleans", np.bool_: "booleans", str: "text"}
    kinds = {type(v) for v in values}
    return {known.get(k) or ("numbers" if issubclass(k, (int, float, np.number)) else k.__name__) for k in kinds}


def _encode_categories(columns: Mapping[str, pd.Series]) -> tuple[list[np.ndarray], np.ndarray]:
    """Codes of several parts' columns over their pooled categories, in the order of first appearance.

    Raises
    ------
    SchemaError
        If a part spells the values in another type than train does (``"1"`` for 1), so that none could be equal.
    """
    each = [pd.factorize(c) for c in columns.values()]
    found = [_family(np.asarray(unique, dtype=object)) for _, unique in each]
    for part, kinds in zip(columns, found):
        if kinds and found[0] and not kinds & found[0]:
            name = columns[part].name
            ours, theirs = min(found[0]), min(kinds)
            raise SchemaError(f"{part}: column {name!r} holds {theirs} where train holds {ours}; give both in one type")
    pooled = np.concatenate([np.asarray(unique, dtype=object) for _, unique in each])
    place, categories = pd.factorize(pooled)
    out, start = [], 0
    for codes, unique in each:
        where = np.append(place[start : start + len(unique)], -1)  # code -1, missing, stays -1
        out.append(where[codes].astype(np.int64))
        start += len(unique)
    return out, np.asarray(categories, dtype=object)


def encode_tables(schema: Schema, parts: Mapping[str, pd.DataFrame]) -> dict[str, Table]:
    """Encode tables together, so that equal values get equal codes.

    Raises
    ------
    SchemaError
        If a part lacks a column, has one too many, or holds values that are not of the column's kind.
    """
    for part, frame in parts.items():
        duplicated = frame.columns[frame.columns.duplicated()]
        if len(duplicated):
            raise DataError(f"{part}: column {duplicated[0]!r} appears twice; rename one of them")
        for name in schema.names:
            if name not in frame.columns:
                raise SchemaError(f"{part} lacks column {name!r}; {nearest(name, frame.columns)}")
        for name in frame.columns:
            if name not in schema:
                raise SchemaError(f"{part} has a column {name!r} that the schema lacks; drop it or add it")
    numbers: dict[str, dict[str, np.ndarray]] = {part: {} for part in parts}
    codes: dict[str, dict[str, np.ndarray]] = {part: {} for part in parts}
    categories: dict[str, np.ndarray] = {}
    times: dict[str, str] = {}
    names, ignored = [], []
    for column in schema:
        role, name = role_of(column), column.name
        if role is None:
            ignored.append(name)
            continue
        names.append(name)
        if role == "number":
            for part, frame in parts.items():
                numbers[part][name] = _numbers(frame[name], part, name)
        elif role == "time":
            unit: str | None = None
            for part, frame in parts.items():
                numbers[part][name], unit = _instants(frame[name], part, name, unit)
            times[name] = str(unit)
        else:
            encoded, categories[name] = _encode_categories({part: frame[name] for part, frame in parts.items()})
            for part, values in zip(parts, encoded):
                codes[part][name] = values
    return {part: Table(tuple(names), numbers[part], codes[part], categories, times, tuple(ignored)) for part in parts}


def cap_codes(parts: list[np.ndarray], most: int = _MAX_CATEGORIES) -> list[np.ndarray]:
    """Codes 0 to ``most``: the most frequent categories of all parts keep one of their own, the rest share the last."""
    top = max((int(p.max(initial=-1)) for p in parts), default=-1)
    if top < most:
        return parts
    counts = sum(np.bincount(p[p >= 0], minlength=top + 1) for p in parts)
    place = np.full(top + 2, most)
    place[np.argsort(-np.asarray(counts), kind="stable")[:most]] = np.arange(most)
    place[-1] = -1
    return [place[p] for p in parts]


def table_features(parts: tuple[Table, ...], without: str | None = None) -> Features:
    """Numbers as they are, categories as ordinal codes marked categorical, missing as NaN."""
    first = parts[0]
    names = [n for n in first.names if n != without]
    matrices = [np.full((len(p), len(names)), np.nan) for p in parts]
    for j, name in enumerate(names):
        if name in first.numbers:
            for matrix, part in zip(matrices, parts):
                matrix[:, j] = part.numbers[name]
        else:
            for matrix, codes in zip(matrices, cap_codes([p.codes[name] for p in parts])):
                matrix[:, j] = np.where(codes < 0, np.nan, codes)
    for matrix in matrices:
        matrix[np.isinf(matrix)] = np.nan
    categorical = np.array([n in first.codes for n in names], dtype=bool)
    return Features(tuple(matrices), categorical, "boosting", first.ignored, tuple(names))


def table_points(reference: Table, *parts: Table) -> tuple[np.ndarray, ...]:
    """Numbers standardised by ``reference``, a mismatch of categories (or of missingness) counts 1.

    Squared Euclidean distance between the rows = sum of squared differences in standard deviations + number
    of categorical columns that differ (Hamming). Tables of many categorical columns keep fewer categories apart in
    each, 4,096 in all, so that memory stays bounded.
    """
    most = min(_MAX_CATEGORIES, max(_FEWEST_CATEGORIES, _MAX_WIDTH // max(len(reference.codes), 1)))
    blocks: list[list[np.ndarray]] = [[] for _ in parts]
    for name in reference.names:
        if name in reference.numbers:
            base = reference.numbers[name].astype(np.float64)
            base = base[np.isfinite(base)]
            mean, sd = (base.mean(), base.std()) if len(base) else (0.0, 0.0)
            nullable = any(not np.isfinite(p.numbers[name]).all() for p in parts)
            for block, part in zip(blocks, parts):
                z = (part.numbers[name].astype(np.float64) - mean) / (sd if sd > 0 else 1.0)
                block.append(np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)[:, None])
                if nullable:
                    block.append(~np.isfinite(part.numbers[name])[:, None] * np.float32(1.0))
        else:
            capped = cap_codes([p.codes[name] for p in parts], most)
            width = max(int(c.max(initial=-1)) for c in capped) + 2
            for block, codes in zip(blocks, capped):
                hot = np.zeros((len(codes), width), dtype=np.float32)
                hot[np.arange(len(codes)), codes] = np.sqrt(0.5)  # two rows that differ are at distance 1
                block.append(hot)
    return tuple(np.concatenate(b, axis=1) if b else np.zeros((len(p), 0), np.float32) for b, p in zip(blocks, parts))


def hash_columns(columns: list[np.ndarray]) -> np.ndarray:
    """``uint64 (N,)`` hash of the rows that the columns make together; NaN equals NaN, -0 equals 0."""
    frame = pd.DataFrame({i: c + 0.0 if c.dtype.kind == "f" else c for i, c in enumerate(columns)})
    return pd.util.hash_pandas_object(frame, index=False).to_numpy()


class TableKit(Kit):
    """Tables: pandas data frames whose kinds of columns come from a schema."""

    modality = "tabular"
    naive = "independent columns"

    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema
        self.train: pd.DataFrame | None = None
        self.synthetic: pd.DataFrame | None = None

    def prepare(self, parts: Mapping[str, Any], target: str | None) -> dict[str, Any]:
        same_type(parts, "DataFrame")
        if self.schema is None:
            from zoo.data.form import native_form

            self.schema = native_form("tabular").infer(parts["train"])
        if target is not None:
            if target not in self.schema:
                raise DataError(f"target {target!r} is no column; {nearest(target, self.schema.names)}")
            if role_of(self.schema[target]) is None:
                raise DataError(f"target {target!r} is {self.schema[target].kind}; give a number or a category")
        self.train, self.synthetic = parts["train"], parts["synthetic"]
        tables = encode_tables(self.schema, parts)
        if not tables["train"].names:
            raise DataError("train has only identifiers and free text; no column can be compared")
        return dict(tables)

    def length(self, data: Table) -> int:
        return len(data)

    def take(self, data: Table, index: np.ndarray) -> Table:
        return data.take(index)

    def independent(self, data: Table, n: int, rng: np.random.Generator) -> Table:
        return data.independent(n, rng)

    def features(self, *parts: Table, without: str | None = None) -> Features:
        return table_features(parts, without)

    def labels(self, data: Table, target: str) -> np.ndarray:
        return data.numbers[target] if target in data.numbers else data.codes[target]

    def default_target(self) -> str | None:
        labels = self.schema.by_role("label") if self.schema is not None else ()
        return labels[0].name if labels else None

    def as_table(self, data: Table) -> Table:
        return data

    def points(self, reference: Table, *parts: Table) -> tuple[np.ndarray, ...]:
        return table_points(reference, *parts)

    def fingerprints(self, *parts: Table) -> tuple[np.ndarray, ...]:
        order = parts[0].names
        return tuple(
            hash_columns([p.numbers[n].astype(np.float64) if n in p.numbers else p.codes[n] for n in order])
            for p in parts
        )

    def views(self, train: Table, synthetic: Table, *, private: bool, rng: np.random.Generator) -> dict[str, Any]:
        from zoo.evaluation.views import marginals, sample_rows

        out: dict[str, Any] = {"columns": marginals(train, synthetic, self.schema, private=private)}
        assert self.train is not None
        assert self.synthetic is not None
        out["rows"] = sample_rows(self.train, self.synthetic, private=private, rng=rng)
        return out
