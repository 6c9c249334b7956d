"""One column's conditional distribution as a single decision tree whose leaves count positions."""

from collections.abc import Iterator, Mapping

import numpy as np

from zoo.statistics.neighbour_groups import neighbour_groups
from zoo.statistics.pair_factors import PairFactors

GROUPS = 64  # of neighbouring positions that a leaf tells apart at most
_CLASSES = 16  # of neighbouring groups that factors tell apart at most
_WITHIN = 100  # rows of a group from which one of its positions is drawn at least, where a node above has so many
_SMOOTHINGS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0)
_RAKING = 10  # rounds in which the leaves together are brought to what occurred
_TINY = 1e-9
_SMOOTHING = 1.0  # rows of the column as a whole that each leaf is taken together with where conditions are weighed


class LeafTree:
    """A :class:`~zoo.data.conditional.Conditional`.

    A leaf is not taken at its word. Groups of neighbouring positions are halved again and again; in which half of a
    range a row lies, a node is asked together with ``smoothing`` rows of its parent, which is asked the same way, up to
    the root. So a leaf decides what it has rows for, and the rest is its ancestors' (hierarchical shrinkage: A. Agarwal
    et al., ICML 2022, arXiv 2202.00858; in trees over positions, as Pólya trees have it). Which position of the group,
    the smallest node above says in which the group has :data:`_WITHIN` rows.

    Leaves are few, and so say little of what many columns say weakly. Classes of neighbouring groups are therefore
    weighed by factors for their pairs with single columns (:mod:`zoo.statistics.pair_factors`); within a class, the
    leaf decides.

    Parameters
    ----------
    feature, threshold
        ``int32 (M,)`` and ``uint8 (M,)``: levels of that feature up to the threshold go left; feature -1 is a leaf.
    children
        ``int32 (M, 2)``: left and right node; nodes stand in the order in which they are first met from left to right.
    leaf
        ``int32 (k,)``, ``position``, ``count``: rows of a position in a leaf (a node), sorted by leaf and position.
    size
        Number of positions.
    classes
        ``int32 (K,)``: the class of each position, from 0, rising in steps of 1 at most; None for as many as
        :data:`_CLASSES` of as many rows.
    pairs
        The factors of classes; None for none.
    smoothing
        Rows of its parent that a node is taken together with; None for as many as make each row the likeliest by all
        the others (leaving one out).
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
        classes: np.ndarray | None = None,
        pairs: PairFactors | None = None,
        smoothing: float | None = None,
    ) -> None:
        self.feature, self.threshold, self.children = feature, threshold, children
        self.leaf, self.position, self.count = leaf, position, count
        self.size = size
        nodes = len(feature)
        self.counts = np.bincount(position, weights=count, minlength=size).astype(np.int64)
        self._key = leaf.astype(np.int64) * size + position
        # Leaves lead to themselves, so that all rows can go on until the deepest is there.
        self._look = np.maximum(feature, 0)
        self._next = np.where(feature[:, None] < 0, np.arange(nodes)[:, None], children).reshape(-1)
        self._parent, self._level, self._end = _relations(feature, children)
        self._depth = int(self._level.max())
        # Groups end where classes do, also where counts that came later would have put their ends elsewhere.
        group = neighbour_groups(self.counts, GROUPS)  # (K,)
        if classes is None:
            classes = neighbour_groups(np.bincount(group, weights=self.counts), _CLASSES)[group]
        self.classes = classes.astype(np.int32)
        self._group = np.unique(self.classes * (group[-1] + 1) + group, return_inverse=True)[1].reshape(-1)
        self._prepare(smoothing)
        self.pairs = PairFactors.none(int(self.classes[-1]) + 1) if pairs is None else pairs

    def _prepare(self, smoothing: float | None) -> None:
        """Tables ``(leaves, groups)`` of how likely groups are and of the rows from which positions are drawn."""
        nodes = len(self.feature)
        groups = int(self._group[-1]) + 1
        mine = self._group[self.position]
        per = np.zeros((nodes + 1, groups))
        np.add.at(per, (self.leaf + 1, mine), self.count)
        before = np.cumsum(per, axis=0)
        rows = before[self._end] - before[:-1]  # (M, G) of a node and all below it
        leaves = np.flatnonzero(self.feature < 0)
        self.smoothing = float(
            min(_SMOOTHINGS, key=lambda m: self._loss(rows, leaves, m)) if smoothing is None else smoothing
        )
        likely = _rake(self._shrunk(rows, self.smoothing, 0)[leaves], rows[leaves])
        source = np.zeros((nodes, groups), dtype=np.int64)
        for here, above in self._going_down():
            source[here] = np.where(rows[here] >= _WITHIN, here[:, None], source[above])
        # Rows by group, then leaf: those of a group below a node stand side by side.
        order = np.lexsort([self.position, self.leaf, mine])
        self._within, self._rows = self.position[order], self.count[order]
        place = mine[order].astype(np.int64) * nodes + self.leaf[order]
        self._number = np.zeros(nodes, dtype=np.int64)  # of each leaf
        self._number[leaves] = np.arange(len(leaves))
        base, self._source = np.arange(groups) * nodes, source[leaves]  # (L, G)
        self._start = np.searchsorted(place, base + self._source)
        self._stop = np.searchsorted(place, base + self._end[self._source])
        self._after = np.concatenate([[0.0], np.cumsum(self._rows, dtype=np.float64)])
        self._likely = likely
        self._total = rows[leaves].sum(axis=1)
        self._upto = _steps(self._likely)
        self._first = np.searchsorted(
            self.classes[np.searchsorted(self._group, np.arange(groups))], np.arange(self.classes[-1] + 1)
        )
        self._mass = self._of_classes(likely)  # (L, C)
        self._light = self._mass.astype(np.float32)

    def _going_down(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Nodes of one depth after the other, below the root, and their parents."""
        for level in range(1, self._depth + 1):
            here = np.flatnonzero(self._level == level)
            yield here, self._parent[here]

    def _loss(self, rows: np.ndarray, leaves: np.ndarray, smoothing: float) -> float:
        """Minus the log-likelihood of each row by all the others."""
        return -float((rows[leaves] * np.log(np.maximum(self._shrunk(rows, smoothing, 1)[leaves], _TINY))).sum())

    def _shrunk(self, rows: np.ndarray, smoothing: float, less: int) -> np.ndarray:
        """Probabilities of groups in nodes ``(M, G)`` of which there are so many rows, ``less`` ones of the group.

        Groups are halved again and again; in which half of a range, a node knows as well as it has rows of the range,
        and takes from its parent what it lacks.
        """
        nodes, groups = rows.shape
        depth = max(1, int(groups - 1).bit_length())
        sums = [np.pad(rows, ((0, 0), (0, 2**depth - groups)))]
        while sums[-1].shape[1] > 1:
            sums.append(sums[-1].reshape(nodes, -1, 2).sum(axis=2))
        likely = np.ones((nodes, 1))
        for whole, half in zip(sums[:0:-1], sums[-2::-1]):
            of, some = np.repeat(np.maximum(whole - less, 0), 2, axis=1), np.maximum(half - less, 0)
            side = np.where(of > 0, some / np.maximum(of, 1), 0.5)
            for here, above in self._going_down():
                side[here] = (some[here] + smoothing * side[above]) / (of[here] + smoothing)
            likely = np.repeat(likely, 2, axis=1) * side
        return likely[:, :groups]

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
        nodes = len(feature)
        look, below = np.maximum(feature, 0), np.where(feature[:, None] < 0, np.arange(nodes)[:, None], children)
        depth = int(_relations(feature, children)[1].max())
        key = _apply(look, threshold, below.reshape(-1), depth, levels).astype(np.int64) * size + rows
        leaf, position, count = _count(key, np.ones(len(rows), dtype=np.int64), size)
        tree = cls(feature, threshold, children, leaf, position, count, size)
        if len(levels):
            tree.pairs = PairFactors.learn(levels, tree._leaf_says(levels), tree.classes[rows])
        return tree

    def updated(self, levels: np.ndarray, rows: np.ndarray) -> "LeafTree":
        """A tree in whose leaves and pairs more rows, of positions ``(n,)``, are counted; the smoothing stays."""
        key = np.concatenate([self._key, self.apply(levels).astype(np.int64) * self.size + rows])
        weight = np.concatenate([self.count, np.ones(len(rows), dtype=np.int64)])
        counted = _count(key, weight, self.size)
        splits = self.feature, self.threshold, self.children
        tree = LeafTree(*splits, *counted, self.size, self.classes, self.pairs, self.smoothing)
        tree.pairs = self.pairs.counted(levels, tree._leaf_says(levels), self.classes[rows])
        return tree

    def _leaf_says(self, levels: np.ndarray) -> np.ndarray:
        """Probability of each class by the leaf alone, ``float32 (n, C)``."""
        return self._light[self._number[self.apply(levels)]]

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """The leaf of each row, ``int (n,)``."""
        return _apply(self._look, self.threshold, self._next, self._depth, levels)

    # Drawing

    def draw(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        leaf = self._number[self.apply(levels)]
        if len(self.pairs):
            u = _through_classes(self.pairs.weigh(self._light[leaf], levels), leaf, u, self._mass)
        return self._draw(leaf, u, self._upto, self._after)

    def _draw(self, leaf: np.ndarray, u: np.ndarray, upto: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Positions by the cumulative probabilities ``upto (L G + 1,)`` of groups and ``after`` of rows."""
        groups = self._likely.shape[1]
        cell = np.searchsorted(upto, leaf + u, side="right") - 1
        cell = np.clip(cell, leaf * groups, (leaf + 1) * groups - 1)
        width = upto[cell + 1] - upto[cell]
        rest = np.clip((leaf + u - upto[cell]) / np.where(width > 0, width, 1.0), 0.0, 1 - 2**-53)
        start, stop = self._start.reshape(-1)[cell], self._stop.reshape(-1)[cell]
        amount = after[start] + rest * (after[stop] - after[start])
        place = np.searchsorted(after, amount, side="right") - 1
        return self._within[np.clip(place, start, stop - 1)]

    def draw_within(self, levels: np.ndarray, u: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        leaf = self._number[self.apply(levels)]
        after = np.concatenate([[0.0], np.cumsum(self._rows * weight[self._within])])
        part = (after[self._stop] - after[self._start]) / np.maximum(
            self._after[self._stop] - self._after[self._start], 1.0
        )
        likely = self._likely * part  # (L, G)
        overall = np.cumsum(self.counts * weight)
        own = self._total / (self._total + _SMOOTHING)  # (L,)
        more = overall[-1] / self.counts.sum()
        admitted = self._of_classes(likely)  # (L, C)
        factor = self.pairs.weigh(np.ones((len(u), admitted.shape[1]), dtype=np.float32), levels)  # (n, C)
        weights = admitted[leaf] * factor
        inside = own[leaf] * weights.sum(axis=1) / (self._mass[leaf] * factor).sum(axis=1)
        beyond = (1 - own[leaf]) * more
        mass = inside + beyond
        amount = u * mass
        out = np.empty(len(u), dtype=np.int32)
        mine = amount < inside
        here = _through_classes(weights[mine], leaf[mine], amount[mine] / inside[mine], admitted)
        out[mine] = self._draw(leaf[mine], here, _steps(likely), after)
        share = np.minimum((amount - inside)[~mine] / np.maximum(beyond[~mine], 1e-300), 1 - 2**-53)
        place = np.searchsorted(overall, share * overall[-1], side="right")
        out[~mine] = np.minimum(place, int(np.searchsorted(overall, overall[-1])))
        return out, mass

    def probability(self, levels: np.ndarray, positions: np.ndarray) -> np.ndarray:
        leaf = self._number[self.apply(levels)]
        group = self._group[positions]
        start, stop = self._start[leaf, group], self._stop[leaf, group]
        node, nodes = self._source[leaf, group], len(self.feature)
        first = positions.astype(np.int64) * nodes + node
        last = positions.astype(np.int64) * nodes + self._end[node]
        order = np.lexsort([self.leaf, self.position])
        key = self.position[order].astype(np.int64) * nodes + self.leaf[order]
        upto = np.concatenate([[0.0], np.cumsum(self.count[order], dtype=np.float64)])
        rows = upto[np.searchsorted(key, last)] - upto[np.searchsorted(key, first)]
        within = rows / np.maximum(self._after[stop] - self._after[start], 1.0)
        overall = np.maximum(self.counts[positions], 1e-9) / self.counts.sum()
        own = self._total[leaf] / (self._total[leaf] + _SMOOTHING)
        factor = self.pairs.weigh(np.ones((len(leaf), self._mass.shape[1]), dtype=np.float32), levels)  # (n, C)
        likely = self._likely[leaf, group] * factor[np.arange(len(leaf)), self.classes[positions]]
        likely /= (self._mass[leaf] * factor).sum(axis=1)
        return own * likely * within + (1 - own) * overall

    def _of_classes(self, likely: np.ndarray) -> np.ndarray:
        """Sums over the groups ``(L, G)`` of each class, ``(L, C)``."""
        return np.add.reduceat(likely, self._first, axis=1)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        names = ("feature", "threshold", "children", "leaf", "position", "count", "classes")
        out = {name: getattr(self, name) for name in names} | {"smoothing": np.array([self.smoothing])}
        return out | {f"pairs.{k}": v for k, v in self.pairs.arrays().items()}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], size: int, features: int) -> "LeafTree":
        """The tree of what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ValueError, KeyError
            If it does not fit a column of so many positions behind so many others.
        """
        feature, threshold, children = (arrays[k] for k in ("feature", "threshold", "children"))
        leaf, position, count, smoothing = (arrays[k] for k in ("leaf", "position", "count", "smoothing"))
        classes, nodes, k = arrays["classes"], len(feature), len(leaf)
        shapes = feature.shape == threshold.shape == (nodes,) and children.shape == (nodes, 2) and nodes > 0
        types = threshold.dtype == np.uint8 and all(
            a.dtype.kind == "i" for a in (feature, children, leaf, position, count)
        )
        if not shapes or not types or not leaf.shape == position.shape == count.shape == (k,) or not k:
            raise ValueError("the tree of a column is none")
        if smoothing.shape != (1,) or smoothing.dtype != np.float64 or not 0 < smoothing[0] < 1e9:
            raise ValueError("the smoothing of a column's tree is none")
        inner = feature >= 0
        behind = (children[inner] > np.flatnonzero(inner)[:, None]).all() and (children[inner] < nodes).all()
        if not behind or (feature >= features).any():
            raise ValueError("a column's tree leads to nodes or columns that are not there")
        end = _relations(feature, children)[2]
        left, right = children[inner].T
        if (left != np.flatnonzero(inner) + 1).any() or (right != end[left]).any() or end[0] != nodes:
            raise ValueError("the nodes of a column's tree do not stand in order")
        inside = (leaf >= 0) & (leaf < nodes) & (position >= 0) & (position < size) & (count > 0)
        rising = np.diff(leaf.astype(np.int64) * size + position) > 0
        if not inside.all() or not rising.all() or count.sum() > 2**53:
            raise ValueError("the leaves of a column's tree do not count what they should")
        if set(np.flatnonzero(~inner).tolist()) != set(np.unique(leaf).tolist()):
            raise ValueError("a leaf of a column's tree is empty")
        steps = classes.shape == (size,) and classes.dtype.kind == "i" and classes[0] == 0
        if not steps or not np.isin(np.diff(classes), (0, 1)).all() or classes[-1] >= _CLASSES:
            raise ValueError("the classes of a column's tree are none")
        mine = {name[6:]: array for name, array in arrays.items() if name.startswith("pairs.")}
        pairs = PairFactors.restore(mine, features, int(classes[-1]) + 1)
        return cls(feature, threshold, children, leaf, position, count, size, classes, pairs, float(smoothing[0]))


def _apply(look: np.ndarray, threshold: np.ndarray, below: np.ndarray, depth: int, levels: np.ndarray) -> np.ndarray:
    """The node ``int (n,)`` at which each row ends, so many splits down; ``below (2 M,)`` are each node's children."""
    n = levels.shape[1]
    node = np.zeros(n, dtype=np.intp)
    flat, row = levels.reshape(-1), np.arange(n)
    for _ in range(depth):
        level = flat.take(look.take(node) * n + row)
        node = below.take(2 * node + (level > threshold.take(node)))
    return node


def _count(key: np.ndarray, weight: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaves, positions and counts ``(k,)`` of rows by ``leaf * size + position``."""
    distinct, place = np.unique(key, return_inverse=True)
    count = np.bincount(place.reshape(-1), weights=weight).astype(np.int64)
    return (distinct // size).astype(np.int32), (distinct % size).astype(np.int32), count


def _relations(feature: np.ndarray, children: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each node the parent, how deep it stands, and the number behind the last node below it; each ``(M,)``."""
    nodes = len(feature)
    parent, level, end = (np.zeros(nodes, dtype=np.int64) for _ in range(3))
    inner = np.flatnonzero(feature >= 0)
    parent[children[inner].reshape(-1)] = np.repeat(inner, 2)
    for i in inner.tolist():
        level[children[i]] = level[i] + 1
    end[:] = np.arange(1, nodes + 1)
    for i in inner[::-1].tolist():
        end[i] = end[children[i, 1]]
    return parent, level, end


def _rake(likely: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Probabilities ``(L, G)`` under which the leaves' rows have each group as often, together, as it occurred."""
    total, wanted = rows.sum(axis=1), rows.sum(axis=0)
    for _ in range(_RAKING):
        got = total @ likely
        likely = likely * np.where(got > 0, wanted / np.where(got > 0, got, 1.0), 1.0)
        likely /= likely.sum(axis=1, keepdims=True)
    return likely


def _steps(likely: np.ndarray) -> np.ndarray:
    """Cumulative probabilities of the groups ``(L, G)`` of each leaf, one leaf behind the other, ``(L G + 1,)``."""
    total = likely.sum(axis=1, keepdims=True)
    upto = np.cumsum(likely / np.where(total > 0, total, 1.0), axis=1) + np.arange(len(likely))[:, None]
    upto[:, -1] = np.arange(1, len(likely) + 1)
    return np.append(0.0, upto.reshape(-1))


def _through_classes(weights: np.ndarray, leaf: np.ndarray, u: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Uniform numbers ``(n,)`` turned into such by which classes come with ``weights (n, C)`` where leaves have the
    probabilities (up to a factor) ``mass (L, C)``: first the class is drawn, then the place within it.
    """
    upto, rows = np.cumsum(weights, axis=1), np.arange(len(u))
    # Strictly below the end, so that no class without weight is drawn.
    point = np.minimum(u.astype(upto.dtype) * upto[:, -1], np.nextafter(upto[:, -1], upto.dtype.type(0)))
    drawn = (upto <= point[:, None]).sum(axis=1)
    width = weights[rows, drawn]
    rest = (point - (upto[rows, drawn] - width)) / width
    total = mass.sum(axis=1)
    before = np.cumsum(mass, axis=1) - mass
    # Off the ends, so that rounding leads to no other class.
    place = before[leaf, drawn] + np.clip(rest.astype(np.float64), 1e-6, 1 - 1e-6) * mass[leaf, drawn]
    return np.minimum(place / total[leaf], 1 - 2**-53)
