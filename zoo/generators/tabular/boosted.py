"""Boosted: columns in sequence, each drawn by gradient-boosted classifiers given the columns before it.

References: B. Nowok, G. M. Raab, C. Dibben, "synthpop: Bespoke Creation of Synthetic Data in R", Journal of Statistical
Software 74(11), 2016 (columns in sequence); C. McCarter, "Unmasking Trees for Tabular Data", arXiv 2407.05593 (a
balanced tree of boosted binary classifiers for the distribution of one column). Here every column is a row of codes:
quantile bins of a number, shared values as codes of their own, ordered categories, missing as a code; see
:mod:`zoo.data.column_sequence` and :mod:`zoo.data.code_tree`.

Choices, on a fifth of Adult's training rows and of seven tenths of Magic that were held out from the fit (loss: minus
the natural log-likelihood of a held-out row's codes; gap: what that of a fitted row is lower by).

- Trees of 4 leaves. 7, 4 and 3 leaves have losses of 28.065, 28.058 and 28.060 on Adult and 48.83, 48.80 and 48.83 on
  Magic, with gaps of 0.53, 0.42 and 0.34, and 2.6, 1.9 and 1.5: what more leaves learn is the rows themselves. Two such
  trees share a byte when they are evaluated.
- The mean of three ensembles, each of which keeps the trees that lower the loss on another tenth of the rows by
  anything. Adult, 8,000 training rows held out, mean of two splits, against one ensemble whose gain had to be a
  standard error: loss 0.038 lower with a gap 0.023 wider, C2ST 0.528 instead of 0.543, trends 0.9864 instead of 0.9850,
  share closer to train 0.509 and 0.510. It takes 2.4 times as long to fit.
- Forks are shifted until draws go right as often as training rows did: sums of squares of how far codes' counts lie
  from those of the training rows, in standard errors and less what chance gives, fell from 912 to -12 on Adult. With
  that, and values that five rows share exact instead of ten, column shapes of Magic rose from 0.986 to 0.990.
- No better: one classifier for all forks of a depth, told which fork, with a linear prediction of the column as a
  feature; three ensembles of it have a C2ST of 0.539 on a split of Adult where three a fork have 0.531.
- Within noise: learning rates of 0.08 and 0.15 (0.3 is worse), fitting anew to all rows (0.005 better on Adult, 0.011
  worse on Magic), the order of the columns (losses between 28.058 and 28.103), larger leaves or fewer in forks of few
  rows. Leaves that are nearly of one side are settled at once by their counts.

The knob between fidelity and privacy is ``leaves``, then ``min_leaf``.

Best at: fidelity on tables of up to a million rows, any conditions, on a CPU. Worst at: hundreds of columns, as each
column's classifiers look at all columns before it.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.code_tree import CodeTree
from zoo.data.column_sequence import ColumnSequence
from zoo.generator import Generator
from zoo.random import check_seed
from zoo.statistics.tree_ensemble import join
from zoo.threads import spread

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_PATIENCE, _PATIENCE_ROWS = 5, 300  # a small fork's held-out loss is noise: it has this patience, and 1 more a 300 rows
_CALIBRATING = 2000, 32_768  # rows that are drawn, at least and at most, to see how often each fork goes right
_FOLDS = 10  # one row in so many decides how many trees an ensemble keeps


@dataclass(kw_only=True, eq=False)
class Boosted(Generator):
    """Columns in sequence by boosted classifiers; conditions on, and imputes, any columns, and learns on from new rows.

    Parameters
    ----------
    bins
        Codes of a number at most; a value that many rows share has one of its own.
    leaves
        Leaves of a tree. The knob between fidelity and privacy: more follow the data, and the people in them, more
        closely.
    learning_rate
        What each tree contributes.
    rounds
        Trees of a classifier at most.
    patience
        Trees without a lower loss on the held-out tenth after which a classifier is done.
    ensembles
        Ensembles whose mean a classifier is, each judged on another tenth of the rows.
    min_rows
        Rows that a classifier learns from at least; with fewer, values are drawn as often as they occurred.
    min_leaf
        Rows of a leaf at least.
    """

    bins: Annotated[int, Range(2, 1000)] = 256
    leaves: Annotated[int, Range(2, 8)] = 4
    learning_rate: Annotated[float, Range(0.001, 1)] = 0.15
    rounds: Annotated[int, Range(1, 5000)] = 400
    patience: Annotated[int, Range(1, 1000)] = 30
    ensembles: Annotated[int, Range(1, 10)] = 3
    min_rows: Annotated[int, Range(2)] = 40
    min_leaf: Annotated[int, Range(1)] = 20

    default_block_size: ClassVar[int] = 16_384
    fit_cost: ClassVar[tuple[float, float] | None] = (10, 16)

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._sequence.order

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> None:
        self._sequence = sequence = ColumnSequence(self.schema, self.bins)
        encoded = sequence.columns.codec.encode(data)
        positions = sequence.fit(encoded, len(data), rng)  # (C, n)
        self._rows = len(data)
        self._trees = []
        for j, size in enumerate(sequence.sizes):
            counts = np.bincount(positions[j], minlength=size)
            self._trees.append(CodeTree.plan(counts, self.min_rows if j else len(data) + 1))
        self._learn(positions, rng)

    def _learn(self, positions: np.ndarray, rng: np.random.Generator) -> None:
        """Fit, or go on fitting, the classifiers of all forks to rows ``(C, n)``; many at a time, one thread each."""
        levels = self._sequence.levels(positions)
        fold = np.asarray(rng.integers(0, _FOLDS, positions.shape[1]))
        columns = [_Column(self, j, levels, positions[j], fold) for j in range(len(self._trees))]
        tasks = [(c, fork) for c in sorted(columns, key=lambda c: -c.cost) for fork in range(len(c.tree.forks))]
        for (column, fork), ensemble in zip(tasks, spread(lambda task: task[0].boost(task[1]), tasks)):
            if ensemble is not None:
                before = column.tree.trees[fork]
                column.tree.trees[fork] = ensemble if before is None else join([before, ensemble])
        self._sequence.calibrate(self._trees, min(max(_CALIBRATING[0], self._rows), _CALIBRATING[1]), rng)

    def update(self, data: Any, *, seed: int = 0) -> Self:
        """Go on learning from new rows of the same schema.

        What was learned before stands for as many rows as it was learned from: so many are sampled and learned
        together with the new ones, by further trees of each classifier. Bins, forks and orders of codes stay: numbers
        where hardly a row was before are drawn within the wide bins of then.

        Parameters
        ----------
        data
            A table of the generator's schema.
        seed
            The same seed gives the same generator.

        Raises
        ------
        SchemaError
            If the table does not conform to the schema.
        """
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        rng = np.random.default_rng(np.random.SeedSequence([check_seed(seed), self._rows]))
        sequence = self._sequence
        new = sequence.encode(sequence.columns.codec.encode(table), len(table))
        old = sequence.draw(self._trees, self._rows, rng)
        trees = [tree.copy() for tree in self._trees]
        for tree, row, size in zip(trees, new, sequence.sizes):
            tree.add(np.bincount(row, minlength=size))
        self._trees, self._rows = trees, self._rows + len(table)
        self._learn(np.concatenate([old, new], axis=1), rng)
        return self

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        return self._sequence.sample(self._trees, n, conditions, rng)

    def _impute_rows(
        self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator
    ) -> pd.DataFrame:
        """All patterns of what is missing at once; see :mod:`zoo.imputing`."""
        return self._sequence.impute(self._trees, values, len(absent), rng)

    # State

    def _state(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def _set_state(self, state: dict[str, Any]) -> None:
        self._rows = int(state["rows"])
        if not 1 <= self._rows <= 2**53:
            raise ValueError("the number of rows cannot be")

    def _arrays(self) -> dict[str, np.ndarray]:
        out = {f"sequence.{k}": v for k, v in self._sequence.arrays().items()}
        for j, tree in enumerate(self._trees):
            out |= {f"{j}.{k}": v for k, v in tree.arrays().items()}
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._sequence = ColumnSequence(self.schema, self.bins)
        self._sequence.set_arrays({k[9:]: v for k, v in arrays.items() if k.startswith("sequence.")})
        self._trees = []
        for j, size in enumerate(self._sequence.sizes):
            prefix = f"{j}."
            mine = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
            self._trees.append(CodeTree.restore(mine, size, j))


class _Column:
    """The rows of one column's forks while its classifiers are fitted."""

    def __init__(self, config: Boosted, j: int, levels: np.ndarray, position: np.ndarray, fold: np.ndarray) -> None:
        self.config, self.tree, self.fold = config, config._trees[j], fold
        self.levels, self.position = levels[:j], position
        after = np.concatenate([[0], np.cumsum(np.bincount(position, minlength=len(self.tree.counts)))])
        self.order = np.argsort(position, kind="stable") if len(self.tree.forks) else position
        self.after = after
        forks = self.tree.forks
        self.cost = int((after[forks[:, 2]] - after[forks[:, 0]]).sum()) * (j + 1)
        self._left = len(forks)
        self._data: Any = None
        self._lock = threading.Lock()

    def boost(self, fork: int) -> Any:
        """The trees of one fork, in addition to those that it has; None if none help."""
        from zoo.training.boosting import BoostingData

        config = self.config
        with self._lock:
            if self._data is None:
                parameters = {
                    "num_leaves": config.leaves,
                    "learning_rate": config.learning_rate,
                    "min_data_in_leaf": config.min_leaf,
                    "lambda_l2": 1.0,
                }
                self._data = BoostingData(self.levels, parameters)
        low, middle, high = self.tree.forks[fork].tolist()
        rows = np.sort(self.order[self.after[low] : self.after[high]])
        start = self.tree.log_odds(fork, self.levels, rows)
        made = self._data.boost(
            rows,
            self.position[rows] >= middle,
            start,
            self.fold[rows],
            config.ensembles,
            config.rounds,
            min(config.patience, _PATIENCE + len(rows) // _PATIENCE_ROWS),
            begins=self.tree.trees[fork] is None,
        )
        with self._lock:
            self._left -= 1
            if not self._left:
                self._data = None  # the next columns need the memory
        return made
