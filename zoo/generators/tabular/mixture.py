"""Mixture: a latent mixture over binned columns, one mixing variable a column, joined in a tree; all sums are exact.

References: A. Liu, G. Van den Broeck, "Tractable Regularization of Probabilistic Circuits", NeurIPS 2021, arXiv
2106.02264 (hidden Chow-Liu trees); Y. Choi, A. Vergari, G. Van den Broeck, "Probabilistic Circuits: A Unifying
Framework for Tractable Probabilistic Models", UCLA 2020. Numbers are quantile bins, frequent values bins of their own.

Choices, on a fifth of Adult and of Magic that was held out from the training rows (natural log-likelihood a row, higher
is better). One mixing variable for all columns, a plain mixture of 256 products, ended at -21.95 on Adult and -40.56 on
Magic; a mixing variable of 64 states a column in a Chow-Liu tree at -19.48 and -39.69, in a fifteenth of the time. 32,
64, 128 and 256 states ended at -19.63, -19.48, -19.48 and -19.51 on Adult; the last three had pair trends of 0.988,
0.985 and 0.984 and two-sample AUCs of 0.558, 0.562 and 0.556: so 64. Bins of numbers lend each other counts, with the
weight of 300 rows a state: -39.69 instead of -40.25 on Magic and no worse on Adult (smoothing alone costs 0.05 there,
as ages and capital gains have values with a meaning of their own). Moves between states are taken together with 10 rows
at independence (a hundredth of a state's rows at most) and emissions with 3 at the marginal, for privacy: on a fifth of
Adult's training rows, with 3 and 1 the share of samples that lie closer to a fitted than to a held-out row was 0.510
instead of 0.505, and an attack named 1.3 instead of 1.1 % of the members at 1 % false alarms, at the same pair trends
(0.985 and 0.984) and two-sample AUC (0.556 and 0.560). A cap of three hundredths washes dependence out of small tables.
Bins keep values that few rows share exactly (amounts of capital gains), and grow finer where one value has most rows:
models trained on samples of Adult had an AUC of 0.918 instead of 0.910, means of three splits of the training rows, at
the same pair trends (0.984), two-sample AUC (0.566 and 0.567) and share closer to train (0.511); Magic, which has few
such values, is the same. 256 such bins instead of 100 were no better on Adult and worse on Magic (0.742 instead of
0.701). Emission priors of 4, 5 and 8 rows trade the two-sample AUC (0.574, 0.580, 0.579 instead of 0.566) for the share
closer to train (0.510, 0.501, 0.507 instead of 0.511, each give or take 0.003), and 48 states with 6 rows too (0.583
and 0.507).

The knob between fidelity and privacy is ``states``.

Best at: exact conditions on any columns, exact densities and imputation, and speed, at the quality of neural families.
Worst at: smooth dependence between many numbers (use ``tabular/boosted`` or ``tabular/diffusion``): what bins share
within is lost, and each column speaks with the others through one variable of 64 states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.point_columns import PointColumns
from zoo.data.table_values import column_step
from zoo.errors import ConditionError
from zoo.generator import Generator
from zoo.say import say
from zoo.statistics.alias_table import AliasTable
from zoo.statistics.hidden_tree import HiddenTree, draw_each

if TYPE_CHECKING:
    from zoo.statistics.hidden_tree_em import Progress
    from zoo.training.config import TrainConfig

_NUMBERS = 2**20  # weights of rows by codes that are held at once, 8 MB


@dataclass(kw_only=True, eq=False)
class Mixture(Generator):
    """A hidden Chow-Liu tree over binned columns, learned by expectation maximisation.

    Parameters
    ----------
    states
        States of each column's mixing variable. The knob between fidelity and privacy: more follow the data, and the
        people in them, more closely.
    bins
        Bins of a numeric column; a value that many rows share has one of its own.
    """

    states: Annotated[int, Range(1, 1024)] = 64
    bins: Annotated[int, Range(2, 1000)] = 100

    default_block_size: ClassVar[int] = 16_384
    fit_cost: ClassVar[tuple[float, float] | None] = (9, 6)

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._columns.names

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        from zoo.statistics.hidden_tree_em import learn_tree

        columns = self._columns = PointColumns(self.schema, self.bins)
        encoded = columns.codec.encode(data)
        columns.fit(encoded)
        if not columns.names:  # nothing but constants and identifiers
            return {"epochs": 0, "steps": 0}
        learned = learn_tree(
            columns.encode(encoded),
            columns.widths,
            [columns.sizes[n] - self.schema[n].nullable if n in columns.edges else 0 for n in columns.names],
            self.states,
            rng,
            epochs=train.epochs,
            max_steps=train.max_steps,
            max_seconds=None if train.max_minutes is None else 60 * train.max_minutes,
            batch_size=train.batch_size,
            held_out=train.validation_fraction,
            patience=train.patience,
            tell=self._tell,
        )
        self._tree = learned.tree
        return {"epochs": learned.epochs, "steps": learned.steps, "stopped_by": learned.stopped_by}

    def _tell(self, progress: "Progress") -> None:
        say(
            f"{self.name}: step {progress.step} of {progress.steps}, "
            f"log-likelihood of a held-out row {progress.log_likelihood:.3f}"
        )

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        if conditions.per_row:
            given = {name: _PerRow(self, name, c.fixed(n)) for name, c in conditions.items()}
            ends = {name: (given[name].values,) * 2 for name in conditions if name in self._columns.edges}
            return self._columns.decode(self._draw(n, given, rng), rng, ends, conditions)
        shared = {name: _Shared(self, name, *self._columns.admitted(c)) for name, c in conditions.items()}
        codes = self._draw(n, shared, rng)
        limits = {name: asked.limits() for name, asked in shared.items() if asked.ends is not None}
        return self._columns.decode(codes, rng, limits, conditions)

    def _draw(self, n: int, given: "Mapping[str, _PerRow | _Shared]", rng: np.random.Generator) -> np.ndarray:
        """Codes ``int64 (n, C)`` given what is known of some columns, exactly."""
        names = self._columns.names
        codes = np.empty((n, len(names)), dtype=np.int64)
        if not names:
            return codes
        evidence = [given[name].evidence() if name in given else None for name in names]
        below, _, log_likelihood = self._tree.up(evidence)
        never = np.flatnonzero(np.isinf(log_likelihood))
        if len(never):
            where = f"row {never[0]}: " if len(log_likelihood) > 1 else ""
            asked = ", ".join(map(repr, given))
            raise ConditionError(f"{where}what is asked of {asked} never occurred in training; ask otherwise")
        states = self._tree.draw_states(n, below, rng)
        for c, name in enumerate(names):
            known = given.get(name)
            codes[:, c] = self._tree.draw_codes(c, states[c], rng) if known is None else known.draw(states[c], rng)
        return codes

    def _emission(self, name: str) -> np.ndarray:
        """Probability of each code given the column's state, ``(K, H)``."""
        return self._tree.emissions[self._columns.names.index(name)]

    # Imputation and density

    def _impute_rows(
        self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator
    ) -> pd.DataFrame:
        """All patterns of what is missing at once, exactly; see :mod:`zoo.imputing`."""
        given = {n: _PerRow(self, n, values[n], absent[:, c]) for c, n in enumerate(self._columns.names)}
        return self._columns.decode(self._draw(len(absent), given, rng), rng)

    def _checked(self, data: Any) -> pd.DataFrame:
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        return table

    def log_prob(self, data: Any) -> np.ndarray:
        """Exact natural logarithm of the probability of each row, ``float64 (n,)``.

        Categories, whole numbers, times and numbers of so many decimals count by their probability, other numbers by
        their density. Identifiers, free text and constants do not count. A row with a category that never occurred in
        training has minus infinity.

        Parameters
        ----------
        data
            A table of the generator's schema.

        Raises
        ------
        SchemaError
            If the table does not conform to the schema.
        """
        encoded = self._columns.codec.encode(self._checked(data))
        n = len(next(iter(encoded.values()))) if encoded else len(data)
        out = np.zeros(n)
        if not encoded:
            return out
        for start in range(0, n, self.block_size):
            rows = slice(start, start + self.block_size)
            known = [_PerRow(self, name, encoded[name][rows]) for name in self._columns.names]
            out[rows] = self._tree.up([k.evidence(density=True) for k in known]).log_likelihood
        return out

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        out = {f"columns.{k}": v for k, v in self._columns.arrays().items()}
        if self._columns.names:
            tree = self._tree
            out |= {"parents": tree.parents.astype(np.int32), "order": tree.order.astype(np.int32)}
            out |= {"moves": tree.moves, "emissions": np.concatenate(tree.emissions)}
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._columns = PointColumns(self.schema, self.bins)
        self._columns.set_arrays({k[8:]: v for k, v in arrays.items() if k.startswith("columns.")})
        widths = self._columns.widths
        if not widths:
            return
        parents, order = arrays["parents"].astype(np.int64), arrays["order"].astype(np.int64)
        moves, emissions = arrays["moves"].astype(np.float32), arrays["emissions"].astype(np.float32)
        size, states = len(widths), self.states
        if moves.shape != (size, states, states) or emissions.shape != (sum(widths), states):
            raise ValueError("the tables do not fit the configuration and the columns")
        if parents.shape != (size,) or sorted(order.tolist()) != list(range(size)):
            raise ValueError("the tree does not fit the columns")
        seen = {-1}
        for c in order.tolist():  # the root alone has no parent, and every parent stands before its children
            if int(parents[c]) not in seen or (parents[c] == -1) != (len(seen) == 1):
                raise ValueError("the parents are no tree")
            seen.add(c)
        each = np.split(emissions, np.cumsum(widths)[:-1])
        for table, axis in [(moves, 2), *((e, 0) for e in each)]:
            if not (table >= 0).all() or not np.allclose(table.sum(axis=axis), 1, atol=1e-3):  # not if NaN
                raise ValueError("a table holds what are no probabilities")
        self._tree = HiddenTree(parents, order, moves, each)


