"""Related tables: the native form is a dict of ``DataFrame``, in which n counts the rows of the root table.

Coming and going it is a :class:`Database`, a dict that knows how its tables hang together. Samples are root entities:
a slice has some rows of the root table and of every other table the rows that belong to them, so that all keys
resolve within it. What belongs to two slices (an account of two clients) is in both, and once again when they are
joined.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zoo.data.database_schema import infer_database
from zoo.data.form import NativeForm
from zoo.data.relations import Link, Relations
from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_fill import fill
from zoo.data.table_values import frame
from zoo.data.tabular import _cast, as_frame, check_shape, column_feature, column_to_arrow, concat_tables
from zoo.data.tabular import with_range_index as plain
from zoo.errors import DataError, SchemaError, nearest
from zoo.say import say
from zoo.schema import Schema

if TYPE_CHECKING:
    import datasets

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]


class Database(dict[str, pd.DataFrame]):
    """Tables by name, and their relations; the tables are not to be changed in place.

    Attributes
    ----------
    relations : Relations
        Keys, links and the root.
    orphans : dict of str to int
        Of each link, the rows left out because the row that they refer to was not there.
    """

    def __init__(
        self, tables: Mapping[str, pd.DataFrame], relations: Relations, orphans: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(tables)
        self.relations = relations
        self.orphans = dict(orphans or {})
        self._places: dict[Link, np.ndarray] = {}
        self._pairs: Pairs | None = None

    @property
    def root(self) -> pd.DataFrame:
        return self[self.relations.root]

    def parents(self, link: Link) -> np.ndarray:
        """Row of the parent that each row refers to, ``int64 (n,)``; -1 where there is none."""
        if link not in self._places:
            keys = pd.Index(self[link.parent][str(self.relations.key(link.parent))])
            self._places[link] = keys.get_indexer(pd.Index(self[link.child][link.column])).astype(np.int64)
        return self._places[link]

    def belongings(self) -> Pairs:
        """Of each table but the shared ones, which row belongs to which row of the root.

        Returns
        -------
        dict of str to two arrays
            ``int64 (m,)`` rows of the root, rising, and ``int64 (m,)`` rows of the table. A row that belongs to no one
            goes with the one before it.
        """
        if self._pairs is None:
            every = np.arange(len(self.root))
            pairs: Pairs = {self.relations.root: (every, every)}
            for step in self.relations.walk(self.relations.root):
                roots, rows = pairs[step.source]
                parent = self.parents(step.link)
                if step.down:
                    pairs[step.table] = _children(roots, rows, parent, len(self[step.source]))
                else:
                    pairs[step.table] = _adopt(*_unique(roots, parent[rows]), len(self[step.table]))
            for table in reversed(self.relations.order):
                for link in self.relations.up(table):
                    if link.parent not in self.relations.shared:
                        roots, rows = pairs[table]
                        more, known = self.parents(link)[rows], pairs[link.parent]
                        pairs[link.parent] = _unique(
                            np.concatenate([known[0], roots]), np.concatenate([known[1], more])
                        )
            self._pairs = pairs
        return self._pairs


def _unique(roots: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, sorted; rows of -1 are left out."""
    known = rows >= 0
    roots, rows = roots[known], rows[known]
    order = np.lexsort((rows, roots))
    roots, rows = roots[order], rows[order]
    first = np.ones(len(roots), dtype=bool)
    first[1:] = (roots[1:] != roots[:-1]) | (rows[1:] != rows[:-1])
    return roots[first], rows[first]


