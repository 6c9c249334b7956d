"""The rows of a child table as codes: what a row is given its parent, its place among its siblings and the row before.

Siblings stand in the order of time (of their first column of times without gaps), else of the table. From that come
relations which no single row shows, and which are built in where the data have them:

- *times* of the first sibling are steps from a time of an ancestor that is never later (a loan after its account),
  later ones steps from the sibling before. Days that follow the calendar (payments on the 12th, interest on a month's
  last day) are drawn as a month and a day of it, others as the time that passed;
- *running sums*: a number that is the one before plus or minus another one (a balance and an amount), by the class of a
  column where there is one (credit, debit), is drawn as what is left over, mostly nothing;
- *order within a time*: rows of one day stand as the running sum says while they are learned and drawn; and then as
  they stand in the table, where the classes of a column say how (interest behind payments);
- *copies*: a code that often equals an ancestor's of the same meaning (the district of a client and of the account).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.conditions import bounds
from zoo.data.binned_columns import BinnedColumns
from zoo.data.table_values import column_step
from zoo.schema import Column, Schema

DAY = 86_400.0
START, GAP, REST = "\0start", "\0gap", "\0rest"
MONTHS, DAYS = 64, 32  # codes of "how many months on" (0: the same day) and of "which day" (the last one: 31)
_MOST = 2**15 - 2
_SIGN_CLASSES = 20
_TURNS = 12


@dataclass(frozen=True)
class Known:
    """A column of an ancestor: its name, number of codes, whether it is a time, and what its codes mean."""

    name: str
    size: int
    is_time: bool = False
    domain: str = ""


@dataclass(frozen=True)
class Running:
    """``column`` is what it was before plus ``signs[code of by]`` times ``amount``; from 0 when ``from_zero``."""

    column: str
    amount: str
    by: str | None
    signs: tuple[int, ...]
    from_zero: bool


class SiblingColumns:
    """Columns of a child table <-> codes.

    Parameters
    ----------
    schema
        Of the columns that are learned; keys of shared tables are categories there.
    domains
        Of discrete columns, what their codes mean; equal ones can be copied.
    known
        The ancestors' columns.
    bins
        Bins of a number at most.
    """

    def __init__(self, schema: Schema, domains: Mapping[str, str], known: Sequence[Known], bins: int) -> None:
        self.schema, self.domains, self.known, self.bins = schema, dict(domains), list(known), bins
        self.time = next(
            (c.name for c in schema if c.kind in ("datetime", "date") and not c.nullable), None
        )  # the column that orders siblings
        self.reference: str | None = None  # the ancestor's time that the first sibling's is counted from
        self.calendar = False
        self.opens = False  # whether the calendar says when the first sibling is, too
        self.running: Running | None = None
        self.ranks: tuple[str, list[float]] | None = None  # a column, by whose classes rows of one time are ordered
        self.copies: dict[str, str] = {}  # column -> ancestor's column
        self._prepare()

    def _prepare(self) -> None:
        """What follows from the choices above."""
        made = [Column(name=f"{self.time}{e}", kind="float", dtype="float64") for e in (START, GAP) if self.time]
        if self.running:
            made.append(Column(name=self.running.column + REST, kind="float", dtype="float64"))
        self.binned = BinnedColumns(self.schema.replace(columns=(*self.schema.columns, *made)), self.bins)
        discrete = [n for n in self.binned.codec.discrete]
        last = [self.running.column] if self.running else []
        numeric = [n for n in self.binned.codec.numeric if n in self.schema and n != self.time and n not in last]
        self.names = [*([self.time] if self.time else []), *discrete, *numeric, *last]

    # Learning what relations there are

    def fit(
        self, values: Mapping[str, np.ndarray], ancestors: Mapping[str, np.ndarray], first: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Find the relations and choose the bins.

        Parameters
        ----------
        values
            The encoded table (see ``TableCodec.encode``), siblings together and in order.
        ancestors
            Encoded values of the known columns, for the same rows.
        first
            ``bool (n,)``: the rows that are their parent's first.

        Returns
        -------
        dict of str to numpy.ndarray
            The values, rows of one time in the order that the running sum asks for.
        """
        later = np.flatnonzero(~first)
        if self.time:
            self._find_reference(values[self.time], ancestors)
            if len(later):
                step = values[self.time][later] - values[self.time][later - 1]
                daily = column_step(self.schema[self.time]) >= DAY
                self.calendar = daily and _follows_calendar(values[self.time], step)
            if self.calendar and self.reference:
                wait = (values[self.time] - ancestors[self.reference])[first]
                self.opens = bool(wait.min() >= 0 and wait.max() < 60 * 30 * DAY)
        self.running = self._find_running(values, first)
        if self.running and self.time:
            values = self._settle(values, first)
        for name, domain in self.domains.items():
            for other in self.known:
                like = domain and other.domain == domain and other.size > 8 and name not in self.copies
                if like and (values[name] == ancestors[other.name]).mean() >= 0.3:
                    self.copies[name] = other.name
        self._prepare()
        numbers = dict(values)
        if self.time:
            time = values[self.time]
            start = ancestors[self.reference] if self.reference else np.full(len(time), np.nan)
            numbers[self.time + START] = np.where(first, time - start, np.nan)
            numbers[self.time + GAP] = np.where(first, np.nan, time - np.append(np.nan, time[:-1]))
        if self.running:
            numbers[self.running.column + REST] = self.rest(values, first)
        self.binned.fit(numbers)
        return dict(values)

    def _find_reference(self, time: np.ndarray, ancestors: Mapping[str, np.ndarray]) -> None:
        best = np.inf
        for other in self.known:
            if other.is_time:
                passed = time - ancestors[other.name]
                if len(passed) and (passed >= 0).mean() >= 0.999 and np.median(passed) < best:
                    best, self.reference = float(np.median(passed)), other.name

    def _find_running(self, values: Mapping[str, np.ndarray], first: np.ndarray) -> Running | None:
        """The running sum that explains most rows, if it is half of them."""
        later = np.flatnonzero(~first)
        whole = [c for c in self.schema if c.is_numeric and not c.nullable]
        if len(later) < 20:
            return None
        best, found = 0.5, None
        for column in whole:
            value = values[column.name]
            step = value[later] - value[later - 1]
            for amount in whole:
                if amount.name == column.name or not (step != 0).any():
                    continue
                size = values[amount.name][later]
                near = max(column_step(column), column_step(amount), 1e-9 * float(np.abs(value).max())) * 1.001
                hits = np.stack([np.abs(step - s * size) <= near for s in (-1, 1)]) & (size != 0)
                for by in (None, *(c for c in self.domains if len(self.schema[c].categories) <= _SIGN_CLASSES)):
                    classes = 1 if by is None else len(self.schema[by].categories) + 1
                    code = np.zeros(len(later), np.int64) if by is None else values[by][later] % classes
                    each = np.stack([np.bincount(code[h], minlength=classes) for h in hits])  # (2, classes)
                    share = each.max(axis=0).sum() / len(later)
                    if share > best + 0.02:
                        signs = np.where(each.max(axis=0) > 0, np.where(each[0] > each[1], -1, 1), 0)
                        best = share
                        found = Running(column.name, amount.name, by, tuple(int(s) for s in signs), False)
                        code = np.zeros(len(first), np.int64) if by is None else values[by] % classes
                        opens = value[first] - signs[code[first]] * values[amount.name][first]
                        zero = bool((np.abs(opens) <= near).mean() >= 0.5)
                        found = Running(column.name, amount.name, by, found.signs, zero)
        return found

    def _settle(self, values: Mapping[str, np.ndarray], first: np.ndarray) -> dict[str, np.ndarray]:
        """Put rows of one time in the order in which the running sum leaves least; and learn their order in the table.

        Neighbours change places as long as fewer steps of the sum are then wrong, all even and all odd pairs at once.
        """
        assert self.running is not None and self.time is not None
        time, total = values[self.time], values[self.running.column]
        signed, family = self.signed(values), np.cumsum(first)
        tie = (family[1:] == family[:-1]) & (time[1:] == time[:-1])  # row i and the next
        near = max(column_step(self.schema[n]) for n in (self.running.column, self.running.amount)) * 1.001 + 1e-9
        opening = 0.0 if self.running.from_zero else np.nan

        def wrong(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            """Whether row b does not follow on row a; -1 stands for none."""
            before = np.where((a >= 0) & (family[a] == family[b]), total[a], opening)
            return ((b >= 0) & (np.abs(total[b] - before - signed[b]) > near)).astype(np.int64)

        order = np.arange(len(first))
        for turn in range(_TURNS):
            i = np.arange(turn % 2, len(order) - 1, 2)
            i = i[tie[i]]
            a, b = order[i], order[i + 1]
            p, q = np.where(i > 0, order[i - 1], -1), np.append(order, -1)[i + 2]
            q = np.where(family[q] == family[b], q, -1)
            now = wrong(p, a) + wrong(a, b) + wrong(b, q)
            then = wrong(p, b) + wrong(b, a) + wrong(a, q)
            better = i[then < now]
            order[better], order[better + 1] = order[better + 1], order[better]
        self.ranks = self._find_ranks(values, tie)
        return {n: v[order] for n, v in values.items()}

    def _find_ranks(self, values: Mapping[str, np.ndarray], tie: np.ndarray) -> tuple[str, list[float]] | None:
        """The column whose classes say best in which order rows of one time stand, if for nine pairs of ten."""
        pairs, best, found = np.flatnonzero(tie), 0.9, None
        for name in self.domains:
            size = len(self.schema[name].categories) + 1
            a, b = values[name][pairs] % size, values[name][pairs + 1] % size
            a, b = a[a != b], b[a != b]
            if size > _SIGN_CLASSES + 1 or len(a) < 20:
                continue
            behind = np.bincount(b, minlength=size)
            rank = behind / np.maximum(np.bincount(a, minlength=size) + behind, 1)
            share = float((rank[a] < rank[b]).mean())
            if share > best:
                best, found = share, (name, [round(float(r), 4) for r in rank])
        return found

    def order(self, values: Mapping[str, np.ndarray], parent: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Positions of drawn rows in the order of the table: by parent, and time or place."""
        if self.ranks is None or self.time is None:
            return np.lexsort((place, parent))
        name, ranks = self.ranks
        rank = np.array(ranks)[values[name] % len(ranks)]
        return np.lexsort((place, rank, values[self.time], parent))

    def signed(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """What a row adds to the running sum, ``(n,)``."""
        assert self.running is not None
        amount = values[self.running.amount]
        if self.running.by is None:
            return self.running.signs[0] * amount
        signs = np.array(self.running.signs)
        return signs[values[self.running.by] % len(signs)] * amount

    def rest(self, values: Mapping[str, np.ndarray], first: np.ndarray) -> np.ndarray:
        """What is left of the running sum when what it was and what was added are taken off, ``(n,)``."""
        assert self.running is not None
        value = values[self.running.column]
        before = np.where(first, 0.0, np.append(0.0, value[:-1]))
        return np.round(value - before - self.signed(values), 9)

    # Codes of times

    def month_codes(self, time: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(n,)`` codes of how many months on (0: the same day), and of which day, of times after others."""
        month, day, size = calendar_of(time)
        month_before, day_before, _ = calendar_of(before)
        on = np.minimum(1 + month - month_before, MONTHS - 1)
        same = (month == month_before) & (day == day_before)
        return np.where(same, 0, np.maximum(on, 1)), np.where(day == size - 1, DAYS - 1, day)

    def time_of(self, on: np.ndarray, day: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Times, seconds ``(n,)``, of the codes of :meth:`month_codes`."""
        month, day_before, _ = calendar_of(before)
        start = (month + np.maximum(on, 1) - 1).astype("datetime64[M]")
        size = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(np.int64)
        place = np.minimum(np.where(on == 0, day_before, day), size - 1)
        return (start.astype("datetime64[D]").astype(np.int64) + place) * DAY

    def tidy(self, name: str, values: np.ndarray) -> np.ndarray:
        """Numbers as the column can hold them: rounded and within its range."""
        column = self.schema[name]
        step = column_step(column)
        if step:
            values = np.round(values, column.decimals) if column.decimals is not None else np.rint(values / step) * step
        return np.clip(values, *bounds(column))

    # Features

    def features_before(
        self,
        known: np.ndarray,
        place: np.ndarray,
        count: np.ndarray,
        before: np.ndarray,
        second: np.ndarray,
        since: np.ndarray,
    ) -> np.ndarray:
        """What is known of a row before any of its columns.

        Parameters
        ----------
        known
            ``int (n, A)`` codes of the ancestors' columns.
        place, count
            ``(n,)`` its number among its siblings, from 0, and theirs.
        before, second
            ``int (n, C)`` codes of the sibling before and of the one before that, -1 where there is none.
        since
            ``(n,)`` the time of the sibling before, of the reference for the first; NaN for neither.

        Returns
        -------
        numpy.ndarray
            ``int32 (n, F)``.
        """
        left = count - place
        parts = [known, np.stack([place, count, left], axis=1), before]
        discrete = [i for i, n in enumerate(self.names) if n not in self.binned.edges]
        parts.append(second[:, discrete])
        if self.time:
            end = bounds(self.schema[self.time])[1]
            pace = np.nan_to_num((end - since) / DAY / np.maximum(left, 1) * 4, nan=-1.0)
            parts += [self._calendar_features(since), np.clip(pace, -1, _MOST)[:, None].astype(np.int64)]
        return np.clip(np.concatenate(parts, axis=1), -1, _MOST).astype(np.int32)

    def features_of_time(self, time: np.ndarray, since: np.ndarray) -> np.ndarray:
        """What a drawn time says beyond its code, ``int32 (n, 5)``."""
        gap = np.nan_to_num(np.clip((time - since) / DAY, -1, _MOST), nan=-1.0)
        return np.concatenate([self._calendar_features(time), gap[:, None]], axis=1).astype(np.int32)

    def _calendar_features(self, time: np.ndarray) -> np.ndarray:
        """Months since 1970, day, days to the month's end and weekday, ``(n, 4)``; -1 where there is no time."""
        none = np.isnan(time)
        month, day, size = calendar_of(np.where(none, 0.0, time))
        weekday = (np.floor(np.where(none, 0.0, time) / DAY).astype(np.int64) + 3) % 7
        return np.where(none[:, None], -1, np.stack([month, day, size - 1 - day, weekday], axis=1))

    @property
    def width(self) -> int:
        """Number of features before any column of the row is drawn."""
        discrete = sum(n not in self.binned.edges for n in self.names)
        return len(self.known) + 3 + len(self.names) + discrete + (5 if self.time else 0)

    # State

    def state(self) -> dict[str, Any]:
        running = self.running and [
            self.running.column, self.running.amount, self.running.by, list(self.running.signs), self.running.from_zero
        ]  # fmt: skip
        return {
            "reference": self.reference,
            "calendar": [self.calendar, self.opens],
            "running": running,
            "copies": self.copies,
            "ranks": self.ranks and list(self.ranks),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` gave, checked: it may come from an artifact of unknown origin."""
        known = {k.name: k for k in self.known}
        self.reference, running = state["reference"], state["running"]
        self.calendar, self.opens = (bool(v) for v in state["calendar"])
        if self.reference is not None and not known[self.reference].is_time:
            raise ValueError(f"{self.reference!r} is no time of an ancestor")
        if (self.opens and not (self.reference and self.calendar)) or (self.calendar and not self.time):
            raise ValueError("there is no time that could follow the calendar")
        if running is not None:
            column, amount, by, signs, zero = running
            size = 1 if by is None else len(self.schema[by].categories) + 1
            if not all(self.schema[c].is_numeric for c in (column, amount)) or len(signs) != size:
                raise ValueError(f"{column!r} is no running sum")
            if not set(signs) <= {-1, 0, 1} or (by is not None and by not in self.domains):
                raise ValueError(f"the signs of the running sum {column!r} are none")
            self.running = Running(column, amount, by, tuple(signs), bool(zero))
        self.copies = dict(state["copies"])
        for name, source in self.copies.items():
            if self.domains[name] != known[source].domain:
                raise ValueError(f"{name!r} cannot be copied from {source!r}")
        if state["ranks"] is not None:
            name, ranks = state["ranks"]
            if name not in self.domains or len(ranks) != len(self.schema[name].categories) + 1:
                raise ValueError(f"the order of the classes of {name!r} is none")
            self.ranks = (name, [float(r) for r in ranks])
        self._prepare()


def calendar_of(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Months since 1970, day of the month from 0, and days of the month, ``int64 (n,)`` each."""
    date = np.floor(seconds / DAY).astype(np.int64).astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    size = (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")
    return month.astype(np.int64), (date - month).astype(np.int64), size.astype(np.int64)


def _follows_calendar(time: np.ndarray, step: np.ndarray) -> bool:
    """Whether days of the month matter: 31 of them, and the last one, are far from equally frequent."""
    if np.median(step) > 62 * DAY or len(time) < 200:
        return False
    _, day, size = calendar_of(time)
    counts = np.bincount(np.where(day == size - 1, 31, day), minlength=32).astype(np.float64)
    expected = np.append(np.full(28, 12.0), [10.5, 7.0, 0.0, 12.0]) / 365 * len(time)
    used = expected > 0
    return float(((counts - expected)[used] ** 2 / expected[used]).sum()) > 5 * used.sum() + 0.02 * len(time)
