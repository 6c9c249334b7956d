"""Sums of small decision trees over coarse levels, evaluated for many rows at once without a loop over rows or splits.

A leaf is a box: for each feature an interval of levels. So a byte for each tree, one bit a leaf, is the bitwise *and*
of one byte for each feature, which depends on that feature's level alone and is looked up; eight trees fit a word.
Related: C. Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees", SIGIR 2015, in which words belong to trees and bits are cleared split by split. One bit is left in the end: the
leaf.
"""

import numpy as np

MAX_LEAVES = 8


class TreeEnsemble:
    """T trees of at most S + 1 leaves.

    Parameters
    ----------
    leaf
        ``uint8 (T, S)``: the leaf that split i divides, at most i; its right part becomes leaf i + 1.
    feature
        ``uint16 (T, S)``: which feature each split looks at.
    threshold
        ``uint8 (T, S)``: levels up to it go left. 255 divides nothing.
    value
        ``float16 (T, S + 1)``: what each leaf adds.
    """

    def __init__(self, leaf: np.ndarray, feature: np.ndarray, threshold: np.ndarray, value: np.ndarray) -> None:
        self.leaf, self.feature, self.threshold, self.value = leaf, feature, threshold, value
        self._tables: list[tuple[int, np.ndarray]] | None = None
        self._values = np.zeros(0, dtype=np.float32)
        self._start = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.leaf)

    def check(self, features: int) -> None:
        """Raise ``ValueError`` unless the arrays are trees over so many features: they may come from anywhere."""
        trees, splits = self.leaf.shape if self.leaf.ndim == 2 else (-1, -1)
        shapes = self.feature.shape == self.threshold.shape == (trees, splits) and self.value.shape == (
            trees,
            splits + 1,
        )
        types = (self.leaf.dtype, self.threshold.dtype, self.feature.dtype) == (np.uint8, np.uint8, np.uint16)
        if not shapes or not types or self.value.dtype != np.float16 or not 1 <= splits < MAX_LEAVES:
            raise ValueError("the arrays are no trees")
        if (self.leaf > np.arange(splits)).any() or (self.feature >= features).any():
            raise ValueError("the trees split leaves or features that are not there")
        if not np.isfinite(self.value).all():
            raise ValueError("the trees hold values that are not finite")

    def _prepare(self) -> list[tuple[int, np.ndarray]]:
        """For each feature that is used, a table ``uint64 (levels, words)`` of the leaves that a level leaves open."""
        trees, splits = self.leaf.shape
        share = 2 if splits < 4 else 1  # trees to a byte
        words = -(-trees // (8 * share))
        self._values, self._start = self._sums(share, 8 * words), np.arange(8 * words) * 256
        each = np.arange(trees)
        exists = np.ones((trees, splits + 1), dtype=bool)  # padding has no leaf
        for i in range(splits):
            exists[:, i + 1] = exists[each, self.leaf[:, i]] & (self.threshold[:, i] < 255)
        tables = []
        for f in np.unique(self.feature):
            mine = (self.feature == f) & (self.threshold < 255)
            if not mine.any():
                continue
            low = np.zeros((trees, splits + 1), dtype=np.int16)
            high = np.full((trees, splits + 1), 255, dtype=np.int16)
            for i in range(splits):
                divided = self.leaf[:, i]
                low[:, i + 1], high[:, i + 1] = low[each, divided], high[each, divided]
                here = np.flatnonzero(mine[:, i])
                at, threshold = divided[here], self.threshold[here, i].astype(np.int16)
                high[here, at] = np.minimum(high[here, at], threshold)
                low[here, i + 1] = np.maximum(low[here, i + 1], threshold + 1)
            levels = np.arange(int(self.threshold[mine].max()) + 2)[:, None]  # the last stands for all above
            table = np.zeros((len(levels), 8 * words), dtype=np.uint8)
            for k in range(splits + 1):
                here = (exists[:, k] & (levels >= low[:, k]) & (levels <= high[:, k])).astype(np.uint8)
                for i in range(share):
                    table[:, : len(each[i::share])] |= here[:, i::share] << (k + 4 * i)
            tables.append((int(f), table.view(np.uint64)))
        return tables

    def _sums(self, share: int, size: int) -> np.ndarray:
        """What each byte with one bit a tree stands for, ``float32 (256 size,)``."""
        sums = np.zeros((size, 256), dtype=np.float32)
        first, second = self.value[::share].astype(np.float32), self.value[1::2].astype(np.float32)
        for k in range(first.shape[1]):
            sums[: len(first), 1 << k] = first[:, k]
            if share == 2:
                for m in range(second.shape[1]):
                    sums[: len(second), 1 << k | 16 << m] = first[: len(second), k] + second[:, m]
        return sums.reshape(-1)

    def __call__(self, levels: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Sums ``float32 (n,)`` for levels ``uint8 (F, n)``, or for some of their columns."""
        if self._tables is None:
            self._tables = self._prepare()
        n = levels.shape[1] if rows is None else len(rows)
        open_leaves: np.ndarray | None = None
        for f, table in self._tables:
            level = levels[f] if rows is None else levels[f].take(rows)
            word = table.take(level, axis=0, mode="clip")  # (n, words)
            if open_leaves is None:
                open_leaves = word
            else:
                np.bitwise_and(open_leaves, word, out=open_leaves)
        if open_leaves is None:
            return np.full(n, self.value[:, 0].astype(np.float32).sum(), dtype=np.float32)
        place = np.add(open_leaves.view(np.uint8).reshape(n, -1), self._start, dtype=np.intp)  # (n, trees)
        return self._values.take(place).sum(axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state."""
        return {"leaf": self.leaf, "feature": self.feature, "threshold": self.threshold, "value": self.value}

    def part(self, start: int, stop: int) -> "TreeEnsemble":
        """Trees ``start`` to ``stop``."""
        return TreeEnsemble(*(a[start:stop] for a in (self.leaf, self.feature, self.threshold, self.value)))


def join(ensembles: list[TreeEnsemble]) -> TreeEnsemble:
    """The trees of several ensembles, at least one, one behind the other."""
    names = ("leaf", "feature", "threshold", "value")
    return TreeEnsemble(*(np.concatenate([getattr(e, name) for e in ensembles]) for name in names))
