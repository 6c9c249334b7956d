"""Artifacts that were tampered with, hashes and all, for ``zoo.testing``: whatever was changed, the family notices."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.artifact import (
    OpenedArtifact,
    component_files,
    dump_json,
    load_arrays,
    parse_json,
    restore_component,
    sha256,
)
from zoo.errors import ArtifactError, ConditionError

if TYPE_CHECKING:
    from zoo.testing import Subject

_BLOCK = 6  # forged artifacts sample in small blocks, as there are many of them
_MOST = 8  # arrays that are tampered with, of those that there are


def forged_artifacts_are_refused_or_sampled(s: "Subject") -> None:
    """Hashes prove that an artifact is whole, not that its parts fit each other: that is the family's to check."""
    for what, files in forgeries(s.fitted):
        try:
            loaded = restore_component(s.cls, opened(s.cls.name, files))
        except ArtifactError as refusal:
            one_line = "\n" not in str(refusal)
            assert one_line and what != "nothing", f"{what}: {refusal}"  # noqa: PT017
            continue
        except Exception as error:
            raise AssertionError(f"{what}: loading raised {type(error).__name__}: {error}") from error
        try:
            _sampled(loaded, what)
        except Exception as error:
            raise AssertionError(f"{what} was loaded, sampling raised {type(error).__name__}: {error}") from error


def _sampled(loaded: Any, what: str) -> None:
    """Sample, also under a condition on the column that was changed."""
    made = loaded.sample(loaded.block_size, seed=1)
    loaded.form.check(made, loaded.schema)
    assert loaded.form.length(made) == loaded.block_size
    for column in loaded.schema:
        if column.is_discrete and column.name in what and column.name in getattr(loaded, "condition_columns", ()):
            with contextlib.suppress(ConditionError):  # may never have occurred
                asked = loaded.sample(2, conditions={column.name: column.categories[-1]}, seed=1)
                loaded.form.check(asked, loaded.schema)


@dataclass(frozen=True)
class _Held(OpenedArtifact):
    """An artifact whose files are held in memory; pinned, checked and parsed as any other."""

    contents: Mapping[str, bytes] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        return self.contents[name]


def opened(family: str, contents: Mapping[str, bytes]) -> OpenedArtifact:
    """An artifact of these files."""
    files = {name: (sha256(data), len(data)) for name, data in contents.items()}
    return _Held(Path("forged"), family, files, "", contents)


def forgeries(generator: Any) -> Iterator[tuple[str, dict[str, bytes]]]:
    """What was changed, and the files: one change a forgery, of schema, configuration, state or arrays."""
    files = component_files(generator)
    described = parse_json(files["config.json"], "config.json")
    described["block_size"] = min(_BLOCK, described.get("block_size", _BLOCK))
    files["config.json"] = dump_json(described)
    yield "nothing", files
    schema = parse_json(files["schema.json"], "schema.json")
    for what, forged in _schemas(schema):
        yield f"schema: {what}", {**files, "schema.json": dump_json(forged)}
    for what, config in _mappings(described["config"]):
        yield f"config: {what}", {**files, "config.json": dump_json({**described, "config": config})}
    if "state.json" in files:
        for what, state in _mappings(parse_json(files["state.json"], "state.json")):
            yield f"state: {what}", {**files, "state.json": dump_json(state)}
    if "model.safetensors" in files:
        from safetensors.numpy import save

        for what, arrays in _arrays(load_arrays(files["model.safetensors"], "model.safetensors")):
            yield f"arrays: {what}", {**files, "model.safetensors": save(arrays)}


