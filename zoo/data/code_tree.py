"""One column's conditional distribution as a binary tree over its positions, with a classifier at each fork.

A fork divides a range of positions where its mass halves and says, by a sum of small trees, how likely a row is to go
right; where few rows are left, what remains is drawn as often as it occurred. So a column of K positions costs a row
about as many classifiers as it has bits of entropy, not K.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.statistics.tree_ensemble import TreeEnsemble, join

_TINY = 1e-12
_DEEPEST = 500
_HOLD = 0.1  # of what draws by share alone would know of a shift: so much holds a fork where it is
_NEWTON = 6


class CodeTree:
    """A :class:`~zoo.data.conditional.Conditional`.

    Parameters
    ----------
    counts
        ``int64 (K,)`` training rows of each position.
    forks
        ``int32 (M, 3)``: first position, first of the right part, and end of each fork's range.

    Attributes
    ----------
    base : numpy.ndarray
        ``float32 (M,)`` log odds of going right, to which a fork's trees add.
    trees : list of TreeEnsemble or None
        What each fork looks at; None where nothing helps.
    """

    def __init__(self, counts: np.ndarray, forks: np.ndarray) -> None:
        self.counts, self.forks = counts, forks
        self.cumulative = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
        self.base = np.array([self._log_odds(*fork) for fork in forks.tolist()], dtype=np.float32).reshape(-1)
        self.trees: list[TreeEnsemble | None] = [None] * len(forks)
        self._fork = {(low, high): i for i, (low, _, high) in enumerate(forks.tolist())}

    @classmethod
    def plan(cls, counts: np.ndarray, least: int) -> "CodeTree":
        """A tree whose forks have at least so many rows, each divided where they halve."""
        size = len(counts)
        after = np.concatenate([[0], np.cumsum(counts)])
        forks, open_ranges = [], [(0, size)]
        while open_ranges:
            low, high = open_ranges.pop()
            total = after[high] - after[low]
            if total < max(2, least) or high - low < 2:
                continue
            half = after[low] + total / 2
            right = int(np.clip(np.searchsorted(after, half), low + 1, high - 1))
            middle = min((right - 1, right), key=lambda m: (abs(after[m] - half), m) if m > low else (np.inf, m))
            if not after[low] < after[middle] < after[high]:  # one value has all the rows
                continue
            forks.append((low, middle, high))
            open_ranges += [(middle, high), (low, middle)]
        return cls(counts.astype(np.int64), np.array(forks, dtype=np.int32).reshape(-1, 3))

    def _log_odds(self, low: int, middle: int, high: int) -> float:
        after = self.cumulative
        return float(np.log((after[high] - after[middle] + 0.5) / (after[middle] - after[low] + 0.5)))

    def _reachable(self) -> int:
        """Forks that are met on the way down, counted up to a depth that no planned tree has."""
        found, todo = 0, [(0, len(self.counts), 0)]
        while todo:
            low, high, depth = todo.pop()
            fork = self._fork.get((low, high))
            if fork is not None and depth < _DEEPEST:
                middle = int(self.forks[fork, 1])
                found += 1
                todo += [(low, middle, depth + 1), (middle, high, depth + 1)]
        return found

    def add(self, counts: np.ndarray) -> None:
        """Count more rows; the forks stay where they are."""
        self.counts = self.counts + counts
        self.cumulative = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.float64)

    def copy(self) -> "CodeTree":
        """A tree whose counts and trees can be added to, and this one stays."""
        made = CodeTree(self.counts, self.forks)
        made.base, made.trees = self.base.copy(), list(self.trees)
        return made

    def log_odds(self, fork: int, levels: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Log odds of going right at a fork, ``float32 (n,)``."""
        trees = self.trees[fork]
        if trees is None:
            n = levels.shape[1] if rows is None else len(rows)
            return np.full(n, self.base[fork], dtype=np.float32)
        return trees(levels, rows) + self.base[fork]

    def _right(self, fork: int, levels: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Probability of going right, ``float64 (n,)``, strictly between 0 and 1."""
        return 1 / (1 + np.exp(-np.clip(self.log_odds(fork, levels, rows), -30, 30).astype(np.float64)))

    # Drawing

    def draw(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        out = np.empty(len(u), dtype=np.int32)
        self._descend((0, len(self.counts)), None, levels, u, out)
        return out

    def _descend(
        self, whole: tuple[int, int], rows: np.ndarray | None, levels: np.ndarray, u: np.ndarray, out: np.ndarray
    ) -> None:
        """Draw positions within the range ``whole`` for some rows; ``u`` is theirs, ``out`` is everybody's."""
        todo = [(whole, rows, u)]
        while todo:
            (low, high), rows, u = todo.pop()
            fork = self._fork.get((low, high))
            if fork is None:
                drawn = self._draw_by_counts(low, high, u)
                if rows is None:
                    out[:] = drawn
                else:
                    out[rows] = drawn
                continue
            p = self._right(fork, levels, rows)
            middle = int(self.forks[fork, 1])
            for part, mine, rest in _divide(p, u):
                if len(mine):
                    side = (middle, high) if part else (low, middle)
                    todo.append((side, mine if rows is None else rows[mine], rest))

    def calibrate(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Draw as :meth:`draw` does, and shift each fork until it sends right as large a share as training rows had.

        Rows that are drawn differ a little from those that the classifiers learned from, and what is off adds up from
        column to column and from fork to fork: of Adult's capital gains of 4,386, 59 became 101 without it.
        """
        out = np.empty(len(u), dtype=np.int32)
        todo: list[tuple[int, int, np.ndarray, np.ndarray]] = [(0, len(self.counts), np.arange(len(u)), u)]
        while todo:
            low, high, rows, mine = todo.pop()
            fork = self._fork.get((low, high))
            if fork is None:
                out[rows] = self._draw_by_counts(low, high, mine)
                continue
            middle = int(self.forks[fork, 1])
            if self.trees[fork] is not None:
                share = np.diff(self.cumulative[[middle, high]])[0] / np.diff(self.cumulative[[low, high]])[0]
                self.base[fork] += _shift(self.log_odds(fork, levels, rows), float(share))
            for part, some, rest in _divide(self._right(fork, levels, rows), mine):
                if len(some):
                    todo.append((middle, high, rows[some], rest) if part else (low, middle, rows[some], rest))
        return out

    def _draw_by_counts(self, low: int, high: int, u: np.ndarray) -> np.ndarray | int:
        if high - low == 1:
            return low
        after = self.cumulative
        point = after[low] + u * (after[high] - after[low])
        if after[high] == after[low]:  # nothing of it occurred; it has no probability either
            return low
        return np.clip(np.searchsorted(after, point, side="right") - 1, low, high - 1)

    # Under conditions

    def probability(self, levels: np.ndarray, positions: np.ndarray) -> np.ndarray:
        out = np.empty(len(positions))
        every = np.arange(len(positions))
        todo = [((0, len(self.counts)), every, np.ones(len(positions)))]
        while todo:
            (low, high), rows, before = todo.pop()
            fork = self._fork.get((low, high))
            if fork is None:
                total = self.cumulative[high] - self.cumulative[low]
                out[rows] = before * np.maximum(self.counts[positions[rows]] / max(total, 1.0), _TINY)
                continue
            p = self._right(fork, levels, rows)
            middle = int(self.forks[fork, 1])
            right = positions[rows] >= middle
            if right.any():
                todo.append(((middle, high), rows[right], before[right] * p[right]))
            if not right.all():
                todo.append(((low, middle), rows[~right], before[~right] * (1 - p[~right])))
        return np.maximum(out, 1e-300)

    def draw_within(self, levels: np.ndarray, u: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = self.counts > 0
        mass: dict[tuple[int, int], Any] = {}  # range -> its admitted part: 0, 1, a number or one a row
        right: dict[int, np.ndarray] = {}
        whole = (0, len(self.counts))
        self._admitted(whole, levels, weight, seen, mass, right)
        out = np.empty(len(u), dtype=np.int32)
        todo: list[tuple[tuple[int, int], np.ndarray, np.ndarray]] = [(whole, np.arange(len(u)), u)]
        while todo:
            (low, high), rows, mine = todo.pop()
            fork = self._fork.get((low, high))
            if np.ndim(mass[low, high]) == 0 and mass[low, high] == 1.0:
                self._descend((low, high), rows, levels, mine, out)
            elif fork is None:
                after = np.concatenate([[0.0], np.cumsum(self.counts[low:high] * weight[low:high])])
                place = np.searchsorted(after, mine * after[-1], side="right") - 1
                last = int(np.flatnonzero(np.diff(after))[-1]) if after[-1] > 0 else 0
                out[rows] = low + np.minimum(place, last)
            else:
                middle = int(self.forks[fork, 1])
                halves = [np.broadcast_to(mass[side], len(u))[rows] for side in ((low, middle), (middle, high))]
                p = right[fork][rows]
                left, over = (1 - p) * halves[0], p * halves[1]
                share = over / np.maximum(left + over, 1e-300)
                for part, some, rest in _divide(share, mine):
                    if len(some):
                        todo.append(((middle, high) if part else (low, middle), rows[some], rest))
        return out, np.broadcast_to(mass[whole], len(u)).astype(np.float64)

    def _admitted(
        self,
        span: tuple[int, int],
        levels: np.ndarray,
        weight: np.ndarray,
        seen: np.ndarray,
        mass: dict[tuple[int, int], Any],
        right: dict[int, np.ndarray],
    ) -> None:
        """Write to ``mass`` which part of a range is admitted; ranges wholly in or out are not looked into."""
        low, high = span
        here = weight[low:high][seen[low:high]]
        if (here == 1).all():
            mass[span] = 1.0 if len(here) else 0.0
            return
        if not here.any():
            mass[span] = 0.0
            return
        fork = self._fork.get(span)
        if fork is None:
            mass[span] = float((self.counts[low:high] * weight[low:high]).sum() / self.counts[low:high].sum())
            return
        middle = int(self.forks[fork, 1])
        for side in ((low, middle), (middle, high)):
            self._admitted(side, levels, weight, seen, mass, right)
        p = right[fork] = self._right(fork, levels, None)
        mass[span] = (1 - p) * mass[low, middle] + p * mass[middle, high]

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact; without trees no arrays of trees."""
        kept = [t for t in self.trees if t is not None]
        out = {
            "counts": self.counts,
            "forks": self.forks,
            "base": self.base,
            "trees": np.array([0 if t is None else len(t) for t in self.trees], dtype=np.int32),
        }
        return out | (join(kept).arrays() if kept else {})

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], size: int, features: int) -> "CodeTree":
        """The tree of what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ValueError, KeyError
            If it does not fit a column of so many positions behind so many others.
        """
        counts, forks, base, trees = (arrays[k] for k in ("counts", "forks", "base", "trees"))
        if counts.shape != (size,) or counts.dtype.kind != "i" or (counts < 0).any() or counts.sum() > 2**53:
            raise ValueError("the counts of a column do not fit the schema")
        m = len(forks)
        if forks.shape != (m, 3) or forks.dtype.kind != "i" or base.shape != (m,) or trees.shape != (m,):
            raise ValueError("the forks of a column do not fit each other")
        inside = (forks[:, 0] >= 0) & (np.diff(forks, axis=1) > 0).all(axis=1) & (forks[:, 2] <= size)
        if not inside.all() or not np.isfinite(base).all() or trees.dtype.kind != "i" or (trees < 0).any():
            raise ValueError("the forks of a column are none")
        made = cls(counts.astype(np.int64), forks.astype(np.int32))
        if made._reachable() != m:
            raise ValueError("the forks of a column do not make a tree")
        made.base = base.astype(np.float32)
        if trees.sum():
            ensemble = TreeEnsemble(*(arrays[k] for k in ("leaf", "feature", "threshold", "value")))
            ensemble.check(features)
            if len(ensemble) != trees.sum():
                raise ValueError("the trees of a column are not as many as its forks say")
            ends = np.cumsum(trees)
            made.trees = [ensemble.part(e - k, e) if k else None for e, k in zip(ends.tolist(), trees.tolist())]
        return made


