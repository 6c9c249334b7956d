"""What a user may pass as images, brought into an ``ImageBatch``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.data.image import IMAGE, LABEL, ImageBatch
from zoo.errors import DataError, nearest

_ACCEPTED = (
    "give an ImageBatch, an array uint8 (N, H, W, C), a pair (pixels, labels), a datasets.Dataset with images, "
    "or a list of PIL images"
)


def to_batch(data: Any, names: Sequence[str] = ()) -> ImageBatch:
    """See :meth:`zoo.data.image.ImageForm.coerce`; an empty batch passes.

    Parameters
    ----------
    data
        Images with or without labels.
    names
        Class names for labels that come without them.
    """
    if isinstance(data, ImageBatch):
        return data
    if isinstance(data, np.ndarray) or (type(data).__module__.partition(".")[0] == "torch" and hasattr(data, "numpy")):
        return ImageBatch(np.asarray(data))
    if _is_hugging_face(data):
        return _from_dataset(data, names)
    if _is_arrays(data):
        classes = tuple(data[2]) if len(data) == 3 else ()
        return labelled(np.asarray(data[0]), data[1], classes or names)
    if isinstance(data, (str, bytes, dict)) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(f"images are needed, not {type(data).__name__}; {_ACCEPTED}")
    return _from_items(data, names)


def labelled(pixels: np.ndarray, labels: Any, classes: Sequence[str] = ()) -> ImageBatch:
    """Images with labels that are codes or names of classes.

    Parameters
    ----------
    pixels
        ``uint8 (N, H, W[, C])``.
    labels
        ``(N,)`` codes from 0, or names; None for images without labels.
    classes
        Names in the order of the codes; by default the codes as text, or the names that occur, ordered as text.

    Raises
    ------
    DataError
        For a missing label, a name that is no class.
    """
    if labels is None:
        return ImageBatch(pixels)
    values = np.asarray(labels)
    if values.ndim == 1 and values.dtype.kind in "OUST":
        texts = [None if v is None or v != v else str(v) for v in values.tolist()]
        if None in texts:
            raise DataError(f"image {texts.index(None)} has no label; leave it out, or leave out all labels")
        classes = tuple(classes) or tuple(sorted({str(t) for t in texts}))
        code_of = {name: i for i, name in enumerate(classes)}
        unknown = next((t for t in texts if t not in code_of), None)
        if unknown is not None:
            raise DataError(f"label {unknown!r} is no class; {nearest(unknown, classes)}")
        values = np.array([code_of[t] for t in texts], dtype=np.int64)  # type: ignore[index]
    return ImageBatch(pixels, values, tuple(classes))


def _is_hugging_face(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "datasets"


def _is_arrays(data: Any) -> bool:
    """A pair (pixels, labels) or a triple with class names, and no pair of images."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        return False
    return np.ndim(data[0]) >= 3 and np.ndim(data[1]) == 1


def _from_dataset(data: Any, names: Sequence[str]) -> ImageBatch:
    """From a ``datasets.Dataset``: its one image column, and its one label column if it has any."""
    import datasets

    if not isinstance(data, datasets.Dataset):
        raise DataError(f"images are needed, not datasets.{type(data).__name__}; give one split, dataset['train']")
    kinds = (datasets.Image, datasets.Array2D, datasets.Array3D)
    image = _only(data, [n for n, f in data.features.items() if isinstance(f, kinds)], IMAGE)
    if image is None:
        raise DataError(
            f"the dataset has no column of images, it has {list(data.features)}; "
            f"use dataset.cast_column('...', datasets.Image())"
        )
    label = _only(data, [n for n, f in data.features.items() if isinstance(f, datasets.ClassLabel)], LABEL)
    if label is None and LABEL in data.features:
        label = LABEL
    data = data.with_format(None)
    kind = data.features[image]
    if isinstance(kind, datasets.Image):
        pixels = stack(data[image][:])
    else:  # the numpy format would give int64
        pixels = stack([np.asarray(rows, dtype=kind.dtype) for rows in data[image][:]])
    if label is None:
        return ImageBatch(pixels)
    codes = data[label][:]
    feature = data.features[label]
    known = isinstance(feature, datasets.ClassLabel)
    for i, code in enumerate(codes):
        if code is None or (known and code < 0):
            raise DataError(f"column {label!r} is missing in row {i}; drop that row, or the column")
    return labelled(pixels, np.asarray(codes), tuple(feature.names) if known else names)


def _only(data: Any, found: list[str], preferred: str) -> str | None:
    if len(found) > 1 and preferred not in found:
        raise DataError(f"the dataset has columns {found}, any of which may be {preferred!r}; keep one of them")
    return preferred if preferred in found else (found[0] if found else None)


def _from_items(data: Any, names: Sequence[str]) -> ImageBatch:
    """From a list or a torchvision dataset: images, or pairs of image and label."""
    items = [data[i] for i in range(len(data))]
    if not items:
        raise DataError("there are no images; give at least one")
    if not isinstance(items[0], tuple):
        return ImageBatch(stack(items))
    if any(not isinstance(item, tuple) or len(item) != 2 for item in items):
        raise DataError("some items are no pairs (image, label); give all images a label, or none")
    classes = getattr(data, "classes", None) or names
    return labelled(stack([i for i, _ in items]), [_plain(label) for _, label in items], tuple(map(str, classes)))


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def stack(images: Sequence[Any]) -> np.ndarray:
    """PIL images or arrays ``uint8 (H, W[, C])`` as ``uint8 (N, H, W, C)``; grey ones among colour become colour.

    Raises
    ------
    DataError
        Naming the first image that is none, or of another size than the first.
    """
    arrays = [as_pixels(image, f"image {i}") for i, image in enumerate(images)]
    return join(arrays, [f"image {i}" for i in range(len(arrays))])


def join(arrays: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Arrays ``uint8 (H, W, C)`` of one size as ``uint8 (N, H, W, C)``; ``names`` are for the error."""
    if not arrays:
        return np.zeros((0, 1, 1, 1), dtype=np.uint8)
    first = arrays[0].shape[:2]
    for array, name in zip(arrays, names, strict=True):
        if array.shape[:2] != first:
            raise DataError(
                f"{name} is {array.shape[0]}x{array.shape[1]}, {names[0]} is {first[0]}x{first[1]} (H x W); "
                "images must be of one size, resize them first"
            )
    channels = max(array.shape[2] for array in arrays)
    out = np.empty((len(arrays), *first, channels), dtype=np.uint8)
    for i, array in enumerate(arrays):
        out[i] = array  # one channel is repeated to three
    return out


def as_pixels(image: Any, name: str) -> np.ndarray:
    """One image as ``uint8 (H, W, C)``: grey ones with one channel, all others with three.

    Transparency is laid on white. ``name`` is for the error.

    Raises
    ------
    DataError
        If it is no image, or has more than 8 bits a channel.
    """
    from PIL import Image

    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{name} has more than 8 bits a channel (mode {image.mode}); scale it to 0 to 255 first")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        grey = image.mode in ("1", "L")
        array = np.asarray(image.convert("L" if grey else "RGB"))
    elif isinstance(image, (str, bytes)) or (not hasattr(image, "__array__") and not isinstance(image, list)):
        raise DataError(f"{name} is no image but {type(image).__name__}; {_ACCEPTED}")
    else:
        array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise DataError(f"{name} must have shape (H, W) or (H, W, C) with C of 1 or 3, not {array.shape}")
    if array.dtype != np.uint8:
        raise DataError(f"{name} must be uint8 (0 to 255), not {array.dtype}; scale and cast it first")
    return array
