"""A table's columns as step functions and quantiles of latent standard normal variables, and conditions as intervals.

What copulas of mixed tables share: a discrete column is a latent variable cut at its cumulative frequencies (a missing
value is one more class), a number is its quantile function of a latent variable, and a number that may be missing has
a second latent variable that says whether it is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from zoo.conditions import Condition, bounds
from zoo.data.table_codec import TableCodec
from zoo.data.table_values import asked_range, column_step
from zoo.schema import Schema
from zoo.statistics.gaussian_scores import cumulate, hermite_coefficients, normal_scores
from zoo.statistics.quantile_grid import cumulative_at, density_at, quantile_grid, quantiles_at
from zoo.statistics.truncated_normal import MIN_WIDTH, log_interval

Interval = tuple[float, float]
Choice = tuple[dict[int, Interval], Any, float]
"""Intervals by latent variable; what to set: a range of ranks of a class, or a range of numbers (NaN: missing); and
what to add to the ln probability of the intervals, see :meth:`LatentColumns._ends`."""

_STRANGE = (-100.0, -50.0)  # ln probability of a class, and of a number, that the group of rows never had
_POINT = 1e-9  # a point of a continuous number stands for this part of the column's range


class LatentLayout:
    """Which latent variables the columns of a table have, and in which order the classes of a discrete column stand.

    Parameters
    ----------
    schema
        The table's schema.

    Attributes
    ----------
    latent : dict of (str, str) to int
        Number of the latent variable of (role, column): roles ``class``, ``value`` and ``missing``.
    classes : dict of str to int
        Number of classes of each discrete column; the last is "missing" where a value may be missing.
    ranked : dict of str to numpy.ndarray
        The classes of each discrete column in the order of the latent variable.
    """

    def __init__(self, schema: Schema) -> None:
        self.codec = TableCodec(schema)
        self.schema = {c.name: c for c in schema}
        self.classes = {n: k + self.schema[n].nullable for n, k in self.codec.sizes.items()}
        self.indicators = tuple(n for n in self.codec.numeric if self.schema[n].nullable)
        self.steps = {n: column_step(self.schema[n]) for n in self.codec.numeric}
        ends = {n: bounds(self.schema[n]) for n in self.codec.numeric}
        self.spans = {n: high - low if 0 < high - low < np.inf else 1.0 for n, (low, high) in ends.items()}
        roles = [("class", n) for n in self.codec.discrete] + [("value", n) for n in self.codec.numeric]
        self.latent = {key: i for i, key in enumerate([*roles, *(("missing", n) for n in self.indicators)])}
        self.ranked: dict[str, np.ndarray] = {}
        self._rank: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.latent)

    def of(self, names: Any) -> list[int]:
        """The latent variables of given columns."""
        return [j for (_, name), j in self.latent.items() if name in names]

    def encode(self, data: Any) -> dict[str, np.ndarray]:
        """Classes (missing is the last) and numbers (NaN) of a table."""
        encoded = self.codec.encode(data)
        return {n: self.to_class(n, v) if n in self.classes else v for n, v in encoded.items()}

    def to_class(self, name: str, codes: np.ndarray) -> np.ndarray:
        return np.where(codes < 0, self.classes[name] - 1, codes)

    def to_code(self, name: str, classes: np.ndarray) -> np.ndarray:
        return np.where(classes == self.classes[name] - 1, -1, classes) if self.schema[name].nullable else classes

    def set_order(self, name: str, order: np.ndarray) -> None:
        """Fix the order of a column's classes; "missing" has to stand first or last."""
        self.ranked[name] = order
        self._rank[name] = np.argsort(order)

    def order_by(self, name: str, scores: np.ndarray, typical: float) -> None:
        """Order classes by their scores; "missing" goes to the end on its side of the ``typical`` score, so that "not
        missing" is one interval. Ordinal columns keep their own order."""
        size = self.classes[name]
        order = np.arange(size) if self.schema[name].kind == "ordinal" else np.argsort(scores, kind="stable")
        if self.schema[name].nullable:
            order = order[order != size - 1]
            order = np.append(order, size - 1) if scores[-1] > typical else np.insert(order, 0, size - 1)
        self.set_order(name, order)

    def rank(self, name: str, classes: np.ndarray) -> np.ndarray:
        """Positions of classes in their order."""
        return self._rank[name][classes]

    def present(self, name: str) -> tuple[int, int]:
        """First and last rank of the classes that are not "missing"."""
        last = self.classes[name] - 1
        if not self.schema[name].nullable:
            return 0, last
        return (1, last) if self.ranked[name][0] == last else (0, last - 1)


