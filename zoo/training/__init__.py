"""The common trainer: ``fit(module, data, TrainConfig) -> FitResult`` for every neural family.

The names load lazily: the configuration is light, and Lightning is imported only by the first ``fit``.
"""

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "TrainConfig": "zoo.training.config",
    "FitResult": "zoo.training.result",
    "TrainingInterrupted": "zoo.training.result",
    "is_main_process": "zoo.training.result",
    "fit": "zoo.training.trainer",
    "TensorDataModule": "zoo.training.loader",
    "TensorLoader": "zoo.training.loader",
}

__all__ = [
    "FitResult",
    "TensorDataModule",
    "TensorLoader",
    "TrainConfig",
    "TrainingInterrupted",
    "fit",
    "is_main_process",
]

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig
    from zoo.training.loader import TensorDataModule, TensorLoader
    from zoo.training.result import FitResult, TrainingInterrupted, is_main_process
    from zoo.training.trainer import fit


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'zoo.training' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
