"""Images as files: PNG bytes, folders, ``.npz``, Parquet and sheets."""

import json
import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.atomic import atomic_file, temporary_beside, write_error
from zoo.data.image import IMAGE, ImageBatch, ImageForm
from zoo.data.image_convert import as_pixels, join, labelled, to_batch
from zoo.errors import DataError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_CLASSES = "classes.json"  # of a folder: the class of each subfolder, in the order of the codes
_ACCEPTED = "give a folder of images, a .npz or a .parquet file"
_SHEET_SIDE = 32  # images in a row of a sheet at most


# PNG


def encode_png(pixels: np.ndarray) -> list[bytes]:
    """PNG files of images ``uint8 (N, H, W, C)``, without loss.

    Written here because it takes a third of the time of an image library on small images: the header is made once,
    rows are not filtered, and zlib works at its fastest level.
    """
    n, height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    before = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    after = _chunk(b"IEND", b"")
    rows = np.zeros((n, height, 1 + width * channels), dtype=np.uint8)  # each row begins with its filter, 0 for none
    rows[:, :, 1:] = pixels.reshape(n, height, width * channels)
    return [before + _chunk(b"IDAT", zlib.compress(image.data, 1)) + after for image in rows]


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def sheet(images: ImageBatch, rows: int = 10, columns: int = 10) -> np.ndarray:
    """A grid of images, ``uint8 (h, w[, 3])``; with labels, one row a class (the first ``rows`` classes)."""
    n, height, width, depth = images.pixels.shape
    grid = np.full((rows, columns, height + 2, width + 2, depth), 255, dtype=np.uint8)
    if images.labels is not None:
        present = np.unique(images.labels)[:rows]
        chosen = [np.flatnonzero(images.labels == c)[:columns] for c in present]
    else:
        chosen = [np.arange(n)[i * columns : (i + 1) * columns] for i in range(rows)]
    for i, index in enumerate(chosen):
        for j, k in enumerate(index):
            grid[i, j, 1:-1, 1:-1] = images.pixels[k]
    used = max(1, sum(len(c) > 0 for c in chosen))
    joined = grid[:used].swapaxes(1, 2).reshape(used * (height + 2), columns * (width + 2), depth)
    return joined[..., 0] if depth == 1 else joined


# Reading


def read_images(path: str) -> ImageBatch:
    """See :meth:`zoo.data.image.ImageForm.read`."""
    where = Path(path).expanduser()
    if not where.exists():
        raise DataError(f"{where} does not exist; {_ACCEPTED}")
    if where.is_dir():
        return _read_folder(where)
    if where.suffix.lower() == ".npz":
        return _read_npz(where)
    if where.suffix.lower() == ".parquet":
        return _read_parquet(where)
    raise DataError(f"{where}: images are not read from {where.suffix or 'such'} files; {_ACCEPTED}")


