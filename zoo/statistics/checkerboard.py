"""Checkerboard copulas: the density of two uniform variables, constant in each cell of a grid.

Whatever a pair copula is, a grid holds it closely enough to draw from, and with a grid everything that a vine needs is
exact and a few look-ups a row: the distribution of one variable given that the other lies in an interval (which is what
a discrete variable says of itself; a continuous one lies in a very short interval), and its inverse.

References: A. Panagiotelis, C. Czado, H. Joe, "Pair Copula Constructions for Multivariate Discrete Data", Journal of the
American Statistical Association 107, 2012 (intervals); I. J. Good, "The Estimation of Probabilities", 1965 (cells drawn
towards a prior that is worth as many rows as makes the counts likeliest).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import gammaln

_SHORTEST = 1e-6  # an interval that is shorter counts as one of this length: differences stay exact to ten digits
_STRENGTHS = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5, 1e7])  # rows that a prior is worth
_BALANCING = 200
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

    All groups together are drawn towards the likeliest of the priors, and each group towards that or the table of all.

    Parameters
    ----------
    first, second
        Ends of the cells, ``(S, A + 1)`` and ``(S, B + 1)``.
    counts
        Rows in each cell, ``(S, A, B)``.
    priors
        Probabilities of the cells by some copulas, ``(A, B)`` each; independence is always among them.

    Returns
    -------
    copula, gain
        None where nothing is likelier than independence; by how much the ln likelihood of the rows is greater than
        that of independence.
    """
    rows, columns = np.diff(first, axis=1), np.diff(second, axis=1)  # (S, A), (S, B)
    total = counts.sum(axis=(1, 2))
    share = total / max(1, total.sum())
    pooled, _ = _posterior(counts.sum(axis=0), share @ rows, share @ columns, priors)
    mass, gain = [], 0.0
    for s, mine in enumerate(counts):
        likeliest, more = _posterior(mine, rows[s], columns[s], [*priors, *([] if pooled is None else [pooled])])
        mass.append(np.outer(rows[s], columns[s]) if likeliest is None else likeliest)
        gain += more
    return (Checkerboard(first, second, np.stack(mass)) if gain > 0 else None), gain


def _posterior(
    counts: np.ndarray, rows: np.ndarray, columns: np.ndarray, priors: Sequence[np.ndarray]
) -> tuple[np.ndarray | None, float]:
    """Probabilities ``(A, B)`` of counted cells with sums ``rows`` and ``columns``, and what ln likelihood they gain."""
    independent = np.outer(rows, columns)
    here = independent > 0
    counted = counts[here].astype(np.float64)
    base = float((counted * np.log(independent[here])).sum())
    best, gain = None, 1e-9
    for prior in (independent, *(balanced(p, rows, columns) for p in priors)):
        mean = np.maximum(prior, _FLOOR * independent)
        mean = mean / mean.sum()
        a = _STRENGTHS[:, None] * mean[here]
        likely = (gammaln(counted + a) - gammaln(a)).sum(axis=1)
        likely += gammaln(_STRENGTHS) - gammaln(_STRENGTHS + counted.sum()) - base
        i = int(np.argmax(likely))
        if likely[i] > gain:
            best, gain = counts + _STRENGTHS[i] * mean, float(likely[i])
    return (None, 0.0) if best is None else (balanced(best, rows, columns), gain)


def balanced(mass: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mass ``(A, B)`` brought to given sums by proportional fitting (W. E. Deming, F. F. Stephan, 1940)."""
    mass = np.maximum(mass, 1e-12 * np.outer(rows, columns))
    mass = np.where(np.outer(rows, columns) > 0, mass, 0.0)
    for _ in range(_BALANCING):
        now = mass.sum(axis=1)
        mass = mass * (rows / np.where(now > 0, now, 1.0))[:, None]
        now = mass.sum(axis=0)
        mass = mass * (columns / np.where(now > 0, now, 1.0))
        if np.abs(now - columns).max() < 1e-9:
            break
    return mass


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
        counts = count_cells([group, *places], [groups, cells, cells])
        better, _ = fit_checkerboard(edges, edges, counts, priors)
        if better is None:
            return
        board = better
        yield board
