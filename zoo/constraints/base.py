"""What a constraint is."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ConstraintError, nearest
from zoo.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from zoo.occurred import Occurred


class Constraint(ABC):
    """A rule for rows. Subclasses are frozen dataclasses; ``str(constraint)`` is what messages call them."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that it speaks of."""

    @abstractmethod
    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        """``bool (n,)``: the rows that fulfil it.

        Parameters
        ----------
        table
            A table that has its columns.
        schema
            Of the table; inferred where it is needed and not given.
        """

    def check(self, schema: Schema) -> None:
        """Refuse what cannot be of tables of this schema.

        Raises
        ------
        ConstraintError
            Naming the constraint, the column and the remedy.
        """
        for name in self.columns:
            if name not in schema:
                raise ConstraintError(f"constraint {self}: no column {name!r}; {nearest(name, schema.names)}")

    def implied(self, schema: Schema) -> dict[str, list[tuple[str, Any]]]:
        """What it says of single columns, see :meth:`zoo.constraints.expressions.Parsed.implied`."""
        return {}

    @property
    def determined(self) -> tuple[str, ...]:
        """The columns that :meth:`repair` puts in place."""
        return ()

    def known(self, schema: Schema, occurred: "Occurred | None") -> "list[Constraint]":
        """The constraint with what it leaves to the training data filled in, from the record of what occurred there."""
        return [self]

    def repair(self, table: "pd.DataFrame", schema: Schema) -> "pd.DataFrame":
        """The table with what the constraint determines put in place; most determine nothing."""
        return table
