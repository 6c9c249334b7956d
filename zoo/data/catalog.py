"""The catalogue of data sets: ``zoo.load_dataset("adult")``.

A set is looked for in ``$ZOO_DATA/<modality>/<name>/``, then in the cache (``$ZOO_HOME/data/…``), then in the package,
and is downloaded from its public source last, never when offline. Whatever the layout of the files, the native data are
the same, which their canonical SHA-256 proves at each load.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.data.catalog_read import decompress
from zoo.data.catalog_sets import SETS
from zoo.data.catalog_types import Dataset, DatasetInfo, Layout
from zoo.data.fingerprint import fingerprint
from zoo.errors import DataError, OfflineError, UnknownNameError, nearest
from zoo.schema import MODALITIES

__all__ = ["DatasetInfo", "dataset_info", "list_datasets", "load_dataset"]


def list_datasets(pattern: str = "*", modality: str | None = None) -> list[str]:
    """Names of the data sets.

    Parameters
    ----------
    pattern
        Shell wildcards.
    modality
        Keep only this modality's.
    """
    if modality is not None and modality not in MODALITIES:
        raise UnknownNameError(f"unknown modality {modality!r}; {nearest(modality, MODALITIES)}")
    return sorted(n for n, s in SETS.items() if fnmatchcase(n, pattern) and modality in (None, s.info.modality))


def dataset_info(name: str) -> DatasetInfo:
    """What is known of a data set: licence, citation, source, hashes, target, splits.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    """
    return _entry(name).info


def load_dataset(name: str, split: str = "train") -> Any:
    """A split of a data set in its modality's native form.

    Parameters
    ----------
    name
        As :func:`list_datasets` gives it.
    split
        One of the set's splits; every set has ``train`` and ``test``.

    Returns
    -------
    pandas.DataFrame, SeriesBatch, ImageBatch or dict of DataFrame
        A new object each time.

    Raises
    ------
    UnknownNameError
        For an unknown name or split.
    DataError
        If a file is damaged, or the set can be had by hand only; says what to fetch and where to put it.
    OfflineError
        If it would have to be downloaded and offline mode is on.
    RemoteError
        If the download fails, or serves other bytes than it should.
    """
    entry = _entry(name)
    info = entry.info
    if split not in info.splits:
        raise UnknownNameError(f"{name} has no split {split!r}; {nearest(split, info.splits)}")
    for folder in _folders(info):
        for layout in entry.layouts:
            paths = _present(folder, layout.files[split])
            if paths:
                return _read(entry, layout, split, paths)
    if entry.bundled is not None:
        root = Path(__file__).parent / "bundled" / name
        return _read(entry, entry.bundled, split, [root / file for file in entry.bundled.files[split]])
    layout = _fetch(entry, split)
    return _read(entry, layout, split, _present(_cache(info), layout.files[split]))


def _entry(name: str) -> Dataset:
    if name not in SETS:
        raise UnknownNameError(f"no data set {name!r}; {nearest(name, SETS)}")
    return SETS[name]


def _cache(info: DatasetInfo) -> Path:
    from zoo.registry import home

    return home() / "data" / info.modality / info.name


def _folders(info: DatasetInfo) -> Iterator[Path]:
    """Where a set may lie on this machine; folders may spell its name with hyphens."""
    given = os.environ.get("ZOO_DATA")
    if given:
        for name in dict.fromkeys((info.folder or info.name, info.name, info.name.replace("_", "-"))):
            yield Path(given).expanduser() / info.modality / name
    yield _cache(info)


def _present(folder: Path, files: tuple[str, ...]) -> list[Path]:
    """The paths of the files, if the folder holds them all; gzip may be added or taken away."""
    paths = []
    for file in files:
        names = (file, file.removesuffix(".gz") if file.endswith(".gz") else f"{file}.gz")
        try:
            found = next((folder / n for n in names if (folder / n).is_file()), None)
        except OSError as error:
            raise DataError(f"cannot look into {folder}: {error.strerror or error}; give a readable folder") from error
        if found is None:
            return []
        paths.append(found)
    return paths


def _read(entry: Dataset, layout: Layout, split: str, paths: list[Path]) -> Any:
    info = entry.info
    where = ", ".join(map(str, paths)) or "scikit-learn"
    remedy = f"delete it, and put an unaltered copy there or none (source: {info.source})"
    try:
        data = layout.read([decompress(path.read_bytes()) for path in paths], split)
    except OSError as error:
        if not isinstance(error, PermissionError) and error.errno is None:  # gzip.BadGzipFile
            raise DataError(f"{where} is damaged: {error}; {remedy}") from error
        raise DataError(f"cannot read {where}: {error.strerror or error}") from error
    except (ValueError, LookupError, EOFError, zlib.error, zipfile.BadZipFile, MemoryError) as error:
        shown = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{where} is damaged: {shown}; {remedy}") from error
    found = fingerprint(data)
    if found != info.sha256s[split]:
        raise DataError(
            f"{where} is not the {split} split of {info.name}: its data have SHA-256 {found}, "
            f"expected {info.sha256s[split]}; {remedy}"
        )
    return data


def _fetch(entry: Dataset, split: str) -> Layout:
    """Download the files of a split into the cache."""
    from zoo.data.download import download
    from zoo.hub import offline

    info, cache = entry.info, _cache(entry.info)
    served = next((layout for layout in entry.layouts if layout.sources), None)
    places = [str(folder) for folder in _folders(info)]
    if "ZOO_DATA" not in os.environ:
        places.insert(0, f"$ZOO_DATA/{info.modality}/{info.name}")
    wanted = " or ".join(" and ".join(layout.files[split]) for layout in entry.layouts)
    by_hand = f"put {wanted} into {places[0]} or {places[-1]}"
    if served is None:
        raise DataError(
            f"{info.name} is not on this machine, and no address serves its files; see {info.source}, {by_hand}"
        )
    addresses = [served.sources[file] for file in served.files[split]]
    forbidden = offline()
    if forbidden:
        urls = " and ".join(url for url, _ in addresses)
        raise OfflineError(
            f"{info.name} is not on this machine and {forbidden} is set; would have fetched {urls}. "
            f"Unset {forbidden}, or {by_hand}"
        )
    for file, (url, sha256) in zip(served.files[split], addresses):
        if not (cache / file).is_file():
            download(url, cache / file, sha256)
    return served
