"""The common trainer: one call that trains any ``LightningModule`` on any number of processes.

``pytorch_lightning.Trainer`` drives; Accelerate owns the hardware (see :mod:`zoo.training.accelerate_strategy`); the
callbacks are in :mod:`zoo.training.callbacks`. With one process the weights are bit for bit those of a stock
``Trainer`` after ``seed_everything(seed)``; under several, those of Lightning's stock DDP.
"""

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from accelerate import Accelerator
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.profilers import Profiler

from zoo.errors import ConfigError, TrainingError, ZooError
from zoo.random import check_seed, isolated_rng
from zoo.training.accelerate_strategy import AccelerateStrategy, own_accelerator
from zoo.training.callbacks import Clip, Ema, Interrupt, Losses, Patience, Run, Steps, StopAndSave
from zoo.training.config import TrainConfig
from zoo.training.progress import ProgressBar, wanted
from zoo.training.result import FitResult, StoppedBy, TrainingInterrupted
from zoo.training.resume import SafeCheckpointIO, check_fits, check_writable, seed_everything
from zoo.training.signals import Signals


def fit(
    module: pl.LightningModule,
    data: Any,
    config: TrainConfig,
    *,
    seed: int = 0,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
) -> FitResult:
    """Train ``module`` in place.

    Parameters
    ----------
    module : LightningModule
        A thin loss wrapper round a network; with one optimizer, or with several that it steps by hand. Ends on the
        CPU, with the best weights under ``config.patience``, else the average under ``config.ema_decay``.
    data : LightningDataModule, TensorDataModule or loader
        Anything with ``train_dataloader`` (and ``val_dataloader``), or a loader of training batches.
    config : TrainConfig
        With ``epochs``, ``max_steps`` or ``max_minutes`` given.
    seed : int
        Decides every draw of the global generators in the run (which are left as they were), and the order of the
        samplers that Lightning injects. Every process has the same seed, as in stock Lightning.
    monitor : str, optional
        Logged metric that ``patience`` watches; by default ``val_loss`` where there is validation, else the loss.
    mode : {"min", "max"}
        Whether lower or higher is better.

    Raises
    ------
    ConfigError
        If no limit is set, or the configuration and the module or the machine contradict each other.
    TrainingError
        If a loss is not finite (naming step and learning rate), or the checkpoint does not fit.
    TrainingInterrupted
        (a KeyboardInterrupt) After Ctrl-C or SIGTERM, once the last checkpoint is written; see there.
    """
    seed = check_seed(seed)
    _check(module, config)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if config.accelerator != "cpu" and torch.cuda.is_available():
            torch.cuda.init()  # so that its random state is there to be kept
        stack.enter_context(isolated_rng())
        stack.enter_context(_threads(config.num_threads))
        if not torch.cuda.is_available():
            # Lightning's import has torch look for the driver's library again at each step of an optimizer.
            stack.enter_context(_environment("PYTORCH_NVML_BASED_CUDA_CHECK", "0"))
        # DistributedSampler's seed, as Lightning reads it.
        stack.enter_context(_environment("PL_GLOBAL_SEED", str(seed)))
        signals = stack.enter_context(Signals())
        accelerate = stack.enter_context(
            own_accelerator(config, find_unused_parameters=not module.automatic_optimization)
        )
        return _Session(module, config, seed, accelerate, signals, monitor, mode).run(data)


