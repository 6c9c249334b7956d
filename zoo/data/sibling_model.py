"""Drawing the rows of a child table: trees over the codes of :class:`~zoo.data.sibling_columns.SiblingColumns`.

All first siblings are drawn at once, then all second ones, and so on; within a row column by column, each from a tree
that sees the ancestors, the place among the siblings, the siblings before, and the row's columns so far.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data.sibling_columns import DAYS, GAP, MONTHS, REST, START, SiblingColumns, calendar_of
from zoo.statistics.code_tree import MAX_ROWS, CodeTree


class SiblingModel:
    """The trees of one table.

    Parameters
    ----------
    columns
        The table's codes.
    least
        Rows of a leaf at least.
    """

    def __init__(self, columns: SiblingColumns, least: int) -> None:
        self.columns, self.least = columns, least
        self.trees: dict[str, CodeTree] = {}

    def targets(self) -> list[tuple[str, str, int, int]]:
        """What is drawn, in order: kind, column, number of codes, features that it sees."""
        c, out = self.columns, []
        width = c.width
        for name in c.names:
            size = c.binned.sizes[name]
            if name == c.time:
                if c.opens:
                    pass
                elif c.reference:
                    out.append(("start", name, c.binned.sizes[name + START], width))
                else:
                    out.append(("level", name, size, width))
                if c.calendar:
                    out += [("month", name, MONTHS, width), ("day", name, DAYS, width + 1)]
                else:
                    out.append(("gap", name, c.binned.sizes[name + GAP], width))
                width += 6  # its code and five features
                continue
            if name in c.copies:
                out.append(("same", name, 2, width))
            if c.running and name == c.running.column:
                out.append(("rest", name, c.binned.sizes[name + REST], width))
                if not c.running.from_zero:
                    out.append(("level", name, size, width))
            else:
                out.append(("code", name, size, width))
            width += 1
        return out

    # Learning

    def fit(
        self,
        values: Mapping[str, np.ndarray],
        ancestors: Mapping[str, np.ndarray],
        known: np.ndarray,
        place: np.ndarray,
        count: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Learn from rows whose siblings stand together and in order.

        Parameters
        ----------
        values
            Encoded columns, ``(n,)`` each.
        ancestors
            Encoded columns of the ancestors, for the same rows.
        known
            ``int (n, A)`` codes of the ancestors' columns.
        place, count
            ``(n,)`` each row's number among its siblings, and theirs.
        """
        c = self.columns
        first = place == 0
        values = c.fit(values, ancestors, first)
        codes = (
            np.stack([c.binned.codes(n, values[n]) for n in c.names], axis=1) if c.names else np.zeros((len(place), 0))
        )
        codes = codes.astype(np.int32)
        rows = np.arange(len(place))
        if len(rows) > 2 * MAX_ROWS:
            rows = np.sort(rng.choice(len(rows), 2 * MAX_ROWS, replace=False))
        before = np.where((place >= 1)[rows, None], codes[np.maximum(rows - 1, 0)], -1)
        second = np.where((place >= 2)[rows, None], codes[np.maximum(rows - 2, 0)], -1)
        since = self._since(values, ancestors, first)[rows] if c.time else np.zeros(len(rows))
        x = c.features_before(known[rows], place[rows], count[rows], before, second, since)
        picked = {n: v[rows] for n, v in values.items()}
        rest = c.binned.codes(c.running.column + REST, c.rest(values, first)[rows]) if c.running else None
        parts, width = [x], x.shape[1]
        every = self.targets()
        for j, name in enumerate(c.names):
            for kind, column, size, wide in every:
                if column != name:
                    continue
                features = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
                parts = [features]
                target, used = self._target(
                    kind, name, picked, ancestors, rows, first[rows], since, codes[rows, j], rest
                )
                if kind == "day":
                    month = c.month_codes(picked[name], np.nan_to_num(since))[0]
                    features = np.concatenate([features, month[:, None].astype(np.int32)], axis=1)
                assert features.shape[1] == wide
                self.trees[f"{kind}.{name}"] = CodeTree.grow(features[used], target[used], size, self.least, rng)
            parts.append(codes[rows, j : j + 1])
            if name == c.time:
                parts.append(c.features_of_time(picked[name], since))
            width += 1

    def _since(
        self, values: Mapping[str, np.ndarray], ancestors: Mapping[str, np.ndarray], first: np.ndarray
    ) -> np.ndarray:
        c = self.columns
        time = values[str(c.time)]
        start = ancestors[c.reference] if c.reference else np.full(len(time), np.nan)
        return np.where(first, start, np.append(np.nan, time[:-1]))

    def _target(
        self, kind: str, name: str, values: Any, ancestors: Any, rows: Any, first: Any, since: Any, code: Any, rest: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a tree learns, ``int64 (n,)``, and from which rows."""
        c, every = self.columns, np.ones(len(rows), dtype=bool)
        if kind in ("start", "gap"):
            end = START if kind == "start" else GAP
            used = (first if kind == "start" else ~first) & ~np.isnan(since)
            return c.binned.codes(name + end, np.where(used, values[name] - since, 0.0)), used
        if kind in ("month", "day"):
            on, day = c.month_codes(values[name], np.nan_to_num(since))
            used = every if c.opens else ~first
            return (on, used) if kind == "month" else (day, used & (on > 0))
        if kind == "level":
            return code, first
        if kind == "rest":
            assert c.running is not None
            return rest, every if c.running.from_zero else ~first
        if name in c.copies:
            same = ancestors[c.copies[name]][rows] == values[name]
            return (same.astype(np.int64), every) if kind == "same" else (code, ~same)
        return code, every

    # Drawing

    def draw(
        self,
        ancestors: Mapping[str, np.ndarray],
        known: np.ndarray,
        counts: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Rows for parents.

        Parameters
        ----------
        ancestors
            Encoded columns of the ancestors, one value a parent.
        known
            ``int (p, A)`` their codes.
        counts
            ``(p,)`` how many rows each parent gets.

        Returns
        -------
        values, parent, place
            Encoded columns, each row's parent and number among its siblings; siblings together and in order.
        """
        c = self.columns
        order = np.argsort(-counts, kind="stable")
        alive = np.searchsorted(-counts[order], 0)  # parents with a row at all
        order = order[:alive]
        blank = np.full((alive, len(c.names)), -1, dtype=np.int32)
        before, second = blank, blank
        start = ancestors[c.reference][order] if c.reference else np.full(alive, np.nan)
        since, sums = start, np.zeros(alive)
        made: list[dict[str, np.ndarray]] = []
        sizes = []
        for t in range(int(counts.max(initial=0))):
            m = int(np.searchsorted(-counts[order], -t, side="left"))  # parents with more than t rows
            at, place = order[:m], np.full(m, t)
            x = c.features_before(known[at], place, counts[at], before[:m], second[:m], since[:m])
            here = {n: ancestors[n][at] for n in {*c.copies.values(), *([c.reference] if c.reference else [])}}
            values, codes = self._row(x, t == 0, here, since[:m], sums[:m], rng)
            second, before = before[:m], codes
            if c.time:
                since = values[c.time]
            if c.running:
                sums = values[c.running.column]
            made.append(values)
            sizes.append(m)
        parent = np.concatenate([order[:m] for m in sizes]) if sizes else np.zeros(0, dtype=np.int64)
        place = np.repeat(np.arange(len(sizes)), sizes)
        blank_values = {n: np.zeros(0, np.float64 if n in c.binned.edges else np.int64) for n in c.names}
        whole = {n: np.concatenate([v[n] for v in made]) if made else blank_values[n] for n in c.names}
        sort = c.order(whole, parent, place)
        return {n: v[sort] for n, v in whole.items()}, parent[sort], place[sort]

    def _row(
        self, x: np.ndarray, first: bool, here: Mapping[str, np.ndarray], since: Any, sums: Any, rng: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """One row for each of m parents: encoded columns and codes ``int32 (m, C)``."""
        c, n = self.columns, len(x)
        values: dict[str, np.ndarray] = {}
        codes = np.empty((n, len(c.names)), dtype=np.int32)
        room = np.empty((n, c.width + len(c.names) + 5), dtype=np.int32)
        width = x.shape[1]
        room[:, :width] = x
        for j, name in enumerate(c.names):
            seen = room[:, :width]
            if name == c.time:
                value = c.tidy(name, self._time(seen, first, since, rng))
            elif c.running and name == c.running.column and not (first and not c.running.from_zero):
                rest = c.binned.draw(name + REST, self.trees[f"rest.{name}"].draw(seen, rng), rng)
                value = c.tidy(name, (0.0 if first else sums) + c.signed(values) + rest)
            else:
                kind = "level" if f"level.{name}" in self.trees else "code"
                value = c.binned.draw(name, self.trees[f"{kind}.{name}"].draw(seen, rng), rng)
                if name in c.binned.edges:
                    value = c.tidy(name, value)
            if name in c.copies:
                same = self.trees[f"same.{name}"].draw(seen, rng) == 1
                value = np.where(same, here[c.copies[name]], value)
            values[name] = value
            codes[:, j] = c.binned.codes(name, value)
            room[:, width] = codes[:, j]
            width += 1
            if name == c.time:
                room[:, width : width + 5] = c.features_of_time(value, since)
                width += 5
        return values, codes

    def _time(self, seen: np.ndarray, first: bool, since: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        c, name = self.columns, str(self.columns.time)
        if first and c.reference is None:
            return c.binned.draw(name, self.trees[f"level.{name}"].draw(seen, rng), rng)
        if (first and not c.opens) or not c.calendar:
            kind, end = ("start", START) if first else ("gap", GAP)
            passed = c.binned.draw(name + end, self.trees[f"{kind}.{name}"].draw(seen, rng), rng)
            return since + passed
        on = self.trees[f"month.{name}"].draw(seen, rng)
        _, today, size = calendar_of(since)
        least = np.where(on == 1, np.where(today == size - 1, DAYS, today + 1), 0)  # behind the sibling before
        both = np.concatenate([seen, on[:, None].astype(np.int32)], axis=1)
        day = self.trees[f"day.{name}"].draw(both, rng, least)
        late = (on == 1) & (least >= size - 1)
        day = np.where(day < 0, DAYS - 1, day)
        on = np.where(late & (today == size - 1), 0, on)  # no day is left in this month: the same one
        return c.time_of(on, day, since)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        out = {f"bins.{k}": v for k, v in self.columns.binned.arrays().items()}
        for i, (kind, name, _, _) in enumerate(self.targets()):
            out |= {f"tree.{i}.{k}": v for k, v in self.trees[f"{kind}.{name}"].arrays().items()}
        return out

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave; raises ``ValueError`` or ``KeyError`` where it does not fit."""
        self.columns.binned.set_arrays({k[5:]: v for k, v in arrays.items() if k.startswith("bins.")})
        for i, (kind, name, size, wide) in enumerate(self.targets()):
            mine = {k: arrays[f"tree.{i}.{k}"] for k in ("nodes", "upto", "codes")}
            self.trees[f"{kind}.{name}"] = CodeTree.of(mine, size, wide)
