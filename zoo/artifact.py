"""A trained component on disk: a folder of JSON and safetensors, written atomically, verified before it is parsed.

``manifest.json`` names the family, the format version and every file with its size and SHA-256; it is itself pinned by
the registry's index or the Hub's commit. Nothing is unpickled, no class is imported by a name from a file, no listed
file may lie outside the folder or be a link, and a file is parsed only from the very bytes whose hash was checked.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.atomic import temporary_beside, write_error
from zoo.config import build
from zoo.errors import ArtifactError, DataError
from zoo.schema import Schema

if TYPE_CHECKING:
    import numpy as np

    from zoo.generator import Component

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CARD = "README.md"
"""The only file without a hash: people edit cards."""

_MAX_JSON = 32 * 2**20  # bytes; the largest honest one, a GPT tokenizer, is under 2 MB
_MAX_FILE = 8 * 2**30  # bytes
_MAX_FILES = 1000
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}){0,4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

C = TypeVar("C", bound="Component")


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def dump_json(value: Any) -> bytes:
    """JSON as the zoo writes it: UTF-8, sorted keys, indented, no NaN."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
    return (text + "\n").encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain data")


def parse_json(data: bytes, where: str) -> Any:
    """Parse JSON from a source that is not trusted.

    Raises
    ------
    ArtifactError
        If it is too large, malformed, nested too deeply or holds NaN.
    """
    if len(data) > _MAX_JSON:
        raise ArtifactError(f"{where} has {len(data)} bytes, more than JSON here may have ({_MAX_JSON})")

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(data.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is no valid JSON ({type(error).__name__}); fetch the artifact again") from error


# Writing


def write_folder(folder: str | os.PathLike[str], family: str, files: Mapping[str, bytes]) -> str:
    """Write an artifact folder atomically.

    The files go to a temporary folder beside the target, are flushed to disk, and take the target's place in one
    step; an error or a kill before that leaves the target as it was.

    Parameters
    ----------
    folder
        The target. An artifact that is there is replaced; any other non-empty folder is refused.
    family
        ``modality/family``.
    files
        Content by name, without the manifest.

    Returns
    -------
    str
        SHA-256 of the manifest.

    Raises
    ------
    DataError
        If the target is no artifact, or cannot be written.
    """
    target = Path(folder).expanduser()
    listed = {name: {"sha256": sha256(data), "size": len(data)} for name, data in sorted(files.items()) if name != CARD}
    manifest = dump_json({"format_version": FORMAT_VERSION, "family": family, "files": listed})
    check_target(target)
    with temporary_beside(target, folder=True) as temporary:
        for name, data in {**files, MANIFEST: manifest}.items():
            _check_name(name, str(target))
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o755)  # it was made for its owner alone; an artifact is read by others
        _replace_folder(temporary, target)
    return sha256(manifest)