def _children(roots: np.ndarray, rows: np.ndarray, parent: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of the rows whose ``parent (c,)`` is one of the n rows in the given pairs."""
    order = np.argsort(parent, kind="stable")
    order = order[np.searchsorted(parent[order], 0) :]  # without those of no parent
    counts = np.bincount(parent[order], minlength=n)
    start = np.cumsum(counts) - counts
    size = counts[rows]
    place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    return _unique(np.repeat(roots, size), order[np.repeat(start[rows], size) + place])


def _adopt(roots: np.ndarray, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with those of the n rows that are in none: each goes where the row before it first belongs."""
    home = np.full(n, -1)
    home[rows[::-1]] = roots[::-1]
    lost = np.flatnonzero(home < 0)
    if not len(lost) or not len(roots):
        return roots, rows
    last = np.maximum.accumulate(np.where(home >= 0, np.arange(n), -1))
    known = np.flatnonzero(home >= 0)[0]
    return _unique(np.append(roots, home[np.where(last < 0, known, last)][lost]), np.append(rows, lost))


class DatabaseForm(NativeForm):
    """Operations on related tables."""

    modality = "tabular"

    def coerce(self, data: Any, schema: Schema | None = None) -> Database:
        """A :class:`Database` of a mapping of names to tables, or of one table alone.

        Rows that refer to rows which are not there, and children without a parent, are left out and reported, in the
        log and in ``Database.orphans``.

        Raises
        ------
        DataError
            For another type, no tables, a table without rows or columns.
        """
        if isinstance(data, Database) and schema is None:
            return data
        if not isinstance(data, Mapping):
            data = {"table": as_frame(data)}
        elif data and not any(hasattr(v, "columns") or hasattr(v, "column_names") for v in data.values()):
            raise DataError("related tables are a dict of names to tables; give {'clients': df, 'orders': df}")
        if not data:
            raise DataError("the database has no tables; give at least one")
        tables = {}
        for name, table in data.items():
            if not isinstance(name, str):
                raise DataError(f"table name {name!r} is no text; name the tables")
            made = as_frame(table)
            try:
                check_shape(made)
            except DataError as error:
                raise DataError(f"table {name!r}: {error}") from error
            if schema is not None and name in schema.tables and not isinstance(table, pd.DataFrame):
                made = _cast(made, schema.tables[name])
            tables[name] = plain(made)
        relations = Relations.of(infer_database(tables) if schema is None else _same_tables(tables, schema))
        return _without_orphans(tables, relations)

    def infer(self, data: Database) -> Schema:
        """See :mod:`zoo.data.database_schema`; what the database already knows of its keys and root stays."""
        known = data.relations
        return infer_database(
            data,
            primary_keys=dict(known.keys),
            foreign_keys={str(link): link.parent for link in known.links},
            root=known.root,
            shared=known.shared,
        )

    def check(self, data: Any, schema: Schema) -> None:
        if not isinstance(data, Mapping):
            raise SchemaError(f"related tables are a dict of tables, not a {type(data).__name__}")
        relations = Relations.of(schema)
        _same_tables(data, schema)
        for name, table in schema.tables.items():
            try:
                check_table(data[name], table)
            except SchemaError as error:
                raise SchemaError(f"table {name!r}: {error}") from error
        database = Database(data, relations)
        for link in relations.links:
            parent, values = database.parents(link), data[link.child][link.column]
            lost = (parent < 0) & values.notna().to_numpy()
            if lost.any():
                raise SchemaError(
                    f"{link} has {values[lost].iloc[0]!r}, which is no {relations.key(link.parent)!r} of "
                    f"{link.parent!r}; {int(lost.sum())} rows have no parent"
                )
            shares = np.bincount(parent[parent >= 0], minlength=1).max(initial=0)
            if link.most is not None and shares > link.most:
                raise SchemaError(f"{link}: {shares} rows share one parent, the schema allows {link.most}")

    def length(self, data: Database) -> int:
        return len(data.root)

    def slice(self, data: Database, start: int, stop: int) -> Database:
        if start <= 0 and stop >= len(data.root):
            return data
        return self._some(data, lambda roots: (roots >= start) & (roots < stop))

    def take(self, data: Database, index: np.ndarray) -> Database:
        """The given root entities, each once and in the table's order."""
        wanted = np.zeros(len(data.root), dtype=bool)
        wanted[np.asarray(index)] = True
        return self._some(data, lambda roots: wanted[roots])

    def _some(self, data: Database, keep: Any) -> Database:
        kept = {}
        for table, (roots, rows) in data.belongings().items():
            chosen = np.zeros(len(data[table]), dtype=bool)
            chosen[rows[keep(roots)]] = True
            kept[table] = plain(data[table].iloc[np.flatnonzero(chosen)])
        return Database({n: kept.get(n, data[n]) for n in data}, data.relations, data.orphans)

    def column(self, data: Database, name: str) -> pd.Series:
        """``table.column``; its values are one a row of that table."""
        table, _, column = name.partition(".")
        return data[table][column]

    def concat(self, parts: Sequence[Database]) -> Database:
        """Join parts; a row that is in several of them stands once, where it comes first."""
        if len(parts) == 1:
            return parts[0]
        relations = parts[0].relations
        joined: dict[str, pd.DataFrame] = {}
        fresh: dict[str, list[np.ndarray]] = {}  # which rows of each part are new
        below = {step.table: step for step in relations.walk(relations.root) if step.down}
        order = [*relations.shared, relations.root, *(step.table for step in relations.walk(relations.root))]
        for table in order:
            key, ends = relations.key(table), np.cumsum([len(p[table]) for p in parts])[:-1]
            whole = concat_tables([p[table] for p in parts])
            if key is not None:
                new = ~whole[key].duplicated().to_numpy()
            elif table in below:
                step = below[table]
                each = [f[p.parents(step.link)] for f, p in zip(fresh[step.source], parts)]
                new = np.concatenate(each)
            else:
                new = np.ones(len(whole), dtype=bool)
            fresh[table] = np.split(new, ends)
            joined[table] = whole if new.all() else plain(whole[new])
        return Database({n: joined[n] for n in parts[0]}, relations)

    def equal(self, a: Any, b: Any) -> bool:
        return list(a) == list(b) and all(equal_tables(a[n], b[n]) for n in a)

    # Hugging Face: one row a root entity

    def features(self, schema: Schema) -> "datasets.Features":
        """The root's columns as a struct, and a list of structs for each other table."""
        import datasets

        structs = {n: {c.name: column_feature(c) for c in t} for n, t in schema.tables.items()}
        return datasets.Features({n: s if n == schema.root else [s] for n, s in structs.items()})

    def to_arrow(self, data: Database, schema: Schema) -> pa.Table:
        """One row a root entity: its own columns, and lists of what belongs to it in the other tables."""
        pairs, n = data.belongings(), len(data.root)
        for link in data.relations.links:
            if link.parent in data.relations.shared:
                roots, rows = pairs[link.child]
                more = data.parents(link)[rows]
                known = pairs.get(link.parent, (roots[:0], rows[:0]))
                pairs = pairs | {
                    link.parent: _unique(np.concatenate([known[0], roots]), np.concatenate([known[1], more]))
                }
        columns = {}
        for name, table in schema.tables.items():
            roots, rows = pairs.get(name, (np.zeros(0, np.int64),) * 2)
            part = plain(data[name].take(rows))
            arrays = [column_to_arrow(part[c.name], c) for c in table]
            flat = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in arrays]
            struct = pa.StructArray.from_arrays(flat, names=table.names)
            if name == schema.root:
                columns[name] = struct
            else:
                offsets = np.concatenate([[0], np.cumsum(np.bincount(roots, minlength=n))]).astype(np.int32)
                columns[name] = pa.ListArray.from_arrays(pa.array(offsets), struct)
        return pa.table(columns).cast(self.features(schema).arrow_schema)

    # Files

    def read(self, path: str) -> Database:
        from zoo.data.database_io import read_database

        return self.coerce(read_database(path))

    def write(self, data: Database, path: str) -> None:
        from zoo.data.database_io import write_database

        write_database(data, path)

    def protect(self, data: Database, schema: Schema) -> tuple[Database, Schema]:
        """Each table as :func:`~zoo.data.table_protect.protect_table` does; children count by their parent."""
        from zoo.data.table_protect import protect_table

        tables, described = {}, {}
        for name, table in schema.tables.items():
            unit = table.unit or next(
                (k.column for k in table.foreign_keys if not schema.tables[k.parent].shared), None
            )
            asked = table.replace(private=table.private or schema.private, unit=unit)
            tables[name], made = protect_table(data[name], asked) if not table.shared else (data[name], asked)
            described[name] = made.replace(private=table.private, unit=table.unit)
        return Database(tables, data.relations, data.orphans), schema.replace(tables=described)

    def finish(self, block: Database, schema: Schema, first_row: int, seed: int = 0) -> Database:
        """Fill keys, other identifiers and free text, which the block's tables lack.

        In the block, the columns of foreign keys hold the number of the parent's row (-1 for none) instead. Row i of a
        table of a block gets the key of number ``first_row * capacity + i``, which no other block has.
        """
        relations = block.relations
        keys: dict[str, Any] = {}
        finished: dict[str, pd.DataFrame] = {}
        for name in relations.order:
            table, given = schema.tables[name], block[name]
            if name in relations.shared:
                finished[name], keys[name] = given, given[str(table.primary_key)]
                continue
            start, foreign = first_row * relations.capacity(name), {k.column: k for k in table.foreign_keys}
            if start + len(given) >= 2**63:
                raise SchemaError(f"table {name!r} has too many rows a root entity for its keys to be numbered")
            columns = {}
            for column in table:
                if column.name in foreign:
                    place = given[column.name].to_numpy()
                    columns[column.name] = _refer(keys[foreign[column.name].parent], place, column.dtype)
                elif column.name in given:
                    columns[column.name] = given[column.name].array
                elif column.name == table.primary_key or column.kind in ("identifier", "text"):
                    columns[column.name] = fill(column, start, len(given), seed)
                else:
                    raise SchemaError(f"the block lacks column {name}.{column.name}, which has to be sampled")
            finished[name] = frame(columns, len(given))
            if table.primary_key is not None:
                keys[name] = finished[name][table.primary_key]
        return Database({n: finished[n] for n in schema.tables}, relations)


