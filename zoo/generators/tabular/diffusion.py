"""Masked diffusion: a table's values appear step by step, by one deep network that sees what has appeared.

References: (to be completed with measurements)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from zoo.config import Range
from zoo.data.digit_columns import DigitColumns
from zoo.nn.denoiser_sampler import DenoiserSampler
from zoo.nn.digit_generator import DigitGenerator
from zoo.statistics.pair_information import pair_information

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_WIDEST = 128  # codes that a column may have before it is learned digit by digit
_STEPS = 3000  # of training, as far as they are not more than
_BATCH = 512
_RATE = 2e-3
_FIXED = 0.5  # share of the masks that are those of sampling
_DECAY = 0.5  # of weights
_DROPOUT = 0.2


@dataclass(kw_only=True, eq=False)
class Diffusion(DigitGenerator):
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

    fit_cost: ClassVar[tuple[float, float] | None] = (20, 33)

    # Learning

    def _train(
        self,
        digits: np.ndarray,
        rng: np.random.Generator,
        train: "TrainConfig",
        weights: Mapping[str, np.ndarray] | None,
    ) -> dict[str, Any]:
        import torch

        from zoo.nn.mask_denoiser import MaskDenoiser, Training
        from zoo.training import fit
        from zoo.training.budget import with_budget
        from zoo.training.loader import TensorDataModule

        layout = self._columns.digits
        if weights is None:
            self._step = self._plan(digits, rng)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = MaskDenoiser(layout.sizes, self.hidden, self.inner, self.blocks, _DROPOUT)
        if weights is None:
            network.start_at(torch.from_numpy(digits))
        else:
            network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        steps, rate = (_STEPS, _RATE) if weights is None else (_STEPS // 4, _RATE / 3)
        train = with_budget(train, len(digits), steps=steps, batch_size=_BATCH, learning_rate=rate)
        place = np.argsort(np.argsort(self._step, kind="stable")).tolist()
        module = Training(network, layout.owner, place, train.learning_rate or _RATE, _FIXED, _DECAY)
        data = TensorDataModule.from_config((torch.from_numpy(digits.astype(np.int32)),), train, seed=seed)
        result = fit(module, data, train, seed=seed)
        self._sampler = self._make_sampler(network.published())
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _plan(self, digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The step in which each digit is unmasked, ``(D,)``."""
        layout = self._columns.digits
        if len(layout.owner) <= self.steps:
            return np.arange(len(layout.owner), dtype=np.int32)
        return unmasking_steps(layout.owner, pair_information(digits, layout.sizes, rng), self.steps)

    def _new_columns(self) -> DigitColumns:
        return DigitColumns(self.schema, self.bins, _WIDEST)

    def _make_sampler(self, arrays: Mapping[str, np.ndarray]) -> DenoiserSampler:
        owner = self._columns.digits.owner
        if self._step.shape != (len(owner),) or self._step.dtype.kind != "i" or not _in_order(owner, self._step):
            raise ValueError("the steps do not fit the columns")
        return DenoiserSampler(self._columns.digits, self.hidden, self.inner, self.blocks, self._step, arrays)

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | ({"step": self._step} if self._columns.names else {})

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._step = arrays.get("step", np.empty(0))
        super()._set_arrays({k: v for k, v in arrays.items() if k != "step"})


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
