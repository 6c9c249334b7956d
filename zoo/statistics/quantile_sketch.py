"""Quantiles of numbers that pass by once, in bounded memory; sketches of parts merge into one of the whole.

The randomised buffers of P. K. Agarwal, G. Cormode, Z. Huang, J. M. Phillips, Z. Wei and K. Yi, "Mergeable summaries",
PODS 2012, section 3.2, with the growing levels of KLL (Z. Karnin, K. Lang, E. Liberty, FOCS 2016) in their plain form:
level h holds numbers of weight 2^h; a level that is full is sorted and every other number goes up, the odd or the even
ones by a coin. Each such step moves any rank by at most 2^h, in either direction with equal chance, so that the error
of a rank has mean 0 and, with buffers of k numbers and n numbers seen, a standard deviation of at most 1.42 n / k:
level h is compacted at most n / (k 2^h) times, with a variance of at most 4^h each, and the last level is log2(n / k);
the sum is at most 2 (n / k)^2.
"""

import numpy as np


class QuantileSketch:
    """A mergeable sketch of a distribution.

    Parameters
    ----------
    size
        Numbers that a level holds, even; the standard deviation of a quantile's place is below 1.42 / ``size``.
    seed
        Of the coins.

    >>> sketch = QuantileSketch(size=200)
    >>> sketch.add(np.arange(100_001.0))
    >>> abs(sketch.quantiles(np.array([0.5]))[0] - 50_000) < 5 * 100_001 / 200
    np.True_
    """

    def __init__(self, size: int = 2000, seed: int = 0) -> None:
        if size < 2 or size % 2:
            raise ValueError(f"size={size} must be even and at least 2")
        self.size, self.count = size, 0
        self._levels: list[np.ndarray] = [np.empty(0)]
        self._rng = np.random.default_rng(seed)

    def add(self, values: np.ndarray) -> None:
        """Take in ``values (n,)``; NaN are left out."""
        known = np.asarray(values, dtype=np.float64)
        known = known[~np.isnan(known)]
        self.count += len(known)
        for start in range(0, len(known), 64 * self.size):  # bounded by the sketch, not by the caller's array
            self._levels[0] = np.concatenate([self._levels[0], known[start : start + 64 * self.size]])
            self._compact()

    def merge(self, other: "QuantileSketch") -> None:
        """Take in all that ``other`` has seen; it is not changed."""
        if other.size != self.size:
            raise ValueError(f"sketches of sizes {self.size} and {other.size} do not merge")
        self.count += other.count
        for h, level in enumerate(other._levels):
            if h == len(self._levels):
                self._levels.append(np.empty(0))
            self._levels[h] = np.concatenate([self._levels[h], level])
        self._compact()

    def _compact(self) -> None:
        h = 0
        while h < len(self._levels):
            level = self._levels[h]
            if len(level) >= self.size:
                if h + 1 == len(self._levels):
                    self._levels.append(np.empty(0))
                level = np.sort(level)
                even = len(level) - len(level) % 2
                up = level[int(self._rng.integers(2)) : even : 2]
                self._levels[h + 1] = np.concatenate([self._levels[h + 1], up])
                self._levels[h] = level[even:]
            h += 1

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """Numbers at the given ``shares (m,)`` in [0, 1] of the distribution; NaN if nothing was seen."""
        values = np.concatenate(self._levels)
        if not len(values):
            return np.full(len(shares), np.nan)
        weights = np.concatenate([np.full(len(level), 2.0**h) for h, level in enumerate(self._levels)])
        order = np.argsort(values, kind="stable")
        cumulative = np.cumsum(weights[order])
        place = np.searchsorted(cumulative, np.asarray(shares) * cumulative[-1], side="left")
        return values[order][np.minimum(place, len(values) - 1)]
