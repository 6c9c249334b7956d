"""What the data is: columns, kinds, ranges, keys, unit, sensitivity. One form for every modality.

A table's schema has a :class:`Column` per column; a time series' one per channel, categorical channel and static
attribute; an image's one for its label; a text's one for the text and one per field. What is no column (an image's
height, a series' longest length) stands in ``shape``. A schema is plain data: it is written as JSON with every
artifact, and inferring one from data belongs to the modality's :class:`zoo.data.form.NativeForm`.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from zoo.errors import SchemaError, nearest

if TYPE_CHECKING:
    import os

Kind = Literal[
    "integer",
    "float",
    "boolean",
    "category",
    "ordinal",
    "datetime",
    "date",
    "duration",
    "identifier",
    "text",
    "constant",
]
Role = Literal["feature", "channel", "static", "label", "text"]
Modality = Literal["tabular", "timeseries", "image", "text"]

KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]
ROLES: tuple[str, ...] = Role.__args__  # type: ignore[attr-defined]
MODALITIES: tuple[str, ...] = Modality.__args__  # type: ignore[attr-defined]

NUMERIC_KINDS = frozenset({"integer", "float"})
TIME_KINDS = frozenset({"datetime", "date", "duration"})
DISCRETE_KINDS = frozenset({"boolean", "category", "ordinal", "constant"})

# pandas' own spellings; a schema read from a file may name no other type.
_DTYPE = re.compile(
    r"u?int(8|16|32|64)|U?Int(8|16|32|64)|float(16|32|64)|Float(32|64)|bool|boolean|str|string|object|category"
    r"|(datetime64|timedelta64)\[(s|ms|us|ns)(, [A-Za-z0-9_+:/\-]{1,64})?\]"
    r"|[a-z0-9_]{1,16}([\[(<][A-Za-z0-9_+:/\-, =]{1,80}[\])>])?\[pyarrow\]"
)
_MAX_COLUMNS = 100_000
_TIME = re.compile(r"-?\d{4,6}-\d\d-\d\d([T ]\d\d|$)")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column, channel, label or field.

    Parameters
    ----------
    name
        Its name, unique within the schema.
    kind
        What its values mean; decides how they are learned, checked and compared.
    dtype
        The pandas (or NumPy) type with which values come back.
    role
        ``feature`` of a table; ``channel`` of a series (per step); ``static`` attribute of a series;
        ``label`` (a class); ``text``.
    nullable
        Whether a value may be missing.
    categories
        All values that can occur, for ``boolean``, ``category`` and ``ordinal`` (in order); the one value of a
        ``constant``, or nothing when every value is missing.
    names
        Optional display names of ``categories``, equally many; a condition may use either.
    minimum, maximum
        Closed range: numbers for ``integer`` and ``float``, seconds for ``duration``, ISO 8601 text for
        ``datetime`` and ``date``. For ``text``, the shortest and longest length in characters. None is open.
    decimals
        Digits after the point of a ``float`` that is written in decimals; None when it is not rounded.
    pattern
        Form of an ``identifier`` or ``text``, as the modality's form writes it.
    unit
        Physical unit, for display.
    sensitive
        Whether the value is personal and must not leave as an extreme or a rare category.
    masses
        Numbers of an ``integer`` or ``float`` that many rows share (the zero of an amount), in rising order.
    pii
        What personal data it holds: ``email``, ``phone``, ``name``, ``iban``, …, see :mod:`zoo.data.table_pii`. Such
        an ``identifier`` or ``text`` is made up.
    """

    name: str
    kind: Kind
    dtype: str = "object"
    role: Role = "feature"
    nullable: bool = False
    categories: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    minimum: Any = None
    maximum: Any = None
    decimals: int | None = None
    pattern: str | None = None
    unit: str | None = None
    sensitive: bool = False
    masses: tuple[float, ...] = ()
    pii: str | None = None

    def __post_init__(self) -> None:
        where = f"schema: column {self.name!r}"
        if not isinstance(self.name, str):
            raise SchemaError(f"{where}: the name must be text; rename it with df.rename(columns=str)")
        for what, value, known in (("kind", self.kind, KINDS), ("role", self.role, ROLES)):
            if not isinstance(value, str) or value not in known:
                raise SchemaError(f"{where}: unknown {what} {value!r}; {nearest(str(value), known)}")
        self._check_types(where)
        if not isinstance(self.dtype, str) or not _DTYPE.fullmatch(self.dtype):
            raise SchemaError(f"{where}: unknown dtype {self.dtype!r}; give a pandas dtype such as 'int64'")
        object.__setattr__(self, "categories", tuple(self.categories))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "masses", tuple(self.masses))
        if self.kind in ("category", "ordinal", "boolean") and not self.categories:
            raise SchemaError(f"{where}: kind {self.kind!r} needs its categories")
        if len(set(map(_key, self.categories))) != len(self.categories):
            raise SchemaError(f"{where}: categories repeat; list each value once")
        if self.names and len(self.names) != len(self.categories):
            raise SchemaError(f"{where}: {len(self.names)} names for {len(self.categories)} categories")
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low > high:
            raise SchemaError(f"{where}: minimum {low!r} is above maximum {high!r}")
        if self.decimals is not None and not (isinstance(self.decimals, int) and 0 <= self.decimals <= 15):
            raise SchemaError(f"{where}: decimals must be a whole number from 0 to 15, not {self.decimals!r}")

    def _check_types(self, where: str) -> None:
        """Each field has its type; a file may hold anything."""
        for name in ("nullable", "sensitive"):
            if not isinstance(getattr(self, name), bool):
                raise SchemaError(f"{where}: {name} must be true or false, not {getattr(self, name)!r}")
        for name in ("pattern", "unit", "pii"):
            if not isinstance(getattr(self, name), str | None):
                raise SchemaError(f"{where}: {name} must be text, not {getattr(self, name)!r}")
        for name, kinds in (("categories", (str, int, float)), ("names", (str,)), ("masses", (int, float))):
            listed = getattr(self, name)
            if not isinstance(listed, (list, tuple)):
                raise SchemaError(f"{where}: {name} must be a list, not {listed!r}")
            wrong = [v for v in listed if not isinstance(v.item() if hasattr(v, "item") else v, kinds)]
            if wrong:
                raise SchemaError(
                    f"{where}: {name} cannot hold {wrong[0]!r}; write it as {'text' if str in kinds else 'a number'}"
                )
        for name in ("minimum", "maximum"):
            value = getattr(self, name)
            if value is None or self.kind in DISCRETE_KINDS | {"identifier"}:
                continue
            number = not isinstance(value, (str, bool)) and hasattr(value, "__float__")
            if self.kind in ("datetime", "date"):
                if not isinstance(value, str) or not _TIME.match(value):
                    raise SchemaError(f"{where}: {name} must be a time like '2024-01-31', not {value!r}")
            elif not number or value != value:
                raise SchemaError(f"{where}: {name} must be a number, not {value!r}")

    @property
    def is_numeric(self) -> bool:
        return self.kind in NUMERIC_KINDS

    @property
    def is_time(self) -> bool:
        return self.kind in TIME_KINDS

    @property
    def is_discrete(self) -> bool:
        return self.kind in DISCRETE_KINDS

    def code_of(self, value: Any) -> int:
        """Position of a category, given as its value or its display name.

        Raises
        ------
        LookupError
            If the column has no such category.
        """
        try:
            code = self._code_by_key.get(_key(value))
        except TypeError:  # a value that cannot be hashed is no category
            code = None
        if code is not None:
            return code
        if isinstance(value, str) and value in self.names:
            return self.names.index(value)
        raise LookupError(f"{value!r} is no category of {self.name!r}; {nearest(str(value), self.categories)}")

    @cached_property
    def _code_by_key(self) -> dict[tuple[bool, Any], int]:
        """Codes of the categories; of equal ones the first."""
        return {_key(c): code for code, c in reversed(list(enumerate(self.categories)))}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; fields at their defaults are left out."""
        out: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                out[f.name] = list(value) if isinstance(value, tuple) else value
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        known = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(data, Mapping) or "name" not in data or "kind" not in data:
            raise SchemaError("schema: each column needs at least a name and a kind")
        for key in data:
            if key not in known:
                raise SchemaError(f"schema: column {data['name']!r} has no field {key!r}; {nearest(key, known)}")
        return cls(**data)


def _key(value: Any) -> tuple[bool, Any]:
    """1, 1.0 and NumPy's 1 are one category; True and 1 are two."""
    item = value.item() if hasattr(value, "item") else value
    return (isinstance(item, bool), item)


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """Column ``column`` holds values of ``parent_column`` of the table ``parent``; at most ``most`` rows share one."""

    column: str
    parent: str
    parent_column: str
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns of one data set and what is known of it as a whole.

    Parameters
    ----------
    modality
        ``tabular``, ``timeseries``, ``image`` or ``text``.
    columns
        In the data's order; names are unique.
    shape
        Sizes that are no column: ``height``, ``width``, ``channels`` of images; ``min_length`` and
        ``max_length`` of series, in steps.
    primary_key, foreign_keys
        Keys, for related tables.
    unit
        The column that names the unit which privacy protects (a person, not a row).
    private
        Whether the data is private: extremes and rare categories are then kept out of artifacts, and cards
        show synthetic samples only.
    tables, root
        Of related tables, the schema of each by its name (this one has no columns then), and the table whose rows
        are what is counted.
    shared
        Whether this is a table of facts that all entities share (districts, products): kept, not made anew.
    """

    modality: Modality
    columns: tuple[Column, ...] = ()
    shape: Mapping[str, int] = field(default_factory=dict)
    primary_key: str | None = None
    foreign_keys: tuple[ForeignKey, ...] = ()
    unit: str | None = None
    private: bool = False
    tables: Mapping[str, "Schema"] = field(default_factory=dict)
    root: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise SchemaError(f"schema: unknown modality {self.modality!r}; {nearest(self.modality, MODALITIES)}")
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "foreign_keys", tuple(self.foreign_keys))
        object.__setattr__(self, "shape", dict(self.shape))
        object.__setattr__(self, "tables", dict(self.tables))
        if self.tables and (self.columns or self.root not in self.tables):
            raise SchemaError(f"schema: related tables have a root among them and no columns beside; {self.root!r}")
        if len(self.columns) > _MAX_COLUMNS:
            raise SchemaError(f"schema: {len(self.columns)} columns; at most {_MAX_COLUMNS} are supported")
        seen: set[str] = set()
        for column in self.columns:
            if column.name in seen:
                raise SchemaError(f"schema: column {column.name!r} appears twice; rename one of them")
            seen.add(column.name)
        for key in (self.primary_key, self.unit, *(f.column for f in self.foreign_keys)):
            if key is not None and key not in seen:
                raise SchemaError(f"schema: key or unit {key!r} is no column; {nearest(key, seen)}")
        for name, size in self.shape.items():
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= 2**31:
                raise SchemaError(f"schema: shape {name!r}={size!r} must be a whole number from 0 to 2**31")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return any(c.name == name for c in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"no column {name!r}; {nearest(name, self.names)}")

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def by_role(self, *roles: Role) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role in roles)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; ``columns`` may also be given as a mapping of name to new column."""
        columns = changes.get("columns")
        if isinstance(columns, Mapping):
            for name in columns:
                _ = self[name]
            changes["columns"] = tuple(columns.get(c.name, c) for c in self.columns)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML."""
        out: dict[str, Any] = {"modality": self.modality, "columns": [c.to_dict() for c in self.columns]}
        for name in ("shape", "primary_key", "unit", "private", "root", "shared"):
            if getattr(self, name):
                out[name] = getattr(self, name)
        if self.tables:
            out["tables"] = {name: table.to_dict() for name, table in self.tables.items()}
            out["order"] = list(self.tables)  # JSON is written with sorted keys
        if self.foreign_keys:
            out["foreign_keys"] = [dataclasses.asdict(k) for k in self.foreign_keys]
        return out

    def to_yaml(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """The schema as YAML that a person can edit; also written to ``path`` if it is given.

        Columns are a mapping of names to fields, and patterns are written out. :meth:`from_yaml` takes it back.
        """
        from zoo.schema_yaml import write_yaml

        text = write_yaml(self.to_dict())
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_yaml(cls, source: "str | os.PathLike[str]") -> Self:
        """Inverse of :meth:`to_yaml`; ``source`` is the path of a file, or YAML of several lines.

        Raises
        ------
        SchemaError
            For what is no YAML, unknown fields and impossible values; names the column and what is nearest.
        """
        from zoo.schema_yaml import read_yaml

        plain = read_yaml(source)
        wrong = next((name for name, fields in plain["columns"].items() if "kind" not in fields), None)
        if wrong is not None:
            raise SchemaError(
                f"schema: column {wrong!r} has no kind; name it, or infer the rest from data with "
                "zoo.infer_schema(table, 'schema.yaml')"
            )
        columns = [{**fields, "name": name} for name, fields in plain["columns"].items()]
        return cls.from_dict({"modality": "tabular", **plain, "columns": columns})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        SchemaError
            For anything that :meth:`to_dict` could not have written.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(data, Mapping) or "modality" not in data:
            raise SchemaError("schema: expected a mapping with 'modality' and 'columns'")
        data = dict(data)
        tables, order = data.get("tables", {}), data.pop("order", None)
        if not isinstance(tables, Mapping) or (order is not None and sorted(order) != sorted(tables)):
            raise SchemaError("schema: 'tables' must be a mapping of name to schema, and 'order' list its names")
        for key in data:
            if key not in known:
                raise SchemaError(f"schema: unknown field {key!r}; {nearest(key, known)}")
        columns = data.get("columns", ())
        if not isinstance(columns, (list, tuple)):
            raise SchemaError("schema: 'columns' must be a list")
        values = {**data, "columns": tuple(Column.from_dict(c) for c in columns)}
        values["tables"] = {name: cls.from_dict(tables[name]) for name in order or tables}
        try:
            values["foreign_keys"] = tuple(ForeignKey(**k) for k in data.get("foreign_keys", ()))
            return cls(**values)
        except TypeError as error:
            raise SchemaError(f"schema: malformed field ({error})") from error
