"""Inferring how tables hang together: primary keys, foreign keys, shared tables and the root.

- A primary key is a column without repeats or gaps whose name says so: ``id``, or the table's name with ``id``
  (``client_id`` of ``client`` or ``clients``, ``trans_id`` of ``trans_1993``), else a first column that ends in ``id``,
  ``key``, ``code``, ``no`` or ``number``.
- A foreign key bears the name of another table's key (``account_id``, ``billing_account_id``), or that table's name
  with ``id``, and at least 95 % of its values are keys there. The rest are orphans, which are reported.
- A table is shared, a list of facts that is kept as it is, when it refers to nothing, has at most 1,000 rows, at least
  10 rows of every table that refers to it for each of its own, and is either one of several starting points or ties
  together tables that hang together anyway (the districts of clients and of their accounts).
- The root is the table that refers to no other but shared ones, has the longest chain of tables below it, and then the
  most rows.

All of it can be said instead of inferred, see :func:`infer_database`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.relations import Link, Relations, components
from zoo.data.table_patterns import identifier_pattern, integer_pattern
from zoo.data.table_schema import check_type, infer_column
from zoo.data.table_values import arrow_strings
from zoo.errors import SchemaError, nearest
from zoo.schema import Column, ForeignKey, Schema

MAX_SHARED_ROWS = 1_000
SHARED_BY = 10  # rows of each table that refers to it, for a row of a shared table
_RESOLVED = 0.95
_KEY_NAME = re.compile(r"(^|.*[_\W]|.*[a-z](?=I))(id|key|code|no|nr|number|uuid|guid)$", re.IGNORECASE)


def infer_database(
    tables: Mapping[str, pd.DataFrame],
    *,
    primary_keys: Mapping[str, str | None] | None = None,
    foreign_keys: Mapping[str, str] | None = None,
    root: str | None = None,
    shared: Iterable[str] | None = None,
) -> Schema:
    """The schema of related tables.

    Parameters
    ----------
    tables
        By name; each with at least one row.
    primary_keys
        Table to key column (or None for a table without); inferred for tables that are not named.
    foreign_keys
        ``"table.column"`` to the table it refers to; all of them, when given.
    root
        The table whose rows are what ``sample(n)`` counts.
    shared
        The tables that are kept as they are; all of them, when given.

    Raises
    ------
    SchemaError
        For keys that are no columns or of several columns, tables that refer to themselves or in a circle, or that are
        not linked to the others.
    """
    keys = _primary_keys(tables, primary_keys or {})
    links = _given_links(tables, keys, foreign_keys) if foreign_keys is not None else _links(tables, keys)
    if foreign_keys is None:  # a key that is another table's (a detail of each client) is no key of its own
        taken = {link.parent for link in links}
        own = {(link.child, link.column) for link in links}
        keys = {t: None if (t, k) in own and t not in taken else k for t, k in keys.items()}
    names = tuple(keys.items())
    Relations(names, tuple(links), next(iter(tables))).check_circles()
    facts = tuple(shared) if shared is not None else _shared(tables, links, keys, root)
    for name in (*facts, *([root] if root is not None else [])):
        if name not in tables:
            raise SchemaError(f"there is no table {name!r}; {nearest(name, tables)}")
    root = root if root is not None else _root(tables, links, facts)
    related = Relations(names, tuple(links), root, facts)
    related.check()
    links = [Link(k.child, k.column, k.parent, None if k.parent in facts else k.most) for k in links]
    described = {
        name: _describe(data, keys[name], [k for k in links if k.child == name], keys, name in facts)
        for name, data in tables.items()
    }
    return Schema(modality="tabular", tables=described, root=root)


# Primary keys


def _stems(table: str) -> set[str]:
    """Names under which a table's key may go: clients -> client; trans_1993 -> trans."""
    low = table.lower()
    stems = {low, re.sub(r"[_\-]?\d+$", "", low)}
    stems |= {re.sub(r"ies$", "y", s) for s in stems} | {re.sub(r"(?<=[^s])e?s$", "", s) for s in stems}
    stems |= {s[:-1] for s in stems if s.endswith("s")}
    return {s for s in stems if s}


def _primary_keys(tables: Mapping[str, pd.DataFrame], given: Mapping[str, Any]) -> dict[str, str | None]:
    keys: dict[str, str | None] = {}
    for name, data in tables.items():
        if name not in given:
            keys[name] = _find_key(name, data)
            continue
        key = given[name]
        if key is not None and not isinstance(key, str):
            raise SchemaError(
                f"table {name!r}: a key of several columns {key!r} is not supported; join them into one column, "
                "df['key'] = df[a].astype(str) + '-' + df[b].astype(str)"
            )
        if key is not None and key not in data:
            raise SchemaError(f"table {name!r} has no key column {key!r}; {nearest(key, map(str, data.columns))}")
        if key is not None and (data[key].isna().any() or not data[key].is_unique):
            raise SchemaError(f"table {name!r}: {key!r} is no key, values repeat or are missing; give another column")
        keys[name] = key
    for name in given:
        if name not in tables:
            raise SchemaError(f"there is no table {name!r}; {nearest(name, tables)}")
    return keys


def _find_key(table: str, data: pd.DataFrame) -> str | None:
    best: tuple[int, str] | None = None
    for place, name in enumerate(map(str, data.columns)):
        low = name.lower()
        own = any(low in (f"{s}_id", f"{s}id", f"id_{s}", f"{s}_key", f"{s}_no", f"{s}_code", s) for s in _stems(table))
        begins = _KEY_NAME.match(name) is not None and any(s[:3] == low[:3] for s in _stems(table))
        score = 4 if own else 3 if low in ("id", "key", "uuid") else 2 if begins else 1
        if score == 1 and (place or not _KEY_NAME.match(name)):
            continue
        if (best is None or score > best[0]) and _can_be_key(data[name]):
            best = (score, name)
    return None if best is None else best[1]