def check_target(folder: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Whether an artifact may be written there; asked before a long training, so that it does not end in a refusal.

    Parameters
    ----------
    folder
        The target.
    overwrite
        Whether an artifact that is there may be replaced.

    Raises
    ------
    DataError
        If something that is no artifact stands there, or one that may not be replaced, or the nearest folder that
        exists cannot be written to.
    """
    target = Path(folder).expanduser()
    try:
        if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / MANIFEST).exists())):
            raise DataError(f"{target} exists and is no artifact; choose another folder")
        if not overwrite and (target / MANIFEST).exists():
            raise DataError(f"{target} holds an artifact already; choose another folder, or add --overwrite")
        near = next(p for p in target.absolute().parents if p.exists())
    except OSError as error:
        raise write_error(target, error) from error
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        raise DataError(f"cannot write {target}: {near} is no folder that can be written to; choose another")


def _replace_folder(new: Path, target: Path) -> None:
    """Put ``new`` in the place of ``target``; what was there ends up at ``new`` or is gone."""
    if not target.exists():
        os.rename(new, target)
        return
    if sys.platform.startswith("linux"):
        # rename(2) cannot replace a non-empty folder; RENAME_EXCHANGE swaps the two in one step.
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            at_cwd, exchange = -100, 2
            if libc.renameat2(at_cwd, os.fsencode(new), at_cwd, os.fsencode(target), exchange) == 0:
                return
            code = ctypes.get_errno()
            if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise OSError(code, os.strerror(code))
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.rename(target, aside / target.name)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(aside / target.name, target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def save_component(component: "Component", folder: str | os.PathLike[str], *, extra: Mapping[str, bytes]) -> str:
    """Write a ready component; returns the manifest's SHA-256."""
    return write_folder(folder, component.name, {**component_files(component), **extra})


def component_files(component: "Component") -> dict[str, bytes]:
    """The files of a ready component: configuration, schema and state."""
    from zoo import __version__

    config: dict[str, Any] = {
        "family": component.name,
        "config": component.config,
        "zoo_version": __version__,
    }
    if hasattr(component, "block_size"):
        config["block_size"] = component.block_size
    if component.training:
        config["training"] = component.training
    files = {"config.json": dump_json(config), "schema.json": dump_json(component.schema.to_dict())}
    state = component._state()
    if state:
        files["state.json"] = dump_json(state)
    occurred = getattr(component, "_occurred", None)
    if occurred is not None:
        files["occurred.json"] = dump_json(occurred.to_dict())
    arrays = component._arrays()
    if arrays:
        import numpy as np
        from safetensors.numpy import save

        files["model.safetensors"] = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    return files


# Reading


@dataclass(frozen=True)
class OpenedArtifact:
    """A folder whose manifest was read and checked; its files are verified one by one as they are read."""

    folder: Path
    family: str
    files: Mapping[str, tuple[str, int]]
    """Name to (SHA-256, size in bytes)."""
    manifest_sha256: str

    def read(self, name: str) -> bytes:
        """Content of a listed file, after its size and hash were checked."""
        if name not in self.files:
            raise ArtifactError(f"{self.folder}: the manifest lists no {name!r}; the artifact is incomplete")
        expected, size = self.files[name]
        data = _read_inside(self.folder, name, limit=size)
        if len(data) != size or sha256(data) != expected:
            raise ArtifactError(f"{self.folder / name} is not what its manifest pins (altered or cut); fetch it again")
        return data

    def read_json(self, name: str) -> Any:
        return parse_json(self.read(name), str(self.folder / name))

    def verify(self) -> None:
        """Check every listed file."""
        for name in self.files:
            self.read(name)


def _check_name(name: str, where: str) -> None:
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise ArtifactError(f"{where}: {str(name)[:80]!r} is no valid file name in an artifact")


def _read_inside(folder: Path, name: str, *, limit: int) -> bytes:
    """Read a regular file below ``folder`` without following any link, ``limit`` + 1 bytes at most."""
    path = folder
    for part in name.split("/"):
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            raise ArtifactError(f"{path} is missing or unreadable ({error.strerror}); fetch it again") from error
        if stat.S_ISLNK(mode):
            raise ArtifactError(f"{path} is a symbolic link; artifacts may hold none")
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{path} is no regular file")
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error


def open_artifact(folder: str | os.PathLike[str], *, manifest_sha256: str | None = None) -> OpenedArtifact:
    """Read and check a manifest.

    Parameters
    ----------
    folder
        The artifact.
    manifest_sha256
        What pins the manifest (the index); None for a folder that the caller trusts by naming it.

    Raises
    ------
    ArtifactError
        If there is no artifact, or its manifest is altered, malformed, hostile or of a newer format.
    """
    root = Path(folder).expanduser()
    where = root / MANIFEST
    if not where.exists() and not where.is_symlink():
        raise ArtifactError(f"{root} holds no artifact ({MANIFEST} is missing)")
    data = _read_inside(root, MANIFEST, limit=_MAX_JSON)
    digest = sha256(data)
    if manifest_sha256 is not None and digest != manifest_sha256:
        raise ArtifactError(f"{where} is not what the index pins (altered or cut); fetch the artifact again")
    manifest = parse_json(data, str(where))
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{where} must be a JSON object")
    version = manifest.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{where} has no valid format_version")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{where} has format_version {version}, this zoo reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install -U generative-zoo"
        )
    family, listed = manifest.get("family"), manifest.get("files")
    if not isinstance(family, str) or not isinstance(listed, dict) or len(listed) > _MAX_FILES:
        raise ArtifactError(f"{where} is malformed: it needs 'family' and 'files'")
    files: dict[str, tuple[str, int]] = {}
    for name, entry in listed.items():
        _check_name(name, str(where))
        digest_, size = (entry.get("sha256"), entry.get("size")) if isinstance(entry, dict) else (None, None)
        good_hash = isinstance(digest_, str) and bool(_SHA256.fullmatch(digest_))
        if not good_hash or not isinstance(size, int) or not 0 <= size <= _MAX_FILE:
            raise ArtifactError(f"{where}: malformed entry for {name!r}")
        files[name] = (str(digest_), size)
    return OpenedArtifact(root, family, files, digest)


def load_arrays(data: bytes, where: str) -> "dict[str, np.ndarray]":
    """Arrays of a safetensors file; its declared shapes are checked against its length by the parser."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ArtifactError(f"{where} is no valid safetensors file ({error}); fetch the artifact again") from error


def restore_component(cls: type[C], opened: OpenedArtifact) -> C:
    """Build a component of a known class from a verified artifact."""
    import numpy as np

    from zoo.data.schema_probe import check_possible

    where = str(opened.folder)
    described = opened.read_json("config.json")
    schema = opened.read_json("schema.json")
    state = opened.read_json("state.json") if "state.json" in opened.files else {}
    arrays = {}
    if "model.safetensors" in opened.files:
        arrays = load_arrays(opened.read("model.safetensors"), f"{where}/model.safetensors")
    if not isinstance(described, dict) or not isinstance(described.get("config"), dict) or not isinstance(state, dict):
        raise ArtifactError(f"{where}/config.json is malformed")
    if described.get("family") != opened.family:
        raise ArtifactError(f"{where}: config.json and {MANIFEST} name different families")
    block_size = described.get("block_size", 1)
    if not isinstance(block_size, int) or isinstance(block_size, bool) or not 1 <= block_size <= 2**20:
        raise ArtifactError(f"{where}/config.json: block_size must be a whole number from 1 to 2**20")
    training = described.get("training", {})
    try:
        with np.errstate(all="ignore"):  # of numbers that cannot be, which are then refused
            component = build(cls, described["config"], owner=opened.family)
            component._schema = Schema.from_dict(schema)
            if component._schema.modality != component.modality:
                raise ArtifactError(f"{where}: schema.json is of modality {component._schema.modality!r}")
            check_possible(component._schema)
            component._training = dict(training)
            if hasattr(component, "_block_size"):
                component._block_size = block_size
            if "occurred.json" in opened.files and hasattr(component, "_occurred"):
                from zoo.occurred import Occurred

                component._occurred = Occurred.from_dict(opened.read_json("occurred.json"), component._schema)
            component._set_state(state)
            component._set_arrays(arrays)
    except ArtifactError as error:
        if where in str(error):
            raise
        raise ArtifactError(f"{where}: {error}") from error
    except Exception as error:  # whatever a family's parsers raise at what they were not written for
        said = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(f"{where} does not describe a valid {opened.family}: {said}") from error
    component._ready = True
    return component
