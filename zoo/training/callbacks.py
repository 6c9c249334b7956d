"""What the trainer does around the steps: count, average, stop, keep the best, save.

Every callback costs each step a few microseconds in each of Lightning's hooks, so that there are few of them and what
they share is in one :class:`Run`. Those that read metrics derive from Lightning's ``Checkpoint``, because Lightning
calls these after the module's own ``on_train_epoch_end``.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import Tensor

from zoo.errors import TrainingError, nearest
from zoo.training.config import TrainConfig
from zoo.training.result import StoppedBy
from zoo.training.resume import TrackedLoader, random_state, set_random_state
from zoo.training.signals import Signals

_LOG_EVERY = 50  # steps between two points of the loss curve
_ASYNC_EVERY = 32  # steps between two looks at the losses on a device that runs ahead of Python


class Interrupt(Exception):
    """Leaves Lightning's loop after the last checkpoint of an interrupted run; ``fit`` translates it."""


@dataclass
class Run:
    """The state of a run that its callbacks share; what a resumed run has to know is in the checkpoint."""

    train: TrainConfig
    seed: int
    device: torch.device
    rank: int
    world_size: int
    automatic: bool
    steps: int = 0
    epochs: int = 0
    stepped: bool = False
    seconds_before: float = 0.0
    started: float | None = None
    stopped_by: StoppedBy | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    last_loss: float = math.nan
    epoch_loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    pending: list[Tensor] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume included."""
        return self.seconds_before + self.seconds_now

    @property
    def seconds_now(self) -> float:
        """Training time of this call."""
        return 0.0 if self.started is None else time.perf_counter() - self.started

    def mean_over_processes(self, value: float) -> float:
        """The same number in every process, so that all decide alike."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return float(tensor) / self.world_size


class Losses:
    """Looks at every loss before its backward pass: not finite stops the run before the weights are spoilt.

    On a CPU each is read at once. A GPU runs ahead of Python and reading waits for it, so there the losses are read
    a few dozen at a time, and before anything is saved; the step named is still the one at fault.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._every = 1 if run.device.type == "cpu" else _ASYNC_EVERY
        self._steps: list[int] = []
        self.optimizers: list[Any] = []

    def __call__(self, loss: Tensor) -> None:
        run = self._run
        run.pending.append(loss.detach())
        self._steps.append(run.steps + 1)
        if len(self._steps) >= self._every:
            self.read()

    def read(self) -> None:
        """Take the pending losses to the host.

        Raises
        ------
        TrainingError
            Naming the step, the loss and the learning rate.
        """
        run = self._run
        if not run.pending:
            return
        values = [run.pending[0].item()] if len(run.pending) == 1 else torch.stack(run.pending).tolist()
        for step, value in zip(self._steps, values, strict=True):
            if not math.isfinite(value):
                rates = sorted({f"{g['lr']:g}" for o in self.optimizers for g in o.param_groups})
                raise TrainingError(
                    f"the loss is {value} at step {step} with learning rate {', '.join(rates)}; "
                    "lower learning_rate, set gradient_clip (1.0, say), or use precision '32'"
                )
        run.pending.clear()
        self._steps.clear()
        run.last_loss = values[-1]
        if run.automatic:
            # Lightning divides the loss by the number of accumulated batches.
            run.loss_sum += sum(values) * run.train.accumulate
            run.loss_count += len(values)


class Steps(Callback):
    """Counts steps and epochs, and writes the loss curve."""

    def __init__(self, run: Run, losses: Losses) -> None:
        self._run = run
        self._losses = losses

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses.optimizers = trainer.optimizers
        self._run.started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        run = self._run
        run.stepped = (batch_idx + 1) % run.train.accumulate == 0 or trainer.is_last_batch
        if run.stepped:
            run.steps += 1
            if run.steps % _LOG_EVERY == 0 and trainer.logger is not None and run.automatic:
                self._losses.read()
                rate = trainer.optimizers[0].param_groups[0]["lr"]
                trainer.logger.log_metrics({"loss": run.last_loss, "learning_rate": rate}, step=run.steps)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        run = self._run
        self._losses.read()
        run.epochs += int(trainer.is_last_batch)
        if run.loss_count:
            run.epoch_loss = run.mean_over_processes(run.loss_sum / run.loss_count)
            if trainer.logger is not None:
                trainer.logger.log_metrics({"epoch_loss": run.epoch_loss, "epoch": run.epochs}, step=run.steps)
        run.loss_sum, run.loss_count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        run = self._run
        return {
            "steps": run.steps,
            "epochs": run.epochs,
            "seconds": run.seconds,
            "loss_sum": run.loss_sum,
            "loss_count": run.loss_count,
            "epoch_loss": run.epoch_loss,
            "metrics": run.metrics,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        run = self._run
        run.steps, run.epochs, run.seconds_before = state_dict["steps"], state_dict["epochs"], state_dict["seconds"]
        run.loss_sum, run.loss_count = state_dict["loss_sum"], state_dict["loss_count"]
        run.epoch_loss, run.metrics = state_dict["epoch_loss"], state_dict["metrics"]


class Ema(Callback):
    """Exponential moving average of the parameters: avg <- decay · avg + (1 - decay) · weight, after each step.

    Buffers (running statistics of batch norm) are taken as they are. Validation sees the average.
    """

    def __init__(self, run: Run) -> None:
        assert run.train.ema_decay is not None
        self._run = run
        self._decay = run.train.ema_decay
        self._average: dict[str, Tensor] = {}
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._raw: list[Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        floating = {n: p.detach() for n, p in pl_module.named_parameters() if p.is_floating_point()}
        self._average = {n: self._average.get(n, p).to(p.device).clone() for n, p in floating.items()}
        self._pairs = (list(self._average.values()), list(floating.values()))

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._run.stepped:
            torch._foreach_lerp_(*self._pairs, 1.0 - self._decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._raw = [p.clone() for p in self._pairs[1]]
        torch._foreach_copy_(self._pairs[1], self._pairs[0])

    @torch.no_grad()
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._raw is not None
        torch._foreach_copy_(self._pairs[1], self._raw)
        self._raw = None

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._average = state_dict["average"]

    def weights(self, module: pl.LightningModule) -> dict[str, Tensor]:
        """The module's state with the averages in the place of the parameters."""
        return {n: self._average.get(n, t) for n, t in module.state_dict().items()}


