"""Constraints that are written: regular expressions, and expressions over the columns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.constraints.base import Constraint
from zoo.constraints.expressions import Parsed, parse_expression
from zoo.errors import ConstraintError
from zoo.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Regex(Constraint):
    """Values of a column of text or categories match a regular expression as a whole.

    Parameters
    ----------
    column
        The column.
    pattern
        As in Python's ``re.fullmatch``.
    missing
        Whether a missing value fulfils it.
    """

    column: str
    pattern: str
    missing: bool = True

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError, OverflowError, RecursionError) as error:
            raise ConstraintError(
                f"constraint on {self.column!r}: {self.pattern!r} is no regular expression"
            ) from error

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def check(self, schema: Schema) -> None:
        super().check(schema)
        column = schema[self.column]
        if column.is_numeric or column.kind in ("boolean", "duration"):
            raise ConstraintError(f"constraint {self}: {self.column!r} is of kind {column.kind!r} and no text")
        if column.categories and column.is_discrete and not self._matching(column.categories):
            raise ConstraintError(f"constraint {self} cannot be met: no category of {self.column!r} matches")

    def _matching(self, values: Iterable[Any]) -> list[Any]:
        pattern = re.compile(self.pattern)
        return [v for v in values if pattern.fullmatch(str(v))]

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        import pandas as pd

        codes, distinct = pd.factorize(table[self.column])
        matches = {*self._matching(distinct)}
        met = np.array([*(v in matches for v in distinct), self.missing], dtype=bool)
        return met[codes]  # code -1, missing, takes the last

    def implied(self, schema: Schema) -> dict[str, list[tuple[str, Any]]]:
        column = schema[self.column]
        if not column.is_discrete:
            return {}
        more = [None] if self.missing and column.nullable else []
        return {self.column: [("values", [*self._matching(column.categories), *more])]}

    def __str__(self) -> str:
        return f"{self.column!r} matches {self.pattern!r}"


@dataclass(frozen=True)
class Expression(Constraint):
    """An expression over the columns that is true, see :mod:`zoo.constraints.expressions`.

    Parameters
    ----------
    text
        Such as ``"capital_gain >= capital_loss"``, ``"age > 17 and job.notna()"``, ```"`hours per week` < 60"```.
    """

    text: str
    _parsed: Parsed = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parsed", parse_expression(self.text))

    @property
    def columns(self) -> tuple[str, ...]:
        return self._parsed.columns

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        return self._parsed.holds(table)

    def implied(self, schema: Schema) -> dict[str, list[tuple[str, Any]]]:
        return self._parsed.implied()

    def __str__(self) -> str:
        return repr(self.text)
