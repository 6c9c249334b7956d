"""Tables from a network over digits: as they come, under conditions on any columns, and with gaps filled.

What families share whose network gives each digit's distribution given any others, see
:class:`zoo.nn.column_sampler.ColumnSampler`: given columns are seen, asked ones are drawn first among what is admitted,
then the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.conditions import Condition, Conditions
from zoo.data.binned_columns import BinnedColumns
from zoo.data.digit_columns import DigitColumns
from zoo.nn.column_sampler import Admitted, ColumnSampler

_CANDIDATES = 8  # drawn for each sample where several columns are asked for sets or ranges


@dataclass(frozen=True)
class DigitDraws:
    """Draws of a fitted network.

    Parameters
    ----------
    columns
        The table's columns as digits.
    sampler
        The network.
    """

    columns: DigitColumns
    sampler: ColumnSampler

    def sample(
        self, n: int, conditions: Conditions, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> pd.DataFrame:
        """A table of n rows under conditions; logits are divided by ``temperature``."""
        if conditions:
            return self._sample_conditioned(n, conditions, rng, temperature)
        digits = np.zeros((n, len(self.columns.digits.sizes)), dtype=np.int64)
        self.sampler.draw(digits, (), range(digits.shape[1]), rng, temperature=temperature, alike=True)
        return self.columns.binned.decode(self.columns.join(digits), rng)

    def _sample_conditioned(
        self, n: int, conditions: Conditions, rng: np.random.Generator, temperature: float
    ) -> pd.DataFrame:
        """Columns with one code left a row are given; then the other asked ones are drawn, then the rest.

        Where several columns are asked for sets or ranges, each is first drawn given those before it alone. Of some
        such draws for each sample one is chosen, by the probability that they left for what is asked.
        """
        columns = self.columns
        asked = {name: _ask(columns.binned, condition, n) for name, condition in conditions.items()}
        codes = np.zeros((n, len(columns.names)), dtype=np.int64)
        given: list[int] = []
        admitted: dict[int, Admitted] = {}
        for name, one in asked.items():
            if one.fixed is not None:
                codes[:, columns.names.index(name)] = one.fixed
                given += columns.digits.digits[columns.place(name)]
            else:
                admitted[columns.place(name)] = Admitted(one.union, one.group)
        digits = columns.split(codes)  # (n, D)
        alike = not conditions.per_row
        if admitted:
            wanted = [j for c in sorted(admitted) for j in columns.digits.digits[c]]
            digits = self._draw_asked(digits, given, wanted, admitted, rng, temperature, alike)
            given += wanted
        rest = [j for j in range(digits.shape[1]) if j not in given]
        self.sampler.draw(digits, given, rest, rng, temperature=temperature, alike=alike and not admitted)
        codes = columns.join(digits)  # (n, C)
        limits = {}
        for name, one in asked.items():
            if one.ends is not None:
                ends = one.ends[one.choose(codes[:, columns.names.index(name)], rng)]  # (n, 2)
                limits[name] = (ends[:, 0], ends[:, 1])
        return columns.binned.decode(codes, rng, limits, conditions)

    def _draw_asked(
        self,
        digits: np.ndarray,
        given: list[int],
        wanted: list[int],
        admitted: Mapping[int, Admitted],
        rng: np.random.Generator,
        temperature: float,
        alike: bool,
    ) -> np.ndarray:
        """Digits ``(n, D)`` with the ``wanted`` ones drawn; rows that ask ``alike`` share their candidates."""
        n = len(digits)
        times = 1 if len(wanted) == 1 else _CANDIDATES  # one digit alone is drawn exactly
        many = np.repeat(digits, times, axis=0)  # (n * times, D)
        among = {c: a.repeat(times) for c, a in admitted.items()}
        weight = self.sampler.draw(many, given, wanted, rng, admitted=among, temperature=temperature, alike=alike)
        if times == 1:
            return many
        if alike:
            mass = np.exp(weight - weight.max()).cumsum()
            return many[np.searchsorted(mass, rng.random(n) * mass[-1], side="right").clip(max=len(mass) - 1)]
        weight = weight.reshape(n, times)
        mass = np.exp(weight - weight.max(axis=1, keepdims=True)).cumsum(axis=1)
        chosen = (mass <= rng.random((n, 1)) * mass[:, -1:]).sum(axis=1).clip(max=times - 1)
        return many[np.arange(n) * times + chosen]

    def impute(self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        """All patterns of what is ``absent (m, C)`` at once; see :mod:`zoo.imputing`."""
        columns, binned = self.columns, self.columns.binned
        present = {}
        for c, name in enumerate(columns.names):
            if absent[:, c].any() and binned.schema[name].nullable and binned.sizes[name] > 1:
                weights = np.ones((1, binned.sizes[name]))
                weights[0, -1] = 0  # the last code is "missing"
                present[columns.place(name)] = Admitted(weights)
        digits = columns.split(binned.encode(values))  # (m, D)
        self.sampler.draw(digits, ~columns.spread(absent), range(digits.shape[1]), rng, admitted=present)
        return binned.decode(columns.join(digits), rng)

    def log_prob(self, table: pd.DataFrame) -> np.ndarray:
        """Natural logarithm of each row's probability, ``float64 (n,)``; numbers as ``BinnedColumns`` counts them."""
        binned = self.columns.binned
        encoded = binned.codec.encode(table)
        codes = binned.encode(encoded)  # (n, C)
        return self.sampler.log_probability(self.columns.split(codes)) + binned.log_within(encoded, codes)


