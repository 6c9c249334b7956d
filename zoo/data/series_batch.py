"""``SeriesBatch``: the native form of time series."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from zoo.errors import DataError

# Fields that may be left out; __post_init__ fills them, so that they are arrays from then on.
_LATER: Any = None


@dataclass(eq=False)
class SeriesBatch:
    """N multivariate series of possibly different lengths, padded to the longest.

    Parameters
    ----------
    values
        ``float32 (N, T, C)``: the numeric channels; NaN where nothing was observed and beyond a series' length.
    channels
        Names of the C numeric channels; ``("x0", "x1", …)`` by default.
    lengths
        ``int64 (N,)``: steps of each series, 1 to T; all T by default.
    mask
        ``bool (N, T, C)``: True where a value was observed; by default where ``values`` is no NaN within length.
    categories
        ``int64 (N, T, K)``: codes of K categorical channels, -1 where missing or beyond the length.
    category_channels
        Names of the K categorical channels.
    category_values
        For each categorical channel, its values in the order of the codes.
    static
        N rows of attributes that hold for a whole series (labels, places); columns keep their dtypes.
    times
        ``datetime64 (N, T)`` or ``float64 (N, T)``, or None when steps are evenly spaced and undated.

    Raises
    ------
    DataError
        If the parts do not fit each other; names the part and the shape that it should have.
    """

    values: np.ndarray
    channels: tuple[str, ...] = ()
    lengths: np.ndarray = _LATER
    mask: np.ndarray = _LATER
    categories: np.ndarray = _LATER
    category_channels: tuple[str, ...] = ()
    category_values: tuple[tuple[Any, ...], ...] = ()
    static: pd.DataFrame = _LATER
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind not in "fiub":
            raise DataError(f"series values must be numbers, not {values.dtype}; give an array of shape (N, T, C)")
        if values.ndim == 2:
            values = values[:, :, None]
        if values.ndim != 3:
            raise DataError(f"series values must have shape (N, T, C), not {values.shape}")
        self.values = values.astype(np.float32, copy=False)
        n, t, c = self.values.shape
        self.channels = tuple(self.channels) or tuple(f"x{i}" for i in range(c))
        if len(self.channels) != c:
            raise DataError(f"{len(self.channels)} channel names for {c} channels")
        if n and not t:
            raise DataError("the series have no steps; give at least one")
        self.lengths = np.full(n, t, dtype=np.int64) if self.lengths is None else np.asarray(self.lengths, np.int64)
        if self.lengths.shape != (n,):
            raise DataError(f"lengths must have shape ({n},), not {self.lengths.shape}")
        if n and (self.lengths.min() < 1 or self.lengths.max() > t):
            raise DataError(f"series lengths must be 1 to {t}")
        if self.mask is None:
            self.mask = ~np.isnan(self.values) & self.inside[:, :, None]
        self.mask = np.asarray(self.mask, dtype=bool)
        if self.mask.shape != self.values.shape:
            raise DataError(f"mask must have the shape of values {self.values.shape}, not {self.mask.shape}")
        self._check_categories()
        if self.static is None:
            self.static = pd.DataFrame(index=pd.RangeIndex(n))
        if len(self.static) != n:
            raise DataError(f"static has {len(self.static)} rows for {n} series")
        if self.times is not None and self.times.shape != (n, t):
            raise DataError(f"times must have shape ({n}, {t}), not {self.times.shape}")

    def _check_categories(self) -> None:
        n, t, _ = self.values.shape
        self.category_channels = tuple(self.category_channels)
        self.category_values = tuple(tuple(v) for v in self.category_values)
        k = len(self.category_channels)
        if len(self.category_values) != k:
            raise DataError(f"category_values has {len(self.category_values)} lists for {k} categorical channels")
        if self.categories is None:
            self.categories = np.full((n, t, k), -1, dtype=np.int64)
        self.categories = np.asarray(self.categories, dtype=np.int64)
        if self.categories.shape != (n, t, k):
            raise DataError(f"categories must have shape ({n}, {t}, {k}), not {self.categories.shape}")
        for i, (name, values) in enumerate(zip(self.category_channels, self.category_values, strict=True)):
            codes = self.categories[:, :, i]
            if codes.size and not -1 <= codes.min() <= codes.max() < len(values):
                raise DataError(f"categorical channel {name!r} has codes beyond -1 to {len(values) - 1}")

    @property
    def inside(self) -> np.ndarray:
        """``bool (N, T)``: steps within each series' length."""
        return np.arange(self.values.shape[1])[None, :] < self.lengths[:, None]

    def __len__(self) -> int:
        return self.values.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = self.values if dtype is None else self.values.astype(dtype, copy=False)
        return out.copy() if copy else out

    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> Self:
        """A part of the batch, by slice, integer array or boolean array."""
        rows: Any = index if isinstance(index, slice) else np.asarray(index)
        return replace(
            self,
            values=self.values[rows],
            lengths=self.lengths[rows],
            mask=self.mask[rows],
            categories=self.categories[rows],
            static=self.static.iloc[rows].reset_index(drop=True),
            times=None if self.times is None else self.times[rows],
        )

    def padded(self, steps: int) -> Self:
        """The same series in arrays of exactly ``steps`` steps, which must be no fewer than the longest has.

        Raises
        ------
        DataError
            If a series is longer.
        """
        have = self.values.shape[1]
        if steps == have:
            return self
        if steps < have:
            if len(self) and self.lengths.max() > steps:
                raise DataError(f"a series has {self.lengths.max()} steps, more than the {steps} asked for")
            times = None if self.times is None else self.times[:, :steps]
            cut = (self.values[:, :steps], self.mask[:, :steps], self.categories[:, :steps])
            return replace(self, values=cut[0], mask=cut[1], categories=cut[2], times=times)
        more = ((0, 0), (0, steps - have), (0, 0))
        times = self.times
        if times is not None:
            filler: Any = np.datetime64("NaT") if times.dtype.kind == "M" else np.nan
            times = np.pad(times, more[:2], constant_values=filler)
        return replace(
            self,
            values=np.pad(self.values, more, constant_values=np.nan),
            mask=np.pad(self.mask, more, constant_values=False),
            categories=np.pad(self.categories, more, constant_values=-1),
            times=times,
        )

    def __repr__(self) -> str:
        n, t, _ = self.values.shape
        return f"SeriesBatch({n} series, up to {t} steps, channels={self.channels}, static={list(self.static)})"
