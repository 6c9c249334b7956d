"""A numeric channel as events: what a step does, one of a few hundred kinds, and where within its kind.

A sensor stays where it is, jumps to a level it often has (a lamp goes out), moves by a little, or is not read at all.
No single density says all of that, a categorical over such events does, and constant or empty channels are no special
case. An event is *missing*, a *step* (the change since the last observation) or a *level* (the value itself, for first
observations and large changes). Steps and levels are cut into quantile bins; a value that many observations share is
a bin of its own, so that it comes back exactly. Within the other bins values are uniform.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from zoo.data.table_protect import SEVERAL
from zoo.errors import ArtifactError
from zoo.schema import Column

MISSING = 0  # the event that nothing was observed
FEATURES = 7  # numbers that describe an observation to a network
_USUAL = 0.99  # this share of the changes counts as usual, ...
_FAR = 4.0  # ... and a change of more than so many times the largest usual one is no step, but leads to a new level
_PACE = 0.2  # of the running mean: it looks back some five steps
_QUANTUM = 2.0**-21  # of the channel's largest value; smaller differences of changes are rounding of float32


@dataclass(frozen=True, eq=False)
class Bins:
    """Frequent values, each by itself, and quantile bins of the rest.

    Parameters
    ----------
    atoms
        ``float64 (A,)``, ascending: values that are bins of their own, ids 0 to A - 1.
    edges
        ``float64 (E,)``, ascending, E is 0 or at least 2: bins A to A + E - 2 lie between them.
    """

    atoms: np.ndarray
    edges: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, count: int) -> Self:
        """About ``count`` bins of equally many ``values (n,)``, and half as many cuts at equal distances."""
        found, counts = np.unique(values, return_counts=True)
        frequent = counts >= max(SEVERAL, len(values) / count)
        atoms, rest = found[frequent], values[~np.isin(values, found[frequent])]
        if not len(rest):
            return cls(atoms, np.empty(0))
        bins = min(max(count - len(atoms), count // 4), max(1, len(rest) // SEVERAL))
        full = np.quantile(rest, np.linspace(0, 1, bins + 1))  # bins that are equally full, of which none is too wide
        edges = np.unique(np.append(full, np.linspace(full[0], full[-1], bins // 2 + 1)))
        if len(edges) == 1:
            return cls(np.unique(np.append(atoms, edges)), np.empty(0))
        return cls(atoms, edges)

    def __len__(self) -> int:
        return len(self.atoms) + max(len(self.edges) - 1, 0)

    @property
    def low(self) -> np.ndarray:
        return np.append(self.atoms, self.edges[:-1])

    @property
    def width(self) -> np.ndarray:
        return np.append(np.zeros(len(self.atoms)), np.diff(self.edges))

    def is_atom(self, values: np.ndarray) -> np.ndarray:
        return np.isin(values, self.atoms)

    def assign(self, values: np.ndarray) -> np.ndarray:
        """The bin of each value, the nearest one beyond the edges; there must be a bin."""
        place = np.clip(np.searchsorted(self.atoms, values), 0, max(len(self.atoms) - 1, 0))
        if not len(self.edges):
            below = np.maximum(place - 1, 0)
            nearer = np.abs(values - self.atoms[below]) < np.abs(values - self.atoms[place])
            return np.where(nearer, below, place)
        between = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, len(self.edges) - 2)
        return np.where(self.is_atom(values), place, len(self.atoms) + between)


class ChannelEvents:
    """Values of one numeric channel <-> events.

    Events are 0 (missing), 1 to L (levels), L + 1 to L + D (steps).
    """

    def __init__(self, levels: Bins, steps: Bins, column: Column) -> None:
        self.levels, self.steps = levels, steps
        self.decimals = column.decimals
        self.range = (column.minimum, column.maximum) if column.minimum is not None else (0.0, 0.0)
        self.nullable = column.nullable
        # What an event does to the last value: value = kept * last + low + width * uniform
        self._kept = np.concatenate([np.zeros(1 + len(levels)), np.ones(len(steps))])
        self._low = np.concatenate([[0.0], levels.low, steps.low])
        self._width = np.concatenate([[0.0], levels.width, steps.width])
        knots = np.unique(np.concatenate([levels.atoms, levels.edges]))
        self._knots = knots if len(knots) else np.zeros(1)
        self._span = max(float(self.range[1]) - float(self.range[0]), 1e-30)
        moves = np.abs(steps.low + steps.width / 2)
        moves = moves[moves > 0]
        self._move = float(np.median(moves)) if len(moves) else self._span  # a usual change

    @classmethod
    def fit(cls, values: np.ndarray, mask: np.ndarray, column: Column, bins: int) -> Self:
        """Choose bins for ``values (N, T)``, observed where ``mask (N, T)``."""
        seen = values[mask].astype(np.float64)
        empty = cls(Bins(np.empty(0), np.empty(0)), Bins(np.empty(0), np.empty(0)), column)
        last = last_observed(values, mask)
        change = empty._change(values, last)[mask & ~np.isnan(last)]
        if len(change):
            change = change[np.abs(change) <= _FAR * np.quantile(np.abs(change), _USUAL)]
        return cls(Bins.fit(seen, bins), Bins.fit(change, bins), column)

    @property
    def size(self) -> int:
        """Number of events."""
        return 1 + len(self.levels) + len(self.steps)

    def _change(self, values: np.ndarray, last: np.ndarray) -> np.ndarray:
        quantum = max(_QUANTUM * max(abs(float(r)) for r in self.range), 1e-30)
        if self.decimals is not None and 10.0**-self.decimals > quantum:
            quantum = 10.0**-self.decimals
        return np.round((values.astype(np.float64) - last) / quantum) * quantum + 0.0  # no minus zero

    def encode(self, values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Events ``int64 (N, T)`` and features ``float32 (N, T, 7)`` of a channel's values."""
        last = last_observed(values, mask)
        events = self.encode_levels(values, mask)
        if len(self.steps):
            change = self._change(values, last)  # NaN where there is no last value
            edges = self.steps.edges if len(self.steps.edges) else np.array([np.inf, -np.inf])
            stop = np.isin(values, self.range) & self.levels.is_atom(values)  # such as a lamp that is off
            between = (change >= edges[0]) & (change <= edges[-1]) & ~stop
            moves = mask & (self.steps.is_atom(change) | between)
            events[moves] = 1 + len(self.levels) + self.steps.assign(change[moves])
        return events, self.features(values, mask, last, running_mean(values, mask))

    def encode_levels(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Events ``int64 (…)`` of values without regard to what was before: levels only."""
        events = np.zeros(values.shape, dtype=np.int64)
        if len(self.levels):  # a channel without any value in training stays missing
            events[mask] = 1 + self.levels.assign(values[mask].astype(np.float64))
        return events

    def features(self, values: np.ndarray, mask: np.ndarray, last: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """What a network sees of a step, ``float32 (…, 7)``.

        The last known value by its place in the range and by its rank, both -1 to 1; whether the step was observed; the
        change in usual ones, on the scale of asinh; whether there was a change; the same of the distance from the
        running mean before, which tells noise from movement; whether any value is known.

        Parameters
        ----------
        values, mask
            ``(…)``: the step's values, observed where the mask is True.
        last, mean
            ``(…)``: last value and running mean before the step, NaN where there is none.
        """
        known = np.where(mask, values, last).astype(np.float64)
        none, alone = np.isnan(known), np.isnan(last)
        known = np.where(none, self._knots[len(self._knots) // 2], known)
        place = 2 * (known - float(self.range[0])) / self._span - 1
        rank = 2 * np.interp(known, self._knots, np.linspace(0, 1, len(self._knots))) - 1
        change = np.arcsinh(np.where(alone, 0, known - last) / self._move)
        away = np.arcsinh(np.where(alone, 0, known - mean) / self._move)
        out = [np.where(none, 0, place), np.where(none, 0, rank), mask, change, change != 0, away, ~none]
        return np.stack(out, axis=-1).astype(np.float32)

    def places(self) -> np.ndarray:
        """Where each event lies, ``float32 (size, 3)``: a level by its place in the range and by its rank (as among
        :meth:`features`), a step by how far it moves the place and by its change; NaN where that does not apply."""
        out = np.full((self.size, 3), np.nan, dtype=np.float32)
        middle = self._low + self._width / 2
        level = slice(1, 1 + len(self.levels))
        nowhere = np.full(len(self.levels), np.nan)
        out[level, :2] = self.features(middle[level], np.ones(len(self.levels), dtype=bool), nowhere, nowhere)[:, :2]
        steps = slice(1 + len(self.levels), None)
        out[steps, 0], out[steps, 2] = 2 * middle[steps] / self._span, np.arcsinh(middle[steps] / self._move)
        return out

    def decode(self, events: np.ndarray, last: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Values ``float32 (n,)`` of events, NaN where missing; within the range, rounded as the data are.

        Parameters
        ----------
        events
            ``int64 (n,)``.
        last
            ``float32 (n,)`` last observed values.
        uniform
            ``float64 (n,)``, 0 to 1: where within the event's bin.
        """
        values = self._low[events] + self._width[events] * uniform
        values = np.where(self._kept[events] > 0, last + values, values)
        if self.decimals is not None:
            values = np.round(values, self.decimals) + 0.0
        values = np.clip(values, *self.range)
        return np.where(events == MISSING, np.nan, values).astype(np.float32)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        parts = {"levels": self.levels, "steps": self.steps}
        return {f"{prefix}.{k}.{p}": getattr(b, p) for k, b in parts.items() for p in ("atoms", "edges")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str, column: Column) -> Self:
        """Take back what :meth:`arrays` gave."""
        both = []
        for kind in ("levels", "steps"):
            parts = [arrays.get(f"{prefix}.{kind}.{part}", np.empty((0, 0))) for part in ("atoms", "edges")]
            for part in parts:
                if (
                    part.ndim != 1
                    or part.dtype != np.float64
                    or not np.isfinite(part).all()
                    or (np.diff(part) <= 0).any()
                ):
                    raise ArtifactError(f"the artifact has no sound bins for channel {column.name!r}; it is damaged")
            both.append(Bins(*parts))
        return cls(both[0], both[1], column)


def last_observed(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The last value observed before each step, ``float64 (N, T)``; NaN where there is none."""
    n, t = values.shape
    place = np.where(mask, np.arange(t), -1)
    before = np.concatenate([np.full((n, 1), -1), np.maximum.accumulate(place, axis=1)[:, :-1]], axis=1)
    out = np.take_along_axis(values.astype(np.float64), np.maximum(before, 0), axis=1)
    return np.where(before < 0, np.nan, out)


def follow(mean: np.ndarray, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The running mean after a step, ``float64 (n,)``, from that before it (NaN: none yet)."""
    values = values.astype(np.float64)
    moved = np.where(np.isnan(mean), values, mean + _PACE * (values - mean))
    return np.where(mask, moved, mean)


def running_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The running mean of what was observed before each step, ``float64 (N, T)``; NaN where nothing was."""
    out = np.full(values.shape, np.nan)
    for t in range(1, values.shape[1]):
        out[:, t] = follow(out[:, t - 1], values[:, t - 1], mask[:, t - 1])
    return out
