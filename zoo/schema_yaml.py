"""A schema as YAML that a person edits: columns by name, patterns written out, and what can be wrong with it."""

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import SchemaError, nearest
from zoo.schema import Column, Schema

_MAX_YAML = 64 * 2**20  # bytes


def write_yaml(plain: Mapping[str, Any]) -> str:
    """YAML of what ``Schema.to_dict`` gives."""
    columns = {c["name"]: {k: _as_yaml(v) for k, v in c.items() if k != "name"} for c in plain["columns"]}
    return yaml.safe_dump(
        {**plain, "columns": columns}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


class _Loader(yaml.SafeLoader):
    """Refuses what YAML would silently overwrite: a key that stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if twice is not None:
            raise SchemaError(f"schema: {twice!r} stands twice in the mapping of line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def read_yaml(source: str | os.PathLike[str]) -> dict[str, Any]:
    """What a YAML file (or YAML of several lines) says of a schema, checked in form but not in content.

    Returns
    -------
    dict
        ``columns`` as a mapping of names to fields, patterns as :class:`Column` keeps them.

    Raises
    ------
    SchemaError
        For what is no YAML or no mapping, a name that stands twice, an unknown field of the schema or of a column.
    """
    text, where = str(source), "schema"
    if "\n" not in text:
        path, where = Path(text).expanduser(), f"schema {text}"
        try:
            if path.stat().st_size > _MAX_YAML:
                raise SchemaError(f"{where} is larger than {_MAX_YAML >> 20} MB; it is no schema")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SchemaError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
    try:
        plain = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise SchemaError(f"{where} is no YAML{line}: {getattr(error, 'problem', error)}; correct that line") from error
    except (TypeError, RecursionError, ValueError) as error:
        raise SchemaError(f"{where} is no YAML of a schema: {error}") from error
    if not isinstance(plain, dict):
        raise SchemaError(f"{where} must be a mapping with 'columns'; zoo schema FILE -o schema.yaml writes one")
    known = [f.name for f in dataclasses.fields(Schema)]
    for key in plain:
        if key not in known:
            raise SchemaError(f"{where}: unknown field {key!r}; {nearest(str(key), known)}")
    columns = plain.get("columns") or {}
    if isinstance(columns, list) and all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in columns):
        columns = {c["name"]: {k: v for k, v in c.items() if k != "name"} for c in columns}
    if not isinstance(columns, dict):
        raise SchemaError(f"{where}: 'columns' must be a mapping of column names to their fields")
    return {**plain, "columns": {name: read_fields(name, fields) for name, fields in columns.items()}}


def read_fields(name: Any, fields: Any) -> dict[str, Any]:
    """The fields of one column as a person may give them: a mapping, or its kind alone."""
    if not isinstance(name, str):
        raise SchemaError(f"schema: column name {name!r} is no text; put it in quotes")
    if isinstance(fields, str):
        fields = {"kind": fields}
    if not isinstance(fields, Mapping):
        raise SchemaError(f"schema: column {name!r} must have fields such as kind: integer, not {fields!r}")
    known = [f.name for f in dataclasses.fields(Column)]
    out = {}
    for key, value in fields.items():
        if key not in known:
            raise SchemaError(f"schema: column {name!r} has no field {key!r}; {nearest(str(key), known)}")
        if key == "pattern" and isinstance(value, (dict, list)):
            value = json.dumps(value)
        elif key in ("minimum", "maximum") and isinstance(value, dt.date):
            value = value.isoformat()
        out[key] = value
    return out


def _as_yaml(value: Any) -> Any:
    """A pattern that is JSON is written out; NumPy's scalars as Python's."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    if isinstance(value, list):
        return [v.item() if hasattr(v, "item") else v for v in value]
    return value.item() if hasattr(value, "item") else value
