"""One column's conditional distribution as a single decision tree whose leaves count positions."""

from collections.abc import Mapping

import numpy as np

_SMOOTHING = 1.0  # rows of the column as a whole that each leaf is taken together with where conditions are weighed


class LeafTree:
    """A :class:`~zoo.data.conditional.Conditional`.

    Parameters
    ----------
    feature, threshold
        ``int32 (M,)`` and ``uint8 (M,)``: levels of that feature up to the threshold go left; feature -1 is a leaf.
    children
        ``int32 (M, 2)``: left and right node, behind their parent.
    leaf
        ``int32 (k,)``, ``position``, ``count``: rows of a position in a leaf (a node), sorted by leaf and position.
    size
        Number of positions.
    """

    def __init__(
        self,
        feature: np.ndarray,
        threshold: np.ndarray,
        children: np.ndarray,
        leaf: np.ndarray,
        position: np.ndarray,
        count: np.ndarray,
        size: int,
    ) -> None:
        self.feature, self.threshold, self.children = feature, threshold, children
        self.leaf, self.position, self.count, self.size = leaf, position, count, size
        nodes = len(feature)
        self.counts = np.bincount(position, weights=count, minlength=size).astype(np.int64)
        self._after = np.concatenate([[0.0], np.cumsum(count, dtype=np.float64)])
        self._start = np.searchsorted(leaf, np.arange(nodes + 1))  # (M + 1,)
        self._total = self._after[self._start[1:]] - self._after[self._start[:-1]]
        self._key = leaf.astype(np.int64) * size + position
        # Leaves lead to themselves, so that all rows can go on until the deepest is there.
        self._look = np.maximum(feature, 0)
        self._next = np.where(feature[:, None] < 0, np.arange(nodes)[:, None], children).reshape(-1)
        depth = np.zeros(nodes, dtype=np.int64)
        for i in np.flatnonzero(feature >= 0).tolist():
            depth[children[i]] = depth[i] + 1
        self._depth = int(depth.max())

    @classmethod
    def count_rows(
        cls,
        feature: np.ndarray,
        threshold: np.ndarray,
        children: np.ndarray,
        levels: np.ndarray,
        rows: np.ndarray,
        size: int,
    ) -> "LeafTree":
        """The tree of given splits with the positions ``rows (n,)`` counted in their leaves."""
        empty = np.zeros(0, dtype=np.int32)
        return cls(feature, threshold, children, empty, empty, empty.astype(np.int64), size).updated(levels, rows)

    def updated(self, levels: np.ndarray, rows: np.ndarray) -> "LeafTree":
        """A tree in whose leaves more rows, of positions ``(n,)``, are counted."""
        key = np.concatenate([self._key, self.apply(levels).astype(np.int64) * self.size + rows])
        weight = np.concatenate([self.count, np.ones(len(rows), dtype=np.int64)])
        distinct, place = np.unique(key, return_inverse=True)
        count = np.bincount(place.reshape(-1), weights=weight).astype(np.int64)
        leaf, position = (distinct // self.size).astype(np.int32), (distinct % self.size).astype(np.int32)
        return LeafTree(self.feature, self.threshold, self.children, leaf, position, count, self.size)

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """The leaf of each row, ``int (n,)``."""
        n = levels.shape[1]
        node = np.zeros(n, dtype=np.intp)
        if not self._depth:
            return node
        flat, row = levels.reshape(-1), np.arange(n)
        for _ in range(self._depth):
            level = flat.take(self._look.take(node) * n + row)
            node = self._next.take(2 * node + (level > self.threshold.take(node)))
        return node

    # Drawing

    def draw(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        leaf = self.apply(levels)
        return self._draw(leaf, u * self._total[leaf], self._after)

    def _draw(self, leaf: np.ndarray, amount: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The positions at which the sums ``after (k + 1,)`` within each leaf pass an amount."""
        place = np.searchsorted(after, after[self._start[leaf]] + amount, side="right") - 1
        return self.position[np.clip(place, self._start[leaf], self._start[leaf + 1] - 1)]

    def draw_within(self, levels: np.ndarray, u: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        leaf = self.apply(levels)
        after = np.concatenate([[0.0], np.cumsum(self.count * weight[self.position])])
        inside = after[self._start[leaf + 1]] - after[self._start[leaf]]
        overall = np.cumsum(self.counts * weight)
        more = _SMOOTHING * overall[-1] / self.counts.sum()
        mass = inside + more
        amount = u * mass
        out = np.empty(len(u), dtype=np.int32)
        own = amount < inside
        out[own] = self._draw(leaf[own], amount[own], after)
        share = np.minimum((amount - inside)[~own] / max(more, 1e-300), 1 - 2**-53)
        place = np.searchsorted(overall, share * overall[-1], side="right")
        out[~own] = np.minimum(place, int(np.searchsorted(overall, overall[-1])))
        return out, mass / (self._total[leaf] + _SMOOTHING)

    def probability(self, levels: np.ndarray, positions: np.ndarray) -> np.ndarray:
        leaf = self.apply(levels)
        key = leaf.astype(np.int64) * self.size + positions
        place = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
        inside = np.where(self._key[place] == key, self.count[place], 0)
        overall = np.maximum(self.counts[positions], 1e-9) / self.counts.sum()
        return (inside + _SMOOTHING * overall) / (self._total[leaf] + _SMOOTHING)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        names = ("feature", "threshold", "children", "leaf", "position", "count")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], size: int, features: int) -> "LeafTree":
        """The tree of what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ValueError, KeyError
            If it does not fit a column of so many positions behind so many others.
        """
        feature, threshold, children = (arrays[k] for k in ("feature", "threshold", "children"))
        leaf, position, count = (arrays[k] for k in ("leaf", "position", "count"))
        nodes, k = len(feature), len(leaf)
        shapes = feature.shape == threshold.shape == (nodes,) and children.shape == (nodes, 2) and nodes > 0
        types = threshold.dtype == np.uint8 and all(
            a.dtype.kind == "i" for a in (feature, children, leaf, position, count)
        )
        if not shapes or not types or not leaf.shape == position.shape == count.shape == (k,) or not k:
            raise ValueError("the tree of a column is none")
        inner = feature >= 0
        behind = (children[inner] > np.flatnonzero(inner)[:, None]).all() and (children[inner] < nodes).all()
        if not behind or (feature >= features).any():
            raise ValueError("a column's tree leads to nodes or columns that are not there")
        inside = (leaf >= 0) & (leaf < nodes) & (position >= 0) & (position < size) & (count > 0)
        rising = np.diff(leaf.astype(np.int64) * size + position) > 0
        if not inside.all() or not rising.all() or count.sum() > 2**53:
            raise ValueError("the leaves of a column's tree do not count what they should")
        if set(np.flatnonzero(~inner).tolist()) != set(np.unique(leaf).tolist()):
            raise ValueError("a leaf of a column's tree is empty")
        return cls(feature, threshold, children, leaf, position, count, size)
