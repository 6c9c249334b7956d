"""Autoregressive network: each column's distribution given any others, by one masked network over discretised columns.

References: M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation",
ICML 2015, arXiv 1502.03509; B. Uria, I. Murray, H. Larochelle, "A Deep and Tractable Density Estimator", ICML 2014,
arXiv 1310.1757; for tables P. Tiwald et al., "TabularARGN", 2025, arXiv 2501.12012.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd

from zoo.conditions import Condition, Conditions
from zoo.config import Range
from zoo.data.binned_columns import BinnedColumns
from zoo.data.code_digits import CodeDigits
from zoo.generator import Generator, Option
from zoo.nn.column_sampler import Admitted, ColumnSampler
from zoo.nn.dense import publishable
from zoo.random import block_rng, check_seed, isolated_rng

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_WIDEST = 128  # codes that a column may have before it is learned digit by digit
_CANDIDATES = 8  # drawn for each sample where several columns are asked for sets or ranges
_STEPS = 4000  # of training, as far as they are not more than
_MAX_EPOCHS = 300
_BATCH = 512
_RATE = 3e-3
_FIXED = 0.5  # share of the orders that are the order of sampling
_DECAY = 1e-4  # of weights
_PATIENCE = 20  # epochs
_VALIDATION_ROWS = 2000  # at most: more are no help to early stopping, and are missed in training


@dataclass(kw_only=True, eq=False)
class Autoregressive(Generator):
    """A masked network that draws column by column; conditions on any columns, imputes, weighs rows, goes on learning.

    Parameters
    ----------
    hidden
        Width of the sum of what is given.
    inner
        Width of the layer that each column has to itself.
    bins
        Bins of a numeric column; a value that many rows share has one of its own.
    """

    hidden: Annotated[int, Range(4, 4096)] = 128
    inner: Annotated[int, Range(4, 4096)] = 64
    bins: Annotated[int, Range(2, 1000)] = 256

    default_block_size: ClassVar[int] = 32_768
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(1.0, Annotated[float, Range(0.01, 10)], "below 1 likelier values, above 1 rarer ones")
    }

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._columns.names

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        self._columns = BinnedColumns(self.schema, self.bins)
        encoded = self._columns.codec.encode(data)
        self._columns.fit(encoded)
        codes = self._columns.encode(encoded)  # (n, C)
        self._ranks = self._rank_codes(codes)
        self._lay_out()
        if not self._columns.names:  # nothing but constants and identifiers
            return {"epochs": 0, "steps": 0}
        digits = self._digits.split(self._to_network(codes))  # (n, D)
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
        codes = self._columns.encode(self._columns.codec.encode(table))
        digits = self._digits.split(self._to_network(codes))
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

        from zoo.nn.column_network import ColumnNetwork, Training
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = ColumnNetwork(self._digits.sizes, self.hidden, self.inner)
        if weights is None:
            network.start_at(torch.from_numpy(digits))
        else:
            network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        train = self._resolve(train, len(digits), fresh=weights is None)
        module = Training(network, self._digits.owner, train.learning_rate or _RATE, _FIXED, _DECAY)
        data = TensorDataModule.from_config((torch.from_numpy(digits.astype(np.int32)),), train, seed=seed)
        result = fit(module, data, train, seed=seed)
        self._sampler = self._make_sampler(network.published())
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _resolve(self, train: "TrainConfig", rows: int, *, fresh: bool) -> "TrainConfig":
        """What the caller left open: as many epochs as make the steps, an average over their last twentieth."""
        batch = train.batch_size or _BATCH
        wanted = _STEPS if fresh else _STEPS // 4
        epochs = train.epochs or int(np.clip(-(-wanted * batch // rows), 1, _MAX_EPOCHS))
        steps = min(train.max_steps or wanted, epochs * -(-rows // batch))
        train = train.with_defaults(
            epochs=epochs,
            batch_size=batch,
            learning_rate=_RATE if fresh else _RATE / 3,
            patience=_PATIENCE,
            ema_decay=float(np.clip(1 - 20 / steps, 0.0, 0.995)),
        )
        held = min(train.validation_fraction, _VALIDATION_ROWS / rows)
        return dataclasses.replace(train, validation_fraction=held)

    def _make_sampler(self, arrays: Mapping[str, np.ndarray]) -> ColumnSampler:
        return ColumnSampler(self._digits, self.hidden, self.inner, arrays)

    # Codes of the table and codes of the network: wide categories go by their frequency

    def _rank_codes(self, codes: np.ndarray) -> dict[int, np.ndarray]:
        """For each column of many categories, the rank of each by its frequency, ``(K,)``: neighbours in rank are about
        as frequent, so that their last digit is nearly uniform given the others and the marginal is learned at once.
        """
        ranks = {}
        for c, name in enumerate(self._columns.names):
            width = self._columns.sizes[name]
            if width > _WIDEST and name not in self._columns.edges:
                order = np.argsort(-np.bincount(codes[:, c], minlength=width), kind="stable")
                ranks[c] = np.empty(width, dtype=np.int32)
                ranks[c][order] = np.arange(width, dtype=np.int32)
        return ranks

    def _lay_out(self) -> None:
        """What follows from the columns: their digits, and the ranks turned round."""
        widths = self._columns.widths
        # Narrow columns first
        self._order = np.argsort(widths, kind="stable")  # network column -> table column
        self._place = np.argsort(self._order, kind="stable")  # table column -> network column
        self._digits = CodeDigits([widths[c] for c in self._order], _WIDEST)
        self._codes_of = {c: np.argsort(rank, kind="stable") for c, rank in self._ranks.items()}

    def _to_network(self, codes: np.ndarray) -> np.ndarray:
        """The network's columns of codes ``(n, C)``."""
        out = codes[:, self._order]
        for c, rank in self._ranks.items():
            out[:, self._place[c]] = rank[codes[:, c]]
        return out

    def _from_network(self, codes: np.ndarray) -> np.ndarray:
        """Codes ``(n, C)`` of the network's columns."""
        out = codes[:, self._place]
        for c, code_of in self._codes_of.items():
            out[:, c] = code_of[out[:, c]]
        return out

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        if not self._columns.names:
            return self._columns.decode(np.zeros((n, 0), dtype=np.int64), rng)
        temperature = options["temperature"]
        if conditions:
            return self._sample_conditioned(n, conditions, rng, temperature)
        digits = np.zeros((n, len(self._digits.sizes)), dtype=np.int64)
        self._sampler.draw(digits, (), range(digits.shape[1]), rng, temperature=temperature, alike=True)
        return self._columns.decode(self._from_network(self._digits.join(digits)), rng)

    def _sample_conditioned(
        self, n: int, conditions: Conditions, rng: np.random.Generator, temperature: float
    ) -> pd.DataFrame:
        """Columns with one code left a row are given; then the other asked ones are drawn, then the rest.

        Where several columns are asked for sets or ranges, each is first drawn given those before it alone. Of some
        such draws for each sample one is chosen, by the probability that they left for what is asked.
        """
        asked = {name: self._ask(condition, n) for name, condition in conditions.items()}
        codes = np.zeros((n, len(self._columns.names)), dtype=np.int64)  # (n, C), the network's from here
        given: list[int] = []
        admitted: dict[int, Admitted] = {}
        for name, one in asked.items():
            c = self._columns.names.index(name)
            place = int(self._place[c])
            if one.fixed is not None:
                codes[:, place] = self._ranks[c][one.fixed] if c in self._ranks else one.fixed
                given += self._digits.digits[place]
            else:
                admitted[place] = Admitted(self._ranked(c, one.union), one.group)
        digits = self._digits.split(codes)  # (n, D)
        if admitted:
            wanted = [j for c in sorted(admitted) for j in self._digits.digits[c]]
            digits = self._draw_asked(digits, given, wanted, admitted, rng, temperature, pooled=not conditions.per_row)
            given += wanted
        rest = [j for j in range(digits.shape[1]) if j not in given]
        self._sampler.draw(digits, given, rest, rng, temperature=temperature)
        codes = self._from_network(self._digits.join(digits))  # (n, C)
        limits = {}
        for name, one in asked.items():
            if one.ends is not None:
                ends = one.ends[one.choose(codes[:, self._columns.names.index(name)], rng)]  # (n, 2)
                limits[name] = (ends[:, 0], ends[:, 1])
        return self._columns.decode(codes, rng, limits)

    def _draw_asked(
        self,
        digits: np.ndarray,
        given: list[int],
        wanted: list[int],
        admitted: Mapping[int, Admitted],
        rng: np.random.Generator,
        temperature: float,
        pooled: bool,
    ) -> np.ndarray:
        """Digits ``(n, D)`` with the ``wanted`` ones drawn; rows that ask the same may share candidates (``pooled``)."""
        n = len(digits)
        times = 1 if len(wanted) == 1 else _CANDIDATES  # one digit alone is drawn exactly
        many = np.repeat(digits, times, axis=0)  # (n * times, D)
        among = {c: a.repeat(times) for c, a in admitted.items()}
        weight = self._sampler.draw(many, given, wanted, rng, admitted=among, temperature=temperature)
        if times == 1:
            return many
        if pooled:
            mass = np.exp(weight - weight.max()).cumsum()
            return many[np.searchsorted(mass, rng.random(n) * mass[-1], side="right").clip(max=len(mass) - 1)]
        weight = weight.reshape(n, times)
        mass = np.exp(weight - weight.max(axis=1, keepdims=True)).cumsum(axis=1)
        chosen = (mass <= rng.random((n, 1)) * mass[:, -1:]).sum(axis=1).clip(max=times - 1)
        return many[np.arange(n) * times + chosen]

    def _ranked(self, c: int, weights: np.ndarray) -> np.ndarray:
        """Weights ``(G, K)`` of the codes of table column c in the order of the network's."""
        return weights[:, self._codes_of[c]] if c in self._codes_of else weights

    def _ask(self, condition: Condition, n: int) -> "_Asked":
        columns, name = self._columns, condition.column.name
        if name not in columns.edges and condition.is_equality:  # without an array as wide as the column
            codes = condition.fixed(n)
            return _Asked(fixed=np.where(codes < 0, columns.sizes[name] - 1, codes).astype(np.int64))
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

    # Imputing and weighing

    def impute(self, data: Any, *, seed: int | None = None) -> pd.DataFrame:
        """Fill missing values by draws from their distribution given what the row has.

        Parameters
        ----------
        data
            A table that conforms to the schema; never changed.
        seed
            The same seed gives the same values.

        Returns
        -------
        pandas.DataFrame
            The table, with no missing value in the columns that were learned.
        """
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        seed, parts = check_seed(seed), []
        for block, start in enumerate(range(0, len(table), self.block_size)):
            part = self.form.slice(table, start, min(len(table), start + self.block_size))
            parts.append(self._impute_block(part, block_rng(seed, block)))
        return self.form.concat(parts)

    def _impute_block(self, part: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        columns, made = self._columns, part.copy()
        absent = part[list(columns.names)].isna().to_numpy()  # (n, C)
        rows = np.flatnonzero(absent.any(axis=1))
        if not len(rows):
            return made
        absent = absent[rows]
        codes = columns.encode(columns.codec.encode(part.iloc[rows]))  # (m, C)
        present = {}
        for c, name in enumerate(columns.names):
            if absent[:, c].any() and columns.sizes[name] > 1:  # the last code is "missing"
                weights = np.ones((1, columns.sizes[name]))
                weights[0, -1] = 0
                present[int(self._place[c])] = Admitted(self._ranked(c, weights))
        digits = self._digits.split(self._to_network(codes))
        known = ~absent[:, self._order][:, self._digits.owner]  # (m, D)
        self._sampler.draw(digits, known, range(digits.shape[1]), rng, admitted=present)
        drawn = self._from_network(self._digits.join(digits))
        filled = columns.decode(drawn, rng)
        for c, name in enumerate(columns.names):
            if absent[:, c].any():
                gaps = np.zeros(len(part), dtype=bool)
                gaps[rows] = absent[:, c]
                made.loc[gaps, name] = filled[name].array[absent[:, c]]
        return made

    def log_prob(self, data: Any) -> np.ndarray:
        """Natural logarithm of each row's probability: ``float64 (n,)``.

        Numbers that are not rounded count by their density, the rest (categories, missing values, whole numbers, times,
        decimals, point masses) by its probability. Identifiers, texts and constants do not count.
        """
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        if not self._columns.names:
            return np.zeros(len(table))
        encoded = self._columns.codec.encode(table)
        codes = self._columns.encode(encoded)  # (n, C)
        digits = self._digits.split(self._to_network(codes))  # (n, D)
        return self._sampler.log_probability(digits) + self._columns.log_within(encoded, codes)

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        out = {f"columns.{k}": v for k, v in self._columns.arrays().items()}
        out |= {f"rank.{c}": rank for c, rank in self._ranks.items()}
        if not self._columns.names:
            return out
        # They were rounded when training ended.
        return out | {f"network.{name}": publishable(array) for name, array in self._sampler.arrays.items()}

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._columns = BinnedColumns(self.schema, self.bins)
        self._columns.set_arrays({k[8:]: v for k, v in arrays.items() if k.startswith("columns.")})
        self._ranks = {}
        for c, name in enumerate(self._columns.names):
            width = self._columns.sizes[name]
            if width > _WIDEST and name not in self._columns.edges:
                rank = arrays[f"rank.{c}"]
                if rank.shape != (width,) or not np.array_equal(np.sort(rank), np.arange(width)):
                    raise ValueError(f"the ranks of the categories of column {name!r} are none")
                self._ranks[c] = rank
        self._lay_out()
        known = {*(f"columns.{k}" for k in self._columns.arrays()), *(f"rank.{c}" for c in self._ranks)}
        surplus = {k for k in arrays if not k.startswith("network.")} - known
        if surplus:
            raise ValueError(f"unexpected array {sorted(surplus)[0]!r}")
        if self._columns.names:
            self._sampler = self._make_sampler({k[8:]: v for k, v in arrays.items() if k.startswith("network.")})


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
        """Weights of what may be drawn: ``(m, K)`` where there are groups, else ``(1, K)``, all alternatives at once."""
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
