"""The progress bar: steps, rate, time left, loss; on standard error, and only where somebody looks."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from zoo.training.callbacks import Run

_REFRESH = 0.1  # seconds; between them a step pays for one look at the clock


def wanted(progress: bool | None) -> bool:
    """Whether to show the bar: as told, else where standard error is a terminal."""
    return sys.stderr.isatty() if progress is None else progress


class ProgressBar(Callback):
    """One bar over all steps of the run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._bar: Progress | None = None
        self._next = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=Console(file=sys.stderr),
        )
        self._first_step = self._run.steps
        self._task = self._bar.add_task(
            "training", total=self._total(trainer), completed=self._run.steps, rate="", loss=""
        )
        self._bar.start()

    def _total(self, trainer: pl.Trainer) -> int | None:
        train = self._run.train
        limits = [] if train.max_steps is None else [train.max_steps]
        batches = trainer.num_training_batches
        if train.epochs is not None and batches != float("inf"):
            limits.append(train.epochs * -(-int(batches) // train.accumulate))
        return min(limits, default=None)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + _REFRESH
            self._show(trainer)

    def _show(self, trainer: pl.Trainer, *, ended: bool = False) -> None:
        run = self._run
        epoch = run.epochs if ended and trainer.is_last_batch else run.epochs + 1
        assert self._bar is not None
        rate = (run.steps - self._first_step) / max(run.seconds_now, 1e-9)
        total = self._bar.tasks[0].total
        if run.train.max_minutes is not None:
            # The clock may end the run first: the bar runs to the step that it would reach.
            total_by_time = self._first_step + round(rate * 60 * run.train.max_minutes)
            steps = self._total(trainer)
            total = total_by_time if steps is None else min(steps, total_by_time)
        loss = "" if run.last_loss != run.last_loss else f"loss {run.last_loss:.4g}"
        self._bar.update(
            self._task,
            description=f"epoch {epoch}" + (f"/{run.train.epochs}" if run.train.epochs else ""),
            completed=run.steps,
            total=total,
            rate=f"{rate:.1f} steps/s",
            loss=loss,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._show(trainer, ended=True)
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
