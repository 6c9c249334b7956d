"""What a training run leaves beside the weights."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

StoppedBy = Literal["epochs", "max_steps", "max_minutes", "early_stopping", "interrupt"]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Record of one training run.

    Attributes
    ----------
    steps
        Updates made, those before a resume included (see ``TrainConfig.max_steps`` for what a step is).
    epochs
        Whole passes over the data, those before a resume included.
    seconds
        Time spent in training, time before a resume included; set-up not.
    stopped_by
        Which limit ended it.
    metrics
        ``loss``, the mean training loss of the last epoch, and the last value of all that the module logged.
    checkpoint
        Path of the last checkpoint, or None where none was asked for.
    world_size
        Number of processes that trained.
    device
        Type of device: ``cpu``, ``cuda`` or ``mps``.
    precision
        "32", "bf16" or "16".
    """

    steps: int
    epochs: int
    seconds: float
    stopped_by: StoppedBy
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    world_size: int = 1
    device: str = "cpu"
    precision: str = "32"

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data for a manifest; without the path, which is of this machine alone."""
        return {
            "steps": self.steps,
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "stopped_by": self.stopped_by,
            "metrics": dict(self.metrics),
            "world_size": self.world_size,
            "device": self.device,
            "precision": self.precision,
        }


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the training after a last checkpoint was written.

    It is a ``KeyboardInterrupt``, so that a script of several steps ends where a user asked it to end; one that
    would rather go on with what was learned catches it and reads ``result`` (``stopped_by="interrupt"``).
    """

    def __init__(self, result: FitResult) -> None:
        where = (
            f"; go on with checkpoint_dir={os.path.dirname(result.checkpoint)!r}, resume=True"
            if result.checkpoint
            else ""
        )
        super().__init__(f"training was interrupted after step {result.steps}{where}")
        self.result = result


def is_main_process() -> bool:
    """Whether this process is the one that evaluates and saves: rank 0, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0
