"""``zoo new-family``: the file and the recipe of a new family, which works at once and keeps the whole contract.

What is written comes from ``zoo/templates/``: for each modality the simplest family that is honest, to be replaced
piece by piece.
"""

import keyword
import os
import re
from pathlib import Path
from string import Template

from zoo.errors import ConfigError, DataError, UnknownNameError, nearest
from zoo.schema import MODALITIES

BUNDLED = {"tabular": "adult_sample", "timeseries": "occupancy", "image": "digits", "text": "sms_spam"}
"""The data set of each modality that rides in the package; the recipe of a new family learns from it."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TEMPLATES = Path(__file__).parent / "templates"


def scaffold(name: str, root: "str | os.PathLike[str]") -> list[Path]:
    """Write the module and the recipe of a new family, and nothing else.

    Parameters
    ----------
    name
        ``modality/name`` in snake_case.
    root
        Top of the checkout, the folder that holds ``zoo/`` and ``recipes/``.

    Returns
    -------
    list of pathlib.Path
        The module and the recipe.

    Raises
    ------
    ConfigError, UnknownNameError
        For a name that is no ``modality/name``.
    DataError
        If a file of that name exists, ``root`` is no checkout or cannot be written; nothing is written then.
    """
    modality, family = _checked(name)
    top = Path(root).expanduser()
    if not (top / "zoo" / "generators" / modality).is_dir() or not (top / "recipes").is_dir():
        raise DataError(f"{top} is no checkout of the zoo (zoo/generators, recipes); go there or give --root")
    text = (_TEMPLATES / f"{modality}.py.txt").read_text(encoding="utf-8")
    cls = "".join(part.capitalize() for part in family.split("_"))
    if re.search(rf"\b{cls}\b", text):  # a name that the module imports
        cls += "Family"
    values = {"name": name, "cls": cls, "dataset": BUNDLED[modality]}
    files = {
        top / "zoo" / "generators" / modality / f"{family}.py": text,
        top / "recipes" / modality / family / f"{BUNDLED[modality]}.py": (_TEMPLATES / "recipe.py.txt").read_text(
            encoding="utf-8"
        ),
    }
    for path in files:
        if path.exists():
            raise DataError(f"{path} exists; choose another name, or remove it first")
    _write({path: Template(content).substitute(values) for path, content in files.items()})
    return list(files)


def _checked(name: str) -> tuple[str, str]:
    modality, slash, family = name.partition("/")
    if not slash or "/" in family:
        raise ConfigError(f"{name!r} must be modality/name, such as tabular/histogram")
    if modality not in MODALITIES:
        raise UnknownNameError(f"unknown modality {modality!r}; {nearest(modality, MODALITIES)}")
    if not _NAME.fullmatch(family) or keyword.iskeyword(family):
        raise ConfigError(f"{family!r} must be snake_case (letters, digits, single _), such as histogram_2d")
    return modality, family


def _write(files: dict[Path, str]) -> None:
    """All files or none."""
    written: list[Path] = []
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                written.append(path)
                file.write(content)
    except OSError as error:
        for path in written:
            path.unlink()
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose a writable checkout") from error
