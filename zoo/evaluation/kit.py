"""What the harness must be able to do with a modality, so that most metrics are written once for all four."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zoo.errors import DataError, SchemaError, nearest
from zoo.schema import MODALITIES, Schema


@dataclass(frozen=True)
class Features:
    """Parts of one data set as matrices with the same columns.

    ``parts[i]`` is ``float (N_i, D)``, dense with NaN for missing, or a SciPy CSR matrix. ``categorical`` is
    ``bool (D,)``: columns of ordinal codes below 255. ``learner`` names the pinned classifier of the
    modality.
    """

    parts: tuple[Any, ...]
    categorical: np.ndarray | None = None
    learner: Literal["boosting", "logistic"] = "boosting"
    ignored: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of the columns, where each stands for one of the data's."""


class Kit(ABC):
    """Operations on the data of one modality, in the internal form that :meth:`prepare` makes."""

    modality: str
    schema: Schema | None

    @abstractmethod
    def prepare(self, parts: Mapping[str, Any], target: str | None) -> dict[str, Any]:
        """Check native data against each other and the schema, and bring them into the internal form.

        Raises
        ------
        DataError, SchemaError
            Naming the part and the column that does not fit.
        """

    @abstractmethod
    def length(self, data: Any) -> int:
        """Number of samples."""

    @abstractmethod
    def take(self, data: Any, index: np.ndarray) -> Any:
        """Samples at the given positions."""

    @abstractmethod
    def independent(self, data: Any, n: int, rng: np.random.Generator) -> Any:
        """``n`` samples of the naive generator: marginals as in ``data``, no dependence."""

    naive: str = "independent columns"
    """What :meth:`independent` is called in the report."""

    @abstractmethod
    def features(self, *parts: Any, without: str | None = None) -> Features:
        """Feature matrices of several parts in common columns, leaving out one column."""

    @abstractmethod
    def labels(self, data: Any, target: str) -> np.ndarray:
        """The target of each sample: ``float64`` with NaN for a numeric one, else ``int64`` codes, -1
        missing.
        """

    @abstractmethod
    def default_target(self) -> str | None:
        """The label that the data carry by their nature, if any."""

    def as_table(self, data: Any) -> Any:
        """The data as a :class:`zoo.evaluation.table.Table` of marginals, for metrics that compare
        columns.
        """
        raise NotImplementedError

    @abstractmethod
    def points(self, reference: Any, *parts: Any) -> tuple[Any, ...]:
        """Positions of samples in a space where distances mean something, scaled by ``reference``.

        ``float32 (N, D)`` for squared Euclidean distances, or a CSR matrix of unit rows for cosine distances.
        """

    def numeric_count(self, data: Any) -> int:
        """How many coordinates of :meth:`points` are numbers in standard deviations (the rest are categories)."""
        return len(self.as_table(data).numbers)

    @abstractmethod
    def fingerprints(self, *parts: Any) -> tuple[np.ndarray, ...]:
        """A ``uint64 (N,)`` hash per sample: equal samples have equal hashes across the parts."""

    @abstractmethod
    def views(self, train: Any, synthetic: Any, *, private: bool, rng: np.random.Generator) -> dict[str, Any]:
        """Plain data for the pictures of the report page. Real samples only where ``private`` is False."""


_KITS = {
    "tabular": ("zoo.evaluation.table", "TableKit"),
    "timeseries": ("zoo.evaluation.series", "SeriesKit"),
    "image": ("zoo.evaluation.image", "ImageKit"),
    "text": ("zoo.evaluation.text", "TextKit"),
}


def modality_of(data: Any, schema: Schema | None) -> str:
    """The modality of native data: by its type, and for a table by its schema."""
    kind = type(data).__name__
    by_type = {"SeriesBatch": "timeseries", "ImageBatch": "image"}
    if kind in by_type:
        return by_type[kind]
    if kind != "DataFrame":
        raise DataError(f"cannot evaluate a {kind}; give a pandas DataFrame, a SeriesBatch or an ImageBatch")
    modality = schema.modality if schema is not None else "tabular"
    if modality not in ("tabular", "text"):
        raise SchemaError(f"a DataFrame cannot have modality {modality!r}; give the schema of a table or a text")
    return modality


def make_kit(modality: str, schema: Schema | None) -> Kit:
    """The kit of a modality."""
    if modality not in _KITS:
        raise SchemaError(f"unknown modality {modality!r}; {nearest(modality, MODALITIES)}")
    module, name = _KITS[modality]
    return getattr(importlib.import_module(module), name)(schema)


def same_type(parts: Mapping[str, Any], native: str) -> None:
    """Refuse parts of different native forms, and empty ones."""
    for part, data in parts.items():
        if type(data).__name__ != native:
            raise DataError(f"{part} is a {type(data).__name__}, train is a {native}; give both in one form")
        if len(data) == 0:
            raise DataError(f"{part} has no rows; give at least one")
