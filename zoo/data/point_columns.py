"""``BinnedColumns`` whose numbers keep exactly the values that many rows share, for models of columns in sequence.

A quantile grid at even probabilities smears a value that fewer than a thousandth of the rows have over its neighbours,
and a bin for every 256th part of the rows puts many amounts of money into one. Here the grid has the ends of each
shared value among its points, so that it is drawn exactly and in its proportion, and the bins grow finer until there
are as many as asked, so that skewed and zero-inflated numbers use them too.
"""

from collections.abc import Mapping

import numpy as np

from zoo.data.binned_columns import BinnedColumns, bin_edges
from zoo.schema import Schema
from zoo.statistics.quantile_grid import quantile_grid

_POINT_ROWS = 5  # a value that so many rows share is no one's own, and is kept exactly
_POINTS = 300  # such values of a number at most; two points of its grid each
_BIN_ROWS = 5  # bins hold so many rows on average at least


class PointColumns(BinnedColumns):
    """As :class:`BinnedColumns`, with exact shared values and bins that are all used.

    Parameters
    ----------
    schema
        The table's schema.
    bins
        Bins of a number at most.
    categories
        Codes of a discrete column at most; more are pooled.

    Attributes
    ----------
    knots : dict of str to numpy.ndarray
        The probabilities at which the grid of a number stands, from 0 to 1; equal neighbours are a jump.
    """

    def __init__(self, schema: Schema, bins: int, categories: int = 1000) -> None:
        super().__init__(schema, bins, categories)
        self.knots: dict[str, np.ndarray] = {}

    def _learn(self, name: str, known: np.ndarray) -> None:
        values, counts = np.unique(known, return_counts=True)
        if not len(values):
            self.grids[name], self.knots[name] = np.zeros(2), np.array([0.0, 1.0])
            self.edges[name] = np.array([0.0, 1.0])
            return
        self.knots[name], self.grids[name] = _grid(known, values, counts)
        # On the same fractions as the knots, so that a bin ends where a shared value does, to the last digit.
        self.edges[name] = np.rint(_finest_edges(counts, self.bins) * len(known)) / len(known)

    def _cumulative(self, name: str, x: np.ndarray, side: str) -> np.ndarray:
        grid, knots = self.grids[name], self.knots[name]
        x = np.asarray(x, dtype=np.float64)
        cell = np.searchsorted(grid, x, side=side)  # type: ignore[call-overload]
        inner = np.clip(cell, 1, len(grid) - 1)
        start, width = grid[inner - 1], grid[inner] - grid[inner - 1]
        share = np.where(width > 0, (x - start) / np.where(width > 0, width, 1.0), 0.0 if side == "left" else 1.0)
        inside = knots[inner - 1] + np.clip(share, 0.0, 1.0) * (knots[inner] - knots[inner - 1])
        return np.where(cell == 0, 0.0, np.where(cell == len(grid), 1.0, inside))

    def _density(self, name: str, x: np.ndarray) -> np.ndarray:
        """As ``density_at``: by the width of the range that holds 2 % of the probability to either side."""
        middle = (self._cumulative(name, x, "left") + self._cumulative(name, x, "right")) / 2
        low, high = np.clip(middle - 0.02, 0.0, 1.0), np.clip(middle + 0.02, 0.0, 1.0)
        across = self._quantiles(name, high) - self._quantiles(name, low)
        return np.where(across > 0, (high - low) / np.where(across > 0, across, 1.0), 0.0)

    def _quantiles(self, name: str, u: np.ndarray) -> np.ndarray:
        grid, knots = self.grids[name], self.knots[name]
        cell = np.clip(np.searchsorted(knots, u, side="right"), 1, len(knots) - 1)
        start, width = knots[cell - 1], knots[cell] - knots[cell - 1]
        share = np.where(width > 0, (u - start) / np.where(width > 0, width, 1.0), 1.0)
        return grid[cell - 1] + np.clip(share, 0.0, 1.0) * (grid[cell] - grid[cell - 1])

    def arrays(self) -> dict[str, np.ndarray]:
        return super().arrays() | {f"knots.{i}": self.knots[n] for i, n in enumerate(self.codec.numeric)}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().set_arrays(arrays)
        for i, name in enumerate(self.codec.numeric):
            knots = arrays[f"knots.{i}"]
            sound = knots.shape == self.grids[name].shape and knots[0] == 0 and knots[-1] == 1
            if not sound or not (np.diff(knots) >= 0).all():
                raise ValueError(f"the quantiles of column {name!r} are none")
            self.knots[name] = knots


def _grid(known: np.ndarray, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and quantiles ``(m,)``: even ones, and both ends of each value that many rows share."""
    n = len(known)
    shared = np.flatnonzero(counts >= _POINT_ROWS)
    shared = np.sort(shared[np.argsort(-counts[shared], kind="stable")[:_POINTS]])
    after = np.cumsum(counts) / n
    after[-1] = 1.0
    start, end = np.concatenate([[0.0], after])[shared], after[shared]
    even = quantile_grid(known, 1000 - 2 * len(shared))
    place = np.linspace(0, 1, len(even))
    if not len(shared):
        return place, even
    # Even quantiles within a shared value say nothing more; those at its ends would smear it.
    within = np.clip(np.searchsorted(start, place, side="right") - 1, 0, None)
    kept = ~((place >= start[within]) & (place <= end[within]))
    kept[[0, -1]] |= [start[0] > 0, end[-1] < 1]
    knots = np.concatenate([place[kept], start, end])
    grid = np.concatenate([even[kept], values[shared], values[shared]])
    order = np.lexsort([grid, knots])
    knots, grid = knots[order], np.maximum.accumulate(grid[order])
    if len(knots) < 2:
        return np.array([0.0, 1.0]), np.repeat(grid[:1], 2)
    return knots, grid


def _finest_edges(counts: np.ndarray, bins: int) -> np.ndarray:
    """The edges of the most bins that are no more than ``bins``, nor more than a fifth of the rows."""
    bins = max(2, min(bins, int(counts.sum()) // _BIN_ROWS))
    best, finer = bin_edges(counts, bins), 2 * bins
    while finer <= max(2, int(counts.sum()) // _BIN_ROWS):
        edges = bin_edges(counts, finer)
        if len(edges) - 1 > bins:
            break
        best, finer = edges, 2 * finer
    return best
