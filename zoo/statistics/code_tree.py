"""The distribution of a code given other codes: one classification tree whose leaves keep histograms.

References: L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", 1984; J. Reiter, "Using
CART to generate partially synthetic public use microdata", Journal of Official Statistics 21, 2005. The tree is grown
on at most 32 groups of neighbouring codes (its splits see no more), its leaves count the codes themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

CLASSES = 32
MAX_ROWS = 200_000  # that a tree is grown on; with leaves of tens of rows more change nothing that can be seen
_MAX_DEPTH = 30


@dataclass
class CodeTree:
    """A grown tree.

    Parameters
    ----------
    feature, threshold, left, right
        ``(nodes,)``: rows whose code in column ``feature`` is at most ``threshold`` go left; -1 at leaves.
    leaf
        ``(nodes,)`` number of the leaf; -1 at inner nodes.
    upto, codes
        ``(m,)`` the leaves' histograms, one behind the other: in leaf l, ``l`` plus the cumulative probability up to
        each code.
    size
        Number of codes.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    upto: np.ndarray
    codes: np.ndarray
    size: int

    @classmethod
    def grow(cls, features: np.ndarray, target: np.ndarray, size: int, least: int, rng: np.random.Generator) -> Self:
        """Grow a tree.

        Parameters
        ----------
        features
            ``int (n, F)`` codes.
        target
            ``int (n,)`` codes from 0 to ``size - 1``.
        least
            Rows of a leaf at least.
        """
        if len(target) > MAX_ROWS:
            some = np.sort(rng.choice(len(target), MAX_ROWS, replace=False))
            features, target = features[some], target[some]
        classes = _classes(target, size)
        varies = features.shape[1] and len(target) >= 2 * least and (classes != classes[:1]).any()
        if not varies:
            where = np.zeros(len(target), dtype=np.int64)
            alone = np.array([-1], dtype=np.int32)
            return cls(alone, alone, alone, alone, alone + 1, *_histograms(where, target, 1, size), size)
        from sklearn.tree import DecisionTreeClassifier

        model = DecisionTreeClassifier(
            criterion="entropy", min_samples_leaf=least, max_depth=_MAX_DEPTH, random_state=int(rng.integers(2**31))
        )
        tree = model.fit(features.astype(np.float32), classes).tree_
        inner = tree.children_left >= 0
        leaf = np.where(inner, -1, np.cumsum(~inner) - 1).astype(np.int32)
        where = leaf[tree.apply(features.astype(np.float32))].astype(np.int64)
        return cls(
            np.where(inner, tree.feature, -1).astype(np.int32),
            np.where(inner, np.floor(tree.threshold), -1).astype(np.int32),
            np.where(inner, tree.children_left, -1).astype(np.int32),
            np.where(inner, tree.children_right, -1).astype(np.int32),
            leaf,
            *_histograms(where, target, int(leaf.max()) + 1, size),
            size,
        )

    def find(self, features: np.ndarray) -> np.ndarray:
        """The leaf of each row of ``features (n, F)``, ``int64 (n,)``."""
        node = np.zeros(len(features), dtype=np.int64)
        rows = np.arange(len(features))
        while True:
            split = self.feature[node[rows]]
            rows, split = rows[split >= 0], split[split >= 0]
            if not len(rows):
                return self.leaf[node].astype(np.int64)
            at = node[rows]
            node[rows] = np.where(features[rows, split] <= self.threshold[at], self.left[at], self.right[at])

    def draw(self, features: np.ndarray, rng: np.random.Generator, least: np.ndarray | None = None) -> np.ndarray:
        """A code for each row, ``int64 (n,)``.

        Parameters
        ----------
        features
            ``int (n, F)``.
        least
            ``(n,)`` codes that are not to be fallen short of; -1 is drawn where the leaf has none.
        """
        leaf = self.find(features)
        chance = np.minimum(rng.random(len(leaf)), 1 - 1e-9)
        if least is None:
            return self.codes[np.searchsorted(self.upto, leaf + chance, side="right")].astype(np.int64)
        order = np.repeat(np.arange(self.leaf.max() + 1), self._counts) * self.size + self.codes
        place = np.searchsorted(order, leaf * self.size + np.minimum(least, self.size - 1))
        below = np.where(place > 0, self.upto[np.maximum(place - 1, 0)], 0.0) - leaf
        below = np.clip(below, 0.0, 1.0)
        found = np.searchsorted(self.upto, leaf + np.minimum(below + (1 - below) * chance, 1 - 1e-9), side="right")
        none = (below >= 1 - 1e-9) | (least >= self.size)
        return np.where(none, -1, self.codes[found])

    @property
    def _counts(self) -> np.ndarray:
        """Codes in the histogram of each leaf."""
        leaf = np.ceil(self.upto - 1e-12).astype(np.int64) - 1
        return np.bincount(leaf, minlength=int(self.leaf.max()) + 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        nodes = np.stack([self.feature, self.threshold, self.left, self.right, self.leaf])
        return {"nodes": nodes, "upto": self.upto, "codes": self.codes}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], size: int, features: int) -> Self:
        """Take back what :meth:`arrays` gave.

        Raises
        ------
        ValueError
            If it is no tree on so many features.
        """
        nodes, upto, codes = (np.asarray(arrays[k]) for k in ("nodes", "upto", "codes"))
        if nodes.ndim != 2 or nodes.shape[0] != 5 or not nodes.shape[1] or nodes.dtype != np.int32:
            raise ValueError("the nodes of a tree are none")
        feature, threshold, left, right, leaf = nodes
        inner, place = feature >= 0, np.arange(nodes.shape[1])
        goes = all(((side > place) & (side < len(place)))[inner].all() for side in (left, right))
        leaves = leaf[~inner]
        if not goes or (feature >= features).any() or not np.array_equal(leaves, np.arange(len(leaves))):
            raise ValueError("the nodes of a tree do not fit together")
        sound = codes.shape == upto.shape and upto.ndim == 1 and upto.dtype == np.float64 and codes.dtype == np.int32
        if not sound or not np.isfinite(upto).all() or not (np.diff(upto) > 0).all() or not (upto > 0).all():
            raise ValueError("the histograms of a tree are none")
        ends = upto[np.isin(upto, np.arange(1, len(leaves) + 1))]
        if len(ends) != len(leaves) or upto[-1] != len(leaves) or codes.min() < 0 or codes.max() >= size:
            raise ValueError("the histograms of a tree do not fit its leaves")
        return cls(feature, threshold, left, right, leaf, upto, codes, size)


def _classes(target: np.ndarray, size: int) -> np.ndarray:
    """Groups of neighbouring codes, at most 32 of about equal size."""
    counts = np.bincount(target, minlength=size)
    if (counts > 0).sum() <= CLASSES:
        return target
    middle = np.cumsum(counts) - counts / 2
    return np.minimum((middle / max(1, len(target)) * CLASSES).astype(np.int64), CLASSES - 1)[target]


def _histograms(leaf: np.ndarray, target: np.ndarray, leaves: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``upto`` and ``codes`` of rows with their leaf and code; a leaf without rows has code 0 alone."""
    empty = np.setdiff1d(np.arange(leaves), leaf)
    cells, counts = np.unique(np.append(leaf * size + target, empty * size), return_counts=True)
    of, codes = cells // size, cells % size
    total = np.bincount(of, weights=counts, minlength=leaves)
    running = np.cumsum(counts)
    before = np.append(0, running)[np.searchsorted(of, np.arange(leaves))]
    share = (running - before[of]) / total[of]
    last = np.append(of[1:] != of[:-1], True)
    return np.where(last, of + 1.0, of + share), codes.astype(np.int32)