def _refer(keys: Any, place: np.ndarray, dtype: str) -> Any:
    """The keys at the given rows; -1 is missing."""
    if (place >= 0).all():
        return keys.take(place).astype(dtype).array
    return keys.reindex(np.where(place < 0, len(keys), place)).astype(dtype).array


def _same_tables(tables: Mapping[str, Any], schema: Schema) -> Schema:
    if not schema.tables:
        raise SchemaError("the schema is that of one table; infer one of related tables with infer_database")
    for name in (*schema.tables, *tables):
        if name not in tables or name not in schema.tables:
            what = "is missing" if name not in tables else "is not in the schema"
            raise SchemaError(
                f"table {name!r} {what}; {nearest(name, tables if name not in tables else schema.tables)}"
            )
    return schema


def _without_orphans(tables: dict[str, pd.DataFrame], relations: Relations) -> Database:
    """Leave out rows without a parent that they need, parents first."""
    owners = {step.link for step in relations.walk(relations.root) if step.down}
    orphans: dict[str, int] = {}
    for name in relations.order:
        for link in relations.up(name):
            if link.column not in tables[name]:
                raise SchemaError(f"table {name!r} lacks the key column {link.column!r}")
            parent = Database(tables, relations).parents(link)
            lost = (parent < 0) & (tables[name][link.column].notna().to_numpy() | (link in owners))
            if lost.any():
                orphans[str(link)] = int(lost.sum())
                example = tables[name][link.column][lost].iloc[0]
                say(f"{link}: {lost.sum():,} of {len(lost):,} rows have no parent in {link.parent!r} "
                    f"(such as {example!r}); they are left out")  # fmt: skip
                tables[name] = plain(tables[name][~lost])
                if not len(tables[name]):
                    raise DataError(f"no row of {name!r} refers to a row of {link.parent!r}; check the key {link}")
    return Database(tables, relations, orphans)
