"""The one configuration of training: limits and choices that every neural family takes.

Light on purpose: the command line and the recipes read this class, so it imports neither torch nor Lightning.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from zoo.config import Range, check_config
from zoo.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how to train. A field that is None leaves the choice to the generator's family.

    Training ends with whatever comes first: ``epochs``, ``max_steps``, ``max_minutes`` or ``patience``.

    Parameters
    ----------
    epochs
        Passes over the training data; None takes the family's default.
    max_steps
        End after this many steps. A step is one update from ``accumulate`` batches; a GAN's turn of
        discriminator and generator on one batch is one step.
    max_minutes
        End after this many minutes of training (set-up not counted), and after one step at least.
    batch_size
        Rows in a batch, in each process; None takes the family's default.
    learning_rate
        Step size of the optimizer; None takes the family's default.
    precision
        "32", "bf16" (mixed; any recent CPU or GPU) or "16" (mixed with loss scaling; needs a GPU). None is what
        `accelerate launch --mixed_precision` says, else "32".
    accelerator
        Where to train: "auto" takes a GPU when there is one, in each process that `accelerate launch` starts.
    gradient_clip
        Largest L2 norm of the gradient of an update; None does not clip.
    accumulate
        Batches whose gradients are averaged into one update.
    ema_decay
        Keep an exponential moving average of the weights with this decay (0.999, say) and end with the average.
    patience
        Stop early after this many epochs without a better validation loss (training loss where there is no
        validation), and end with the best weights; None never stops early.
    validation_fraction
        Share of the rows that a family holds out to validate on when ``patience`` is given.
    checkpoint_dir
        Folder for ``last.ckpt``, from which ``resume`` goes on; None writes none.
    checkpoint_minutes
        Minutes between two checkpoints.
    checkpoint_steps
        Steps between two checkpoints, beside the minutes; None counts minutes only.
    resume
        Go on from ``checkpoint_dir``/last.ckpt where there is one: the final weights are those of an unbroken run.
    log_dir
        Folder for training curves: TensorBoard's format, or CSV where TensorBoard is not installed. None logs none.
    progress
        Show a progress bar on standard error; None shows it when that is a terminal.
    num_threads
        Threads that torch computes with on a CPU; None leaves torch's own choice.
    """

    epochs: Annotated[int | None, Range(1, 1_000_000)] = None
    max_steps: Annotated[int | None, Range(1)] = None
    max_minutes: Annotated[float | None, Range(0, open_low=True)] = None
    batch_size: Annotated[int | None, Range(1, 10_000_000)] = None
    learning_rate: Annotated[float | None, Range(0, 10, open_low=True)] = None
    precision: Literal["32", "bf16", "16"] | None = None
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    gradient_clip: Annotated[float | None, Range(0, open_low=True)] = None
    accumulate: Annotated[int, Range(1, 1_000_000)] = 1
    ema_decay: Annotated[float | None, Range(0, 0.999999999)] = None
    patience: Annotated[int | None, Range(1)] = None
    validation_fraction: Annotated[float, Range(0, 0.9, open_low=True)] = 0.1
    checkpoint_dir: str | None = None
    checkpoint_minutes: Annotated[float, Range(0, open_low=True)] = 5.0
    checkpoint_steps: Annotated[int | None, Range(1)] = None
    resume: bool = False
    log_dir: str | None = None
    progress: bool | None = None
    num_threads: Annotated[int | None, Range(1, 4096)] = None

    def __post_init__(self) -> None:
        check_config(self, owner="train")
        if self.resume and self.checkpoint_dir is None:
            raise ConfigError("train: resume needs checkpoint_dir, the folder that holds last.ckpt")

    def with_defaults(self, **defaults: Any) -> Self:
        """The same configuration with the fields that are None set to a family's defaults.

        ``train.with_defaults(epochs=300, batch_size=500)`` keeps what the user gave. ``max_steps`` alone is a
        complete limit, so a default of ``epochs`` does not cut it short; under ``max_minutes`` the default stays,
        because time is an upper bound and not a wish.

        Raises
        ------
        ConfigError
            For an unknown field, with the nearest valid name.
        """
        known = [f.name for f in dataclasses.fields(self)]
        for name in defaults:
            if name not in known:
                raise ConfigError(f"train has no field {name!r}; {nearest(name, known)}")
        missing = {k: v for k, v in defaults.items() if getattr(self, k) is None}
        if self.max_steps is not None:
            missing.pop("epochs", None)
        return dataclasses.replace(self, **missing)
