"""A third party's family, as small as one can be: every column drawn on its own. The tests hold it to the contract."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from zoo import Generator
from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.sound_array import sound_array
from zoo.data.table_codec import TableCodec
from zoo.errors import ArtifactError
from zoo.generator import Option


@dataclass(kw_only=True, eq=False)
class Independent(Generator):
    """Each column from its own quantiles or frequencies.

    Parameters
    ----------
    quantiles
        Points of the quantile grid of a number.
    """

    name: ClassVar[str] = "tabular/independent"
    modality: ClassVar[str] = "tabular"
    default_block_size: ClassVar[int] = 64
    options: ClassVar[Mapping[str, Option]] = {
        "spread": Option(1.0, Annotated[float, Range(0, 1)], "0 draws medians only")
    }

    quantiles: Annotated[int, Range(2, 1000)] = 21

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: Any) -> None:
        codec = TableCodec(self.schema)
        encoded = codec.encode(data)
        self._grids: dict[str, np.ndarray] = {}
        for name in codec.discrete:
            self._grids[name] = np.bincount(encoded[name] + 1, minlength=len(self.schema[name].categories) + 1) / len(
                data
            )
        for name in codec.numeric:
            known = encoded[name][~np.isnan(encoded[name])]
            # Midpoints between draws, so that no value of a row stands in the grid.
            grid = np.quantile(known, np.linspace(0.01, 0.99, self.quantiles)) * (1 + 1e-12)
            self._grids[name] = np.append(grid, 1 - len(known) / len(data))

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        codec = TableCodec(self.schema)
        out: dict[str, np.ndarray] = {}
        for name in codec.discrete:
            out[name] = rng.choice(len(self._grids[name]), size=n, p=self._grids[name]) - 1
        for name in codec.numeric:
            grid, missing = self._grids[name][:-1], self._grids[name][-1]
            at = 0.5 + options["spread"] * (rng.random(n) - 0.5)
            drawn = np.interp(at, np.linspace(0, 1, len(grid)), grid)
            out[name] = np.where(rng.random(n) < missing, np.nan, drawn)
        return codec.decode(out, n)

    def _arrays(self) -> dict[str, np.ndarray]:
        return self._grids

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        codec = TableCodec(self.schema)
        shares = {name: (size + 1,) for name, size in codec.sizes.items()}
        self._grids = {n: sound_array(arrays, n, shape, 0, 1, 1) for n, shape in shares.items()}
        self._grids |= {n: sound_array(arrays, n, (self.quantiles + 1,)) for n in codec.numeric}
        for name, grid in self._grids.items():
            if grid[-1 if name in codec.numeric else 0] > self.schema[name].nullable:
                raise ArtifactError(f"column {name!r} has missing values that its schema does not allow")
