"""What a checkpoint needs beyond weights and optimizers: random states, the position in the data, a safe file.

A resumed run ends with the weights of an unbroken one only if dropout masks, the order of the rest of the epoch and
every later epoch are those that the unbroken run would have had.
"""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.plugins import CheckpointIO
from torch import nn

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
    trained on are drawn and dropped. A data set whose *order* hangs on global draws between its batches has to keep
    its own state: the replay has no training between them.

    Lightning draws the batches of a loader without a length one ahead of the training, so that it knows the last one.
    There the moment before each draw is kept: it is the position that the training has reached.

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
        self._one_ahead = not _has_length(loader)
        self._resume = state
        self._position = 0
        # Two moments: a DataLoader draws from the global generator when it is iterated over and, for the sampler's
        # seed, at the first batch; hooks of the module may draw in between.
        self._at_iter: list[Any] = []
        self._at_first: list[Any] = []
        self._before_draw: dict[str, Any] = {}
        self.drawn_early: dict[str, Any] | None = None
        """Random states after a draw that a resumed run makes before its first step and an unbroken one after it."""

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
        self._restore_generators(captured)

    def _restore_generators(self, captured: list[Any]) -> None:
        for generator, state in zip(self._generators(), captured[1], strict=True):
            generator.set_state(state)

    def _moment(self) -> dict[str, Any]:
        own = self._loader.state_dict() if self._keeps_state else None
        return {"position": self._position, "random": random_state(self._device), "own": own}

    def state(self, *, finished: bool) -> dict[str, Any]:
        """The position: in the middle of an epoch, or with ``finished`` before the next one."""
        reached = self._before_draw if self._one_ahead and not finished else self._moment()
        state = {"own": reached["own"], "position": 0 if finished else reached["position"]}
        if self._one_ahead:
            state["random"] = reached["random"]
        if not self._keeps_state:
            state["at_iter"] = self._capture() if finished else self._at_iter
            state["at_first"] = None if finished else self._at_first
        return state

    def __iter__(self) -> Iterator[Any]:
        state, self._resume = self._resume, None
        if self._keeps_state:
            return self._iterate_stateful(state)
        self._position = 0
        if state is None:
            self._at_iter = self._capture()
            return self._batches(iter(self._loader))
        if state["position"] == 0:
            return self._begin_epoch(state)
        self._restore(state["at_iter"])
        self._at_iter = state["at_iter"]
        batches = iter(self._loader)
        self._restore(state["at_first"])
        self._at_first = state["at_first"]
        for _ in range(state["position"]):
            next(batches)
        self._position = state["position"]
        if self._one_ahead:
            set_random_state(state["random"], self._device)
        return self._batches(batches)

    def _iterate_stateful(self, state: dict[str, Any] | None) -> Iterator[Any]:
        self._position = 0
        if state is not None:
            self._loader.load_state_dict(state["own"])
            self._position = state["position"]
        if not self._one_ahead:
            return iter(self._loader)
        if state is not None:
            set_random_state(state["random"], self._device)
        return self._batches(iter(self._loader), early=state is not None and state["position"] == 0)

    def _begin_epoch(self, state: dict[str, Any]) -> Iterator[Any]:
        if self._one_ahead:  # its first batch is drawn at once, in an unbroken run with these random states
            self._restore(state["at_iter"])
            self._at_iter = self._capture()
            return self._batches(iter(self._loader), early=True)
        return self._begin_late(state)

    def _begin_late(self, state: dict[str, Any]) -> Iterator[Any]:
        # The epoch's own hooks come before its first batch, so nothing is drawn before that is asked for.
        self._restore_generators(state["at_iter"])
        self._at_iter = self._capture()
        yield from self._batches(iter(self._loader))

    def _batches(self, batches: Iterator[Any], *, early: bool = False) -> Iterator[Any]:
        if self._position == 0:
            self._at_first = self._capture()
        if self._one_ahead:
            self._before_draw = self._moment()
        for batch in batches:
            self._position += 1
            if early and self.drawn_early is None:
                self.drawn_early = random_state(self._device)
            yield batch
            if self._one_ahead:
                self._before_draw = self._moment()


def _has_length(loader: Any) -> bool:
    try:
        len(loader)
    except (TypeError, NotImplementedError):
        return False
    return True


class SafeCheckpointIO(CheckpointIO):
    """Checkpoints written to a file beside the old one and renamed, and read without unpickling objects.

    Parameters
    ----------
    check : callable
        Is given each checkpoint that was read, and its path, before anything takes it.
    """

    def __init__(self, check: Callable[[dict[str, Any], Path], None]) -> None:
        self._check = check

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        # Constructor arguments may be of any class; the module that resumes has its own.
        plain = {
            k: v for k, v in checkpoint.items() if not k.startswith(("hyper_parameters", "hparams_", "datamodule_h"))
        }
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(beside, "wb") as file:
                    torch.save(plain, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise TrainingError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; free space there, or choose another "
                "checkpoint_dir"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = read_checkpoint(path)
        self._check(checkpoint, Path(path))
        return checkpoint

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


def check_fits(checkpoint: dict[str, Any], module: nn.Module, path: Path) -> None:
    """Hold the tensors of a checkpoint against the module that is to take them.

    Raises
    ------
    TrainingError
        Naming the first tensor that is missing, of another shape, or too many.
    """
    remedy = "resume with the configuration that it was made with, or train anew with resume=False"
    stored, own = checkpoint["state_dict"], module.state_dict()
    for name in own:
        if name not in stored:
            raise TrainingError(f"{path} does not fit this model: it has no tensor {name!r}; {remedy}")
        if stored[name].shape != own[name].shape:
            raise TrainingError(
                f"{path} does not fit this model: {name!r} is {tuple(stored[name].shape)} there and "
                f"{tuple(own[name].shape)} here; {remedy}"
            )
    surplus = [name for name in stored if name not in own]
    if surplus:
        raise TrainingError(f"{path} does not fit this model, which has no tensor {surplus[0]!r}; {remedy}")


def check_writable(folder: Path) -> None:
    """Make the folder of the checkpoints, and make sure that a file can be written there.

    Raises
    ------
    TrainingError
        Naming the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrainingError(
            f"cannot write checkpoints to {folder}: {error.strerror or error}; choose another checkpoint_dir"
        ) from error
