"""What occurred together in the training data: bits of pairs of values, so that a condition that never did is refused.

A family keeps no rows, and most can be asked for anything: a wife who is male, a doctorate at 17. What they then draw
is made up. So a table's generator keeps, for each pair of columns, which pairs of values occurred. A pair of categories
counts as seen when at least three training rows have it (ten, if the data are private): no bit speaks of one person.
Numbers and times are cut into at most eight bins of about equally many rows, heavy values in bins of their own; a pair
with a bin counts as unseen only if chance alone would have given twenty rows at least. Two numbers that a row of a
table of conditions fixes are not held against it: between points a family interpolates. Tables of less than 100 rows
say too little and get no record. Only pairs are recorded: what no pair rules out is not checked.
"""

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.conditions import Condition, to_number
from zoo.data.table_values import codes_of
from zoo.errors import ConditionError
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 100
_SEEN, _SEEN_PRIVATE = 3, 10  # rows
_EXPECTED = 20.0  # rows of a pair with a bin by chance, below which its absence says nothing
_BINS = 8
_MAX_CATEGORIES = 256  # columns with more are left out
_MAX_TOTAL = 1024  # values of all columns, so that the bits stay below 128 kB
_MAX_WORK = 2e8  # rows times pairs of columns that are counted, about a second; more rows are thinned out evenly


