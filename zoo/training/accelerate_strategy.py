"""One Lightning strategy whose devices, processes, mixed precision and gradient synchronisation are Accelerate's.

Who owns what, each thing once:

- **Accelerate**: the device, the ranks and the process group (read from what ``torchrun``, ``accelerate launch`` or
  ``accelerate.debug_launcher`` set), the DDP wrapper (``prepare_model``), the autocast context and the loss scaler.
- **Lightning**: the loop, the loaders and their samplers, gradient accumulation (the ``Accelerator`` here is told of
  one batch a step, else the loss would be divided twice), clipping, optimizers and checkpoints. The optimizers are
  not prepared: an ``AcceleratedOptimizer`` with a scaler cannot run Lightning's closure. Lightning's own precision
  plugin says *when* autocast and scaler act, and Accelerate's are what acts.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import AutocastKwargs, extract_model_from_parallel
from pytorch_lightning.accelerators import Accelerator as LightningAccelerator
from pytorch_lightning.plugins import CheckpointIO, ClusterEnvironment, MixedPrecision, Precision
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from zoo.errors import ConfigError, TrainingError
from zoo.training.config import TrainConfig

_ACCELERATE_NAME = {"32": "no", "bf16": "bf16", "16": "fp16"}


@contextmanager
def own_accelerator(train: TrainConfig, *, find_unused_parameters: bool = False) -> Iterator[Accelerator]:
    """An ``Accelerator`` for one run, which leaves those of the rest of the process as they were.

    Accelerate keeps its state in process-wide dictionaries: a second ``Accelerator`` of another precision or device
    is refused, and its accumulation is everybody's. Here they are put aside and put back. A process group, once
    begun, stays: a process has one.

    Raises
    ------
    ConfigError
        If the device is not there, "16" is asked of a CPU, the processes that were started cannot train together on
        the device, or ``accelerate launch`` was told of an accumulation that contradicts ``train.accumulate``.
    """
    _check_device(train.accelerator)
    launched = int(os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"))
    if launched not in (1, train.accumulate):
        raise ConfigError(
            f"accelerate launch was told gradient_accumulation_steps={launched} and train says "
            f"accumulate={train.accumulate}; give the number to train.accumulate alone"
        )
    precision = _precision(train)
    states = [AcceleratorState._shared_state, GradientState._shared_state, PartialState._shared_state]
    saved = [dict(s) for s in states]
    for state in states:
        state.clear()
    try:
        accelerator = Accelerator(
            # Without a GPU Accelerate takes part in a group of several processes only where it is told of the CPU.
            cpu=train.accelerator == "cpu" or not torch.accelerator.is_available(),
            mixed_precision=_ACCELERATE_NAME[precision],
            # Without the cache a weight that is used twice gets its gradient summed in float32, as in Lightning.
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters),
                AutocastKwargs(cache_enabled=False),
            ],
        )
        if precision == "16" and accelerator.device.type == "cpu":
            raise ConfigError("train: precision='16' needs a GPU; use 'bf16' or '32' on a CPU")
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if accelerator.num_processes != started:
            raise ConfigError(
                f"{started} processes were started, and on {accelerator.device.type} each would train alone; "
                "start one, or train with accelerator='cpu'"
            )
        yield accelerator
    finally:
        for state, before in zip(states, saved, strict=True):
            state.clear()
            state.update(before)


def _check_device(name: str) -> None:
    missing = (name == "cuda" and not torch.cuda.is_available()) or (
        name == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"train: accelerator={name!r} is not available here; use 'auto' or 'cpu'")


def _precision(train: TrainConfig) -> str:
    """The precision asked for: by the configuration, else by ``accelerate launch``, else "32"."""
    if train.precision is not None:
        return train.precision
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    names = {v: k for k, v in _ACCELERATE_NAME.items()}
    if launched not in names:
        raise ConfigError(f"mixed precision {launched!r} of accelerate launch is not supported; use no, bf16 or fp16")
    return names[launched]


class AccelerateStrategy(DDPStrategy):
    """``DDPStrategy`` over an ``accelerate.Accelerator``; with one process the module is not wrapped at all.

    Parameters
    ----------
    accelerate : accelerate.Accelerator
        Owner of device, ranks, wrapping and mixed precision.
    on_loss : callable
        Is given each loss before its backward pass.
    on_loader : callable
        Is given each loader of training data; returns what to iterate over.
    on_begin : callable
        Is called once, last of all before the first batch.
    checkpoint_io : CheckpointIO
        Reads and writes checkpoints.
    """

    def __init__(
        self,
        accelerate: Accelerator,
        *,
        on_loss: Callable[[Tensor], None],
        on_loader: Callable[[Any], Any],
        on_begin: Callable[[], None],
        checkpoint_io: CheckpointIO,
    ) -> None:
        super().__init__(
            accelerator=_AccelerateDevice(accelerate),
            cluster_environment=_AccelerateEnvironment(accelerate),
            precision_plugin=_precision_plugin(accelerate),
            checkpoint_io=checkpoint_io,
        )
        self.accelerate = accelerate
        self._on_loss = on_loss
        self._on_loader = on_loader
        self._on_begin = on_begin

    @property
    def root_device(self) -> torch.device:
        return self.accelerate.device

    @property
    def num_processes(self) -> int:
        return self.accelerate.num_processes

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        return {"num_replicas": self.accelerate.num_processes, "rank": self.accelerate.process_index}

    def set_world_ranks(self) -> None:
        rank_zero_only.rank = self.accelerate.process_index  # type: ignore[attr-defined]

    def setup_distributed(self) -> None:
        # The Accelerator has begun the process group already.
        self.set_world_ranks()

    def _configure_launcher(self) -> None:
        self._launcher = None  # the processes are there: torchrun or accelerate started them

    def configure_ddp(self) -> None:
        assert self.model is not None
        self.model = self._setup_model(self.model)

    def _setup_model(self, model: nn.Module) -> nn.Module:  # type: ignore[override]
        """Wrap the module where there are several processes.

        ``prepare_model`` also replaces ``forward`` by one under autocast. Lightning runs ``training_step``, which
        never passes there (nor through DDP's ``forward`` in one process), so autocast is entered by the precision
        plugin around the whole step, and the replaced ``forward`` is taken off again: it would cast the outputs of
        inner calls to float32.
        """
        alone = self.accelerate.num_processes == 1
        prepared = self.accelerate.prepare_model(model, evaluation_mode=alone)
        _restore_forward(model)
        return prepared

    def process_dataloader(self, dataloader: object) -> object:
        if hasattr(dataloader, "distribute"):
            dataloader.distribute(self.root_device, self.accelerate.process_index, self.accelerate.num_processes)
        assert self.lightning_module is not None
        return self._on_loader(dataloader) if self.lightning_module.trainer.training else dataloader

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        states = checkpoint["optimizer_states"]
        try:
            for optimizer, state in zip(self.optimizers, states, strict=True):
                # torch takes the numbers of another algorithm without a word and fails at its first step.
                if state["param_groups"][0].keys() != optimizer.state_dict()["param_groups"][0].keys():
                    raise ValueError("options of another algorithm")
            super().load_optimizer_state_dict(checkpoint)
        except ValueError as error:
            raise TrainingError(
                f"the checkpoint does not fit the {len(self.optimizers)} optimizer(s) of this run ({error}); resume "
                "with the configuration that it was made with, or train anew with resume=False"
            ) from error

    def pre_backward(self, closure_loss: Tensor) -> None:
        self._on_loss(closure_loss)
        super().pre_backward(closure_loss)

    def on_train_start(self) -> None:
        super().on_train_start()
        self._on_begin()

    def teardown(self) -> None:
        module = self.lightning_module
        super().teardown()
        self.accelerate._models.clear()
        if module is not None:
            _restore_forward(module)


def _restore_forward(model: nn.Module) -> None:
    if "_original_forward" in vars(model):
        extract_model_from_parallel(model, keep_fp32_wrapper=False)
        # What is left is an instance attribute equal to the class's method; without it the module copies cleanly.
        vars(model).pop("forward", None)
        vars(model).pop("_original_forward", None)


class _AccelerateDevice(LightningAccelerator):
    """Lightning's view of the one device that Accelerate chose for this process."""

    def __init__(self, accelerate: Accelerator) -> None:
        self.accelerate = accelerate

    def setup_device(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.set_device(device)

    def teardown(self) -> None:
        if self.accelerate.device.type == "cuda":
            torch.cuda.empty_cache()

    def get_device_stats(self, device: torch.device | str | int) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        # Lightning asks the class, before there is a strategy, and only counts: one device a process. The device
        # itself is the strategy's root_device.
        return [torch.device("cpu")]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "accelerate"


class _AccelerateEnvironment(ClusterEnvironment):
    """Lightning's view of the processes that Accelerate found."""

    def __init__(self, accelerate: Accelerator) -> None:
        self.accelerate = accelerate

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        return int(os.environ.get("MASTER_PORT", "29500"))

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.accelerate.num_processes

    def set_world_size(self, size: int) -> None:
        raise AssertionError("the number of processes is Accelerate's to say")

    def global_rank(self) -> int:
        return self.accelerate.process_index

    def set_global_rank(self, rank: int) -> None:
        raise AssertionError("the rank is Accelerate's to say")

    def local_rank(self) -> int:
        return self.accelerate.local_process_index

    def node_rank(self) -> int:
        return self.accelerate.process_index // int(os.environ.get("LOCAL_WORLD_SIZE", self.accelerate.num_processes))


class _AcceleratePrecision(MixedPrecision):
    """Lightning's calls around each step, forwarded to Accelerate's autocast and loss scaler."""

    def __init__(self, accelerate: Accelerator) -> None:
        kind = "16-mixed" if accelerate.mixed_precision == "fp16" else "bf16-mixed"
        super().__init__(kind, accelerate.device.type, scaler=accelerate.scaler)  # type: ignore[arg-type]
        self.accelerate = accelerate

    def autocast_context_manager(self) -> contextlib.AbstractContextManager:  # type: ignore[override]
        return self.accelerate.autocast()


def _precision_plugin(accelerate: Accelerator) -> Precision:
    return Precision() if accelerate.mixed_precision == "no" else _AcceleratePrecision(accelerate)
