"""A number's distribution as a grid of quantiles: drawn from smoothly, and no training value is stored."""

import math
from typing import Any

import numpy as np


def quantile_grid(values: np.ndarray, points: int) -> np.ndarray:
    """Quantiles of the known values at evenly spaced probabilities.

    Their number is chosen so that inner ones fall between two training values (in rank), and none is stored.
    """
    known = values[~np.isnan(values)]
    n = len(known)
    if not n:  # nothing but missing values, of which nothing is drawn
        return np.zeros(2)
    size = max(2, min(points, n // 4))
    while size > 2 and math.gcd(size - 1, n - 1) > 1:
        size -= 1
    return np.quantile(known, np.linspace(0, 1, size))


def quantiles_at(grid: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Numbers at the probabilities ``u``, linear within the grid's cells."""
    place = u.astype(np.float64) * (len(grid) - 1)
    cell = np.minimum(place.astype(np.int64), len(grid) - 2)
    start = grid[cell]
    return start + (place - cell) * (grid[cell + 1] - start)


def cumulative_at(grid: np.ndarray, x: Any, side: str) -> np.ndarray:
    """Probability below ``x`` (side ``left``) or up to it (``right``): the inverse of :func:`quantiles_at`."""
    x = np.asarray(x, dtype=np.float64)
    cell = np.searchsorted(grid, x, side=side)  # type: ignore[call-overload]
    inner = np.clip(cell, 1, len(grid) - 1)
    start, width = grid[inner - 1], grid[inner] - grid[inner - 1]
    share = np.where(width > 0, (x - start) / np.where(width > 0, width, 1.0), 0.0 if side == "left" else 1.0)
    inside = (inner - 1 + np.clip(share, 0.0, 1.0)) / (len(grid) - 1)
    return np.where(cell == 0, 0.0, np.where(cell == len(grid), 1.0, inside))


def density_at(grid: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Density at the numbers ``x``, by the width of the range that holds 2 % of the probability to either side."""
    middle = (cumulative_at(grid, x, "left") + cumulative_at(grid, x, "right")) / 2
    reach = max(0.02, 1 / (len(grid) - 1))
    low, high = np.clip(middle - reach, 0.0, 1.0), np.clip(middle + reach, 0.0, 1.0)
    across = quantiles_at(grid, high) - quantiles_at(grid, low)
    return np.where(across > 0, (high - low) / np.where(across > 0, across, 1.0), 0.0)
