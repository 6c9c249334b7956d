"""A table as digits of a bounded size: what a network over discrete columns learns from, whatever the table holds."""

from collections.abc import Mapping

import numpy as np

from zoo.data.binned_columns import BinnedColumns
from zoo.data.code_digits import CodeDigits
from zoo.schema import Schema


class DigitColumns:
    """Tables <-> digits ``int64 (n, D)``: codes of :class:`BinnedColumns`, narrow columns first, wide ones in digits.

    A column of many categories goes by their ranks in frequency: neighbours in rank are about as frequent, so that the
    last digit is nearly uniform given the ones before it and a network has the marginal at once.

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
    binned : BinnedColumns
        The columns as codes.
    digits : CodeDigits
        The columns in the order of their widths as digits; there from ``fit`` or ``set_arrays`` on.
    """

    digits: CodeDigits

    def __init__(self, schema: Schema, bins: int, widest: int) -> None:
        self.binned = BinnedColumns(schema, bins)
        self.widest = widest
        self._ranks: dict[int, np.ndarray] = {}  # column -> (K,), the rank of each code
        self._codes: dict[int, np.ndarray] = {}  # column -> (K,), the code of each rank

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that have codes."""
        return self.binned.names

    def fit(self, encoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """Choose bins and ranks by an encoded table (see ``TableCodec.encode``); returns its digits ``(n, D)``."""
        self.binned.fit(encoded)
        codes = self.binned.encode(encoded)  # (n, C)
        self._ranks = {}
        for c in self._ranked():
            counts = np.bincount(codes[:, c], minlength=self.binned.widths[c])
            self._ranks[c] = np.argsort(np.argsort(-counts, kind="stable"), kind="stable").astype(np.int32)
        self._lay_out()
        return self.split(codes)

    def _ranked(self) -> list[int]:
        """The columns of many categories."""
        wide = [c for c, width in enumerate(self.binned.widths) if width > self.widest]
        return [c for c in wide if self.names[c] not in self.binned.edges]

    def _lay_out(self) -> None:
        widths = self.binned.widths
        # Rows that begin with narrow columns begin alike, which the sampler makes use of.
        self._order = np.argsort(widths, kind="stable")  # column of the network -> of the table
        self._place = np.argsort(self._order, kind="stable")  # column of the table -> of the network
        self._codes = {c: np.argsort(rank, kind="stable") for c, rank in self._ranks.items()}
        self.digits = CodeDigits([widths[c] for c in self._order], self.widest)

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Digits ``(n, D)`` of codes ``(n, C)``."""
        out = codes[:, self._order]
        for c, rank in self._ranks.items():
            out[:, self._place[c]] = rank[codes[:, c]]
        return self.digits.split(out)

    def join(self, digits: np.ndarray) -> np.ndarray:
        """Codes ``(n, C)`` of digits ``(n, D)``."""
        out = self.digits.join(digits)[:, self._place]
        for c, code in self._codes.items():
            out[:, c] = code[out[:, c]]
        return out

    def spread(self, columns: np.ndarray) -> np.ndarray:
        """What is said of the table's columns ``(n, C)``, said of their digits ``(n, D)``."""
        return columns[:, self._order][:, self.digits.owner]

    def place(self, name: str) -> int:
        """The place of a column among those of ``digits``."""
        return int(self._place[self.names.index(name)])

    def weigh(self, name: str, weights: np.ndarray) -> np.ndarray:
        """Weights ``(G, K)`` of a column's codes in the order that its digits write."""
        code = self._codes.get(self.names.index(name))
        return weights if code is None else weights[:, code]

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        return self.binned.arrays() | {f"rank.{c}": rank for c, rank in self._ranks.items()}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin."""
        self.binned.set_arrays(arrays)
        self._ranks = {}
        for c in self._ranked():
            rank = arrays[f"rank.{c}"]
            if rank.dtype != np.int32 or not np.array_equal(np.sort(rank), np.arange(self.binned.widths[c])):
                raise ValueError(f"the ranks of the categories of column {self.names[c]!r} are none")
            self._ranks[c] = rank
        if surplus := set(arrays) - set(self.arrays()):
            raise ValueError(f"unexpected array {min(surplus)!r}")
        self._lay_out()
