"""Images: the native form ``ImageBatch``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from zoo.errors import DataError


@dataclass(eq=False)
class ImageBatch:
    """N images of one size, with or without class labels.

    Parameters
    ----------
    pixels
        ``uint8 (N, H, W, C)``, 0 to 255, C is 1 or 3.
    labels
        ``int64 (N,)``: codes into ``classes``; None when the images have no classes.
    classes
        Display names of the classes; ``("0", "1", …)`` by default.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
            raise DataError(f"images must have shape (N, H, W, C) with C of 1 or 3, not {pixels.shape}")
        if pixels.dtype != np.uint8:
            raise DataError(f"images must be uint8 (0 to 255), not {pixels.dtype}; scale and cast them first")
        self.pixels = pixels
        self.classes = tuple(str(c) for c in self.classes)
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.shape != (len(pixels),):
                raise DataError(f"{len(pixels)} images need labels of shape ({len(pixels)},), not {labels.shape}")
            if labels.dtype.kind not in "iu":
                raise DataError(f"image labels must be whole numbers, not {labels.dtype}")
            self.labels = labels.astype(np.int64, copy=False)
            if not self.classes:
                top = int(self.labels.max()) if len(labels) else -1
                self.classes = tuple(str(i) for i in range(top + 1))
            if len(labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
                raise DataError(f"image labels must be 0 to {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.pixels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = self.pixels if dtype is None else self.pixels.astype(dtype, copy=False)
        return out.copy() if copy else out

    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> Self:
        """A part of the batch, by slice, integer array or boolean array."""
        labels = None if self.labels is None else self.labels[index]
        return type(self)(self.pixels[index], labels, self.classes)

    def __repr__(self) -> str:
        n, h, w, c = self.pixels.shape
        return f"ImageBatch({n} images of {h}x{w}x{c}, {len(self.classes)} classes)"