class Patience(Checkpoint):
    """Stops after ``patience`` epochs without a better score, and keeps the best weights."""

    def __init__(self, run: Run, ema: Ema | None, monitor: str | None, mode: Literal["min", "max"]) -> None:
        assert run.train.patience is not None
        self._run = run
        self._patience = run.train.patience
        self._ema = ema
        self._monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self._score: float | None = None
        self._waited = 0
        self.best: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_due(trainer)  # the run that is resumed may have stopped early already

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_last_batch and self._score is not None:
            return  # cut in mid-epoch: there is no whole epoch to judge
        score = self._sign * self._read(trainer)
        if self._score is None or score < self._score:
            self._score, self._waited = score, 0
            weights = self._ema.weights(pl_module) if self._ema else pl_module.state_dict()
            self.best = {n: t.detach().clone() for n, t in weights.items()}
        else:
            self._waited += 1
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: pl.Trainer) -> None:
        if self._waited >= self._patience:
            self._run.stopped_by = self._run.stopped_by or "early_stopping"
            trainer.should_stop = True

    def _read(self, trainer: pl.Trainer) -> float:
        name = self._monitor or ("val_loss" if trainer.enable_validation else "loss")
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if self._run.epoch_loss is not None:
            metrics["loss"] = self._run.epoch_loss
        if name not in metrics:
            raise TrainingError(
                f"patience watches {name!r}, which the module did not log; {nearest(name, metrics)} "
                "Log it in validation_step, or name another by monitor"
            )
        return self._run.mean_over_processes(metrics[name])

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score, "waited": self._waited, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._score, self._waited, self.best = state_dict["score"], state_dict["waited"], state_dict["best"]


class Clip(Callback):
    """Clips each optimizer's gradients in a module that optimises by hand, where Lightning's own does not act."""

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self._limit)


