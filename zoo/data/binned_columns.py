"""A table as integer codes throughout: categories as they are, numbers by quantile bins, missing as a code of its own.

What networks and trees over discretised columns share. A value that many rows have (zero, 40 hours) is a bin of its
own; other bins hold about equally many rows. The way back draws within the bin from the column's quantile grid, so that
marginals survive and no training value is stored. Columns of very many categories are pooled into fewer codes, see
:mod:`zoo.data.pooled_categories`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.conditions import Condition, Conditions
from zoo.data.pooled_categories import PooledCategories
from zoo.data.table_codec import TableCodec
from zoo.data.table_values import asked_range, column_step
from zoo.schema import Schema
from zoo.statistics.optimal_scaling import scale_categories
from zoo.statistics.quantile_grid import cumulative_at, density_at, quantile_grid, quantiles_at


class BinnedColumns:
    """Tables <-> codes ``int64 (n, C)``, column by column 0 to ``sizes[column] - 1``.

    Parameters
    ----------
    schema
        The table's schema.
    bins
        Bins of a number at most, values with bins of their own included.
    categories
        Codes of a discrete column at most, "missing" not counted; a column with more categories is pooled.

    Attributes
    ----------
    names : tuple of str
        The columns that have codes: discrete ones, then numeric ones.
    sizes : dict of str to int
        Number of codes of each; the last is "missing" where a value may be missing.
    """

    def __init__(self, schema: Schema, bins: int, categories: int = 1000) -> None:
        self.schema = {c.name: c for c in schema}
        self.bins = bins
        self.categories = categories
        self.codec = TableCodec(schema)
        self.names = (*self.codec.discrete, *self.codec.numeric)
        self.edges: dict[str, np.ndarray] = {}  # number -> (bins + 1,) probabilities, from 0 to 1
        self.grids: dict[str, np.ndarray] = {}  # number -> quantiles
        self.sizes = {n: min(k, categories) + self.schema[n].nullable for n, k in self.codec.sizes.items()}
        self.pools: dict[str, PooledCategories | None] = {
            n: None for n, k in self.codec.sizes.items() if k > categories
        }

    @property
    def widths(self) -> list[int]:
        """The sizes in the order of ``names``."""
        return [self.sizes[n] for n in self.names]

    def fit(self, encoded: Mapping[str, np.ndarray]) -> None:
        """Choose the bins of the numbers of an encoded table (see ``TableCodec.encode``)."""
        for name in self.codec.numeric:
            self._learn(name, encoded[name][~np.isnan(encoded[name])])
            self.sizes[name] = len(self.edges[name]) - 1 + self.schema[name].nullable
        self._fit_pools(encoded)

    def _fit_pools(self, encoded: Mapping[str, np.ndarray]) -> None:
        if not self.pools:
            return
        codes = {n: np.where(encoded[n] < 0, k, encoded[n]) for n, k in self.codec.sizes.items()}
        scores = scale_categories(
            codes,
            {n: k + 1 for n, k in self.codec.sizes.items()},  # the last is missing
            {n: encoded[n] for n in self.codec.numeric},
            np.random.default_rng(0),
        )
        for name in self.pools:
            k = self.codec.sizes[name]
            self._set_pool(
                name, PooledCategories.fit(np.bincount(codes[name], minlength=k)[:k], scores[name][:k], self.categories)
            )

    def _set_pool(self, name: str, pool: PooledCategories) -> None:
        self.pools[name] = pool
        self.sizes[name] = pool.size + self.schema[name].nullable

    def _pool(self, name: str) -> PooledCategories | None:
        return self.pools.get(name)

    def _learn(self, name: str, known: np.ndarray) -> None:
        """The grid and the bins of a number."""
        _, counts = np.unique(known, return_counts=True)
        self.grids[name] = quantile_grid(known, 1000)
        self.edges[name] = bin_edges(counts, self.bins)

    def _cumulative(self, name: str, x: np.ndarray, side: str) -> np.ndarray:
        """Probability below ``x`` (side ``left``) or up to it (``right``)."""
        return cumulative_at(self.grids[name], x, side)

    def _density(self, name: str, x: np.ndarray) -> np.ndarray:
        """Density at the numbers ``x``."""
        return density_at(self.grids[name], x)

    def _quantiles(self, name: str, u: np.ndarray) -> np.ndarray:
        """Numbers at the probabilities ``u``."""
        return quantiles_at(self.grids[name], u)

    def encode(self, encoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """Codes ``int64 (n, C)`` of an encoded table."""
        columns = [self.codes(name, encoded[name]) for name in self.names]
        n = len(next(iter(encoded.values()))) if encoded else 0
        return np.stack(columns, axis=1) if columns else np.zeros((n, 0), dtype=np.int64)

    def codes(self, name: str, values: np.ndarray) -> np.ndarray:
        """Codes ``int64 (n,)`` of one encoded column."""
        if name in self.edges:
            codes = self.bin(name, values)
            missing = np.isnan(values)
        else:
            pool = self._pool(name)
            codes, missing = values if pool is None else pool.code[values], values < 0
        return np.where(missing, self.sizes[name] - 1, codes)

    def draw(self, name: str, code: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One encoded column of codes ``(n,)``, the inverse of :meth:`codes`; numbers are drawn within their bins."""
        missing = code == self.sizes[name] - 1 if self.schema[name].nullable else np.zeros(len(code), dtype=bool)
        if name not in self.edges:
            pool = self._pool(name)
            return np.where(missing, -1, code if pool is None else pool.draw(np.where(missing, 0, code), rng))
        edges = self.edges[name]
        place = np.minimum(code, len(edges) - 2)
        share = rng.random(len(code))
        values = self._quantiles(name, edges[place] + (edges[place + 1] - edges[place]) * share)
        return np.where(missing, np.nan, values)

    def bin(self, name: str, values: np.ndarray) -> np.ndarray:
        grid, edges = self.grids[name], self.edges[name]
        filled = np.where(np.isnan(values), grid[0], values)
        # The middle of the probabilities that a value takes: an atom lies well within its own bin.
        middle = (self._cumulative(name, filled, "left") + self._cumulative(name, filled, "right")) / 2
        return np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, len(edges) - 2)

    def decode(
        self,
        codes: np.ndarray,
        rng: np.random.Generator,
        limits: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        conditions: Conditions | None = None,
    ) -> Any:
        """A table of codes ``(n, C)``; numbers are drawn within their bins.

        Parameters
        ----------
        codes
            ``int (n, C)``.
        rng
            Source of randomness.
        limits
            For some numbers, the closed range ``(n,)``, ``(n,)`` that each has to lie in.
        conditions
            What was asked; needed for columns whose categories are pooled.
        """
        n = len(codes)
        columns: dict[str, np.ndarray] = {}
        for j, name in enumerate(self.names):
            code = codes[:, j].astype(np.int64)
            missing = code == self.sizes[name] - 1 if self.schema[name].nullable else np.zeros(n, dtype=bool)
            if name not in self.edges:
                pool, asked_for = self._pool(name), None if conditions is None else conditions.get(name)
                if pool is not None:
                    code = self._category(pool, np.where(missing, 0, code), rng, asked_for)
                columns[name] = np.where(missing, -1, code)
                continue
            edges, grid = self.edges[name], self.grids[name]
            place = np.minimum(code, len(edges) - 2)
            start, end = edges[place], edges[place + 1]
            asked = None if limits is None else limits.get(name)
            if asked is not None:
                low, high = (np.where(np.isnan(e), grid[0], e) for e in asked)  # NaN: missing, whatever is drawn
                half = column_step(self.schema[name]) / 2
                start = np.maximum(start, self._cumulative(name, low - half, "left"))
                end = np.maximum(np.minimum(end, self._cumulative(name, high + half, "right")), start)
            values = self._quantiles(name, start + (end - start) * rng.random(n))
            if asked is not None:
                values = np.clip(values, low, high)
            columns[name] = np.where(missing, np.nan, values)
        return self.codec.decode(columns, n)

    def _category(
        self, pool: PooledCategories, code: np.ndarray, rng: np.random.Generator, asked: Condition | None
    ) -> np.ndarray:
        """Categories ``(n,)`` of pooled codes ``(n,)``."""
        if asked is None:
            return pool.draw(code, rng)
        if asked.rows is not None:
            return asked.rows
        among = asked.allowed()
        # Rows in which the value is missing have a code that nobody looks at; it may hold nothing that is admitted.
        return pool.draw(code, rng, among | (pool.weigh(among) == 0)[pool.code])

    def log_within(self, encoded: Mapping[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
        """Natural logarithm of how likely an encoded table's values are within their bins and pools, ``(n,)``.

        Probabilities of categories, of numbers that are rounded and of point masses; densities of other numbers;
        together with the probabilities of the codes ``(n, C)`` those of the rows.
        """
        total = np.zeros(len(codes))
        for name, pool in self.pools.items():
            if pool is not None:
                known = np.flatnonzero(encoded[name] >= 0)
                total[known] += np.log(pool.weigh_each(encoded[name][known])[1])
        for name in self.codec.numeric:
            edges, values = self.edges[name], encoded[name]
            known = np.flatnonzero(~np.isnan(values))
            values, place = values[known], np.minimum(codes[known, self.names.index(name)], len(edges) - 2)
            half = column_step(self.schema[name]) / 2
            start, end = self._cumulative(name, values - half, "left"), self._cumulative(name, values + half, "right")
            mass = np.minimum(end, edges[place + 1]) - np.maximum(start, edges[place])
            likely = np.where(mass > 1e-12, mass, self._density(name, values)) / (edges[place + 1] - edges[place])
            total[known] += np.log(np.maximum(likely, 1e-30))
        return total

    # Conditions

    def admitted(self, condition: Condition) -> tuple[np.ndarray, np.ndarray | None]:
        """The disjoint alternatives that a condition, the same for all rows, admits.

        Parameters
        ----------
        condition
            Not one with a value a row; see :meth:`row_weights` for those.

        Returns
        -------
        weights, ends
            Weight in [0, 1] of each code under each of m alternatives, ``(m, K)``: a bin that lies partly within a
            range counts by the part of its probability that does. For numbers, the closed range of each alternative,
            ``(m, 2)``, NaN for missing; None for discrete columns, which have one alternative.

        Raises
        ------
        ConditionError
            If no value of the column lies in the range.
        """
        name = condition.column.name
        if name not in self.edges:
            assert condition.values is not None
            weight = np.zeros((1, self.sizes[name]))
            pool = self._pool(name)
            if pool is None:
                weight[0, self._with_missing(name, condition.values)] = 1.0
            else:
                weight[0, : pool.size] = pool.weigh(condition.allowed())
                weight[0, pool.size :] = (condition.values < 0).any()
            return weight, None
        if not condition.is_range:
            assert condition.values is not None
            return self.row_weights(name, condition.values), np.stack([condition.values] * 2, axis=1)
        ends = np.array([asked_range(condition)])
        weight = np.zeros((1, self.sizes[name]))
        self._weigh(name, ends[:, 0], ends[:, 1], weight)
        return weight, ends

    def row_weights(self, name: str, values: np.ndarray) -> np.ndarray:
        """Weight of each code for given values ``(n,)`` (codes or numbers, -1 or NaN for missing), ``(n, K)``."""
        weight = np.zeros((len(values), self.sizes[name]))
        pool = self._pool(name)
        if pool is not None:
            code, part = pool.weigh_each(np.maximum(values, 0).astype(np.int64))
            weight[np.arange(len(values)), np.where(values < 0, self.sizes[name] - 1, code)] = np.where(
                values < 0, 1.0, part
            )
            return weight
        if name not in self.edges:
            weight[np.arange(len(values)), self._with_missing(name, values)] = 1.0
            return weight
        missing = np.isnan(values)
        filled = np.where(missing, self.grids[name][0], values)
        self._weigh(name, filled, filled, weight)
        weight[missing] = 0.0
        weight[missing, -1] = 1.0
        return weight

    def _with_missing(self, name: str, values: np.ndarray) -> np.ndarray:
        """Codes of a discrete column's values, in which -1 is missing, as codes in which the last is."""
        return np.where(values < 0, self.sizes[name] - 1, values).astype(np.int64)

    def _weigh(self, name: str, low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> None:
        """Write the share of each bin's probability that lies in ``[low, high] (m,)`` to ``weight (m, K)``."""
        edges = self.edges[name]
        half = column_step(self.schema[name]) / 2
        start = self._cumulative(name, low - half, "left")
        end = self._cumulative(name, high + half, "right")
        inside = np.minimum(end[:, None], edges[None, 1:]) - np.maximum(start[:, None], edges[None, :-1])
        share = np.clip(inside / np.diff(edges), 0.0, 1.0)  # (m, bins)
        empty = share.sum(axis=1) < 1e-12  # a point, or a gap between two values: the bin that it lies in
        place = np.clip(np.searchsorted(edges, (start + end) / 2, side="right") - 1, 0, len(edges) - 2)
        share[empty, place[empty]] = 1e-6
        weight[:, : share.shape[1]] = share

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        out = {f"edges.{i}": self.edges[n] for i, n in enumerate(self.codec.numeric)}
        out |= {f"grid.{i}": self.grids[n] for i, n in enumerate(self.codec.numeric)}
        for i, pool in enumerate(self.pools.values()):
            assert pool is not None
            out |= {f"pool.{i}.{k}": v for k, v in pool.arrays().items()}
        return out

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin."""
        for i, name in enumerate(self.codec.numeric):
            edges, grid = arrays[f"edges.{i}"], arrays[f"grid.{i}"]
            sound = (
                edges.ndim == grid.ndim == 1 and len(edges) > 1 and len(grid) > 1 and edges[0] == 0 and edges[-1] == 1
            )
            rises = sound and bool((np.diff(grid) >= 0).all()) and bool((np.diff(edges) > 0).all())  # not if NaN
            if not rises or not np.isfinite(grid).all():
                raise ValueError(f"the bins of column {name!r} are none")
            self.edges[name], self.grids[name] = edges, grid
            self.sizes[name] = len(edges) - 1 + self.schema[name].nullable
        for i, name in enumerate(self.pools):
            mine = {k: arrays[f"pool.{i}.{k}"] for k in ("code", "share")}
            self._set_pool(name, PooledCategories.from_arrays(mine, self.codec.sizes[name], self.categories))


def bin_edges(counts: np.ndarray, bins: int) -> np.ndarray:
    """Probabilities at which bins of sorted distinct values end: ``(at most bins + 1,)`` from 0 to 1.

    A value with at least 1 / ``bins`` of the rows has a bin of its own.
    """
    if not len(counts):
        return np.array([0.0, 1.0])
    share = counts / counts.sum()
    after = np.cumsum(share)
    after[-1] = 1.0
    heavy = share >= 1 / bins
    label = np.floor((after - share / 2) * bins).astype(np.int64)
    ends = np.ones(len(share), dtype=bool)
    ends[:-1] = (label[1:] != label[:-1]) | heavy[1:] | heavy[:-1]
    edges = np.concatenate([[0.0], after[ends]])
    while len(edges) - 1 > bins:  # splitting off heavy values may make more bins than asked: join the smallest
        widths = np.diff(edges)
        edges = np.delete(edges, 1 + int(np.argmin(widths[:-1] + widths[1:])))
    return edges
