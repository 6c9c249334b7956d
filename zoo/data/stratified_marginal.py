"""One column's distribution over its positions in each stratum of a table, and a coarse grid over it."""

import numpy as np

from zoo.data.binned_columns import bin_edges


class StratifiedMarginal:
    """One column's distribution over its K positions, in each of S strata.

    Parameters
    ----------
    counts
        Training rows, ``int (S, K)``.
    cells
        Cells of the pair copulas at most.
    """

    def __init__(self, counts: np.ndarray, cells: int) -> None:
        self.by_group = counts.astype(np.int64)
        self.counts = self.by_group.sum(axis=0)
        share = np.cumsum(self.by_group, axis=1) / self.by_group.sum(axis=1, keepdims=True)
        self.cumulative = np.concatenate([np.zeros((len(counts), 1)), share], axis=1)  # (S, K + 1)
        # Cells end where positions do, so that a category, or some that are alike, fill a cell.
        occurred = np.flatnonzero(self.counts)
        ends = np.searchsorted(np.cumsum(self.counts[occurred]), bin_edges(self.counts[occurred], cells)[1:-1]
                               * self.counts.sum() - 0.5)  # fmt: skip
        last = np.concatenate([occurred[ends], [len(self.counts) - 1]])  # position in which each cell ends
        self.cell = np.searchsorted(last, np.arange(len(self.counts)))  # (K,)
        self.edges = self.cumulative[:, np.concatenate([[0], last + 1])]  # (S, A + 1)
        # So that a number is found among the positions of its stratum by one search.
        self._ends = (self.cumulative[:, 1:] + np.arange(len(counts))[:, None]).reshape(-1)
        self._last = np.array([np.flatnonzero(c)[-1] for c in self.by_group])

    def interval(self, positions: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the distribution function, ``(n,)`` and ``(n,)``."""
        return self.cumulative[group, positions], self.cumulative[group, positions + 1]

    def position(self, x: np.ndarray, group: np.ndarray) -> np.ndarray:
        """The positions at which the distribution function passes ``x (n,)``."""
        place = np.searchsorted(self._ends, x + group, side="right") - group * len(self.counts)
        return np.clip(place, 0, self._last.take(group))

    def of_levels(self, level: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of levels L, and lower and upper ends of each level's interval, ``(S * L,)``."""
        first = np.searchsorted(level, np.arange(int(level[-1]) + 1))
        after = np.searchsorted(level, np.arange(int(level[-1]) + 1), side="right")
        return len(first), self.cumulative[:, first].reshape(-1), self.cumulative[:, after].reshape(-1)
