"""How tables hang together: keys, the order in which parents come before children, and the walk from the root.

Rows belong to *root entities* (clients): going from the root along the links, downwards to the rows that refer to a
row, upwards to the rows that it refers to, each other table is reached once. Tables of facts that all entities share
(districts) are apart: they belong to nobody and go wherever one of the others goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from zoo.errors import SchemaError, nearest
from zoo.schema import Schema


@dataclass(frozen=True)
class Link:
    """Column ``column`` of ``child`` holds keys of ``parent``; at most ``most`` rows share one parent."""

    child: str
    column: str
    parent: str
    most: int | None = None

    def __str__(self) -> str:
        return f"{self.child}.{self.column}"


@dataclass(frozen=True)
class Step:
    """One step of a walk: ``table`` is reached from ``source`` by ``link``, downwards (to children) or upwards."""

    table: str
    source: str
    link: Link
    down: bool


@dataclass(frozen=True)
class Relations:
    """The structure of a database, without its columns.

    Parameters
    ----------
    keys
        Of each table, in their order, its primary key or None.
    links
        All foreign keys.
    root
        The table whose rows are counted.
    shared
        Tables of facts that all entities share.

    Raises
    ------
    SchemaError
        For tables that refer to themselves, to each other in a circle, or that are not linked to the root.
    """

    keys: tuple[tuple[str, str | None], ...]
    links: tuple[Link, ...]
    root: str
    shared: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: Schema) -> "Relations":
        """The relations that a schema of several tables describes, checked."""
        keys = tuple((name, table.primary_key) for name, table in schema.tables.items())
        links = []
        for name, table in schema.tables.items():
            for key in table.foreign_keys:
                parent = schema.tables.get(key.parent)
                if parent is None:
                    raise SchemaError(
                        f"{name}.{key.column} refers to {key.parent!r}, which is no table; "
                        f"{nearest(key.parent, schema.tables)}"
                    )
                if parent.primary_key != key.parent_column:
                    raise SchemaError(
                        f"{name}.{key.column} refers to {key.parent}.{key.parent_column}, but the primary key there "
                        f"is {parent.primary_key!r}; name that one"
                    )
                links.append(Link(name, key.column, key.parent, key.most))
        shared = tuple(name for name, table in schema.tables.items() if table.shared)
        found = cls(keys, tuple(links), str(schema.root), shared)
        found.check()
        return found

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.keys)

    def key(self, table: str) -> str | None:
        return dict(self.keys)[table]

    def up(self, table: str) -> tuple[Link, ...]:
        """The links of a table to others."""
        return tuple(link for link in self.links if link.child == table)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The tables, each behind those that it refers to."""
        done: list[str] = []
        left = list(self.tables)
        while left:
            ready = [t for t in left if all(link.parent in done for link in self.up(t))]
            if not ready:
                raise SchemaError(
                    f"the tables {', '.join(map(repr, left))} refer to each other in a circle; leave one of the keys "
                    f"{', '.join(str(k) for t in left for k in self.up(t) if k.parent in left)} out"
                )
            done += ready
            left = [t for t in left if t not in ready]
        return tuple(done)

    def check_circles(self) -> None:
        """Refuse tables that refer to themselves or to each other in a circle."""
        for link in self.links:
            if link.child == link.parent:
                raise SchemaError(
                    f"table {link.child!r} refers to itself by {link.column!r}, which cannot be learned; "
                    "leave this key out, or drop the column"
                )
        _ = self.order

    def check(self) -> None:
        """See the class for what is refused."""
        self.check_circles()
        for table in self.shared:
            if self.up(table) or table == self.root or self.key(table) is None:
                raise SchemaError(
                    f"table {table!r} cannot be shared: it must have a key, refer to nothing and not be the root"
                )
        reached = {self.root, *self.shared, *(step.table for step in self.walk(self.root))}
        for table in self.tables:
            if table not in reached:
                raise SchemaError(
                    f"table {table!r} is not linked to the root {self.root!r}; give its key, or fit it apart"
                )

    def walk(self, start: str) -> tuple[Step, ...]:
        """How all other tables are reached from one, breadth first, downwards before upwards."""
        seen, queue, steps = {start, *self.shared}, [start], []
        while queue:
            source = queue.pop(0)
            downs = [Step(k.child, source, k, True) for k in self.links if k.parent == source]
            ups = [Step(k.parent, source, k, False) for k in self.links if k.child == source]
            for step in (*downs, *ups):
                if step.table not in seen:
                    seen.add(step.table)
                    queue.append(step.table)
                    steps.append(step)
        return tuple(steps)

    def capacity(self, table: str) -> int:
        """Rows of a table that one root entity has at most, twice that where rows may belong to nobody."""
        room = {self.root: 1}
        for step in self.walk(self.root):
            room[step.table] = room[step.source] * ((step.link.most or 1) if step.down else 2)
        return room[table]


def components(tables: Iterable[str], links: Iterable[Link], without: str) -> dict[str, int]:
    """Which tables stay connected when one is taken away: a number a table."""
    left = [t for t in tables if t != without]
    label = {t: i for i, t in enumerate(left)}
    for _ in left:
        for link in links:
            if link.parent in label and link.child in label:
                label[link.parent] = label[link.child] = min(label[link.parent], label[link.child])
    return label