def _shift(log_odds: np.ndarray, share: float) -> float:
    """What log odds ``(n,)`` are to be shifted by for the mean of their probabilities to be nearly ``share``.

    Where classifiers are sure, what they are given is off and not they, and no shift would mend it: so it is held back,
    and at most 1.
    """
    shift, hold = 0.0, _HOLD * len(log_odds) * share * (1 - share) + 1
    for _ in range(_NEWTON):
        p = 1 / (1 + np.exp(-np.clip(log_odds.astype(np.float64) + shift, -30, 30)))
        step = (len(p) * share - p.sum() - hold * shift) / ((p * (1 - p)).sum() + hold)
        shift = float(np.clip(shift + step, -1, 1))
    return shift


def _divide(p: np.ndarray, u: np.ndarray) -> list[tuple[bool, np.ndarray, np.ndarray]]:
    """Who goes right and who left: a uniform number below ``p`` does, and what is left of it is uniform again."""
    below = u < p
    right, left = np.flatnonzero(below), np.flatnonzero(~below)
    over = np.minimum(u[right] / p[right], 1 - 2**-53)
    under = np.clip((u[left] - p[left]) / np.maximum(1 - p[left], 1e-300), 0.0, 1 - 2**-53)
    return [(True, right, over), (False, left, under)]
