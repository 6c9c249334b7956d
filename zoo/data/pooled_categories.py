"""A column of very many categories as few codes: frequent categories as they are, the others pooled by likeness.

No model learns from a handful of rows what sets one of 100,000 merchants apart, and none should allocate a number for
each of them a row. Frequent categories keep a code of their own; the others share codes, each of about the same mass,
in the order of their optimal scores (what the other columns say about them). The way back draws a category of the code
by its frequency, so that the marginal survives whole.
"""

from collections.abc import Mapping

import numpy as np

_UNSEEN = 1e-6  # weight of what is asked but never occurred: possible, and only just


class PooledCategories:
    """Categories 0 to K - 1 as codes 0 to ``size`` - 1.

    Parameters
    ----------
    code
        ``int (K,)``: the code of each category; every code has a category.
    share
        ``float (K,)``: frequency of each category, at least 0.
    """

    def __init__(self, code: np.ndarray, share: np.ndarray) -> None:
        self.code = code.astype(np.int64)
        self.share = share.astype(np.float64)
        self.size = int(self.code.max()) + 1
        self._mass = np.bincount(self.code, self.share, minlength=self.size)
        self._order = np.argsort(self.code, kind="stable")

    @classmethod
    def fit(cls, counts: np.ndarray, scores: np.ndarray, limit: int) -> "PooledCategories":
        """Pool ``(K,)`` counted and scored categories into at most ``limit`` codes."""
        share = counts / max(1, counts.sum())
        frequent = np.flatnonzero(share > 1 / limit)
        code = np.empty(len(counts), dtype=np.int64)
        code[frequent] = np.arange(len(frequent))
        rest = np.flatnonzero(share <= 1 / limit)
        if len(rest):
            rest = rest[np.argsort(scores[rest], kind="stable")]
            mass = share[rest] + 1e-12  # categories without a row are spread evenly
            middle = np.cumsum(mass) - mass / 2
            label = np.floor(middle / mass.sum() * (limit - len(frequent))).astype(np.int64)
            code[rest] = len(frequent) + np.unique(label, return_inverse=True)[1]
        return cls(code, share)

    def draw(self, codes: np.ndarray, rng: np.random.Generator, among: np.ndarray | None = None) -> np.ndarray:
        """A category for each code, ``int64 (n,)``, by frequency.

        Parameters
        ----------
        codes
            ``int (n,)``.
        rng
            Source of randomness.
        among
            ``bool (K,)``: the categories to draw from; every code given has one.
        """
        share = self._shares(among)
        total = np.bincount(self.code, share, minlength=self.size)
        # Within each code from one whole number to the next, so that the rarest is not lost beside all others.
        share = (share / np.where(total > 0, total, 1.0)[self.code])[self._order]
        upto = np.concatenate([[0.0], np.cumsum(share)])
        sizes = np.bincount(self.code, minlength=self.size)
        first = np.cumsum(sizes) - sizes  # of each code, in the order of codes
        start, end = upto[first[codes]], upto[(first + sizes)[codes]]
        point = np.minimum(start + (end - start) * rng.random(len(codes)), np.nextafter(end, 0))
        return self._order[np.searchsorted(upto, point, side="right") - 1]

    def weigh(self, among: np.ndarray) -> np.ndarray:
        """Part of the mass of each code that categories ``bool (K,)`` have: ``(size,)`` in [0, 1]."""
        admitted = np.bincount(self.code, self._shares(among), minlength=self.size)
        return np.clip(admitted / np.where(self._mass > 0, self._mass, 1.0), 0.0, 1.0)

    def weigh_each(self, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Code ``(n,)`` of each given category, and the part of the code's mass that it has, ``(n,)`` above 0."""
        code = self.code[categories]
        whole = np.where(self._mass > 0, self._mass, 1.0)
        return code, np.clip(self._shares(np.ones(len(self.code), dtype=bool))[categories] / whole[code], 0.0, 1.0)

    def _shares(self, among: np.ndarray | None) -> np.ndarray:
        """Shares ``(K,)``, 0 where not admitted; what is admitted by name is possible though it never occurred."""
        share = np.where(self._mass[self.code] > 0, self.share, 1.0)  # a code without a row: evenly
        if among is None:
            return share
        sizes = np.bincount(self.code, minlength=self.size)
        return np.where(among, np.maximum(share, _UNSEEN * (self._mass / sizes)[self.code]), 0.0)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        return {"code": self.code.astype(np.int32), "share": self.share}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], categories: int, limit: int) -> "PooledCategories":
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ValueError
            Unless there is a code below ``limit`` and a frequency for each of the ``categories``.
        """
        code, share = arrays["code"], arrays["share"]
        sound = code.shape == share.shape == (categories,) and code.dtype.kind == "i" and share.dtype.kind == "f"
        if not sound or code.min() < 0 or code.max() >= limit or len(np.unique(code)) != code.max() + 1:
            raise ValueError("the pooled categories are none")
        if not np.isfinite(share).all() or share.min() < 0 or share.sum() <= 0:
            raise ValueError("the frequencies of pooled categories are none")
        return cls(code, share)
