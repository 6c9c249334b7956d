"""``SeriesBatch``: the native form of time series."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from zoo.errors import DataError


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
    """

    values: np.ndarray
    channels: tuple[str, ...] = ()
    lengths: np.ndarray = field(default=None)  # type: ignore[assignment]
    mask: np.ndarray = field(default=None)  # type: ignore[assignment]
    categories: np.ndarray = field(default=None)  # type: ignore[assignment]
    category_channels: tuple[str, ...] = ()
    category_values: tuple[tuple[Any, ...], ...] = ()
    static: pd.DataFrame = field(default=None)  # type: ignore[assignment]
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim == 2:
            values = values[:, :, None]
        if values.ndim != 3:
            raise DataError(f"series values must have shape (N, T, C), not {values.shape}")
        self.values = values.astype(np.float32, copy=False)
        n, t, c = self.values.shape
        self.channels = tuple(self.channels) or tuple(f"x{i}" for i in range(c))
        if len(self.channels) != c:
            raise DataError(f"{len(self.channels)} channel names for {c} channels")
        if self.lengths is None:
            self.lengths = np.full(n, t, dtype=np.int64)
        self.lengths = np.asarray(self.lengths, dtype=np.int64)
        if self.lengths.shape != (n,):
            raise DataError(f"lengths must have shape ({n},), not {self.lengths.shape}")
        if n and (self.lengths.min() < 1 or self.lengths.max() > t):
            raise DataError(f"series lengths must be 1 to {t}")
        inside = np.arange(t)[None, :] < self.lengths[:, None]  # (N, T)
        if self.mask is None:
            self.mask = ~np.isnan(self.values) & inside[:, :, None]
        if self.mask.shape != self.values.shape:
            raise DataError(f"mask must have the shape of values {self.values.shape}, not {self.mask.shape}")
        if self.categories is None:
            self.categories = np.full((n, t, len(self.category_channels)), -1, dtype=np.int64)
        self.category_channels = tuple(self.category_channels)
        self.category_values = tuple(tuple(v) for v in self.category_values)
        if self.categories.shape != (n, t, len(self.category_channels)):
            raise DataError(f"categories must have shape (N, T, K), not {self.categories.shape}")
        if self.static is None:
            self.static = pd.DataFrame(index=range(n))
        if len(self.static) != n:
            raise DataError(f"static has {len(self.static)} rows for {n} series")
        if self.times is not None and self.times.shape != (n, t):
            raise DataError(f"times must have shape ({n}, {t}), not {self.times.shape}")

    def __len__(self) -> int:
        return self.values.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = self.values if dtype is None else self.values.astype(dtype, copy=False)
        return out.copy() if copy else out

    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> Self:
        """A part of the batch, by slice, integer array or boolean array."""
        return type(self)(
            values=self.values[index],
            channels=self.channels,
            lengths=self.lengths[index],
            mask=self.mask[index],
            categories=self.categories[index],
            category_channels=self.category_channels,
            category_values=self.category_values,
            static=self.static.iloc[index].reset_index(drop=True),
            times=None if self.times is None else self.times[index],
        )

    def __repr__(self) -> str:
        n, t, _ = self.values.shape
        return f"SeriesBatch({n} series, up to {t} steps, channels={self.channels}, static={list(self.static)})"
