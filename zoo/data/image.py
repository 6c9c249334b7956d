"""Images: the native form ``ImageBatch``, and the operations on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.data.form import NativeForm
from zoo.errors import DataError, SchemaError
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

IMAGE, LABEL = "image", "label"  # names of the columns on the Hugging Face side; ``label`` is the schema's too


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
        if len(set(self.classes)) != len(self.classes):
            twice = next(c for c in self.classes if self.classes.count(c) > 1)
            raise DataError(f"class {twice!r} is named twice; give each class a name of its own")
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


class ImageForm(NativeForm):
    """Operations on images.

    The schema has one column, ``label``, whose categories are the codes 0 to K - 1 and whose names are those of the
    classes, so that a condition may say either; images without labels have no column. ``shape`` holds ``height``,
    ``width`` and ``channels``.
    """

    modality = "image"

    def coerce(self, data: Any, schema: Schema | None = None) -> ImageBatch:
        """An ``ImageBatch`` from what a user may pass; pixels are not copied where that can be avoided.

        Parameters
        ----------
        data
            An ``ImageBatch``; an array ``uint8 (N, H, W)`` or ``(N, H, W, C)``; a pair ``(pixels, labels)``, or a
            triple with the class names; a ``datasets.Dataset`` with an ``Image``, ``Array2D`` or ``Array3D`` feature
            and at most one label; a list or a torchvision dataset of images or of ``(image, label)``, each image a
            ``PIL.Image`` or an array ``uint8 (H, W[, C])``. Labels are codes or names of classes; names that come
            without an order are ordered as text.
        schema
            Gives the order and names of the classes to labels that come without them.

        Raises
        ------
        DataError
            For another type, no images, images of several sizes, a missing label.
        """
        from zoo.data.image_convert import to_batch

        names = schema[LABEL].names if schema is not None and LABEL in schema else ()
        batch = to_batch(data, names)
        if len(batch) == 0:
            raise DataError("there are no images; give at least one")
        if 0 in batch.pixels.shape:
            raise DataError(f"the images have no pixels (shape {batch.pixels.shape[1:]}); give at least one a side")
        return batch

    def infer(self, data: ImageBatch) -> Schema:
        _, height, width, channels = data.pixels.shape
        columns: tuple[Column, ...] = ()
        if data.labels is not None:
            codes, names = tuple(range(len(data.classes))), data.classes
            columns = (Column(name=LABEL, kind="category", dtype="int64", role="label", categories=codes, names=names),)
        return Schema(modality="image", columns=columns, shape={"height": height, "width": width, "channels": channels})

    def check(self, data: ImageBatch, schema: Schema) -> None:
        if not isinstance(data, ImageBatch):
            raise SchemaError(f"an ImageBatch is needed, not {type(data).__name__}")
        size, wanted = data.pixels.shape[1:], image_shape(schema)
        if size != wanted:
            raise SchemaError(f"images are {_by(size)}, the schema has {_by(wanted)} (H x W x C); resize them")
        if (data.labels is not None) != (LABEL in schema):
            has, wants = ("labels", "none") if data.labels is not None else ("no labels", "the column 'label'")
            raise SchemaError(f"the images have {has}, the schema has {wants}; add or leave out the labels")
        if data.labels is not None and data.classes != schema[LABEL].names:
            raise SchemaError(f"column 'label': classes are {data.classes}, the schema has {schema[LABEL].names}")

    def length(self, data: ImageBatch) -> int:
        return len(data)

    def slice(self, data: ImageBatch, start: int, stop: int) -> ImageBatch:
        return data[start:stop]

    def take(self, data: ImageBatch, index: np.ndarray) -> ImageBatch:
        return data[np.asarray(index)]

    def column(self, data: ImageBatch, name: str) -> "pd.Series":
        """The labels as codes."""
        import pandas as pd

        if name != LABEL or data.labels is None:
            raise SchemaError(f"the images have no column {name!r}" + ("; known: 'label'" if name != LABEL else ""))
        return pd.Series(data.labels, name=LABEL)

    def concat(self, parts: Sequence[ImageBatch]) -> ImageBatch:
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        for part in parts:
            same = part.pixels.shape[1:] == first.pixels.shape[1:] and part.classes == first.classes
            if not same or (part.labels is None) != (first.labels is None):
                raise DataError(f"{first} and {part} cannot be joined; they differ in size, classes or labels")
        labels = None if first.labels is None else np.concatenate([p.labels for p in parts])
        return ImageBatch(np.concatenate([p.pixels for p in parts]), labels, first.classes)

    def equal(self, a: ImageBatch, b: ImageBatch) -> bool:
        if not (isinstance(a, ImageBatch) and isinstance(b, ImageBatch)) or a.classes != b.classes:
            return False
        if a.labels is None or b.labels is None:
            return a.labels is b.labels and np.array_equal(a.pixels, b.pixels)
        return np.array_equal(a.labels, b.labels) and np.array_equal(a.pixels, b.pixels)

    def features(self, schema: Schema) -> "datasets.Features":
        """``image``: ``Image``; ``label``: ``ClassLabel`` with the class names."""
        import datasets

        features = {IMAGE: datasets.Image()}
        if LABEL in schema:
            features[LABEL] = datasets.ClassLabel(names=list(schema[LABEL].names))
        return datasets.Features(features)

    def to_arrow(self, data: ImageBatch, schema: Schema) -> "pa.Table":
        """Images as the bytes of PNG files, without loss; labels as codes."""
        import pyarrow as pa

        from zoo.data.image_io import encode_png

        encoded = pa.array(encode_png(data.pixels), type=pa.binary())
        paths = pa.nulls(len(data), pa.string())
        columns = {IMAGE: pa.StructArray.from_arrays([encoded, paths], names=["bytes", "path"])}
        if LABEL in schema:
            columns[LABEL] = pa.array(data.labels, type=pa.int64())
        return pa.table(columns)

    def read(self, path: str) -> ImageBatch:
        """A folder of image files (one subfolder a class, or none), a ``.npz`` file, or a ``.parquet`` file.

        ``.npz`` holds ``pixels`` and, for labelled images, ``labels`` and ``classes``. ``.parquet`` is what
        ``generator.to_dataset(...).to_parquet`` writes.
        """
        from zoo.data.image_io import read_images

        return self.coerce(read_images(path))

    def write(self, data: ImageBatch, path: str) -> None:
        """To ``.npz``, ``.parquet``, a picture of all images (``.png``) or, without a suffix, a folder of PNG files.

        The folder gets one subfolder a class. It must be new or empty.
        """
        from zoo.data.image_io import write_images

        write_images(data, path)


def image_shape(schema: Schema) -> tuple[int, int, int]:
    """Height, width and channels of a schema's images.

    Raises
    ------
    SchemaError
        If the schema does not give them.
    """
    missing = [k for k in ("height", "width", "channels") if not schema.shape.get(k)]
    if missing or schema.shape["channels"] not in (1, 3):
        raise SchemaError("schema: images need shape height and width of at least 1, and channels of 1 or 3")
    return schema.shape["height"], schema.shape["width"], schema.shape["channels"]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
