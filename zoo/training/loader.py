"""Batches from tensors in memory: no Python object a row, no collate, data on the device once.

A table of 32,561 × 100 floats has 66 batches of 500; a ``DataLoader`` over a ``TensorDataset`` spends longer on
collating 500 one-row tuples than a small network on learning from them. :class:`TensorLoader` indexes whole batches.
Nothing here imports Lightning: the trainer recognises the loaders by their methods.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError, TrainingError
from zoo.training.config import TrainConfig


class TensorLoader:
    """Batches of rows of a few tensors of equal length, as tuples of tensors.

    The order of epoch e is a permutation drawn from ``(seed, e)`` by a generator of its own: the global random state
    is neither read nor moved, and going on in the middle of an epoch needs no more than two integers.

    Under several processes the trainer calls :meth:`distribute`, and each process takes every ``world_size``-th row
    of the same permutation, padded from its start to a common length (what ``DistributedSampler`` does); Lightning
    injects samplers into ``DataLoader`` only, so nothing is sharded twice.

    Parameters
    ----------
    tensors : sequence of Tensor
        Each of shape (N, ...); row i of every one belongs together.
    batch_size : int
        Rows in a batch (in each process).
    shuffle : bool
        Draw a new order each epoch; else the order given.
    seed : int
        Seed of the orders.
    drop_last : bool
        Leave out a last batch of fewer rows, unless it is the only one.

    Raises
    ------
    DataError
        If there is no tensor, no row, or the lengths differ.
    """

    batch_sampler = None  # Lightning looks for both, and tells the epoch to the ``set_epoch`` of the sampler

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.tensors = tuple(tensors)
        lengths = {len(t) for t in self.tensors}
        if len(lengths) != 1:
            raise DataError(f"the tensors of a loader must have one common length, not {sorted(lengths)}")
        self.num_rows = lengths.pop()
        if self.num_rows == 0:
            raise DataError("the training data has no rows; give at least one")
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size} must be at least 1")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rank = 0
        self.world_size = 1
        self.epoch = 0
        self._position = 0
        self._resume_at: int | None = None

    @property
    def sampler(self) -> "TensorLoader":
        """Itself: it draws its own orders."""
        return self

    @property
    def rows_per_process(self) -> int:
        """Rows that this process sees in an epoch, padding included."""
        return math.ceil(self.num_rows / self.world_size)

    def __len__(self) -> int:
        rows = self.rows_per_process
        if self.drop_last:
            return max(1, rows // self.batch_size)
        return math.ceil(rows / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration has."""
        self.epoch = epoch

    def distribute(self, device: torch.device, rank: int, world_size: int) -> None:
        """Take the share of process ``rank``, and put the tensors on ``device`` once if it has room for them."""
        self.rank, self.world_size = rank, world_size
        if _fits(self.tensors, device):
            self.tensors = tuple(t.to(device) for t in self.tensors)

    def order(self, epoch: int) -> Tensor:
        """The rows that this process sees in ``epoch``, in order: int64, (rows_per_process,)."""
        if self.shuffle:
            # SeedSequence mixes the pair, so that (seed 0, epoch 1) and (seed 1, epoch 0) differ.
            mixed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
            rows = torch.randperm(self.num_rows, generator=torch.Generator().manual_seed(mixed))
        else:
            rows = torch.arange(self.num_rows)
        if self.world_size > 1:
            short = self.rows_per_process * self.world_size - self.num_rows
            while short > 0:
                rows = torch.cat([rows, rows[:short]])
                short = self.rows_per_process * self.world_size - len(rows)
            rows = rows[self.rank :: self.world_size]
        return rows

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        start, self._resume_at = self._resume_at or 0, None
        self._position = start
        return self._batches(start)

    def _batches(self, start: int) -> Iterator[tuple[Tensor, ...]]:
        # Runs at the first next(), when set_epoch has been called for this epoch.
        device = self.tensors[0].device
        size = self.batch_size
        if self.shuffle or self.world_size > 1:
            # One split of the whole order is cheaper than slicing it at each step.
            chunks = self.order(self.epoch).to(device).split(size)
            for k in range(start, len(self)):
                self._position = k + 1
                yield tuple(t.index_select(0, chunks[k]) for t in self.tensors)
        else:
            for k in range(start, len(self)):
                self._position = k + 1
                yield tuple(t[k * size : (k + 1) * size] for t in self.tensors)

    def state_dict(self) -> dict[str, int]:
        """Position in the epoch (batches handed out), with what the orders depend on."""
        return {
            "position": self._position,
            "num_rows": self.num_rows,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "world_size": self.world_size,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration begin at the stored position.

        Raises
        ------
        TrainingError
            If the state is of other data, another batch size, seed or number of processes.
        """
        mine = self.state_dict()
        for name, value in state.items():
            if name != "position" and mine.get(name) != value:
                raise TrainingError(
                    f"the checkpoint was made with {name}={value} and this run has {name}={mine.get(name)}; "
                    "resume with the same settings, or train anew with resume=False"
                )
        # A finished epoch goes on with the next one from its beginning.
        self._resume_at = state["position"] % len(self)
        self._position = self._resume_at


class TensorDataModule:
    """Training and validation batches of tensors, for :func:`zoo.training.fit`.

    Parameters
    ----------
    tensors : sequence of Tensor
        Training data, each (N, ...).
    batch_size : int
        Rows in a batch (in each process).
    seed : int
        Seed of the orders (and of the split, in :meth:`from_config`).
    validation : sequence of Tensor, optional
        Held-out data of the same form; validated on in order.
    shuffle, drop_last : bool
        As for :class:`TensorLoader`; for the training data alone.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        *,
        seed: int = 0,
        validation: Sequence[Tensor] | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self._train = TensorLoader(tensors, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
        self._validation = None if validation is None else TensorLoader(validation, batch_size, shuffle=False)

    @classmethod
    def from_config(
        cls, tensors: Sequence[Tensor], train: TrainConfig, *, seed: int = 0, drop_last: bool = False
    ) -> "TensorDataModule":
        """With ``train.patience``, hold out ``train.validation_fraction`` of the rows, chosen by ``seed``.

        Tables of one row have nothing to hold out; they validate on their training loss.
        """
        if train.batch_size is None:
            raise DataError("batch_size is not set; resolve it with train.with_defaults(batch_size=...)")
        num_rows = len(tensors[0])
        held = min(round(num_rows * train.validation_fraction), num_rows - 1) if train.patience else 0
        if held < 1:
            return cls(tensors, train.batch_size, seed=seed, drop_last=drop_last)
        order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
        kept, out = order[held:], order[:held]
        return cls(
            [t[kept.to(t.device)] for t in tensors],
            train.batch_size,
            seed=seed,
            validation=[t[out.to(t.device)] for t in tensors],
            drop_last=drop_last,
        )

    def train_dataloader(self) -> TensorLoader:
        return self._train

    def val_dataloader(self) -> TensorLoader | None:
        return self._validation


def _fits(tensors: Sequence[Tensor], device: torch.device) -> bool:
    """Whether the tensors take at most half of the device's free memory; what is left out moves batch by batch."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    needed: Any = sum(t.numel() * t.element_size() for t in tensors if t.device != device)
    return needed <= free / 2