class StopAndSave(Checkpoint):
    """Ends the run at its limits and writes ``last.ckpt``; all processes decide alike.

    In mid-epoch the checkpoint is written after a step; one that falls on the last batch of an epoch is written when
    the epoch is closed, with its validation and its schedulers done.
    """

    def __init__(self, run: Run, losses: Losses, signals: Signals, path: Path | None) -> None:
        self._run = run
        self._losses = losses
        self._signals = signals
        self.path = path
        self._loaders: list[TrackedLoader] = []
        self._restored: dict[str, Any] | None = None
        self._finished = False
        self._due = False
        self._last_save = 0.0
        # Reading a vote waits for the device, which is cheap on a CPU only.
        self._vote_every = 1 if run.device.type == "cpu" else _ASYNC_EVERY

    def track(self, loader: Any) -> TrackedLoader:
        """Take a loader of training data under care, from the position of the checkpoint if there is one."""
        states = self._restored["loaders"] if self._restored else []
        number = len(self._loaders)
        tracked = TrackedLoader(loader, self._run.device, states[number] if number < len(states) else None)
        self._loaders.append(tracked)
        return tracked

    def begin(self) -> None:
        """Last of all before the first batch: put back the random states of the checkpoint."""
        if self._restored is not None:
            early = [loader.drawn_early for loader in self._loaders if loader.drawn_early is not None]
            set_random_state(early[-1] if early else self._restored["random"], self._run.device)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._signals.take_sigterm()
        self._last_save = self._run.seconds_now
        limit = self._run.train.max_steps
        if limit is not None and self._run.steps >= limit:
            self._run.stopped_by, trainer.should_stop = "max_steps", True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        run = self._run
        if not run.stepped:
            return  # gradients of half an update are in no checkpoint
        reason, due = self._decide()
        if reason is not None:
            run.stopped_by, trainer.should_stop = reason, True
        if (reason is not None or due) and not trainer.is_last_batch:
            self._save(trainer, finished=False)
            self._leave_if_interrupted()
        else:
            self._due = self._due or due

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if not trainer.is_last_batch:
            return  # the checkpoint of the step stands: an unfinished epoch is resumed, not closed
        last = trainer.should_stop or (trainer.max_epochs or 0) == trainer.current_epoch + 1
        if self._due or last:
            self._save(trainer, finished=True)
        self._leave_if_interrupted()

    def _decide(self) -> tuple[StoppedBy | None, bool]:
        run, train = self._run, self._run.train
        if train.max_steps is not None and run.steps >= train.max_steps:
            return "max_steps", False  # every process counts the same
        now = run.seconds_now
        late = train.max_minutes is not None and now >= 60 * train.max_minutes
        interrupted = self._signals.received
        due = self.path is not None and now - self._last_save >= 60 * train.checkpoint_minutes
        if run.world_size > 1:
            if run.steps % self._vote_every:
                late = interrupted = due = False
            else:
                votes = torch.tensor([late, interrupted, due], dtype=torch.int32, device=run.device)
                torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MAX)
                late, interrupted, due = (bool(v) for v in votes.tolist())
        if train.checkpoint_steps is not None and run.steps % train.checkpoint_steps == 0:
            due = True
        return ("interrupt" if interrupted else "max_minutes" if late else None), due

    def _leave_if_interrupted(self) -> None:
        if self._run.stopped_by == "interrupt":
            raise Interrupt

    def _save(self, trainer: pl.Trainer, *, finished: bool) -> None:
        self._due = False
        if self.path is None:
            if self._run.stopped_by != "interrupt":
                return
            self.path = self._signals.rescue_path()
        self._losses.read()
        self._finished = finished
        self._last_save = self._run.seconds_now
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        run = self._run
        mine = {
            "random": random_state(run.device),
            "loaders": [loader.state(finished=self._finished) for loader in self._loaders],
        }
        every: list[Any] = [mine]
        if run.world_size > 1:
            every = [None] * run.world_size
            torch.distributed.all_gather_object(every, mine)
        return {"settings": self._settings(), "processes": every}

    def _settings(self) -> dict[str, int | float | None]:
        run = self._run
        return {
            "seed": run.seed,
            "accumulate": run.train.accumulate,
            "ema_decay": run.train.ema_decay,
            "number of processes": run.world_size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, mine in self._settings().items():
            theirs = state_dict["settings"].get(name)
            if theirs != mine:
                raise TrainingError(
                    f"the checkpoint was made with {name} {theirs} and this run has {mine}; "
                    "resume with the same, or train anew with resume=False"
                )
        self._restored = state_dict["processes"][self._run.rank]
