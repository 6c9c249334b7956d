"""What the catalogue keeps of a data set: :class:`DatasetInfo` for people, :class:`Layout` for the files on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Reader = Callable[[Sequence[bytes], str], Any]
"""From the contents of a split's files, decompressed, and the split's name to native data."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set.

    Parameters
    ----------
    name
        Its name in the catalogue.
    modality
        tabular, timeseries, image or text.
    description
        What it holds, how it is split; the first sentence stands alone in listings.
    licence, citation, source
        Terms, whom to cite, and the page or address that it comes from.
    sha256s
        Of each split, the SHA-256 of its native data.
    target
        The column that utility is measured on, if there is one.
    private
        Whether it holds secrets of people, so that artifacts must be protected (see ``Schema.private``).
    licence_allows_weights
        Whether weights that were trained on it may be published.
    splits
        Names of its splits.
    folder
        The folder that it lies in, where that is not its name.
    """

    name: str
    modality: str
    description: str
    licence: str
    citation: str
    source: str
    sha256s: Mapping[str, str]
    target: str | None = None
    private: bool = False
    licence_allows_weights: bool = True
    splits: tuple[str, ...] = ("train", "test")
    folder: str | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which a set lies in a folder.

    Parameters
    ----------
    files
        Of each split, the names of its files; each may also be there with ``.gz`` behind its name.
    read
        From their contents to native data.
    sources
        Of each file, the address it can be fetched from and the SHA-256 of what is served; empty when none is known.
    """

    files: Mapping[str, tuple[str, ...]]
    read: Reader
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """An entry: what is known, how it may lie on disk, and the layout of the copy in the package, if any."""

    info: DatasetInfo
    layouts: tuple[Layout, ...] = ()
    bundled: Layout | None = None