class _Shared:
    """What all rows know of a column: one of m alternatives, as weights ``(m, K)`` of its codes."""

    def __init__(self, owner: Mixture, name: str, weights: np.ndarray, ends: np.ndarray | None) -> None:
        self.weights, self.ends = weights.astype(np.float32), ends  # (m, K), (m, 2)
        self.emission = owner._emission(name)  # (K, H)
        self._chosen = np.empty(0, dtype=np.int64)

    def evidence(self) -> np.ndarray:
        return self.weights.sum(axis=0, keepdims=True) @ self.emission  # (1, H)

    def draw(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Codes ``(n,)``, and which alternative each row takes."""
        n, k = len(states), self.weights.shape[1]
        self._chosen = np.zeros(n, dtype=np.int64)
        if len(self.weights) == 1:
            return AliasTable(_restricted(self.emission.T, self.weights)).draw(states, rng)
        self._chosen = AliasTable((self.weights @ self.emission).T).draw(states, rng)
        codes = np.empty(n, dtype=np.int64)
        for rows in _pieces(n, k):
            codes[rows] = draw_each(
                _restricted(self.emission.T[states[rows]], self.weights[self._chosen[rows]]), rng
            )  # (b, K)
        return codes

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The closed range ``(n,)``, ``(n,)`` that each row's number has to lie in."""
        assert self.ends is not None
        return self.ends[self._chosen, 0], self.ends[self._chosen, 1]


class _PerRow:
    """What each row knows of a column: its value ``(n,)``; where ``free (n,)``, only that it is not missing."""

    def __init__(self, owner: Mixture, name: str, values: np.ndarray, free: np.ndarray | None = None) -> None:
        self.columns, self.name, self.values, self.free = owner._columns, name, values, free
        self.column = owner.schema[name]
        self.emission = owner._emission(name)  # (K, H)

    def _weights(self, rows: slice) -> np.ndarray:
        """Weight of each code, ``float32 (b, K)``."""
        weights = self.columns.row_weights(self.name, self.values[rows])
        if self.free is not None:
            free = self.free[rows]
            weights[free] = 1.0
            if self.column.nullable:
                weights[free, -1] = 0.0
        return weights.astype(np.float32)

    def evidence(self, *, density: bool = False) -> np.ndarray:
        """Probability (or density) of what is known given the column's state, ``float32 (n, H)``."""
        out = np.empty((len(self.values), self.emission.shape[1]), dtype=np.float32)
        dense = density and self.name in self.columns.edges and column_step(self.column) == 0
        for rows in _pieces(len(out), len(self.emission)):
            out[rows] = (self._densities(rows) if dense else self._weights(rows)) @ self.emission
        return out

    def _densities(self, rows: slice) -> np.ndarray:
        """Density within each bin of numbers that are not rounded, ``float32 (b, K)``."""
        columns, name, values = self.columns, self.name, self.values[rows]
        grid, knots, edges = columns.grids[name], columns.knots[name], columns.edges[name]
        weights = columns.row_weights(name, values)  # 1 where missing; else above 0 in the value's bin
        known = ~np.isnan(values)
        x = values[known]
        place = weights[known].argmax(axis=1)
        below, upto = (columns._cumulative(name, x, side) for side in ("left", "right"))
        atom = upto - below  # of a value that many rows have
        cell = np.clip(np.searchsorted(grid, x, side="right") - 1, 0, len(grid) - 2)
        width = grid[cell + 1] - grid[cell]
        slope = (knots[cell + 1] - knots[cell]) / np.where(width > 0, width, 1.0)
        weights[known] = 0.0
        weights[np.flatnonzero(known), place] = np.where(atom > 0, atom, slope) / np.diff(edges)[place]
        return weights.astype(np.float32)

    def draw(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Codes ``(n,)`` given the states ``(n,)``."""
        codes = np.empty(len(states), dtype=np.int64)
        for rows in _pieces(len(states), len(self.emission)):
            codes[rows] = draw_each(_restricted(self.emission.T[states[rows]], self._weights(rows)), rng)
        return codes


def _pieces(n: int, width: int) -> list[slice]:
    """Rows whose weights, ``width`` a row, are held at once."""
    size = max(1, _NUMBERS // width)
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def _restricted(probability: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Weights ``(n, K)`` of codes where ``among (n, K)`` admits them; where rounding leaves none, ``among`` itself."""
    kept = probability * among
    return np.where(kept.sum(axis=1, keepdims=True) > 0, kept, among)