def _ask(columns: BinnedColumns, condition: Condition, n: int) -> "_Asked":
    name = condition.column.name
    if name not in columns.edges and condition.is_equality:  # without an array as wide as the column
        values = condition.fixed(n).astype(np.int64)
        pool = columns.pools.get(name)
        codes = values if pool is None else pool.code[values]
        return _Asked(fixed=np.where(values < 0, columns.sizes[name] - 1, codes))
    if condition.rows is None:
        weights, ends = columns.admitted(condition)
        group = None
        left = np.flatnonzero(weights.any(axis=0))
        fixed = np.full(n, left[0]) if len(left) == 1 else None
    else:
        distinct, group = np.unique(condition.rows, return_inverse=True)
        weights, ends = columns.row_weights(name, distinct), np.stack([distinct] * 2, axis=1)
        fixed = weights.argmax(axis=1)[group] if ((weights > 0).sum(axis=1) == 1).all() else None
    return _Asked(fixed=fixed, weights=weights, group=group, ends=ends)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a condition leaves of a column: one code a row, ``fixed (n,)``, or weights of its codes ``(m, K)``.

    ``group (n,)`` is the row of the weights that each sample has to take, None where any will do; ``ends (m, 2)`` is
    the closed range of numbers that goes with each.
    """

    fixed: np.ndarray | None = None
    weights: np.ndarray | None = None
    group: np.ndarray | None = None
    ends: np.ndarray | None = None

    @property
    def union(self) -> np.ndarray:
        """Weights of what may be drawn: ``(m, K)`` where there are groups, else ``(1, K)``, of all alternatives."""
        assert self.weights is not None
        return self.weights if self.group is not None else self.weights.sum(axis=0, keepdims=True).clip(max=1.0)

    def choose(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The alternative that each sample takes, ``(n,)``, given the codes ``(n,)`` that were drawn."""
        assert self.weights is not None
        if self.group is not None:
            return self.group
        chosen = np.zeros(len(codes), dtype=np.int64)
        if len(self.weights) > 1:
            for code in np.unique(codes):
                rows, weight = np.flatnonzero(codes == code), self.weights[:, code]
                chosen[rows] = rng.choice(len(weight), size=len(rows), p=weight / weight.sum())
        return chosen