@dataclass(frozen=True, eq=False)
class Occurred:
    """Pairs of values that occurred.

    Parameters
    ----------
    columns
        The recorded columns, in order.
    edges
        Of each number or time the inner ends of its bins, in the numbers of ``to_number``; nothing for categories.
    bits
        ``bool (S, S)`` over the values of all columns (each column's last is "missing"), symmetric; the diagonal says
        which values occurred at all.
    at_least
        Rows that a pair needs to count as seen.
    """

    columns: tuple[Column, ...]
    edges: Mapping[str, np.ndarray]
    bits: np.ndarray
    at_least: int

    @classmethod
    def learn(cls, data: "pd.DataFrame", schema: Schema) -> Self | None:
        """Count the pairs of a table; None if it has too few rows or columns to say anything, or is no single table."""
        if not hasattr(data, "iloc") or len(data) < MIN_ROWS:
            return None
        counted = sum(
            (c.is_discrete and len(c.categories) <= _MAX_CATEGORIES) or c.is_numeric or c.is_time for c in schema
        )
        counted = min(counted, _MAX_TOTAL // 3)
        data = data.iloc[:: max(1, int(len(data) * counted * (counted - 1) / 2 / _MAX_WORK))]
        columns: list[Column] = []
        edges: dict[str, np.ndarray] = {}
        codes: list[np.ndarray] = []
        total = 0
        for column in schema:
            if column.is_discrete and len(column.categories) <= _MAX_CATEGORIES:
                size, numbers = len(column.categories), codes_of(data[column.name], column)
                code = np.where(numbers < 0, size, numbers)
            elif column.is_numeric or column.is_time:
                numbers = to_number(data[column.name], column)
                edges[column.name] = inner = _inner_ends(numbers)
                size = len(inner) + 1
                code = np.where(np.isnan(numbers), size, np.searchsorted(inner, numbers, side="right"))
            else:
                continue
            if total + size + 1 > _MAX_TOTAL:
                edges.pop(column.name, None)
                continue
            columns.append(column)
            codes.append(code)
            total += size + 1
        if not columns:
            return None
        at_least = _SEEN_PRIVATE if schema.private else _SEEN
        made = cls(tuple(columns), edges, np.zeros((total, total), dtype=bool), at_least)
        made._count(codes, chance=True)
        return made

    def extended(self, data: "pd.DataFrame", schema: Schema) -> Self | None:
        """The record with the pairs of more data, for a generator that went on learning; None if its columns are no
        longer those that were recorded."""
        if any(schema[c.name].categories != c.categories or schema[c.name].kind != c.kind for c in self.columns):
            return None
        codes = []
        for column in self.columns:
            values = data[column.name]
            known = codes_of(values, column) if column.is_discrete else to_number(values, column)
            codes.append(self._places(column.name, known))
        more = dataclasses.replace(self, bits=np.zeros_like(self.bits))
        more._count(codes, chance=False)
        return dataclasses.replace(self, bits=self.bits | more.bits)

    def _count(self, codes: list[np.ndarray], *, chance: bool) -> None:
        """Set the bits of pairs that have enough rows; with ``chance`` also of bins of which too few were expected."""
        n, starts = len(codes[0]), self._starts()
        marginal = [np.bincount(c, minlength=self._size(col)) for c, col in zip(codes, self.columns, strict=True)]
        for (i, a), (j, b) in combinations(enumerate(self.columns), 2):
            shape = (self._size(a), self._size(b))
            pairs = np.bincount(codes[i] * shape[1] + codes[j], minlength=shape[0] * shape[1]).reshape(shape)
            seen = pairs >= self.at_least
            if chance and (a.name in self.edges or b.name in self.edges):
                seen |= np.outer(marginal[i], marginal[j]) < _EXPECTED * n
            rows, cols = (slice(s, s + k) for s, k in zip((starts[a.name], starts[b.name]), shape, strict=True))
            self.bits[rows, cols], self.bits[cols, rows] = seen, seen.T
        present = np.concatenate(marginal) > 0
        self.bits[np.arange(len(present)), np.arange(len(present))] = present

    def _size(self, column: Column) -> int:
        """Values of a column, "missing" included."""
        return (len(self.edges[column.name]) + 1 if column.name in self.edges else len(column.categories)) + 1

    def _starts(self) -> dict[str, int]:
        ends = np.cumsum([self._size(c) for c in self.columns])
        return {c.name: int(e) - self._size(c) for c, e in zip(self.columns, ends, strict=True)}

    def _named(self) -> dict[str, Column]:
        return {c.name: c for c in self.columns}

    # Asking

    def has(self, name: str, code: int) -> bool:
        """Whether a category of a column (-1: a missing value) occurred; true where nothing is recorded."""
        column = self._named().get(name)
        if column is None or name in self.edges:
            return True
        at = self._starts()[name] + (code if code >= 0 else self._size(column) - 1)
        return bool(self.bits[at, at])

    def pairs(self, first: str, second: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Codes of the pairs of two columns' categories that were seen, missing as -1; None if not recorded."""
        named, starts = self._named(), self._starts()
        if any(n not in named or n in self.edges for n in (first, second)):
            return None
        sizes = [self._size(named[n]) for n in (first, second)]
        part = self.bits[starts[first] :, starts[second] :][: sizes[0], : sizes[1]]
        rows, columns = np.nonzero(part)
        return np.where(rows == sizes[0] - 1, -1, rows), np.where(columns == sizes[1] - 1, -1, columns)

    def _admitted(self, condition: Condition) -> np.ndarray:
        """``bool (K,)``: the values that a condition, the same for all rows, admits."""
        name = condition.column.name
        size = self._size(condition.column)
        out = np.zeros(size, dtype=bool)
        if condition.values is not None:
            out[self._places(name, condition.values)] = True
            return out
        low = -np.inf if condition.low is None else condition.low
        high = np.inf if condition.high is None else condition.high
        first, last = np.searchsorted(self.edges[name], [low, high], side="right")
        out[first : last + 1] = True
        return out

    def _places(self, name: str, values: np.ndarray) -> np.ndarray:
        if name not in self.edges:
            size = self._size(self._named()[name])
            return np.where(values < 0, size - 1, values).astype(np.int64)
        inner = self.edges[name]
        return np.where(np.isnan(values), len(inner) + 1, np.searchsorted(inner, values, side="right"))

    def missing_pair(self, conditions: Mapping[str, Condition]) -> tuple[Condition, Condition, int | None] | None:
        """Two of the conditions that no training rows fulfil together, and the row if each row has its own."""
        named, starts = self._named(), self._starts()
        asked = {n: c for n, c in conditions.items() if n in named}
        for a, b in combinations(asked, 2):
            part = self.bits[starts[a] :, starts[b] :][: self._size(named[a]), : self._size(named[b])]
            first, second = asked[a], asked[b]
            if first.rows is not None and second.rows is not None:
                if a in self.edges and b in self.edges:
                    continue
                seen = part[self._places(a, first.rows), self._places(b, second.rows)]
                if not seen.all():
                    return first, second, int(np.argmin(seen))
            elif first.rows is None and second.rows is None:
                admitted = np.ix_(self._admitted(first), self._admitted(second))
                if not part[admitted].any():
                    return first, second, None
        return None

    def check(self, conditions: Mapping[str, Condition]) -> None:
        """Refuse conditions that never occurred together.

        Raises
        ------
        ConditionError
            Naming two of them.
        """
        found = self.missing_pair(conditions)
        if found is None:
            return
        first, second, row = found
        where = "" if row is None else f"row {row}: "
        raise ConditionError(
            f"{where}{show(first, row)} together with {show(second, row)} never occurred in training (less than "
            f"{self.at_least} rows count as none); allow_unseen=True asks for it all the same"
        )

    # State

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "columns": [c.name for c in self.columns],  # in the order of the bits
            "edges": {name: inner.tolist() for name, inner in self.edges.items()},
            "at_least": self.at_least,
            "bits": base64.b64encode(np.packbits(self.bits).tobytes()).decode(),
        }

    @classmethod
    def from_dict(cls, data: Any, schema: Schema) -> Self:
        """Inverse of :meth:`to_dict`, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ValueError
            If it does not fit the schema.
        """
        if not isinstance(data, dict) or set(data) != {"columns", "edges", "at_least", "bits"}:
            raise ValueError("the record of what occurred is malformed")
        names, ends, at_least = data["columns"], data["edges"], data["at_least"]
        whole = isinstance(at_least, int) and 1 <= at_least <= 10**6
        if not isinstance(names, list) or not isinstance(ends, dict) or not whole or not {*ends} <= {*names}:
            raise ValueError("the record of what occurred is malformed")
        if len({*names}) < len(names):
            raise ValueError("the record of what occurred names a column twice")
        columns, edges = [], {}
        for name in names:
            column, inner = schema[name], ends.get(name)
            if inner is not None:
                edges[name] = np.array(inner, dtype=np.float64)
                rising = edges[name].ndim == 1 and bool((np.diff(edges[name]) > 0).all())
                if not rising or len(inner) > 4 * _BINS or not np.isfinite(edges[name]).all():
                    raise ValueError(f"the record of what occurred: the bins of {name!r} are none")
            if column.is_discrete == (inner is not None) or not (column.is_discrete or inner is not None):
                raise ValueError(f"the record of what occurred: {name!r} is not of its kind")
            columns.append(column)
        made = cls(tuple(columns), edges, np.zeros((0, 0), dtype=bool), at_least)
        total = sum(made._size(c) for c in columns)
        if total > _MAX_TOTAL:
            raise ValueError("the record of what occurred is too large")
        bits = np.frombuffer(base64.b64decode(data["bits"], validate=True), dtype=np.uint8)
        if len(bits) != -(-total * total // 8):
            raise ValueError("the record of what occurred does not fit the schema")
        square = np.unpackbits(bits, count=total * total).astype(bool).reshape(total, total)
        if not (square == square.T).all():
            raise ValueError("the record of what occurred is not symmetric")
        return dataclasses.replace(made, bits=square)


def _inner_ends(numbers: np.ndarray) -> np.ndarray:
    """Inner ends of bins: interpolated quantiles; where one value has a bin's share of rows, a bin of its own."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.zeros(0)
    cuts = np.quantile(known, np.arange(1, _BINS) / _BINS)
    values, counts = np.unique(cuts, return_counts=True)
    heavy = values[counts > 1]
    return np.unique(np.concatenate([values, np.nextafter(heavy, np.inf)]))


def show(condition: Condition, row: int | None = None) -> str:
    """A condition as a message shows it."""
    column = condition.column
    values = condition.rows[row : row + 1] if condition.rows is not None and row is not None else condition.values
    if values is None:
        return f"{column.name!r} between {condition.low!r} and {condition.high!r}"

    def one(value: Any) -> Any:
        if value != value or (column.is_discrete and value < 0):
            return None
        return column.categories[int(value)] if column.is_discrete else float(value)

    shown = [one(v) for v in values[:4].tolist()]
    return f"{column.name}={shown[0]!r}" if len(values) == 1 else f"{column.name} in {shown!r}"
