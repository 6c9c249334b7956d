"""Tables from a network over digits: as they come, under conditions on any columns, and with gaps filled.

What families share whose network gives each digit's distribution given any others, see
:class:`zoo.nn.column_sampler.ColumnSampler`: given columns are seen, asked ones are drawn first among what is admitted,
then the rest.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd

from zoo.conditions import Condition, Conditions
from zoo.config import Range
from zoo.data.binned_columns import BinnedColumns
from zoo.data.digit_columns import DigitColumns
from zoo.generator import Generator, Option
from zoo.nn.column_sampler import Admitted, ColumnSampler
from zoo.nn.dense import publishable
from zoo.random import check_seed, isolated_rng

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from zoo.nn.column_network import DigitNetwork
    from zoo.training.config import TrainConfig

_WIDEST = 128  # codes that a column may have before it is learned digit by digit
_CALIBRATED = 50_000  # rows at most, by whose frequencies the last biases are set
_CANDIDATES = 8  # drawn for each sample where several columns are asked for sets or ranges


class DigitGenerator(Generator):
    """A generator of tables whose state is their columns as digits and one network over these.

    A family writes the methods that are abstract here.
    """

    default_block_size: ClassVar[int] = 32_768
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(1.0, Annotated[float, Range(0.01, 10)], "below 1 likelier values, above 1 rarer ones")
    }

    bins: int  # of a numeric column
    _columns: DigitColumns
    _sampler: ColumnSampler

    @abstractmethod
    def _new_network(self) -> "DigitNetwork":
        """The network, not trained yet."""

    @abstractmethod
    def _training_of(self, network: Any, rate: float) -> "pl.LightningModule":
        """How a network is trained, at a learning rate."""

    @abstractmethod
    def _resolve(self, train: "TrainConfig", rows: int, *, fresh: bool) -> "TrainConfig":
        """What the caller left open; ``fresh`` unless training goes on from weights."""

    @abstractmethod
    def _make_sampler(self, arrays: Mapping[str, np.ndarray]) -> ColumnSampler:
        """The network of the columns, by its weights; ValueError where they do not fit."""

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._columns.names

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        self._columns = self._new_columns()
        digits = self._columns.fit(self._columns.binned.codec.encode(data))  # (n, D)
        if not self._columns.names:  # nothing but constants and identifiers
            return {"epochs": 0, "steps": 0}
        self._plan(digits, rng)
        return self._train(digits, rng, train, None)

    def update(self, data: Any, *, seed: int = 0, train: "TrainConfig | None" = None) -> Self:
        """Go on learning from new rows of the same schema, from the weights as they are.

        Parameters
        ----------
        data
            A table, or a ``datasets.Dataset``.
        seed
            The same seed gives the same generator.
        train
            Limits and choices of training.
        """
        from zoo.training.config import TrainConfig

        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        if not self._columns.names:
            return self
        binned = self._columns.binned
        digits = self._columns.split(binned.encode(binned.codec.encode(table)))  # (n, D)
        rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed)))
        with isolated_rng():
            self._training = self._train(digits, rng, train or TrainConfig(), self._sampler.arrays)
        return self

    def _train(
        self,
        digits: np.ndarray,
        rng: np.random.Generator,
        train: "TrainConfig",
        weights: Mapping[str, np.ndarray] | None,
    ) -> dict[str, Any]:
        """Train on digits ``(n, D)``, from ``weights`` or from new ones."""
        import torch

        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = self._new_network()
        if weights is None:
            network.start_at(torch.from_numpy(digits))
        else:
            network.set_published(weights)
        train = self._resolve(train, len(digits), fresh=weights is None)
        assert train.learning_rate is not None
        module = self._training_of(network, train.learning_rate)
        data = TensorDataModule.from_config((torch.from_numpy(digits.astype(np.int32)),), train, seed=seed)
        result = fit(module, data, train, seed=seed)
        self._sampler = self._make_sampler(network.published())
        some = digits if len(digits) <= _CALIBRATED else digits[rng.choice(len(digits), _CALIBRATED, replace=False)]
        self._sampler.calibrate(some)
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _plan(self, digits: np.ndarray, rng: np.random.Generator) -> None:
        """Decide what has to be known before the network is made, from digits ``(n, D)``."""

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        columns, temperature = self._columns, options["temperature"]
        if not columns.names:
            return columns.binned.decode(np.zeros((n, 0), dtype=np.int64), rng)
        if conditions:
            return self._sample_conditioned(n, conditions, rng, temperature)
        digits = np.zeros((n, len(columns.digits.sizes)), dtype=np.int64)
        self._sampler.draw(digits, (), range(digits.shape[1]), rng, temperature=temperature, alike=True)
        return columns.binned.decode(columns.join(digits), rng)

    def _sample_conditioned(
        self, n: int, conditions: Conditions, rng: np.random.Generator, temperature: float
    ) -> pd.DataFrame:
        """Columns with one code left a row are given; then the other asked ones are drawn, then the rest.

        Where several columns are asked for sets or ranges, each is first drawn given those before it alone. Of some
        such draws for each sample one is chosen, by the probability that they left for what is asked.
        """
        columns = self._columns
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
        self._sampler.draw(digits, given, rest, rng, temperature=temperature, alike=alike and not admitted)
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
        weight = self._sampler.draw(many, given, wanted, rng, admitted=among, temperature=temperature, alike=alike)
        if times == 1:
            return many
        if alike:
            mass = np.exp(weight - weight.max()).cumsum()
            return many[np.searchsorted(mass, rng.random(n) * mass[-1], side="right").clip(max=len(mass) - 1)]
        weight = weight.reshape(n, times)
        mass = np.exp(weight - weight.max(axis=1, keepdims=True)).cumsum(axis=1)
        chosen = (mass <= rng.random((n, 1)) * mass[:, -1:]).sum(axis=1).clip(max=times - 1)
        return many[np.arange(n) * times + chosen]

    # Imputing and weighing

    def _impute_rows(
        self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator
    ) -> pd.DataFrame:
        """All patterns of what is missing at once; see :mod:`zoo.imputing`."""
        columns, binned = self._columns, self._columns.binned
        present = {}
        for c, name in enumerate(columns.names):
            if absent[:, c].any() and binned.schema[name].nullable and binned.sizes[name] > 1:
                weights = np.ones((1, binned.sizes[name]))
                weights[0, -1] = 0  # the last code is "missing"
                present[columns.place(name)] = Admitted(weights)
        digits = columns.split(binned.encode(values))  # (m, D)
        self._sampler.draw(digits, ~columns.spread(absent), range(digits.shape[1]), rng, admitted=present)
        return binned.decode(columns.join(digits), rng)

    def log_prob(self, data: Any) -> np.ndarray:
        """Natural logarithm of each row's probability, its values drawn one by one: ``float64 (n,)``.

        Numbers that are not rounded count by their density, the rest (categories, missing values, whole numbers, times,
        decimals, point masses) by its probability. Identifiers, texts and constants do not count.
        """
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        if not self._columns.names:
            return np.zeros(len(table))
        binned = self._columns.binned
        encoded = binned.codec.encode(table)
        codes = binned.encode(encoded)  # (n, C)
        return self._sampler.log_probability(self._columns.split(codes)) + binned.log_within(encoded, codes)

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        out = {f"columns.{k}": v for k, v in self._columns.arrays().items()}
        if self._columns.names:  # the weights were rounded when training ended
            out |= {f"network.{k}": publishable(v) for k, v in self._sampler.arrays.items()}
        return out

    def _new_columns(self) -> DigitColumns:
        """The columns, not fitted yet."""
        return DigitColumns(self.schema, self.bins, _WIDEST)

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        rest = {k: v for k, v in arrays.items() if not k.startswith("network.")}
        self._columns = self._new_columns()
        self._columns.set_arrays({k.removeprefix("columns."): v for k, v in rest.items()})
        if self._columns.names:
            self._sampler = self._make_sampler({k[8:]: v for k, v in arrays.items() if k not in rest})
        elif len(rest) < len(arrays):
            raise ValueError("there are weights and no columns")


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