def _schemas(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = schema["columns"]
    yield "columns in another order", {**schema, "columns": columns[::-1]}
    yield "no columns", {**schema, "columns": []}
    yield "one column more", {**schema, "columns": [*columns, {"name": "more", "kind": "float", "dtype": "float64"}]}
    for i, column in enumerate(columns):

        def changed(*, i: Any = i, column: Any = column, **changes: Any) -> dict[str, Any]:
            forged = {k: v for k, v in {**column, **changes}.items() if v is not None}
            return {**schema, "columns": [*columns[:i], forged, *columns[i + 1 :]]}

        name = column["name"]
        yield f"{name} removed", {**schema, "columns": columns[:i] + columns[i + 1 :]}
        yield f"{name} renamed", changed(name="other")
        yield f"{name} nullable or not", changed(nullable=not column.get("nullable", False))
        for kind, dtype in (("float", "float64"), ("integer", "int64"), ("category", "str"), ("text", "str")):
            yield f"{name} of kind {kind} and dtype {dtype}", changed(kind=kind, dtype=dtype)
        for dtype in ("int8", "str", "bool", "datetime64[ns]"):
            yield f"{name} of dtype {dtype}", changed(dtype=dtype)
        for role in ("feature", "label", "channel", "text"):
            yield f"{name} in the role {role}", changed(role=role)
        if "categories" in column:
            known = column["categories"]
            yield f"{name} with a category less", changed(categories=known[:-1], names=None)
            yield f"{name} with one category", changed(categories=known[:1], names=None)
            yield f"{name} with a category more", changed(categories=[*known, known[-1] * 2 + 1 if
                isinstance(known[-1], int) else "more"], names=None)  # fmt: skip
            yield f"{name} with other categories", changed(categories=list(range(50, 50 + len(known))), names=None)
            yield f"{name} without categories", changed(categories=None, names=None)
        for key in ("minimum", "maximum", "decimals", "pattern"):
            if key in column:
                yield f"{name} without {key}", changed(**{key: None})
                yield f"{name} with another {key}", changed(**{key: "no sense"})
                yield f"{name} with a list as {key}", changed(**{key: [1]})
        if isinstance(column.get("minimum"), (int, float)):
            yield f"{name} far from its range", changed(minimum=10**6, maximum=10**6 + 1)
            yield f"{name} in half of its range", changed(maximum=(column["minimum"] + column["maximum"]) // 2)
    for key, size in schema.get("shape", {}).items():
        for other in (0, 1, size - 1, size + 1, 2**31):
            yield f"{key}={other}", {**schema, "shape": {**schema["shape"], key: other}}
        yield f"no {key}", {**schema, "shape": {k: v for k, v in schema["shape"].items() if k != key}}


def _mappings(mapping: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A mapping without each of its fields, and with others in their places."""
    yield "a field more", {**mapping, "more": 1}
    for key, value in mapping.items():
        yield f"no {key}", {k: v for k, v in mapping.items() if k != key}
        others: list[Any] = [None, -1, "no sense", [], {}, 1e30]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            others += [value * 2, value + 1]
        if isinstance(value, list):
            others += [value[:-1], [*value, 1], [-1] * len(value)]
        for other in others:
            if other != value:
                yield f"{key}={str(other)[:40]}", {**copy.deepcopy(mapping), key: other}


def _arrays(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    yield "one more", {**arrays, "more": np.zeros(2)}
    yield "none", {}
    step = max(1, len(arrays) // _MOST)
    for name in sorted(arrays)[::step]:
        array = arrays[name]
        forged: dict[str, np.ndarray] = {
            "cut": array[:-1] if array.ndim else array[None],
            "flat": array.reshape(-1)[None, None],
            "empty": array[:0] if array.ndim else np.zeros(0),
            "twice": np.concatenate([array, array]) if array.ndim else array + 1,
            "of whole numbers": array.astype(np.int64),
            "of double precision": array.astype(np.float64),
            "below zero": (-1 - np.abs(array.astype(np.float64))).astype(
                np.int64 if array.dtype.kind in "bu" else array.dtype
            ),
            "turned": array[::-1],
        }
        if array.dtype.kind == "f":
            forged |= {"not a number": np.full_like(array, np.nan), "without end": np.full_like(array, np.inf)}
        if array.dtype.kind in "iu":
            forged |= {"beyond": array.astype(np.int64) + 1000}
        yield f"no {name}", {k: v for k, v in arrays.items() if k != name}
        for what, other in forged.items():
            yield f"{name} {what}", {**arrays, name: np.ascontiguousarray(other)}
