"""What a checkpoint needs beyond weights and optimizers: random states, the position in the data, a safe file.

A resumed run ends with the weights of an unbroken one only if dropout masks, the order of the rest of the epoch and
every later epoch are those that the unbroken run would have had.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.plugins import CheckpointIO

from zoo.errors import TrainingError


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices), as Lightning's function of this name does
    but for the environment variables that it leaves behind."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - modules and transforms of others use the legacy generator
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """The global random states as plain lists and tensors, so that no pickled class is in a checkpoint."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "mps": torch.mps.get_rng_state() if device.type == "mps" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put back what :func:`random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"])


class TrackedLoader:
    """A loader that knows its position, and can go on from one.

    One that keeps its own state (``state_dict`` and ``load_state_dict``) is asked for it. Any other is replayed: the
    random states at the beginning of the epoch are put back, which gives the same order, and the batches that were
    trained on are drawn and dropped.

    Parameters
    ----------
    loader : iterable
        What Lightning prepared, a ``DataLoader`` mostly.
    device : torch.device
        The device whose random state belongs to this process.
    state : dict, optional
        What :meth:`state` returned in the run to go on from.
    """

    def __init__(self, loader: Any, device: torch.device, state: dict[str, Any] | None = None) -> None:
        self._loader = loader
        self._device = device
        self._keeps_state = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
        self._resume = state
        self._position = 0
        # Two moments: a DataLoader draws from the global generator when it is iterated over and, for the sampler's
        # seed, at the first batch; hooks of the module may draw in between.
        self._at_iter: list[Any] = []
        self._at_first: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        # Lightning looks at samplers and workers; but the state is kept here, a process at a time.
        if name.startswith("_") or name in ("state_dict", "load_state_dict"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def _generators(self) -> list[torch.Generator]:
        sampler = getattr(self._loader, "sampler", None)
        inner = getattr(getattr(self._loader, "batch_sampler", None), "sampler", None)
        found = [getattr(o, "generator", None) for o in (self._loader, sampler, inner)]
        return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())

    def _capture(self) -> list[Any]:
        return [random_state(self._device), [g.get_state() for g in self._generators()]]

    def _restore(self, captured: list[Any]) -> None:
        set_random_state(captured[0], self._device)
        for generator, state in zip(self._generators(), captured[1], strict=True):
            generator.set_state(state)

    def state(self, *, finished: bool) -> dict[str, Any]:
        """The position: in the middle of an epoch, or with ``finished`` before the next one."""
        if self._keeps_state:
            return {"own": self._loader.state_dict()}
        if finished:
            return {"position": 0, "at_iter": self._capture(), "at_first": None}
        return {"position": self._position, "at_iter": self._at_iter, "at_first": self._at_first}

    def __iter__(self) -> Iterator[Any]:
        state, self._resume = self._resume, None
        if self._keeps_state:
            if state is not None:
                self._loader.load_state_dict(state["own"])
            return iter(self._loader)
        self._position = 0
        if state is None:
            self._at_iter = self._capture()
            return self._batches(iter(self._loader))
        if state["position"] == 0:
            return self._fresh(state)
        self._restore(state["at_iter"])
        self._at_iter = state["at_iter"]
        batches = iter(self._loader)
        self._restore(state["at_first"])
        self._at_first = state["at_first"]
        for _ in range(state["position"]):
            next(batches)
        self._position = state["position"]
        return self._batches(batches)

    def _fresh(self, state: dict[str, Any]) -> Iterator[Any]:
        # The epoch's own hooks come before its first batch, so nothing is drawn before that is asked for.
        for generator, kept in zip(self._generators(), state["at_iter"][1], strict=True):
            generator.set_state(kept)
        self._at_iter = self._capture()
        yield from self._batches(iter(self._loader))

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        if self._position == 0:
            self._at_first = self._capture()
        for batch in batches:
            self._position += 1
            yield batch


class SafeCheckpointIO(CheckpointIO):
    """Checkpoints written to a file beside the old one and renamed, and read without unpickling objects."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        # Constructor arguments may be of any class; the module that resumes has its own.
        plain = {
            k: v for k, v in checkpoint.items() if not k.startswith(("hyper_parameters", "hparams_", "datamodule_h"))
        }
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(beside, "wb") as file:
                torch.save(plain, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            raise TrainingError(f"cannot write the checkpoint {path}: {error.strerror or error}") from error
        finally:
            beside.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU; only tensors and plain data are accepted.

    Raises
    ------
    TrainingError
        If the file is no such checkpoint, or is damaged.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"cannot read the checkpoint {path} ({type(error).__name__}); delete it, or train with resume=False"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or "loops" not in checkpoint:
        raise TrainingError(f"{path} is no training checkpoint; delete it, or train with resume=False")
    return checkpoint