class LatentColumns:
    """The marginal distributions of one group of rows, under a layout that groups share."""

    def __init__(self, layout: LatentLayout) -> None:
        self.layout = layout
        self.cumulative: dict[str, np.ndarray] = {}  # discrete column -> (K + 1,) in the order of ranks
        self.grids: dict[str, np.ndarray] = {}  # number -> quantiles
        self.missing: dict[str, float] = {}  # number that may be missing -> share

    # Learning

    def fit(
        self, part: Mapping[str, np.ndarray], n: int, points: int, whole: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Learn the marginals of encoded rows.

        Parameters
        ----------
        part
            What :meth:`LatentLayout.encode` gives, of n rows.
        n
            Number of rows.
        points
            Points of the quantile grids at most.
        whole
            Quantile grids to use for a number that is missing in all n rows.

        Returns
        -------
        scores, known, coefficients
            Normal scores ``(n, D)`` of each latent variable (0 where unknown), where they are known ``bool (n, D)``,
            and their Hermite coefficients ``(D, degree)``.
        """
        layout = self.layout
        scores, known = np.zeros((n, len(layout))), np.ones((n, len(layout)), dtype=bool)
        coefficients = []
        for (role, name), j in layout.latent.items():
            if role == "class":
                ranks = layout.rank(name, part[name])
                counts = np.bincount(ranks, minlength=layout.classes[name])
                self.cumulative[name] = cumulate(counts)
            elif role == "missing":
                ranks = np.isnan(part[name]).astype(np.int64)
                counts = np.bincount(ranks, minlength=2)
                self.missing[name] = float(ranks.mean())
            else:
                here = ~np.isnan(part[name])
                known[:, j] = here
                values = part[name][here]
                self.grids[name] = quantile_grid(values, points) if len(values) else whole[name]
                _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
                ranks = np.zeros(n, dtype=np.int64)
                ranks[here] = place
            cumulative = cumulate(counts) if counts.sum() else np.array([0.0, 1.0])
            steps = normal_scores(cumulative)
            scores[:, j] = np.where(known[:, j], steps[ranks], 0.0)
            coefficients.append(hermite_coefficients(cumulative, steps))
        self.finish()
        return scores, known, np.array(coefficients)

    def finish(self) -> None:
        """What drawing needs, made from the state."""
        self.limits = {n: ndtri(c) for n, c in self.cumulative.items()}  # infinite at the ends
        self._inner = {n: v[1:-1].astype(np.float32) for n, v in self.limits.items()}
        self._missing_from = {n: float(ndtri(1 - share)) for n, share in self.missing.items()}

    # Drawing

    def values(self, latent: np.ndarray) -> dict[str, np.ndarray]:
        """Codes (-1 missing) and numbers (NaN missing) of latent vectors ``(m, D)``."""
        layout, out = self.layout, {}
        for (role, name), j in layout.latent.items():
            z = latent[:, j]
            if role == "class":
                inner = self._inner[name] if z.dtype == np.float32 else self.limits[name][1:-1]
                rank = np.searchsorted(inner, z, side="right")
                out[name] = layout.to_code(name, layout.ranked[name][rank])
            elif role == "value":
                out[name] = quantiles_at(self.grids[name], ndtr(z))
            else:
                out[name] = np.where(z > self._missing_from[name], np.nan, out[name])
        return out

    # Conditions

    def choices(self, condition: Condition) -> list[Choice]:
        """The disjoint boxes of latent variables that a condition admits."""
        name = condition.column.name
        if condition.column.is_discrete:
            return self._class_choices(name, condition)
        j = self.layout.latent["value", name]
        indicator = self.layout.latent.get(("missing", name))
        may_be_present = self.missing.get(name, 0.0) < 1
        present = {} if indicator is None else {indicator: (-np.inf, self._missing_from[name])}
        if condition.is_range:
            ends = [asked_range(condition)]
        else:
            assert condition.values is not None
            ends = [(v, v) for v in condition.values.tolist() if not np.isnan(v)]
        out: list[Choice] = []
        for low, high in ends if may_be_present else []:
            interval = self._interval(name, low, high)
            if interval is not None:
                start, end, more = interval
                out.append(({j: (start, end), **present}, (low, high), more))
        asks_missing = condition.values is not None and bool(np.isnan(condition.values).any())
        if asks_missing and indicator is not None and self.missing[name] > 0:
            out.append(({indicator: (self._missing_from[name], np.inf)}, (np.nan, np.nan), 0.0))
        return out

    def _interval(self, name: str, low: float, high: float) -> tuple[float, float, float] | None:
        """What :meth:`_ends` gives for one range of whole steps; None if no number lies in it."""
        half, grid = self.layout.steps[name] / 2, self.grids[name]
        if high + half < grid[0] or low - half > grid[-1]:
            return None
        start, end, more = self._ends(name, np.array([low]), np.array([high]))
        return float(start[0]), float(end[0]), float(more[0])

    def _ends(self, name: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Latent intervals of the numbers ``low (m,)`` to ``high (m,)``, and their ln share of what is drawn there.

        Intervals narrower than :data:`MIN_WIDTH` (points of a continuous number above all) are drawn as if they were
        as wide, which gives their probability away. What has to be added to its logarithm is the third array ``(m,)``:
        without it, groups of rows in which a number spreads widely would seem as likely as those in which it is dense.
        """
        half, grid = self.layout.steps[name] / 2, self.grids[name]
        start, end = cumulative_at(grid, low - half, "left"), cumulative_at(grid, high + half, "right")
        mass, point = end - start, end <= start
        # The least and the greatest number have no finite place: they get one in the middle of their share of rows.
        edge = 0.125 / (len(grid) - 1)
        start, end = (np.where(point, np.clip(e, edge, 1 - edge), e) for e in (start, end))
        z_low, z_high = ndtri(start), ndtri(end)
        narrow = z_high - z_low < MIN_WIDTH
        more = np.zeros(len(low))
        if narrow.any():
            mass = np.where(point, density_at(grid, low) * self.layout.spans[name] * _POINT, mass)[narrow]
            middle = (z_low[narrow] + z_high[narrow]) / 2
            drawn = log_interval(middle - MIN_WIDTH / 2, middle + MIN_WIDTH / 2)
            more[narrow] = np.log(np.maximum(mass, 1e-300)) - drawn
        return z_low, z_high, more

    def _class_choices(self, name: str, condition: Condition) -> list[Choice]:
        """Runs of admitted classes; classes without mass between them do not part a run."""
        assert condition.values is not None
        layout = self.layout
        mass = np.diff(self.cumulative[name]) > 0
        admitted = np.isin(layout.ranked[name], layout.to_class(name, condition.values))
        ranks = np.flatnonzero(mass)
        runs: list[list[int]] = []
        before = -2
        for place, rank in enumerate(ranks):
            if admitted[rank]:
                if place == before + 1:
                    runs[-1].append(int(rank))
                else:
                    runs.append([int(rank)])
                before = place
        limits, j = self.limits[name], layout.latent["class", name]
        return [({j: (float(limits[r[0]]), float(limits[r[-1] + 1]))}, (r[0], r[-1]), 0.0) for r in runs]

    def row_boxes(
        self,
        name: str,
        values: np.ndarray,
        fill: np.ndarray,
        ends: Mapping[int, tuple[np.ndarray, np.ndarray]],
        near: bool,
    ) -> np.ndarray:
        """Write the latent intervals of given values of one column, one a row.

        Parameters
        ----------
        name
            The column.
        values
            ``(G,)`` codes or numbers, -1 or NaN for missing.
        fill
            ``bool (G,)``: rows where any value but a missing one is wanted.
        ends
            For each latent variable of the column, its lower and upper ends ``(G,)``, written in place.
        near
            Whether values that never occurred count as the nearest that did, at a very small probability: rows to be
            imputed have what they have.

        Returns
        -------
        numpy.ndarray
            ``(G,)`` what to add to the ln probability of the boxes, see :meth:`_ends`; -inf where it cannot occur.
        """
        layout = self.layout
        if name in layout.classes:
            low, high = ends[layout.latent["class", name]]
            limits, mass = self.limits[name], np.diff(self.cumulative[name])
            rank = layout.rank(name, layout.to_class(name, np.where(fill, 0, values).astype(np.int64)))
            first, last = layout.present(name)
            low[:] = np.where(fill, limits[first], limits[rank])
            high[:] = np.where(fill, limits[last + 1], limits[rank + 1])
            possible = np.where(fill, mass[first : last + 1].sum() > 0, mass[rank] > 0)
            if near:
                strange = ~possible & ~fill
                low[strange] = high[strange] = np.clip(low[strange], *ndtri([1e-4, 1 - 1e-4]))
                return np.where(strange, _STRANGE[0], np.where(possible, 0.0, -np.inf))
            return np.where(possible, 0.0, -np.inf)
        low, high = ends[layout.latent["value", name]]
        missing, given = np.isnan(values) & ~fill, ~np.isnan(values) & ~fill
        half, grid = layout.steps[name] / 2, self.grids[name]
        more = np.zeros(len(values))
        possible = ~given | ((values + half >= grid[0]) & (values - half <= grid[-1]))
        if near:
            strange, values = ~possible, np.clip(values, grid[0], grid[-1])
            possible[:] = True
        low[given], high[given], more[given] = self._ends(name, values[given], values[given])
        if near:
            more[strange] = _STRANGE[1]
        if ("missing", name) in layout.latent:
            low, high = ends[layout.latent["missing", name]]
            low[missing], high[~missing] = self._missing_from[name], self._missing_from[name]
            share = self.missing[name]
            never = np.where(missing, share <= 0, share >= 1)
            if near:  # missing or not, where the group knows one of both only, says nothing
                low[never], high[never] = -np.inf, np.inf
                more[never & ~missing & ~fill] += _STRANGE[1]
                never = never & (fill | missing)
            possible &= ~never
        return np.where(possible, more, -np.inf)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        codec = self.layout.codec
        out = {f"class.{i}": self.cumulative[n] for i, n in enumerate(codec.discrete)}
        out |= {f"value.{i}": self.grids[n] for i, n in enumerate(codec.numeric)}
        return out | {"missing": np.array([self.missing[n] for n in self.layout.indicators])}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin."""
        layout = self.layout
        for i, name in enumerate(layout.codec.discrete):
            cumulative = arrays[f"class.{i}"]
            if cumulative.shape != (layout.classes[name] + 1,) or not _rises(cumulative, 0.0, 1.0):
                raise ValueError(f"the frequencies of column {name!r} do not fit the schema")
            self.cumulative[name] = cumulative
        for i, name in enumerate(layout.codec.numeric):
            grid = arrays[f"value.{i}"]
            if grid.ndim != 1 or len(grid) < 2 or not _rises(grid, grid[0], grid[-1]):
                raise ValueError(f"the quantiles of column {name!r} do not rise")
            self.grids[name] = grid
        missing = arrays["missing"]
        if missing.shape != (len(layout.indicators),) or not ((missing >= 0) & (missing <= 1)).all():
            raise ValueError("the shares of missing values do not fit the schema")
        self.missing = dict(zip(layout.indicators, missing.tolist(), strict=True))
        self.finish()


def _rises(values: np.ndarray, first: float, last: float) -> bool:
    sound = bool(np.isfinite(values).all()) and bool((np.diff(values) >= 0).all())
    return sound and values[0] == first and values[-1] == last