class _Session:
    """One run: the pieces that belong together for as long as it lasts."""

    def __init__(
        self,
        module: pl.LightningModule,
        config: TrainConfig,
        seed: int,
        accelerate: Accelerator,
        signals: Signals,
        monitor: str | None,
        mode: Literal["min", "max"],
    ) -> None:
        self.module = module
        self.config = config
        self.accelerate = accelerate
        self.signals = signals
        self.state = Run(
            train=config,
            seed=seed,
            device=accelerate.device,
            rank=accelerate.process_index,
            world_size=accelerate.num_processes,
            automatic=module.automatic_optimization,
        )
        self.path = None if config.checkpoint_dir is None else Path(config.checkpoint_dir) / "last.ckpt"
        self.losses = Losses(self.state)
        self.ema = Ema(self.state) if config.ema_decay is not None else None
        self.patience = Patience(self.state, self.ema, monitor, mode) if config.patience else None
        self.keeper = StopAndSave(self.state, self.losses, signals, self.path)

    def run(self, data: Any) -> FitResult:
        resume_from = self._resume_from()
        trainer = self._trainer()
        seed_everything(self.state.seed)
        try:
            trainer.fit(self.module, **_sources(data), ckpt_path=resume_from, weights_only=True)
        except Interrupt:
            raise TrainingInterrupted(self._result("interrupt")) from None
        except RuntimeError as error:
            # After an error at the start of a loader, Lightning's clean-up fails in its turn and hides the reason.
            if isinstance(error.__context__, ZooError) and not isinstance(error, ZooError):
                raise error.__context__ from None
            raise
        except SystemExit as exit_:
            if isinstance(exit_.__context__, KeyboardInterrupt):  # Lightning turns the one into the other
                raise KeyboardInterrupt from None
            raise
        finally:
            self.module.trainer = None
        self._take_final_weights()
        if self.signals.received:
            raise TrainingInterrupted(self._result("interrupt"))
        return self._result(self.state.stopped_by or self._limit_reached())

    def _limit_reached(self) -> StoppedBy:
        """Why a run ended that no callback stopped."""
        limit = self.config.max_steps
        return "max_steps" if limit is not None and self.state.steps >= limit else "epochs"

    def _resume_from(self) -> Path | None:
        """The checkpoint to go on from. An old one that is not resumed is kept as ``previous.ckpt``."""
        if self.path is None:
            return None
        if self.accelerate.is_main_process:
            check_writable(self.path.parent)  # now, and not after hours of training
        if not self.path.exists():
            return None
        if self.config.resume:
            return self.path
        if self.accelerate.is_main_process:
            os.replace(self.path, self.path.with_name("previous.ckpt"))
        return None

    def _trainer(self) -> pl.Trainer:
        config, automatic = self.config, self.module.automatic_optimization
        callbacks: list[Any] = [Steps(self.state, self.losses)]
        if self.ema:
            callbacks.append(self.ema)
        if config.gradient_clip is not None and not automatic:
            callbacks.append(Clip(config.gradient_clip))
        if wanted(config.progress) and self.accelerate.is_main_process:
            callbacks.append(ProgressBar(self.state))
        if self.patience:
            callbacks.append(self.patience)
        callbacks.append(self.keeper)
        strategy = AccelerateStrategy(
            self.accelerate,
            on_loss=self.losses,
            on_loader=self.keeper.track,
            on_begin=self.keeper.begin,
            checkpoint_io=SafeCheckpointIO(lambda checkpoint, path: check_fits(checkpoint, self.module, path)),
        )
        return pl.Trainer(
            strategy=strategy,
            devices=1,
            max_epochs=config.epochs or -1,
            # For schedules that ask how long the run is. By hand, Lightning would count each optimizer's steps.
            max_steps=config.max_steps or -1 if automatic else -1,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip if automatic else None,
            callbacks=callbacks,
            logger=_logger(config) if self.accelerate.is_main_process else False,
            profiler=_NoProfiler(),
            use_distributed_sampler=self.accelerate.num_processes > 1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=config.checkpoint_dir or os.getcwd(),
        )

    def _take_final_weights(self) -> None:
        if self.patience and self.patience.best is not None:
            self.module.load_state_dict(self.patience.best)
        elif self.ema:
            self.module.load_state_dict(self.ema.weights(self.module))
        bad = [n for n, p in self.module.named_parameters() if not bool(torch.isfinite(p).all())]
        if bad:
            raise TrainingError(
                f"the weights {bad[0]} are not finite after step {self.state.steps}; "
                "lower learning_rate or set gradient_clip"
            )

    def _result(self, stopped_by: StoppedBy) -> FitResult:
        metrics = dict(self.state.metrics)
        if self.state.epoch_loss is not None:
            metrics["loss"] = self.state.epoch_loss  # what a module logs by this name is of its last batch
        path = self.keeper.path
        precision = {"no": "32", "fp16": "16"}.get(self.accelerate.mixed_precision, self.accelerate.mixed_precision)
        return FitResult(
            steps=self.state.steps,
            epochs=self.state.epochs,
            seconds=self.state.seconds,
            stopped_by=stopped_by,
            metrics=metrics,
            checkpoint=None if path is None else str(path),
            world_size=self.state.world_size,
            device=self.accelerate.device.type,
            precision=precision,
        )


class _NoProfiler(Profiler):
    """Lightning profiles some twenty places a step; entering a generator in each of them costs a small network more
    than the rest of the hook."""

    _NOTHING = nullcontext()

    def start(self, action_name: str) -> None:
        pass

    def stop(self, action_name: str) -> None:
        pass

    def profile(self, action_name: str) -> Any:
        return self._NOTHING


def _check(module: pl.LightningModule, config: TrainConfig) -> None:
    if config.epochs is None and config.max_steps is None and config.max_minutes is None:
        raise ConfigError("train: give epochs, max_steps or max_minutes; without one of them training has no end")
    if config.accumulate > 1 and not module.automatic_optimization:
        raise ConfigError(
            f"train: accumulate={config.accumulate} does not work with {type(module).__name__}, which steps its own "
            "optimizers; use a larger batch_size"
        )


def _sources(data: Any) -> dict[str, Any]:
    if isinstance(data, pl.LightningDataModule):
        return {"datamodule": data}
    if hasattr(data, "train_dataloader"):
        validation = data.val_dataloader() if hasattr(data, "val_dataloader") else None
        return {"train_dataloaders": data.train_dataloader(), "val_dataloaders": validation}
    return {"train_dataloaders": data}


def _logger(config: TrainConfig) -> Logger | Literal[False]:
    if config.log_dir is None:
        return False
    if importlib.util.find_spec("tensorboard") is None:
        return CSVLogger(config.log_dir, name="", version="")
    return TensorBoardLogger(config.log_dir, name="", version="")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning and Accelerate say about themselves; warnings of other modules pass."""
    names = ["pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"]
    loggers = [logging.getLogger(n) for n in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\.|lightning_fabric\.|accelerate\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
