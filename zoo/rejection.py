"""Bounded rejection: rows that fulfil constraints, exactly as many as asked, or an error with the counts.

Sizes of attempts depend on the size of the block and on what was drawn, never on how many rows the caller needs, so the
beginning of a longer sample is a shorter one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.conditions import Condition, Conditions, to_number
from zoo.constraints import Constraint, FunctionalDependency, Unique
from zoo.data.form import NativeForm
from zoo.data.table_values import codes_of
from zoo.errors import ConditionError, ConstraintError
from zoo.schema import Schema

TRIES = 200
"""Draws a row at most, before a constraint counts as one that cannot be met."""
LEAST = 100_000
"""Draws that are always made first; if not a single one of them is accepted, it counts so at once."""

_HELP = 0.5  # share of accepted rows below which conditions that constraints imply are asked of the family
_REPEAT = 64  # draws a row and call at most, where each row has conditions of its own

Draw = Callable[[int, Conditions, np.random.Generator], Any]
Random = Callable[[int], np.random.Generator]


@dataclass(eq=False)
class Rejection:
    """What is to hold of the rows of one call.

    Parameters
    ----------
    form, schema
        Of the generator.
    draw
        Draws rows: (how many, under which conditions, from which random numbers).
    rules, unique
        The constraints.
    implied
        Conditions that follow from the rules, for when they are met too seldom without.
    most
        Rows a draw at most.
    """

    form: NativeForm
    schema: Schema
    draw: Draw
    rules: Sequence[Constraint]
    unique: Sequence[Unique]
    implied: Mapping[str, Condition]
    most: int
    _before: list[np.ndarray] = field(default_factory=list, init=False)
    _here: list[np.ndarray] = field(default_factory=list, init=False)

    def __bool__(self) -> bool:
        return bool(self.rules or self.unique)

    def begin(self, block: int) -> None:
        """A new block begins; blocks follow each other where rows have to differ."""
        if block == 0:
            self._before = [np.array([], dtype=np.uint64) for _ in self.unique]
        self._here = list(self._before)

    def end(self, block: Any) -> None:
        """A block is done: these rows of it are used."""
        self._before = [_merged(s, u.keys(block)) for s, u in zip(self._before, self.unique, strict=True)]

    def fill(self, asked: Conditions, outside: Sequence[Condition], size: int, needed: int, random: Random) -> Any:
        """The first ``needed`` of ``size`` rows.

        Parameters
        ----------
        asked
            Conditions of all rows, or of each of the ``size`` rows.
        outside
            Conditions none of which a row may meet.
        size, needed
            Numbers of rows.
        random
            The random numbers of attempt 0, 1, …

        Raises
        ------
        ConstraintError
            With the share of draws that met each constraint, when too few met all.
        """
        count = _Count(self, outside, {c.dependent for c in self.rules if isinstance(c, FunctionalDependency)})
        if asked.per_row:
            return self._fill_rows(count, asked, size, needed, random)
        return self._fill_same(count, asked, size, needed, random)

    def _fill_same(self, count: "_Count", asked: Conditions, size: int, needed: int, random: Random) -> Any:
        """Conditions are the same for all rows: whatever is accepted takes the next place."""
        form, parts = self.form, []
        have, attempt, n, helped = 0, 0, size, False
        while True:
            try:
                table, met = count.accepted(n, asked, random(attempt))
            except ConditionError as error:
                if not helped:
                    raise
                raise ConstraintError(f"constraints {count.listed()} cannot be met: {error}") from error
            parts.append(form.take(table, np.flatnonzero(met)[: needed - have]))
            self._use(parts[-1])
            have += form.length(parts[-1])
            if have >= needed:
                return form.concat(parts)
            if not helped and self.implied and met.mean() < _HELP:
                asked, helped = Conditions({**asked, **self.implied}), True
                count.restart()
            count.give_up(needed)
            attempt += 1
            n = int(np.clip((size - have) / max(count.rate, 1e-9) * 1.1 + 16, 1, self.most))

    def _fill_rows(self, count: "_Count", asked: Conditions, size: int, needed: int, random: Random) -> Any:
        """Each row has conditions of its own: rows that are not accepted are drawn again, ever more at a time."""
        form, parts, places = self.form, [], []
        left, attempt, repeat = np.arange(size), 0, 1
        while True:
            at_once = max(1, self.most // repeat)
            for start in range(0, len(left), at_once):
                rows = np.repeat(left[start : start + at_once], repeat)
                table, met = count.accepted(len(rows), rows_of(asked, rows), random(attempt))
                filled, first = np.unique(rows[met], return_index=True)
                places.append(filled)
                parts.append(form.take(table, np.flatnonzero(met)[first]))
                self._use(form.slice(parts[-1], 0, int((filled < needed).sum())))
                attempt += 1
            done = np.concatenate(places)
            left = np.setdiff1d(np.arange(size), done)
            if not (left < needed).any():
                order = np.argsort(done, kind="stable")
                return form.slice(form.take(form.concat(parts), order), 0, needed)
            count.give_up(needed)
            repeat = min(2 * repeat, _REPEAT, self.most)

    def _use(self, rows: Any) -> None:
        self._here = [_merged(s, u.keys(rows)) for s, u in zip(self._here, self.unique, strict=True)]

    def is_new(self, i: int, table: Any, among: np.ndarray) -> np.ndarray:
        """``bool (n,)``: rows whose key was not used before and stands no earlier among those that may be used."""
        keys = self.unique[i].keys(table)
        new = ~_among(keys, self._here[i])
        may = np.flatnonzero(new & among)
        _, first = np.unique(keys[may], return_index=True)
        new[may] = False
        new[may[first]] = True
        return new


def _among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``bool (n,)``: which keys stand among sorted ones."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys


def _merged(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Sorted keys with more of them; sorting all anew would take a second a block where millions are known."""
    more = np.unique(keys)
    more = more[~_among(more, known)]
    return np.insert(known, np.searchsorted(known, more), more)


