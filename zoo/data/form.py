"""What every modality must be able to do with its native form, so that one ``Generator`` serves them all.

A *native form* is the type in which data of a modality comes and goes: ``pandas.DataFrame`` (tabular, text),
``SeriesBatch`` (timeseries), ``ImageBatch`` (image). The contract in ``zoo.generator`` slices blocks, joins them,
checks them and hands them to Hugging Face ``datasets`` only through the methods here.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.errors import SchemaError, UnsupportedCapability, nearest
from zoo.schema import MODALITIES, Schema

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class NativeForm(ABC):
    """The operations on one modality's native form. Stateless; no method changes its arguments."""

    modality: str

    @abstractmethod
    def coerce(self, data: Any, schema: Schema | None = None) -> Any:
        """Bring what a user may pass (native form, ``datasets.Dataset``, arrays) into the native form.

        Raises
        ------
        DataError
            Empty data, duplicate column names, a type that cannot be used; names the thing and the remedy.
        """

    @abstractmethod
    def infer(self, data: Any) -> Schema:
        """Infer the schema of native data in one pass."""

    @abstractmethod
    def check(self, data: Any, schema: Schema) -> None:
        """Check that native data conforms to ``schema``: columns and order, dtypes, categories, ranges, nulls.

        Raises
        ------
        SchemaError
            For the first violation, naming the column and the offending value.
        """

    @abstractmethod
    def length(self, data: Any) -> int:
        """Number of samples."""

    @abstractmethod
    def slice(self, data: Any, start: int, stop: int) -> Any:
        """Samples ``start`` (included) to ``stop`` (excluded)."""

    @abstractmethod
    def take(self, data: Any, index: "np.ndarray") -> Any:
        """The samples at the given positions."""

    @abstractmethod
    def column(self, data: Any, name: str) -> "pd.Series | None":
        """The values of a schema's column, one a sample; None for a column with one a step (a channel)."""

    @abstractmethod
    def concat(self, parts: Sequence[Any]) -> Any:
        """Join blocks of one schema, in order; ``parts`` is not empty. May consume the list to save memory."""

    @abstractmethod
    def equal(self, a: Any, b: Any) -> bool:
        """Whether two data are the same, value for value and type for type (missing equals missing)."""

    def starts_with(self, longer: Any, prefix: Any) -> bool:
        """Whether each sample of ``longer`` goes on from the one of ``prefix`` in the same place, its fields unchanged.

        Raises
        ------
        UnsupportedCapability
            For modalities whose samples have no beginning.
        """
        raise UnsupportedCapability(f"{self.modality} samples have no beginning that could be extended")

    @abstractmethod
    def features(self, schema: Schema) -> "datasets.Features":
        """The Hugging Face feature types of data with this schema."""

    @abstractmethod
    def to_arrow(self, data: Any, schema: Schema) -> "pa.Table":
        """Native data as an Arrow table in the storage types of :meth:`features`."""

    @abstractmethod
    def read(self, path: str) -> Any:
        """Read native data from a file or folder; what is accepted depends on the modality.

        Raises
        ------
        DataError
            If it is missing, unreadable or of an unknown type; names the file and what is accepted.
        """

    @abstractmethod
    def write(self, data: Any, path: str) -> None:
        """Write native data to a file (the suffix decides: Parquet, CSV, NPZ, PNG sheet), atomically."""

    def protect(self, data: Any, schema: Schema) -> tuple[Any, Schema]:
        """Private data and its schema without what would give single people away.

        Forms whose schema carries ranges or categories of people override this: extremes are pulled in to where
        several people stand, rare categories pooled. The default has nothing to protect.
        """
        return data, schema

    def finish(self, block: Any, schema: Schema, first_row: int, seed: int = 0) -> Any:
        """Complete a block whose first sample has number ``first_row`` in the stream of ``seed``.

        Tables fill their identifiers here, which are made anew and never learned. The default changes nothing.
        """
        return block


# Where each modality's form is; loaded on first use, so that tables do not pay for images.
_FORMS = {
    "tabular": ("zoo.data.tabular", "TableForm"),
    "timeseries": ("zoo.data.timeseries", "SeriesForm"),
    "image": ("zoo.data.image", "ImageForm"),
    "text": ("zoo.data.text", "TextForm"),
    "related": ("zoo.data.database", "DatabaseForm"),
}


def native_form(modality: str) -> NativeForm:
    """The :class:`NativeForm` of a modality, or of ``related`` tables."""
    if modality not in _FORMS:
        raise SchemaError(f"unknown modality {modality!r}; {nearest(modality, MODALITIES)}")
    module, name = _FORMS[modality]
    return getattr(importlib.import_module(module), name)()
