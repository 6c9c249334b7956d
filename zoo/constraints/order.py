"""Constraints on the order of values: between two columns, and of one within a range."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.conditions import bounds, to_number
from zoo.constraints.base import Constraint
from zoo.errors import ConstraintError
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd


def _numbers(table: "pd.DataFrame", name: str, schema: Schema | None) -> np.ndarray:
    """Values of a column that has an order, as numbers; NaN where missing."""
    from zoo.data.table_values import codes_of

    column = _column(table, name, schema)
    if column.kind in ("ordinal", "boolean"):
        codes = codes_of(table[name], column).astype(np.float64)
        return np.where(codes < 0, np.nan, codes)
    return to_number(table[name], column)


def _column(table: "pd.DataFrame", name: str, schema: Schema | None) -> Column:
    from zoo.data.table_schema import infer_column

    return infer_column(table[name]) if schema is None else schema[name]


def _need_order(constraint: Constraint, column: Column) -> None:
    if not (column.is_numeric or column.is_time or column.kind in ("ordinal", "constant")):
        raise ConstraintError(
            f"constraint {constraint}: {column.name!r} is of kind {column.kind!r}, which has no order"
        )


@dataclass(frozen=True)
class Inequality(Constraint):
    """Column ``low`` is at most column ``high``.

    Parameters
    ----------
    low, high
        Two columns of numbers, of times, or of one ordinal scale.
    strict
        Below, and not equal.
    missing
        Whether a row fulfils it in which one of them is missing.
    """

    low: str
    high: str
    strict: bool = False
    missing: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.low, self.high)

    def check(self, schema: Schema) -> None:
        super().check(schema)
        low, high = schema[self.low], schema[self.high]
        for column in (low, high):
            _need_order(self, column)
        if low.kind == "ordinal" and high.kind == "ordinal" and low.categories != high.categories:
            raise ConstraintError(f"constraint {self}: {self.low!r} and {self.high!r} are of different scales")
        kinds = {("duration" if c.kind == "duration" else "time") if c.is_time else "number" for c in (low, high)}
        if "constant" not in (low.kind, high.kind) and (
            len(kinds) > 1 or (low.kind == "ordinal") != (high.kind == "ordinal")
        ):
            raise ConstraintError(
                f"constraint {self}: {self.low!r} of kind {low.kind!r} and {self.high!r} of kind {high.kind!r} "
                "cannot be compared"
            )

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        low, high = (_numbers(table, name, schema) for name in self.columns)
        met = low < high if self.strict else low <= high
        return met | ((np.isnan(low) | np.isnan(high)) & self.missing)

    def __str__(self) -> str:
        return f"{self.low!r} {'<' if self.strict else '<='} {self.high!r}"


@dataclass(frozen=True)
class Range(Constraint):
    """A column lies in a range.

    Parameters
    ----------
    column
        A number, a time or an ordinal category.
    low, high
        Ends in the column's own values (times also as ISO 8601 text); None is open.
    strict
        The ends themselves are not in it.
    missing
        Whether a missing value fulfils it.
    """

    column: str
    low: Any = None
    high: Any = None
    strict: bool = False
    missing: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def _ends(self, column: Column) -> tuple[float, float]:
        ends = []
        for value, open_end in ((self.low, -np.inf), (self.high, np.inf)):
            try:
                if value is None:
                    ends.append(open_end)
                elif column.kind == "ordinal":
                    ends.append(float(column.code_of(value)))
                else:
                    ends.append(float(to_number([value], column)[0]))
            except (TypeError, ValueError, LookupError) as error:
                raise ConstraintError(
                    f"constraint {self}: {value!r} is no value of {column.name!r} ({column.kind})"
                ) from error
        return ends[0], ends[1]

    def check(self, schema: Schema) -> None:
        super().check(schema)
        column = schema[self.column]
        _need_order(self, column)
        low, high = self._ends(column)
        least, most = (0, len(column.categories) - 1) if column.kind == "ordinal" else bounds(column)
        if not low <= high:
            raise ConstraintError(f"constraint {self}: the range is empty; swap its ends")
        if (low > most or high < least) and not (self.missing and column.nullable):
            raise ConstraintError(
                f"constraint {self} cannot be met: {self.column!r} goes from {column.minimum!r} to {column.maximum!r}"
            )

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        low, high = self._ends(_column(table, self.column, schema))
        values = _numbers(table, self.column, schema)
        met = (low < values) & (values < high) if self.strict else (low <= values) & (values <= high)
        return met | (np.isnan(values) & self.missing)

    def implied(self, schema: Schema) -> dict[str, list[tuple[str, Any]]]:
        if self.missing and schema[self.column].nullable:
            return {}
        return {self.column: [("range", (self.low, self.high))]}

    def __str__(self) -> str:
        sign = "<" if self.strict else "<="
        low = "" if self.low is None else f"{self.low!r} {sign} "
        return f"{low}{self.column!r}" + ("" if self.high is None else f" {sign} {self.high!r}")
