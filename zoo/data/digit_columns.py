"""A table as digits of a bounded size: what a network over discrete columns learns from, whatever the table holds."""

from collections.abc import Mapping

import numpy as np

from zoo.data.code_digits import CodeDigits
from zoo.data.point_columns import PointColumns
from zoo.schema import Schema


class DigitColumns:
    """Tables <-> digits ``int64 (n, D)``: codes of :class:`PointColumns`, narrow columns first, wide ones in digits.

    Parameters
    ----------
    schema
        The table's schema.
    bins
        Bins of a number at most.
    widest
        Most values of a digit.

    Attributes
    ----------
    binned : PointColumns
        The columns as codes.
    digits : CodeDigits
        The columns in the order of their widths as digits; there from ``fit`` or ``set_arrays`` on.
    """

    digits: CodeDigits

    def __init__(self, schema: Schema, bins: int, widest: int) -> None:
        self.binned = PointColumns(schema, bins)
        self.widest = widest

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that have codes."""
        return self.binned.names

    def fit(self, encoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """Choose the bins by an encoded table (see ``TableCodec.encode``); returns its digits ``(n, D)``."""
        self.binned.fit(encoded)
        self._lay_out()
        return self.split(self.binned.encode(encoded))

    def _lay_out(self) -> None:
        widths = self.binned.widths
        # Rows that begin with narrow columns begin alike, which the sampler makes use of.
        self._order = np.argsort(widths, kind="stable")  # column of the network -> of the table
        self._place = np.argsort(self._order, kind="stable")  # column of the table -> of the network
        self.digits = CodeDigits([widths[c] for c in self._order], self.widest)

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Digits ``(n, D)`` of codes ``(n, C)``."""
        return self.digits.split(codes[:, self._order])

    def join(self, digits: np.ndarray) -> np.ndarray:
        """Codes ``(n, C)`` of digits ``(n, D)``."""
        return self.digits.join(digits)[:, self._place]

    def spread(self, columns: np.ndarray) -> np.ndarray:
        """What is said of the table's columns ``(n, C)``, said of their digits ``(n, D)``."""
        return columns[:, self._order][:, self.digits.owner]

    @property
    def ordered(self) -> list[bool]:
        """Whether each digit's values are in the order of numbers."""
        numeric = [self.names[c] in self.binned.edges for c in self._order]
        return [numeric[c] for c in self.digits.owner]

    def place(self, name: str) -> int:
        """The place of a column among those of ``digits``."""
        return int(self._place[self.names.index(name)])

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        return self.binned.arrays()

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin."""
        self.binned.set_arrays(arrays)
        if surplus := set(arrays) - set(self.arrays()):
            raise ValueError(f"unexpected array {min(surplus)!r}")
        self._lay_out()
