"""Names to code and names to artifacts.

A family's name is its address (``tabular/tvae``), an artifact's is the family's plus the data set
(``tabular/tvae/adult``). Listing reads paths and imports nothing; creating imports one module. An artifact is looked
for in this order: an existing folder; ``$ZOO_HOME``; the bundled ``model_cards/``; the Hugging Face Hub.
"""

import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ArtifactError, ConfigError, OptionError, UnknownNameError, nearest
from zoo.schema import MODALITIES

if TYPE_CHECKING:
    from zoo.generator import Component

ENTRY_POINTS = "zoo.generators"
INDEX = "index.json"

_FAMILY = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
_ARTIFACT = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*/[a-z0-9][a-z0-9_]*")
_DEVICE = re.compile(r"cpu|(cuda|mps|xpu)(:\d{1,3})?")
_REPO = re.compile(r"(?:hf-hub:)?([A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*)")


def home() -> Path:
    """The user's own folder of artifacts and caches: ``$ZOO_HOME``, else ``~/.cache/zoo``."""
    return Path(os.environ.get("ZOO_HOME") or "~/.cache/zoo").expanduser()


@cache
def bundled(what: str) -> Path:
    """The folder ``recipes`` or ``model_cards``: inside an installed wheel, else at the top of the checkout."""
    package = Path(__file__).parent
    inside = package / "_bundled" / what
    return inside if inside.is_dir() else package.parent / what


# Families


@cache
def _families() -> dict[str, Path | EntryPoint]:
    """Every family by name: the file that defines it, or a third party's entry point."""
    found: dict[str, Path | EntryPoint] = {}
    root = Path(__file__).parent / "generators"
    for path in sorted(root.glob("*/*.py")):
        if not path.name.startswith("_"):
            found[f"{path.parent.name}/{path.stem}"] = path
    for point in entry_points(group=ENTRY_POINTS):
        if not _FAMILY.fullmatch(point.name):
            raise ConfigError(f"entry point {point.name!r} of {ENTRY_POINTS} must be named modality/family")
        if point.name in found:
            raise ConfigError(f"two families are named {point.name!r}; rename the entry point ({point.value})")
        found[point.name] = point
    return found


def _matching(names: Any, pattern: str, modality: str | None) -> list[str]:
    if modality is not None and modality not in (*MODALITIES, "rules", "masking", "simulation"):
        raise UnknownNameError(f"unknown modality {modality!r}; {nearest(modality, MODALITIES)}")
    return sorted(n for n in names if fnmatchcase(n, pattern) and (modality is None or n.split("/")[0] == modality))


def list_generators(pattern: str = "*", modality: str | None = None) -> list[str]:
    """Names of the families.

    Parameters
    ----------
    pattern
        Shell wildcards, as in ``tabular/*`` or ``*vae*``.
    modality
        Keep only this modality's.
    """
    return _matching(_families(), pattern, modality)


def family(name: str) -> "type[Component]":
    """The class of a family; imports its module, and no other.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    """
    source = _families().get(name)
    if source is None:
        raise UnknownNameError(f"no generator family {name!r}; {nearest(name, _families())}")
    if isinstance(source, EntryPoint):
        cls = source.load()
        if not cls.name:
            cls.name, cls.modality = name, cls.modality or name.split("/")[0]
        return cls
    return _class_in(importlib.import_module("zoo.generators." + name.replace("/", ".")))


def _class_in(module: Any) -> "type[Component]":
    from zoo.generator import Component

    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Component)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    if len(found) != 1:
        raise ConfigError(f"{module.__name__} must define exactly one public family, it defines {len(found)}")
    return found[0]


def summary(name: str) -> str:
    """What a family is, in one line; read from its file without importing it."""
    source = _families()[name]
    return f"from {source.value}" if isinstance(source, EntryPoint) else first_line(source)


def first_line(path: Path) -> str:
    """The first line of a Python file's docstring."""
    with open(path, encoding="utf-8") as file:
        return file.readline().strip().strip('"').strip()


