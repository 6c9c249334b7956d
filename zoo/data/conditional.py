"""What a family brings for each column of a sequence, and what may be asked of a column."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Conditional(Protocol):
    """The distribution of one column's positions given the levels of the columns before it.

    ``levels`` is ``uint8 (j, n)``, ``u`` uniform numbers ``(n,)``; a column has K positions.
    """

    counts: np.ndarray
    """Training rows of each position, ``(K,)``."""

    def draw(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Positions ``int (n,)``."""
        ...

    def draw_within(self, levels: np.ndarray, u: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions ``(n,)`` drawn by probability times ``weight (K,)`` in [0, 1], and the sum of that ``(n,)``."""
        ...

    def probability(self, levels: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Probability of given positions, ``(n,)``, above 0."""
        ...


class SharedConditionals(list[Conditional], ABC):
    """Conditionals that share what they work out for the same rows."""

    @abstractmethod
    def for_part(self, n: int) -> Sequence[Conditional]:
        """The same for one part of n rows, in which the levels of each column are written once. They may be asked for
        fewer of these rows, but not for n others."""


@dataclass
class Asked:
    """What is asked of one column: positions a row (or a mark), or a weight for each position."""

    positions: np.ndarray | None = None
    weight: np.ndarray | None = None

    def part(self, rows: slice) -> "Asked":
        return self if self.positions is None else Asked(self.positions[rows])

    @property
    def is_fixed(self) -> bool:
        return self.positions is not None and bool((self.positions >= 0).all())
