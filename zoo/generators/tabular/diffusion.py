"""Masked diffusion: a table's values appear step by step, by one deep network that sees what has appeared.

References: (to be completed with measurements)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.digit_columns import DigitColumns
from zoo.generator import Generator, Option
from zoo.nn.denoiser_sampler import DenoiserSampler
from zoo.nn.dense import publishable
from zoo.nn.digit_draws import DigitDraws
from zoo.statistics.pair_information import pair_information

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_WIDEST = 128  # codes that a column may have before it is learned digit by digit
_STEPS = 3000  # of training, as far as they are not more than
_MAX_EPOCHS = 300
_BATCH = 512
_RATE = 2e-3
_FIXED = 0.5  # share of the masks that are those of sampling
_DECAY = 0.5  # of weights
_DROPOUT = 0.2
_PATIENCE = 20  # epochs
_VALIDATION_ROWS = 2000  # at most: more are no help to early stopping, and are missed in training


@dataclass(kw_only=True, eq=False)
class Diffusion(Generator):
    """A denoiser of masked rows; conditions on any columns, imputes, weighs rows.

    Parameters
    ----------
    hidden
        Width of the layers that all columns share.
    inner
        Width of the layer that each column has to itself.
    blocks
        Residual blocks of two shared layers.
    bins
        Bins of a numeric column; a value that many rows share has one of its own.
    steps
        Evaluations of the network that make a row, at most: with fewer than there are columns (numbers of many values
        count twice), those that depend least on each other appear in one step.
    """

    hidden: Annotated[int, Range(4, 4096)] = 192
    inner: Annotated[int, Range(4, 4096)] = 64
    blocks: Annotated[int, Range(1, 64)] = 2
    bins: Annotated[int, Range(2, 1000)] = 256
    steps: Annotated[int, Range(1, 10_000)] = 32

    default_block_size: ClassVar[int] = 32_768
    fit_cost: ClassVar[tuple[float, float] | None] = (20, 33)
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(1.0, Annotated[float, Range(0.01, 10)], "below 1 likelier values, above 1 rarer ones")
    }

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._columns.names

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        self._columns = DigitColumns(self.schema, self.bins, _WIDEST)
        digits = self._columns.fit(self._columns.binned.codec.encode(data))  # (n, D)
        if not self._columns.names:  # nothing but constants and identifiers
            return {"epochs": 0, "steps": 0}
        import torch

        from zoo.nn.mask_denoiser import MaskDenoiser, Training
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        layout = self._columns.digits
        self._step = self._plan(digits, rng)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = MaskDenoiser(layout.sizes, self.hidden, self.inner, self.blocks, _DROPOUT)
        network.start_at(torch.from_numpy(digits))
        train = self._resolve(train, len(digits))
        place = np.argsort(np.argsort(self._step, kind="stable")).tolist()
        module = Training(network, layout.owner, place, train.learning_rate or _RATE, _FIXED, _DECAY)
        loader = TensorDataModule.from_config((torch.from_numpy(digits.astype(np.int32)),), train, seed=seed)
        result = fit(module, loader, train, seed=seed)
        self._sampler = self._make_sampler(network.published())
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _plan(self, digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The step in which each digit is unmasked, ``(D,)``."""
        layout = self._columns.digits
        if len(layout.owner) <= self.steps:
            return np.arange(len(layout.owner), dtype=np.int32)
        return unmasking_steps(layout.owner, pair_information(digits, layout.sizes, rng), self.steps)

    def _resolve(self, train: "TrainConfig", rows: int) -> "TrainConfig":
        """What the caller left open: as many epochs as make the steps, an average over their last twentieth."""
        batch = train.batch_size or _BATCH
        epochs = train.epochs or int(np.clip(-(-_STEPS * batch // rows), 1, _MAX_EPOCHS))
        steps = epochs * -(-rows // batch)
        if train.max_steps is not None:
            steps = min(steps, train.max_steps) if train.epochs else train.max_steps
        train = train.with_defaults(
            epochs=epochs,
            batch_size=batch,
            learning_rate=_RATE,
            patience=_PATIENCE,
            ema_decay=float(np.clip(1 - 20 / steps, 0.0, 0.995)),
        )
        held = min(train.validation_fraction, _VALIDATION_ROWS / rows)
        return dataclasses.replace(train, validation_fraction=held)

    def _make_sampler(self, arrays: Mapping[str, np.ndarray]) -> DenoiserSampler:
        return DenoiserSampler(self._columns.digits, self.hidden, self.inner, self.blocks, self._step, arrays)

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        if not self._columns.names:
            return self._columns.binned.decode(np.zeros((n, 0), dtype=np.int64), rng)
        return self._draws.sample(n, conditions, rng, temperature=options["temperature"])

    @property
    def _draws(self) -> DigitDraws:
        return DigitDraws(self._columns, self._sampler)

    # Imputing and weighing

    def _impute_rows(
        self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator
    ) -> pd.DataFrame:
        return self._draws.impute(values, absent, rng)

    def log_prob(self, data: Any) -> np.ndarray:
        """Natural logarithm of each row's probability, its values unmasked one by one: ``float64 (n,)``.

        Numbers that are not rounded count by their density, the rest (categories, missing values, whole numbers, times,
        decimals, point masses) by its probability. Identifiers, texts and constants do not count.
        """
        self._require_ready()
        table = self.form.coerce(data, self.schema)
        self.form.check(table, self.schema)
        return self._draws.log_prob(table) if self._columns.names else np.zeros(len(table))

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        out = {f"columns.{k}": v for k, v in self._columns.arrays().items()}
        if self._columns.names:  # the weights were rounded when training ended
            out |= {f"network.{k}": publishable(v) for k, v in self._sampler.arrays.items()}
            out["step"] = self._step
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        rooms: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            room, _, rest = name.partition(".")
            rooms.setdefault(room, {})[rest] = array
        self._columns = DigitColumns(self.schema, self.bins, _WIDEST)
        self._columns.set_arrays(rooms.pop("columns", {}))
        if self._columns.names:
            self._step = rooms.pop("step", {}).get("", np.empty(0))
            owner = self._columns.digits.owner
            if self._step.shape != (len(owner),) or self._step.dtype.kind != "i" or not _in_order(owner, self._step):
                raise ValueError("the steps do not fit the columns")
            self._sampler = self._make_sampler(rooms.pop("network", {}))
        if rooms:
            raise ValueError(f"unexpected array {min(rooms)!r}")


def unmasking_steps(owner: list[int], information: np.ndarray, steps: int) -> np.ndarray:
    """The step in which each digit is unmasked.

    With a step for each digit, they appear in their order. With fewer, the digits of the columns that depend most on
    others have a step each; every other digit joins the step in whose digits there is the least information on it.

    Parameters
    ----------
    owner
        The column that each of D digits belongs to; the digits of a column stand together, the coarsest first.
    information
        Mutual information of pairs of digits ``(D, D)``.
    steps
        Number of steps at most.

    Returns
    -------
    numpy.ndarray
        ``int32 (D,)``; never earlier than a coarser digit of the same column.
    """
    digits = len(owner)
    if digits <= steps:
        return np.arange(digits, dtype=np.int32)
    need = np.zeros(owner[-1] + 1)
    np.maximum.at(need, owner, information.max(axis=1))
    alone = np.sort(np.lexsort((np.arange(digits), -need[owner]))[:steps])  # whole columns, the last perhaps in part
    out = np.full(digits, -1, dtype=np.int32)
    out[alone] = np.arange(steps)
    for j in np.flatnonzero(out < 0):
        first = out[j - 1] if j and owner[j - 1] == owner[j] else -1
        cost = np.array([information[j, out == s].sum() for s in range(steps)])
        cost[: min(first + 1, steps - 1)] = np.inf  # after the coarser digit, or with it where that is the last to come
        crowd = np.bincount(out[out >= 0], minlength=steps)
        out[j] = np.lexsort((crowd, cost))[0]
    return out


def _in_order(owner: list[int], step: np.ndarray) -> bool:
    """Whether no digit is unmasked before a coarser one of its column."""
    return bool((np.diff(step)[np.diff(owner) == 0] >= 0).all())