def _can_be_key(values: pd.Series) -> bool:
    return check_type(values) in ("integer", "string") and not values.isna().any() and bool(values.is_unique)


# Foreign keys


def _given_links(
    tables: Mapping[str, pd.DataFrame], keys: Mapping[str, str | None], given: Mapping[str, str]
) -> list[Link]:
    links = []
    for place, parent in given.items():
        table, _, column = place.partition(".")
        if table not in tables or column not in tables[table]:
            raise SchemaError(f"foreign key {place!r} is no table.column of the database")
        if parent not in tables or keys[parent] is None:
            raise SchemaError(f"{place} refers to {parent!r}, which is no table with a key; give primary_keys")
        links.append(Link(table, column, parent, _most(tables[table][column])))
    return links


def _most(values: pd.Series) -> int:
    counts = values.value_counts()
    return int(counts.iloc[0]) if len(counts) else 1


def _links(tables: Mapping[str, pd.DataFrame], keys: Mapping[str, str | None]) -> list[Link]:
    links = []
    for child, data in tables.items():
        for column in map(str, data.columns):
            ranked = sorted((-_likeness(column, p, keys[p]), p) for p in tables if p != child and keys[p] is not None)
            for score, parent in ranked:
                if score < 0 and _resolves(data[column], tables[parent][keys[parent]]):
                    if column == keys[child] and not _is_detail(child, parent, tables):
                        continue
                    links.append(Link(child, column, parent, _most(data[column])))
                    break
    return links


def _likeness(column: str, parent: str, key: str | None) -> int:
    """How much a column's name speaks for a reference to a table."""
    low, own = column.lower(), str(key).lower()
    generic = own in ("id", "key", "code", "no", "number", "uuid")
    if low == own and not generic:
        return 3
    names = {f"{s}_{e}" for s in _stems(parent) for e in ("id", "key", "no", "code", own)}
    names |= {f"{s}id" for s in _stems(parent)} | {f"id_{s}" for s in _stems(parent)} | set(_stems(parent))
    if low in names:
        return 2
    ends = {f"_{n}" for n in names} | (set() if generic else {f"_{own}"})
    return 1 if low.endswith(tuple(ends)) else 0


def _is_detail(child: str, parent: str, tables: Mapping[str, pd.DataFrame]) -> bool:
    """Whether a table whose key is another's key too is the one that depends."""
    return (len(tables[child]), -len(child), child) < (len(tables[parent]), -len(parent), parent)


def _resolves(values: pd.Series, keys: pd.Series) -> bool:
    known = values.dropna().unique()
    if not len(known) or (check_type(keys) == "string") != (check_type(values) == "string"):
        return False
    return float((pd.Index(keys).get_indexer(pd.Index(known)) >= 0).mean()) >= _RESOLVED


# Shared tables and the root


def _shared(
    tables: Mapping[str, pd.DataFrame], links: list[Link], keys: Mapping[str, str | None], root: str | None
) -> tuple[str, ...]:
    starts = [t for t in tables if not any(k.child == t for k in links)]
    kept = root if root is not None else (_root(tables, links, ()) if len(starts) > 1 else None)
    facts = []
    for table in starts:
        children = [k.child for k in links if k.parent == table]
        small = len(tables[table]) <= MAX_SHARED_ROWS
        many = all(len(tables[c]) >= SHARED_BY * len(tables[table]) for c in children)
        if not children or table == kept or not small or not many:
            continue
        apart = components(tables, links, table)
        if len(starts) > 1 or len({apart[c] for c in children}) < len(set(children)):
            facts.append(table)
    return tuple(facts)


def _root(tables: Mapping[str, pd.DataFrame], links: list[Link], shared: tuple[str, ...]) -> str:
    def depth(table: str) -> int:
        return max((1 + depth(k.child) for k in links if k.parent == table), default=0)

    starts = [t for t in tables if t not in shared and all(k.parent in shared for k in links if k.child == t)]
    return max(starts, key=lambda t: (depth(t), len(tables[t]), t))


# Columns


def _describe(
    data: pd.DataFrame, key: str | None, links: list[Link], keys: Mapping[str, str | None], shared: bool
) -> Schema:
    foreign = {link.column for link in links}
    columns = []
    for name in map(str, data.columns):
        if name in foreign:
            columns.append(_key_column(data[name], None))
        elif name == key:
            columns.append(_key_column(data[name], _pattern(data[name])))
        else:
            columns.append(infer_column(data[name]))
    return Schema(
        modality="tabular",
        columns=tuple(columns),
        primary_key=key,
        foreign_keys=tuple(
            ForeignKey(column=k.column, parent=k.parent, parent_column=str(keys[k.parent]), most=k.most) for k in links
        ),
        shared=shared,
    )


def _key_column(values: pd.Series, pattern: str | None) -> Column:
    return Column(
        name=str(values.name),
        kind="identifier",
        dtype=str(values.dtype),
        nullable=bool(values.isna().any()),
        pattern=pattern,
    )


def _pattern(values: pd.Series) -> str | None:
    if check_type(values) == "string":
        return identifier_pattern(arrow_strings(values)) if len(values) > 1 else None
    return integer_pattern(values.to_numpy(dtype=np.int64))