def _read_folder(folder: Path) -> ImageBatch:
    """One subfolder a class, ordered as ``classes.json`` says, else by number or name; or images without classes."""
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}; {_ACCEPTED}") from error
    loose = [p for p in entries if p.is_file() and p.suffix.lower() in _SUFFIXES]
    subfolders = [p for p in entries if p.is_dir()]
    if subfolders and loose:
        raise DataError(f"{loose[0]} lies beside folders of classes; move it into one of them")
    classes = _classes_of(folder, subfolders)
    files, codes = list(loose), []
    for code, name in enumerate(classes):
        inside = sorted(p for p in (folder / name).rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
        files += inside
        codes += [code] * len(inside)
    if not files:
        raise DataError(f"{folder} holds no images ({', '.join(_SUFFIXES[:4])}, ...); {_ACCEPTED}")
    pixels = join([_open(p) for p in files], [str(p) for p in files])
    return labelled(pixels, np.array(codes), tuple(classes.values())) if classes else ImageBatch(pixels)


def _classes_of(folder: Path, subfolders: Sequence[Path]) -> dict[str, str]:
    """Subfolder to class name, in the order of the codes."""
    names = [p.name for p in subfolders]
    listed = folder / _CLASSES
    if not listed.is_file():
        numbers = all(re.fullmatch("[0-9]+", n) for n in names)
        return {n: n for n in sorted(names, key=lambda n: (int(n) if numbers else 0, n))}
    try:
        found = json.loads(listed.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {listed}: {error}; mend it or delete it") from error
    fits = (
        isinstance(found, dict) and sorted(found) == sorted(names) and all(isinstance(v, str) for v in found.values())
    )
    if not fits:
        raise DataError(f"{listed} does not map the folders beside it to class names; mend it or delete it")
    return found


def _open(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return as_pixels(image, str(path))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {path}: {_one_line(error)}; mend it or leave it out") from error


def _read_npz(path: Path) -> ImageBatch:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("pixels", "labels", "classes") if name in stored}
    except (OSError, ValueError, EOFError, KeyError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {_one_line(error)}; give a .npz file of arrays") from error
    except Exception as error:  # zipfile's own, which derives from nothing else
        if type(error).__name__ != "BadZipFile":
            raise
        raise DataError(f"cannot read {path}: it is no .npz file or is cut; write it again") from error
    if "pixels" not in arrays:
        raise DataError(f"{path} has no array 'pixels'; write it with np.savez(path, pixels=..., labels=...)")
    return labelled(arrays["pixels"], arrays.get("labels"), tuple(arrays.get("classes", np.array([])).tolist()))


def _read_parquet(path: Path) -> ImageBatch:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        features = datasets.Features.from_arrow_schema(table.schema)
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"cannot read {path}: {_one_line(error)}; give a Parquet file of images") from error
    if IMAGE in features and not isinstance(features[IMAGE], (datasets.Image, datasets.Array2D, datasets.Array3D)):
        features[IMAGE] = datasets.Image()  # written by other tools: {bytes, path} without the metadata
    try:
        return to_batch(datasets.Dataset(table).cast(features))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{path}: its images cannot be decoded ({_one_line(error)}); write it again") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# Writing


def write_images(data: ImageBatch, path: str) -> None:
    """See :meth:`zoo.data.image.ImageForm.write`."""
    suffix = Path(path).suffix.lower()
    writers = {".npz": _write_npz, ".parquet": _write_parquet, ".png": _write_sheet}
    if suffix in writers:
        with atomic_file(path) as temporary:
            writers[suffix](data, temporary)
    elif suffix == "":
        _write_folder(data, Path(path).expanduser())
    else:
        raise DataError(f"images are not written to {suffix} files; give .npz, .parquet, .png, or a folder")


def _write_npz(data: ImageBatch, path: str) -> None:
    arrays: dict[str, Any] = {"pixels": data.pixels}
    if data.labels is not None:
        arrays |= {"labels": data.labels, "classes": np.array(data.classes, dtype=np.str_)}
    np.savez_compressed(path, **arrays)


def _write_parquet(data: ImageBatch, path: str) -> None:
    import pyarrow.parquet as pq

    form = ImageForm()
    schema = form.infer(data)
    table = form.to_arrow(data, schema).cast(form.features(schema).arrow_schema)
    pq.write_table(table, path, compression="none")  # the images are compressed already


def _write_sheet(data: ImageBatch, path: str) -> None:
    """With labels one row a class, of 32 images at most; without, all images in rows of 32."""
    from PIL import Image

    if len(data) == 0:
        raise DataError("there are no images to draw; write them to .npz, .parquet or a folder")
    if data.labels is None:
        columns = min(_SHEET_SIDE, len(data))
        grid = sheet(data, -(-len(data) // columns), columns)
    else:
        counts = np.bincount(data.labels)
        grid = sheet(data, int((counts > 0).sum()), min(_SHEET_SIDE, int(counts.max())))
    Image.fromarray(grid).save(path, "PNG", optimize=True)


def _write_folder(data: ImageBatch, folder: Path) -> None:
    """Made whole under another name first, so that an interrupted write leaves nothing half done."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder} exists and is not empty; choose a new folder")
    except OSError as error:
        raise write_error(folder, error) from error
    with temporary_beside(folder, folder=True) as temporary:
        _fill_folder(data, temporary)
        os.chmod(temporary, 0o755)  # it was made for its owner alone
        if folder.exists():
            folder.rmdir()
        os.rename(temporary, folder)


def _fill_folder(data: ImageBatch, folder: Path) -> None:
    names = _folder_names(data.classes) if data.labels is not None else []
    for name in names:
        (folder / name).mkdir()
    width = len(str(max(0, len(data) - 1)))
    for i, png in enumerate(encode_png(data.pixels)):
        parent = folder / names[data.labels[i]] if data.labels is not None else folder
        (parent / f"{i:0{width}d}.png").write_bytes(png)
    if names:
        text = json.dumps(dict(zip(names, data.classes, strict=True)), ensure_ascii=False, indent=1)
        (folder / _CLASSES).write_text(text, encoding="utf-8")


def _folder_names(classes: Sequence[str]) -> list[str]:
    """A folder name for each class: its name where that is safe on every system and not taken."""
    names: list[str] = []
    taken: set[str] = set()
    for code, name in enumerate(classes):
        safe = re.sub(r"[^\w +,()-]", "_", name)[:60].strip()
        if not safe or safe.casefold() in taken:
            safe = f"class {code} {safe}".strip()
        taken.add(safe.casefold())
        names.append(safe)
    return names