def families_with(capability: str, modality: str | None = None) -> list[str]:
    """Families that declare a capability; imports every one of them."""
    from zoo.capabilities import capabilities

    return [n for n in list_generators(modality=modality) if capability in capabilities(family(n))]


def create(name: str, **config: Any) -> Any:
    """A new, unfitted generator of a family.

    Parameters
    ----------
    name
        ``modality/family``.
    **config
        Its configuration; ``zoo info NAME`` shows the fields.
    """
    from zoo.config import build

    return build(family(name), config, owner=name)


# Artifacts


def _artifact_folders(root: Path) -> Iterator[tuple[str, Path]]:
    from zoo.artifact import MANIFEST

    for modality in MODALITIES:
        for manifest in sorted((root / modality).glob(f"*/*/{MANIFEST}")):
            yield manifest.parent.relative_to(root).as_posix(), manifest.parent


def index() -> dict[str, dict[str, Any]]:
    """The bundled artifacts: name to the manifest's SHA-256 and what a listing shows."""
    from zoo.artifact import parse_json

    path = bundled("model_cards") / INDEX
    if not path.exists():
        return {}
    content = parse_json(path.read_bytes(), str(path))
    return content["artifacts"]


def list_pretrained(pattern: str = "*", modality: str | None = None) -> list[str]:
    """Names of the artifacts that :func:`load` finds without the network: ``$ZOO_HOME`` and the bundled ones."""
    names = {name for name, _ in _artifact_folders(home())} | set(index())
    return _matching(names, pattern, modality)


def find(name: str | os.PathLike[str], revision: str | None = None) -> tuple[Path, str | None]:
    """The folder of an artifact and what pins its manifest (None for a folder that the caller names).

    Raises
    ------
    UnknownNameError
        If no such artifact is found, with the nearest names.
    """
    from zoo.artifact import MANIFEST

    if not isinstance(name, (str, os.PathLike)):
        raise UnknownNameError(
            f"an artifact is named by text or a path, not by {name!r}; zoo.list_pretrained() lists them"
        )
    text = os.fspath(name)
    if "://" in text:
        from zoo.hub import fetch_address

        return fetch_address(text), None
    folder = Path(text).expanduser()
    if (folder / MANIFEST).is_file() or (folder / MANIFEST).is_symlink():
        _no_revision(text, revision)
        return folder, None
    if folder.is_dir() and (folder.is_absolute() or text.startswith(".")):
        raise ArtifactError(f"{text} holds no artifact ({MANIFEST} is missing)")
    if _ARTIFACT.fullmatch(text):
        own = home() / text
        if (own / MANIFEST).is_file():
            _no_revision(text, revision)
            return own, None
        pinned = index().get(text)
        if pinned is not None:
            _no_revision(text, revision)
            return bundled("model_cards") / text, pinned["manifest_sha256"]
        organisation = os.environ.get("ZOO_HUB_ORG")
        if organisation:
            from zoo.hub import fetch_repository

            return fetch_repository(f"{organisation}/{text.replace('/', '-')}", revision), None
    if folder.exists() and text not in _families():
        what = "folder" if folder.is_dir() else "file"
        raise ArtifactError(
            f"{text} is a {what} here, and no artifact ({MANIFEST} is missing); give the folder that was saved"
        )
    repository = _REPO.fullmatch(text)
    if repository and text.split("/")[0] not in MODALITIES:  # a mistyped family is no repository
        from zoo.hub import fetch_repository

        return fetch_repository(repository[1], revision), None
    if text in _families():
        known = list_pretrained(text + "/*")
        raise UnknownNameError(
            f"{text!r} is a family; load an artifact of it ({nearest(text, known)}) or zoo.create it"
        )
    known = [*_families(), *list_pretrained()] if text.count("/") == 1 else list_pretrained()
    raise UnknownNameError(f"no artifact {text!r}; {nearest(text, known)}")


def _no_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise UnknownNameError(f"{name!r} is a local artifact and has no revisions; leave out revision={revision!r}")