class _Count:
    """Draws under one set of conditions, and how often each constraint was met."""

    def __init__(self, rejection: Rejection, outside: Sequence[Condition], changed: set[str]) -> None:
        self.of, self.outside, self.changed = rejection, outside, changed
        self.names = [str(c) for c in (*rejection.rules, *rejection.unique)]
        self.names += [f"balance ({c.column.name!r} not in the classes that are named)" for c in outside]
        self.drawn = self.kept = self.total = self.found = 0
        self.met = np.zeros(len(self.names), dtype=np.int64)

    def accepted(self, n: int, asked: Conditions, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
        """``n`` draws, and which of them fulfil everything: ``bool (n,)``."""
        of = self.of
        table = of.draw(n, asked, rng)
        for _ in self.changed:  # what one puts in place may determine what another does
            for rule in of.rules:
                table = rule.repair(table, of.schema)
        met = [rule.holds(table, of.schema) for rule in of.rules]
        outside = [~meets(table, c) for c in self.outside]
        good = np.logical_and.reduce([np.ones(n, dtype=bool), *met, *outside])
        for name in self.changed & {*asked}:  # a constraint has put another value in place: what is asked has to hold
            good &= meets(table, asked[name])
        for i in range(len(of.unique)):
            met.append(of.is_new(i, table, good))
            good &= met[-1]
        kept = int(good.sum())
        self.drawn, self.kept, self.total, self.found = (
            self.drawn + n,
            self.kept + kept,
            self.total + n,
            self.found + kept,
        )
        self.met += np.array([int(m.sum()) for m in (*met, *outside)], dtype=np.int64)
        return table, good

    @property
    def rate(self) -> float:
        return self.kept / self.drawn if self.drawn else 1.0

    def restart(self) -> None:
        """Count the rate anew: conditions have changed."""
        self.drawn = self.kept = 0

    def listed(self) -> str:
        return ", ".join(self.names)

    def give_up(self, needed: int) -> None:
        """Raise when the draws of ``needed`` rows are spent."""
        if self.total < LEAST or (self.found and self.total < TRIES * needed):
            return
        worst = int(np.argmin(self.met))
        held = "; ".join(f"{n} held in {m:,}" for n, m in zip(self.names, self.met, strict=True))
        together = "" if len(self.names) == 1 else f"; all together in {self.found:,}"
        raise ConstraintError(
            f"constraint {self.names[worst]} cannot be met often enough: of {self.total:,} draws under what is asked, "
            f"{held}{together}; relax it, or ask for conditions under which it is likelier"
        )


def rows_of(asked: Conditions, rows: np.ndarray) -> Conditions:
    """The conditions of some rows, where each row has its own."""
    out = {}
    for name, condition in asked.items():
        assert condition.rows is not None
        out[name] = Condition(condition.column, rows=condition.rows[rows])
    return Conditions(out)


def meets(table: Any, condition: Condition) -> np.ndarray:
    """``bool (n,)``: the rows of a table that meet a condition."""
    column = condition.column
    series = table[column.name]
    values: Any = codes_of(series, column) if column.is_discrete else to_number(series, column)
    if condition.is_range:
        low = -np.inf if condition.low is None else condition.low
        high = np.inf if condition.high is None else condition.high
        return (low <= values) & (values <= high)
    if condition.rows is not None:
        return (values == condition.rows) | ((values != values) & (condition.rows != condition.rows))
    assert condition.values is not None
    return np.isin(values, condition.values, assume_unique=False) | (
        (values != values) & bool((condition.values != condition.values).any())
    )
