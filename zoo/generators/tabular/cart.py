"""CART: columns in sequence, each drawn from the leaves of one decision tree given the columns before it.

References: J. P. Reiter, "Using CART to Generate Partially Synthetic Public Use Microdata", Journal of Official
Statistics 21(3), 2005; B. Nowok, G. M. Raab, C. Dibben, "synthpop: Bespoke Creation of Synthetic Data in R", Journal of
Statistical Software 74(11), 2016. Official statistics draw donors' values from a leaf; here a leaf counts codes
(quantile bins, shared values, categories) and numbers are drawn within their bins, so that no row is kept.

Choices, on parts of Adult's training rows and of Magic that were held out from the fit; where two-sample AUCs are
named, means of three splits.

- Leaves are shrunk towards the nodes above them, each column as much as leaving one row out says
  (:mod:`zoo.data.leaf_tree`): minus the log-likelihood of a held-out row was 20.98 instead of 21.79 with leaves of 200
  on Adult and 50.0 instead of 58.4 on Magic, and that of a fitted row was lower by 0.41 instead of 1.64 and by 0.7
  instead of 12.1.
- Factors for pairs of columns (:mod:`zoo.statistics.pair_factors`) bring what many columns say weakly, which leaves are
  too few for. Leaves of 100 without them had a two-sample AUC of 0.551 on Adult, at a share closer to train of 0.512
  and pair trends of 0.987; leaves of 200 with them 0.540, 0.508 and 0.989. A second tree on what the first left (ratios
  in its leaves) gained half as much likelihood at the same gap to fitted rows.
- Groups of positions are parted the more finely where one value has most rows, so that capital gains are told apart:
  0.530 instead of 0.540, and an AUC of models trained on samples of 0.920 instead of 0.916.
- Leaves of 300 rows had 0.533, 0.508 and 0.919 on Adult, of 200 0.531, 0.510 and 0.920, of 150 0.532, 0.510 and 0.919;
  on Magic leaves of 200, 100 and 50 had two-sample AUCs of 0.674, 0.653 and 0.635 at shares closer to train of 0.503,
  0.509 and 0.514. So a hundredth of the rows. Less shrinkage (half, a quarter) of leaves of 100 had the AUC of plain
  ones (0.548, 0.546; plain 0.545) and gave their safety away: 0.515, 0.515; 0.519. Splits that had to be worth more
  than noise were no better at the same gap.
- Probabilities are raked so that groups come as often as they did: column shapes of 0.996 instead of 0.995 on Adult,
  0.986 instead of 0.979 on Magic.
- Trees are grown by entropy over at most 64 groups of neighbouring positions, numbers too: plain leaves of 200 had pair
  trends of 0.985 and a two-sample AUC of 0.557, by the variance of ranks 0.977 and 0.599.
- Averages of four trees over random features gained nothing on Adult and little on Magic, for four times the fit.

Best at: speed (two seconds to fit, a million rows in seconds) with any conditions. Worst at: tables of a few hundred
rows, which leaves of 100 rows make all but independent, and smooth dependence between many numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.column_sequence import ColumnSequence
from zoo.data.leaf_tree import GROUPS, LeafTree
from zoo.generator import Generator
from zoo.random import check_seed
from zoo.statistics.neighbour_groups import neighbour_groups
from zoo.threads import spread

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_LEAF = 100, 250  # rows of a leaf at least, by default: no less in small tables, no more in large ones


@dataclass(kw_only=True, eq=False)
class Cart(Generator):
    """Columns in sequence by single trees; conditions on, and imputes, any columns, and counts new rows.

    Parameters
    ----------
    min_leaf
        Rows of a leaf at least. The knob between fidelity and privacy: fewer follow the data, and the people in them,
        more closely. None for a hundredth of the rows, no less than 100 and no more than 250.
    bins
        Codes of a number at most; a value that many rows share has one of its own.
    """

    min_leaf: Annotated[int | None, Range(1)] = None
    bins: Annotated[int, Range(2, 1000)] = 256

    default_block_size: ClassVar[int] = 16_384
    fit_cost: ClassVar[tuple[float, float] | None] = (0.1, 1.7)

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._sequence.order

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> None:
        self._sequence = sequence = ColumnSequence(self.schema, self.bins)
        positions = sequence.fit(sequence.columns.codec.encode(data), len(data), rng)  # (C, n)
        levels = sequence.levels(positions)
        seed = int(rng.integers(2**31))

        def tree(j: int) -> LeafTree:
            size = sequence.sizes[j]
            splits = self._grow(levels[:j], positions[j], size, seed)
            return LeafTree.count_rows(*splits, levels[:j], positions[j], size)

        self._trees = spread(tree, range(len(positions)))

    def _grow(
        self, levels: np.ndarray, position: np.ndarray, size: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features ``(M,)``, thresholds and children ``(M, 2)`` of the tree of one column."""
        least = self.min_leaf or int(np.clip(len(position) // 100, *_LEAF))
        if not len(levels) or len(position) < 2 * least:
            return np.full(1, -1, np.int32), np.zeros(1, np.uint8), np.zeros((1, 2), np.int32)
        from sklearn.tree import DecisionTreeClassifier

        grown = DecisionTreeClassifier(criterion="entropy", min_samples_leaf=least, random_state=seed)
        target = neighbour_groups(np.bincount(position, minlength=size), GROUPS)[position]
        tree = grown.fit(np.ascontiguousarray(levels.T, dtype=np.float32), target).tree_
        inner = tree.feature >= 0
        feature = np.where(inner, tree.feature, -1).astype(np.int32)
        threshold = np.where(inner, np.floor(tree.threshold), 0).astype(np.uint8)
        children = np.where(inner[:, None], np.stack([tree.children_left, tree.children_right], axis=1), 0)
        return feature, threshold, children.astype(np.int32)

    def update(self, data: Any, *, seed: int = 0) -> Self:
        """Count new rows of the same schema in the leaves; the trees and bins stay as they are.

        Parameters
        ----------
        data
            A table of the generator's schema.
        seed
            Without effect: counting is not random.

        Raises
        ------
        SchemaError
            If the table does not conform to the schema.
        """
        self._require_ready()
        check_seed(seed)
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        positions = self._sequence.encode(self._sequence.columns.codec.encode(table), len(table))
        levels = self._sequence.levels(positions)
        self._trees = [tree.updated(levels[:j], positions[j]) for j, tree in enumerate(self._trees)]
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
            self._trees.append(LeafTree.restore(mine, size, j))