def load(name: str | os.PathLike[str], revision: str | None = None, *, device: str = "cpu") -> Any:
    """Load a pretrained generator.

    Parameters
    ----------
    name
        An artifact's name (``tabular/tvae/adult``), a folder, a Hub repository (``owner/name``), or any address
        that fsspec opens (``s3://…``).
    revision
        Branch, tag or commit of a Hub repository.
    device
        Where to put its tensors: ``cpu``, ``cuda``, ``cuda:1``, ``mps``. A family without tensors says that it stays.

    Raises
    ------
    UnknownNameError, ArtifactError, OfflineError, RemoteError
    OptionError
        If this machine has no such device.
    """
    from zoo.artifact import open_artifact, restore_component

    folder, pin = find(name, revision)
    opened = open_artifact(folder, manifest_sha256=pin)
    if opened.family not in _families():
        raise ArtifactError(
            f"{folder} is of family {opened.family[:80]!r}, which is not installed; "
            + nearest(opened.family, _families())
        )
    return _moved(restore_component(family(opened.family), opened), device)


def _moved(component: Any, device: str) -> Any:
    """A component on a device that exists; says so where a family has no tensors and stays where it is."""
    from zoo.generator import Component
    from zoo.say import say

    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise OptionError(f"device={device!r} is no device; give cpu, cuda, cuda:1 or mps")
    if device == "cpu":
        return component
    if type(component).to is Component.to:
        say(f"{component.name} has no tensors: it runs on the CPU, and device={device!r} changes nothing")
        return component
    import torch

    kind, _, number = device.partition(":")
    backend = getattr(torch, kind)
    count = backend.device_count() if backend.is_available() else 0
    if int(number or 0) >= count:
        there = f"there are {count}, counted from 0" if count else "this machine has none that torch can use"
        raise OptionError(f"device={device!r} cannot be had: {there}; use device='cpu' (--device cpu)")
    return component.to(device)


def info(name: str) -> dict[str, Any]:
    """What is known of a family or an artifact, as plain data.

    Returns
    -------
    dict
        For a family: ``name``, ``modality``, ``summary``, ``doc``, ``capabilities``, ``config`` (field to default)
        and ``options``. For an artifact also ``folder``, ``bytes``, ``training``, ``schema`` and ``metrics``.
    """
    if name in _families():
        return _family_info(name)
    from zoo.artifact import open_artifact

    folder, pin = find(name)
    opened = open_artifact(folder, manifest_sha256=pin)
    described = opened.read_json("config.json")
    return {
        **_family_info(opened.family),
        "name": str(name),
        "family": opened.family,
        "folder": str(folder),
        "bytes": sum(size for _, size in opened.files.values()),
        "config": described.get("config", {}),
        "training": described.get("training", {}),
        "schema": opened.read_json("schema.json"),
        "metrics": opened.read_json("metrics.json") if "metrics.json" in opened.files else {},
    }


def _family_info(name: str) -> dict[str, Any]:
    import inspect
    import sys

    from zoo.capabilities import capabilities

    cls = family(name)
    doc = inspect.getdoc(sys.modules[cls.__module__]) or inspect.getdoc(cls) or ""
    options = getattr(cls, "options", {})
    return {
        "name": name,
        "modality": cls.modality,
        "summary": (inspect.getdoc(cls) or doc).split("\n")[0],
        "doc": doc,
        "capabilities": sorted(capabilities(cls)),
        "config": {f.name: f.default for f in fields(cls) if f.init},  # type: ignore[arg-type]
        "options": {key: {"default": option.default, "doc": option.doc} for key, option in options.items()},
    }


def push(component: "Component", repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
    """Upload an artifact to the Hub; see :meth:`zoo.generator.Generator.push_to_hub`."""
    import tempfile

    from zoo.hub import push_folder

    with tempfile.TemporaryDirectory() as folder:
        component.save(Path(folder) / "artifact")
        return push_folder(Path(folder) / "artifact", repo_id, private=private, revision=revision)
