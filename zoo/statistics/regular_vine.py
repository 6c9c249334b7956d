"""Regular vines of discrete variables: which pairs of variables have a copula given which others, and draws from it.

References: K. Aas, C. Czado, A. Frigessi, H. Bakken, "Pair-Copula Constructions of Multiple Dependence", Insurance:
Mathematics and Economics 44, 2009; J. Dissmann, E. C. Brechmann, C. Czado, D. Kurowicka, "Selecting and Estimating
Regular Vine Copulae", Computational Statistics & Data Analysis 59, 2013, arXiv 1202.2002 (a greatest spanning tree
after the other); A. Panagiotelis, C. Czado, H. Joe, "Pair Copula Constructions for Multivariate Discrete Data", JASA
107, 2012: a discrete variable says of another one in which interval its distribution function lies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from zoo.statistics.checkerboard import Checkerboard, count_cells

Interval = tuple[np.ndarray, np.ndarray]
Known = dict[tuple[int, frozenset[int]], Interval]
"""The interval of a variable given some others, in each row."""
Fit = Callable[[int, int, int, Interval, Interval], Checkerboard | None]
"""The pair copula of the variables a and b in a tree (0 is the first), of their intervals ``(n,)``."""

_CELLS = 8  # a side, when pairs are compared
_COMPARED_ROWS = 10_000


@dataclass(frozen=True)
class Edge:
    """A pair of variables, what it is given, and its copula (the first variable is the copula's; None: independent)."""

    first: int
    second: int
    given: frozenset[int]
    copula: Checkerboard | None

    @property
    def whole(self) -> frozenset[int]:
        return self.given | {self.first, self.second}


@dataclass
class Step:
    """What one variable is told by a variable before it, given those of the steps before."""

    partner: int
    copula: Checkerboard | None


class RegularVine:
    """A vine in the order in which its variables are drawn.

    Parameters
    ----------
    steps
        For each variable, its steps; step s of variable j is given the partners of its steps before s.
    """

    def __init__(self, steps: Sequence[Sequence[Step]]) -> None:
        self.steps = steps
        # How the distribution function of a variable given some others is found: by its copula with one of them, given
        # the rest.
        self._ways: dict[tuple[int, frozenset[int]], tuple[int, frozenset[int], Checkerboard | None]] = {}
        for j, mine in enumerate(steps):
            given: frozenset[int] = frozenset()
            for step in mine:
                p = step.partner
                if not 0 <= p < j or p in given or (given and (p, given) not in self._ways):
                    raise ValueError("the pairs of variables are no vine")
                self._ways[j, given | {p}] = (p, given, step.copula)
                turned = None if step.copula is None else step.copula.turned()
                self._ways[p, given | {j}] = (j, given, turned)
                given |= {p}

    def told(self, j: int, intervals: Callable[[int], Interval], group: np.ndarray, known: Known) -> "Told":
        """What the variables before j, of whose rows the ``intervals`` and the ``group (n,)`` are known, tell it.

        ``known`` holds, and gets, what was worked out for the same rows.
        """

        def interval(x: int, given: frozenset[int]) -> Interval:
            key = (x, given)
            if key not in known and not given:
                known[key] = intervals(x)
            elif key not in known:
                y, rest, copula = self._ways[key]
                if copula is None:
                    known[key] = interval(x, rest)
                else:
                    both = copula.given(np.stack(interval(x, rest)), *interval(y, rest), group)
                    known[key] = (both[0], both[1])
            return known[key]

        out: list[tuple[Checkerboard, Interval]] = []
        given: frozenset[int] = frozenset()
        for step in self.steps[j]:
            if step.copula is not None:
                out.append((step.copula, interval(step.partner, given)))
            given |= {step.partner}
        return Told(out, group)


@dataclass
class Told:
    """The distribution of one variable given what its partners tell, row by row."""

    steps: list[tuple[Checkerboard, Interval]]
    group: np.ndarray

    def cumulative(self, x: np.ndarray) -> np.ndarray:
        """Its distribution function at ``x (..., n)`` of its own, unconditional one."""
        for copula, (low, high) in self.steps:
            x = copula.given(x, low, high, self.group)
        return x

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """The inverse, ``(n,)``."""
        for copula, (low, high) in reversed(self.steps):
            u = copula.quantile(u, low, high, self.group)
        return u


def fit_vine(
    intervals: Sequence[Interval],
    cells: Sequence[np.ndarray],
    group: np.ndarray,
    trees: int,
    late: np.ndarray,
    fit: Fit,
    rng: np.random.Generator,
) -> tuple[list[int], list[list[Step]]]:
    """Choose and fit a vine, tree by tree.

    Parameters
    ----------
    intervals
        For each of d variables, the interval of the distribution function in which each row lies.
    cells
        For each variable, the cell ``int (n,)`` of a coarse grid in which each row lies.
    group
        The group of each row, ``int (n,)``; dependence is that within groups.
    trees
        Number of trees at most; given more variables than that, pairs are independent.
    late
        ``(d,)``: variables with greater numbers are drawn later, as far as the vine leaves a choice.
    fit
        What fits a pair copula.
    rng
        Source of randomness, for places within intervals.

    Returns
    -------
    order, steps
        The variables in the order in which they are drawn, and the steps of each, in that order and numbering.
    """
    d = len(intervals)
    n = len(intervals[0][0]) if d else 0
    some = np.sort(rng.choice(n, _COMPARED_ROWS, replace=False)) if n > _COMPARED_ROWS else np.arange(n)
    known: Known = {(j, frozenset()): v for j, v in enumerate(intervals)}
    nodes: list[frozenset[int]] = [frozenset({j}) for j in range(d)]
    links: list[tuple[int, int]] = [(a, b) for a in range(d) for b in range(a)]
    grown: list[list[Edge]] = []
    for tree in range(min(trees, d - 1)):
        pairs = []
        for a, b in links:
            given = nodes[a] & nodes[b]
            ((x,), (y,)) = (nodes[a] - given, nodes[b] - given)
            pairs.append((x, y, given))
        if tree == 0:
            coded = {(j, frozenset[int]()): c[some] for j, c in enumerate(cells)}
        else:
            wanted = {(v, given) for x, y, given in pairs for v in (x, y)}
            coded = {key: _cell(known[key], some, rng) for key in wanted}
        weight = information(coded, [((x, g), (y, g)) for x, y, g in pairs], group[some])
        kept = [links[i] for i in _greatest_tree(links, weight, len(nodes))]
        edges = []
        for a, b in kept:
            given = nodes[a] & nodes[b]
            ((x,), (y,)) = (nodes[a] - given, nodes[b] - given)
            mine, theirs = known[x, given], known[y, given]
            copula = fit(tree, x, y, mine, theirs)
            edges.append(Edge(x, y, given, copula))
            if copula is None:
                known[x, given | {y}], known[y, given | {x}] = mine, theirs
                continue
            for c, v, o, k, t in ((copula, x, y, mine, theirs), (copula.turned(), y, x, theirs, mine)):
                low, high = c.given(np.stack(k), *t, group)
                known[v, given | {o}] = (low, high)
        grown.append(edges)
        nodes = [e.whole for e in edges]
        # Two edges that meet in a node may be joined in the next tree.
        meeting: dict[int, list[int]] = {}
        for i, (a, b) in enumerate(kept):
            meeting.setdefault(a, []).append(i)
            meeting.setdefault(b, []).append(i)
        links = sorted({(i, k) for mine in meeting.values() for i in mine for k in mine if k < i})
        alive = {(v, node - {v}) for node in nodes for v in node}
        known = {key: value for key, value in known.items() if key in alive}
    return _drawing_order(d, grown, late)


def _cell(interval: Interval, some: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = (e[some] for e in interval)
    return np.minimum((_CELLS * (low + (high - low) * rng.random(len(some)))).astype(np.int64), _CELLS - 1)


def information(coded: Mapping[Any, np.ndarray], pairs: Sequence[tuple[Any, Any]], group: np.ndarray) -> np.ndarray:
    """Mutual information of pairs of coded variables within groups, in nats, less what chance gives.

    Parameters
    ----------
    coded
        Cells ``int (n,)`` of each variable.
    pairs
        Keys of two variables each.
    group
        The group of each row, ``int (n,)``.
    """
    out = np.zeros(len(pairs))
    sizes = {key: int(c.max(initial=0)) + 1 for key, c in coded.items()}
    groups, n = int(group.max(initial=0)) + 1, max(1, len(group))
    for i, (a, b) in enumerate(pairs):
        share = count_cells([group, coded[a], coded[b]], [groups, sizes[a], sizes[b]]) / n  # (S, A, B)
        rows, columns = share.sum(axis=2, keepdims=True), share.sum(axis=1, keepdims=True)
        alone = rows * columns / np.maximum(share.sum(axis=(1, 2), keepdims=True), 1e-300)
        here = share > 0
        freedom = ((rows > 0).sum(axis=1) - 1) * ((columns > 0).sum(axis=2) - 1)
        out[i] = (share[here] * np.log(share[here] / alone[here])).sum() - freedom.sum() / (2 * n)
    return out


def _greatest_tree(links: Sequence[tuple[int, int]], weight: np.ndarray, nodes: int) -> list[int]:
    """Which links, each from a node to one of a smaller number, make a spanning tree of the greatest total weight."""
    if nodes < 2:
        return []
    cost = 1.0 + weight.max() - weight  # above 0, as the sparse form wants it
    ends = np.array(links)
    graph = coo_matrix((cost, (ends[:, 0], ends[:, 1])), shape=(nodes, nodes))
    tree = minimum_spanning_tree(graph).tocoo()
    place = {pair: i for i, pair in enumerate(links)}
    return sorted(place[max(a, b), min(a, b)] for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True))


def _drawing_order(d: int, trees: list[list[Edge]], late: np.ndarray) -> tuple[list[int], list[list[Step]]]:
    """Take variables off the vine, each with its one edge a tree, the last to be drawn first."""
    left = [list(edges) for edges in trees]
    remaining = set(range(d))
    order: list[int] = []
    steps: dict[int, list[Step]] = {}
    while len(remaining) > 1:
        while not left[-1]:
            left.pop()
        top = left[-1]
        # A leaf of the last tree: what it adds to its neighbour stands in one edge of each tree.
        lower = {v: sum(v in e.whole for e in top) for e in top for v in e.whole}
        free = [v for e in top for v in (e.first, e.second) if lower[v] == 1]
        v = max(free, key=lambda j: (late[j], j))
        mine = []
        for edges in left:
            (edge,) = (e for e in edges if v in e.whole)
            edges.remove(edge)
            first = edge.first == v
            copula = edge.copula if first or edge.copula is None else edge.copula.turned()
            mine.append(Step(edge.second if first else edge.first, copula))
        steps[v] = mine
        order.append(v)
        remaining.remove(v)
    order += remaining
    steps.update({v: [] for v in remaining})
    order.reverse()
    place = {v: j for j, v in enumerate(order)}
    return order, [[Step(place[s.partner], s.copula) for s in steps[v]] for v in order]
