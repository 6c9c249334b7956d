"""The static attributes of series and their lengths: their joint distribution, as codes that a network can embed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.data.fields import FieldTable
from zoo.data.series_schema import statics
from zoo.schema import Column, Schema

_LENGTH = "\0length"  # a column beside the attributes that no attribute can be called
_EXACT = 256  # so many different lengths are drawn as they occurred, more from quantile bins


class AttributeTable:
    """Which attributes and lengths occurred together, and how often; see :class:`~zoo.data.fields.FieldTable`.

    Parameters
    ----------
    schema
        The series' schema.
    """

    def __init__(self, schema: Schema) -> None:
        low, high = schema.shape["min_length"], schema.shape["max_length"]
        if high - low < _EXACT:
            length = Column(name=_LENGTH, kind="ordinal", dtype="int64", categories=tuple(range(low, high + 1)))
        else:
            length = Column(name=_LENGTH, kind="integer", dtype="int64", minimum=low, maximum=high)
        known = statics(schema)
        self._table = FieldTable(known.replace(columns=(*known.columns, length)))
        self._longest = high

    def fit(self, static: pd.DataFrame, lengths: np.ndarray) -> None:
        """Count the combinations of N rows of attributes and N lengths."""
        self._table.fit(static.assign(**{_LENGTH: lengths}))

    @property
    def sizes(self) -> list[int]:
        """Number of values (or bins) of each of the S attributes, missing not counted."""
        table = self._table
        known = table.codec.sizes | {n: max(1, len(table.edges[n]) - 1) for n in table.codec.numeric}
        return [known[n] for n in table.columns if n != _LENGTH]

    def draw(
        self, n: int, conditions: Conditions, rng: np.random.Generator
    ) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
        """Codes ``int64 (n, S)``, attributes (n rows) and lengths ``int64 (n,)``, as they occurred under conditions."""
        drawn = self._table.draw(n, conditions, rng)
        static = self._table.decode(drawn, rng)
        lengths = static.pop(_LENGTH).to_numpy(dtype=np.int64)
        return self._attributes(self._table.combinations[drawn]), static, lengths

    def codes(self, static: pd.DataFrame) -> np.ndarray:
        """Codes of given attributes, ``int64 (N, S)``: 0 where missing."""
        return self._attributes(self._table.codes(static.assign(**{_LENGTH: self._longest})))

    def _attributes(self, codes: np.ndarray) -> np.ndarray:
        return np.delete(codes, self._table.columns.index(_LENGTH), axis=1).astype(np.int64) + 1

    def draw_lengths(self, attributes: np.ndarray, least: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Lengths ``int64 (n,)`` of series with the same attributes (of any, if none is), at least ``least (n,)``."""
        table = self._table
        every = table.decode(np.arange(len(table.weights)), np.random.default_rng(0))
        longest = every[_LENGTH].to_numpy(dtype=np.int64)  # (M,)
        known = self._attributes(table.combinations)  # (M, S)
        out = np.empty(len(least), dtype=np.int64)
        for i, (codes, low) in enumerate(zip(attributes, least, strict=True)):
            enough = longest >= low
            alike = enough & (known == codes).all(1)
            weight = np.where(alike if alike.any() else enough, table.weights, 0.0)
            total = weight.sum()
            out[i] = longest[rng.choice(len(weight), p=weight / total)] if total else low
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact; all names begin with ``fields.``."""
        return self._table.arrays()

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave; raises ``ArtifactError`` for what does not fit the schema."""
        self._table.set_arrays(arrays)
