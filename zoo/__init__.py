"""The zoo: generators of synthetic tables, time series, images and text.

The public names load lazily: ``import zoo`` imports neither torch nor pandas, so that the command line
answers at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module that defines it. One table, so that ``dir(zoo)`` and the docs agree with the code.
_EXPORTS = {
    "Component": "zoo.generator",
    "Generator": "zoo.generator",
    "Transform": "zoo.generator",
    "Column": "zoo.schema",
    "Schema": "zoo.schema",
    "infer_schema": "zoo.data.table_schema",
    "SeriesBatch": "zoo.data.timeseries",
    "ImageBatch": "zoo.data.image",
    "TrainConfig": "zoo.training.config",
    "ZooError": "zoo.errors",
    "create": "zoo.registry",
    "info": "zoo.registry",
    "list_generators": "zoo.registry",
    "list_pretrained": "zoo.registry",
    "load": "zoo.registry",
    "load_dataset": "zoo.data.catalog",
    "list_datasets": "zoo.data.catalog",
    "evaluate": "zoo.evaluation",
}

__all__ = ["__version__", "constraints", *sorted(_EXPORTS)]

if TYPE_CHECKING:
    from zoo import constraints
    from zoo.data.catalog import list_datasets, load_dataset
    from zoo.data.image import ImageBatch
    from zoo.data.table_schema import infer_schema
    from zoo.data.timeseries import SeriesBatch
    from zoo.errors import ZooError
    from zoo.evaluation import evaluate
    from zoo.generator import Component, Generator, Transform
    from zoo.registry import create, info, list_generators, list_pretrained, load
    from zoo.schema import Column, Schema
    from zoo.training.config import TrainConfig


def __getattr__(name: str) -> Any:
    if name == "constraints":
        return importlib.import_module("zoo.constraints")
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
