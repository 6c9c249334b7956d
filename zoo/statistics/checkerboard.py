"""Checkerboard copulas: the density of two uniform variables, constant in each cell of a grid.

Whatever a pair copula is, a grid holds it closely enough to draw from, and with a grid everything that a vine needs is
exact and a few look-ups a row: the distribution of one variable given that the other lies in an interval (which is what
a discrete variable says of itself; a continuous one lies in a very short interval), and its inverse.

References: A. Panagiotelis, C. Czado, H. Joe, "Pair Copula Constructions for Multivariate Discrete Data", JASA 107,
2012 (intervals); I. J. Good, "The Estimation of Probabilities", 1965 (cells drawn
towards a prior that is worth as many rows as makes the counts likeliest).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import gammaln

_SHORTEST = 1e-6  # an interval that is shorter counts as one of this length: differences stay exact to ten digits
_STRENGTHS = np.array([3.0, 30.0, 300.0, 3e3, 3e4, 1e7])  # rows that a prior is worth
_BALANCING = 200
_PASSES = 2  # of averaging with both neighbours
_FLOOR = 1e-3  # a prior gives each cell this part of what independence does at least


class Checkerboard:
    """A copula of two variables in each of S groups of rows.

    Parameters
    ----------
    first, second
        Ends of the cells, ``(S, A + 1)`` and ``(S, B + 1)``, rising from 0 to 1; cells may be empty.
    mass
        ``(S, A, B)`` probability of each cell; within a group, rows and columns sum to the cells' widths.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, mass: np.ndarray) -> None:
        self.first, self.second, self.mass = first, second, mass
        groups, rows, columns = mass.shape
        cumulative = np.zeros((groups, columns + 1, rows + 1))
        cumulative[:, 1:, 1:] = mass.transpose(0, 2, 1).astype(np.float64).cumsum(axis=1).cumsum(axis=2)
        self._flat = cumulative.reshape(-1)
        self._axes = _Axis(first), _Axis(second)

    def turned(self) -> "Checkerboard":
        """The same copula with its variables exchanged."""
        return Checkerboard(self.second, self.first, self.mass.transpose(0, 2, 1))

    def given(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Probability that the first variable is at most ``x`` given that the second is in an interval.

        Parameters
        ----------
        x
            In [0, 1], ``(..., n)``.
        low, high
            The interval of the second variable, ``(n,)``.
        group
            The group of each row, ``int (n,)``.

        Returns
        -------
        numpy.ndarray
            ``(..., n)``.
        """
        low, high = _no_shorter(low, high)
        cell, share = self._axes[0].locate(x, group)
        width = self.first.shape[1]
        ends = []
        for end in (low, high):
            row, part = self._axes[1].locate(end, group)
            here = (group * self.second.shape[1] + row) * width + cell
            below = self._flat.take(here)
            below += share * (self._flat.take(here + 1) - below)
            here += width
            above = self._flat.take(here)
            above += share * (self._flat.take(here + 1) - above)
            ends.append(below + part * (above - below))
        return np.clip((ends[1] - ends[0]) / (high - low), 0.0, 1.0)

    def quantile(self, u: np.ndarray, low: np.ndarray, high: np.ndarray, group: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`given` in ``x``: the first variable at the probabilities ``u (n,)``."""
        low, high = _no_shorter(low, high)
        width = self.first.shape[1]
        places = []
        for end in (low, high):
            row, part = self._axes[1].locate(end, group)
            places.append(((group * self.second.shape[1] + row) * width, part))

        def at(edge: np.ndarray) -> np.ndarray:
            ends = []
            for start, part in places:
                below = self._flat.take(start + edge)
                ends.append(below + part * (self._flat.take(start + (edge + width)) - below))
            return ends[1] - ends[0]

        wanted = u * (high - low)
        left, right = np.zeros(len(u), dtype=np.intp), np.full(len(u), width - 1)
        at_left, at_right = np.zeros(len(u)), high - low
        for _ in range(_halvings(width - 1)):
            middle = (left + right) >> 1
            value = at(middle)
            up = value <= wanted
            left, right = np.where(up, middle, left), np.where(up, right, middle)
            at_left, at_right = np.where(up, value, at_left), np.where(up, at_right, value)
        rise = at_right - at_left
        share = np.where(rise > 0, (wanted - at_left) / np.where(rise > 0, rise, 1.0), 0.5)
        edges, base = self.first.reshape(-1), group * width
        start = edges.take(base + left)
        return start + np.clip(share, 0.0, 1.0) * (edges.take(base + right) - start)


class _Axis:
    """Finds the cells of one variable, of edges ``(S, A + 1)``."""

    def __init__(self, edges: np.ndarray) -> None:
        self._cells = edges.shape[1] - 1
        self._flat = edges.reshape(-1)
        self._even = np.array_equal(edges, np.broadcast_to(even_edges(self._cells, 1), edges.shape))

    def locate(self, x: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cell of each number in [0, 1], and how far within it."""
        if self._even:
            place = x * self._cells
            cell = np.minimum(place.astype(np.intp), self._cells - 1)
            return cell, place - cell
        base = group * (self._cells + 1)
        cell, right = np.zeros(x.shape, dtype=np.intp), np.full(x.shape, self._cells)
        for _ in range(_halvings(self._cells)):
            middle = (cell + right) >> 1
            up = self._flat.take(base + middle) <= x
            cell, right = np.where(up, middle, cell), np.where(up, right, middle)
        start = self._flat.take(base + cell)
        width = self._flat.take(base + cell + 1) - start
        return cell, np.clip((x - start) / np.where(width > 0, width, 1.0), 0.0, 1.0)


def even_edges(cells: int, groups: int) -> np.ndarray:
    """Ends of cells of one width, ``(groups, cells + 1)``."""
    return np.repeat(np.arange(cells + 1)[None] / cells, groups, axis=0)


def _halvings(cells: int) -> int:
    return max(0, int(cells - 1).bit_length())


def _no_shorter(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals within [0, 1] that are long enough for differences."""
    high = np.maximum(high, low + _SHORTEST)
    over = np.maximum(high - 1.0, 0.0)
    return np.maximum(low - over, 0.0), high - over


def fit_checkerboard(
    first: np.ndarray, second: np.ndarray, counts: np.ndarray, priors: Sequence[np.ndarray]
) -> tuple[Checkerboard | None, float]:
    """The checkerboard of counted rows, drawn towards prior copulas.

    Priors are independence, those that are given, and the smoothed table of the other half of the rows; of a group also
    the table of all groups. The one that makes the rows likeliest is taken, worth as many rows as makes them likeliest.

    Parameters
    ----------
    first, second
        Ends of the cells, ``(S, A + 1)`` and ``(S, B + 1)``.
    counts
        Rows in each cell, ``(2, S, A, B)``, of two random halves of the rows.
    priors
        Probabilities of the cells by some copulas, ``(A, B)`` each.

    Returns
    -------
    copula, gain
        None where nothing is likelier than independence; by how much the ln likelihood of the rows is greater than
        that of independence.
    """
    rows, columns = np.diff(first, axis=1), np.diff(second, axis=1)  # (S, A), (S, B)
    if len(rows) == 1:
        alone, gain = _posterior(counts[:, 0], rows[0], columns[0], priors)
        return (None if alone is None else Checkerboard(first, second, alone[None])), gain
    share = counts.sum(axis=(0, 2, 3)) / max(1, counts.sum())
    pooled, _ = _posterior(counts.sum(axis=1), share @ rows, share @ columns, priors)
    mass, gain = [], 0.0
    for s in range(len(rows)):
        some = [*priors, *([] if pooled is None else [pooled])]
        likeliest, more = _posterior(counts[:, s], rows[s], columns[s], some)
        mass.append(np.outer(rows[s], columns[s]) if likeliest is None else likeliest)
        gain += more
    return (Checkerboard(first, second, np.stack(mass)) if gain > 0 else None), gain


def _posterior(
    halves: np.ndarray, rows: np.ndarray, columns: np.ndarray, priors: Sequence[np.ndarray]
) -> tuple[np.ndarray | None, float]:
    """Probabilities ``(A, B)`` of cells counted in two halves ``(2, A, B)``, with sums ``rows`` and ``columns``, and by
    how much ln likelihood they gain over independence."""
    independent = np.outer(rows, columns)
    counts = halves.sum(axis=0)
    least = _FLOOR * independent
    base = sum(_evidence(c, independent, _STRENGTHS[-1:])[0] for c in halves)

    def proper(mass: np.ndarray) -> np.ndarray:
        mean = np.maximum(balanced(mass, rows, columns), least)
        return mean / mean.sum()

    found: list[tuple[np.ndarray, np.ndarray]] = []  # a prior, and the ln likelihood by its strength
    for prior in [independent, *(proper(p) for p in priors)]:
        found.append((prior, np.sum([_evidence(c, prior, _STRENGTHS) for c in halves], axis=0)))
    if len(halves) == 2 and halves.sum(axis=(1, 2)).min() > 0:
        for axes in ((0, 1), (0,), (1,)):
            either = [
                _evidence(mine, proper(_smoothed(other, independent, axes)), _STRENGTHS)
                for mine, other in (halves, halves[::-1])
            ]
            found.append((proper(_smoothed(counts, independent, axes)), np.sum(either, axis=0)))
    best = int(np.argmax([likely.max() for _, likely in found]))
    mean, likely = found[best]
    gain = float(likely.max() - base)
    if gain <= 1e-9:
        return None, 0.0
    return balanced(counts + _STRENGTHS[int(np.argmax(likely))] * mean, rows, columns), gain


def _evidence(counts: np.ndarray, mean: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """ln probability of rows in their cells, one after the other, under Dirichlet priors about a mean, by strength."""
    here = np.flatnonzero(counts)
    counted = counts.reshape(-1)[here].astype(np.float64)
    a = strengths[:, None] * mean.reshape(-1)[here]
    with_rows = (gammaln(counted + a) - gammaln(a)).sum(axis=1)
    return with_rows + gammaln(strengths) - gammaln(strengths + counted.sum())


def _smoothed(counts: np.ndarray, independent: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """A table of counts whose ratio to independence is averaged over neighbours along some axes."""
    ratio = counts / np.where(independent > 0, independent, 1.0)
    for axis in axes:
        for _ in range(_PASSES):
            size = ratio.shape[axis]
            places = np.arange(size)
            before, after = np.maximum(places - 1, 0), np.minimum(places + 1, size - 1)
            ratio = (ratio.take(before, axis) + 2 * ratio + ratio.take(after, axis)) / 4
    return ratio * independent


def balanced(mass: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mass ``(A, B)`` brought to given sums by proportional fitting (W. E. Deming, F. F. Stephan, 1940).

    What is left open where that takes too long is given to all cells (J. Altschuler, J. Weed, P. Rigollet, NIPS 2017).
    """
    mass = np.maximum(mass, 1e-12 * np.outer(rows, columns))
    mass = np.where(np.outer(rows, columns) > 0, mass, 0.0)
    for _ in range(_BALANCING):
        now = mass.sum(axis=1)
        mass = mass * (rows / np.where(now > 0, now, 1.0))[:, None]
        now = mass.sum(axis=0)
        mass = mass * (columns / np.where(now > 0, now, 1.0))
        if np.abs(now - columns).max() < 1e-9:
            break
    for axis, wanted in ((1, rows), (0, columns)):
        now = mass.sum(axis=axis)
        mass = mass * np.expand_dims(np.minimum(1.0, wanted / np.where(now > 0, now, 1.0)), axis)
    left = np.maximum(rows - mass.sum(axis=1), 0.0), np.maximum(columns - mass.sum(axis=0), 0.0)
    return mass + np.outer(*left) / max(left[0].sum(), 1e-300)


def count_cells(places: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Rows in each cell of a grid, of their places ``int (n,)`` along each axis."""
    return np.bincount(np.ravel_multi_index(tuple(places), tuple(sizes)), minlength=int(np.prod(sizes))).reshape(sizes)


def fit_latent(
    board: Checkerboard,
    intervals: Sequence[tuple[np.ndarray, np.ndarray]],
    points: Sequence[np.ndarray],
    group: np.ndarray,
    priors: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Iterator[Checkerboard]:
    """Ever better checkerboards of variables of which only intervals are known (stochastic expectation maximisation).

    A discrete variable's place within its interval is not known, and not uniform given the other variable: drawing it
    so would make the two less dependent than they are. It is drawn by the last copula instead, and counted anew.

    Parameters
    ----------
    board
        The copula to begin with, of even cells.
    intervals
        Lower and upper ends of the first and the second variable, ``(n,)`` each.
    points
        Places within them to begin with, ``(n,)`` each.
    group, priors, rng
        As of :func:`fit_checkerboard`, and a source of randomness.
    """
    cells, groups = board.mass.shape[1], len(board.mass)
    edges = even_edges(cells, groups)
    points = list(points)
    while True:
        for v, side in enumerate((board, board.turned())):
            low, high = intervals[v]
            other = points[1 - v]
            ends = side.given(np.stack([low, high]), other, other, group)
            inside = ends[0] + (ends[1] - ends[0]) * rng.random(len(low))
            points[v] = np.clip(side.quantile(inside, other, other, group), low, high)
        places = [np.minimum((p * cells).astype(np.intp), cells - 1) for p in points]
        counts = count_cells([rng.integers(0, 2, len(group)), group, *places], [2, groups, cells, cells])
        better, _ = fit_checkerboard(edges, edges, counts, priors)
        if better is None:
            return
        board = better
        yield board
