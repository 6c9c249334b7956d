"""Related tables: a tree of tables grown from one of them, children given their parents and the siblings before.

References: N. Patki, R. Wedge, K. Veeramachaneni, "The Synthetic Data Vault", DSAA 2016, for tables in the order of
their keys; J. Reiter, "Using CART to generate partially synthetic public use microdata", Journal of Official
Statistics 21, 2005, for columns in sequence, each drawn from the leaves of a tree. How a database is made:

- *Order*. Growing starts at the table from which the fewest others have to be guessed, and goes along the keys: down to
  children (how many, given the parent; then each, given the ancestors, its place and the siblings before), and up to
  second parents. Of the Berka bank that is the account: its dispositions are children, and the client of each, who has
  no other, follows from the disposition. Where a second parent has several children, those that ask for similar parents
  share one, in groups as large as in training.
- *Order in time, running sums, copies* are built in; see :mod:`zoo.data.sibling_columns`.
- *Tables of facts* that all share (districts) are kept as they are, and their keys are categories.
- *Measured* on the Berka bank (51,565 rows), by trees that tell rows joined to their parents from real ones, families
  kept in one fold: AUC 0.53 at most over its seven tables, transactions 0.49; with folds that part families 0.77,
  where two halves of the real data have 0.80. Against accounts held out of training: 0.52 to 0.55, loans 0.61 (of
  140, whose amount is their payments times their duration, which is not learned). Transactions beside the one before
  them: 0.61 (two halves: 0.51), which was 0.675 before rows of one day were ordered by their running sum. Leaves of
  15, 30 and 60 rows give 0.584, 0.610 and 0.630. Remembering when each class was last seen, and with which amount,
  made it worse (0.70): what is drawn strays from what was seen in training, the more the longer the memory.
- *Counting*. ``sample(n)`` makes n rows of the root table, and what belongs to them; blocks are of root entities.

Best at: keys and numbers of children, dates and balances that go on from row to row. Worst at: what ties siblings
over more than two rows (a standing order of the same amount every month), rows of one child table to those of
another, and sums and products within a row. Shared tables are stored as they are: keep personal ones out of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.database import Database
from zoo.data.relations import Link, Relations, Step
from zoo.data.sibling_columns import Known, SiblingColumns
from zoo.data.sibling_model import SiblingModel
from zoo.data.table_codec import TableCodec
from zoo.generator import Generator
from zoo.say import say
from zoo.schema import Column, Schema
from zoo.statistics.code_tree import CodeTree

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig


_NEAR = 64  # rows that share a parent are near each other, so that few are parted where a sample is cut


@dataclass
class _Rows:
    """Rows of one table: encoded columns, the rows that its keys refer to, and what its children know.

    ``values`` holds the ancestors' columns too, by ``table.column``; ``codes (n, A)`` are theirs, in the order of the
    table's known columns; ``home (n,)`` is the row of the first table from which each row was grown.
    """

    n: int
    values: dict[str, np.ndarray]
    codes: np.ndarray
    home: np.ndarray
    keys: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return {k: v[rows] for k, v in self.values.items()}, self.codes[rows]


@dataclass(kw_only=True, eq=False)
class Relational(Generator):
    """A database of several tables: ``dict[str, DataFrame]``, in which n counts rows of the root table.

    Parameters
    ----------
    leaf
        Rows of a leaf of the trees at least: fewer are more faithful and closer to the training rows.
    bins
        Bins of a number at most.
    """

    leaf: Annotated[int, Range(1, 10_000)] = 30
    bins: Annotated[int, Range(2, 1000)] = 256

    native: ClassVar[str] = "related"
    default_block_size: ClassVar[int] = 2048  # all first siblings of a block are drawn at once, so larger is faster
    fit_cost: ClassVar[tuple[float, float] | None] = (1, 20)

    # What is learned of which table, in which order

    def _arrange(self, anchor: str) -> None:
        """The steps of growing, and what each table knows; from the schema, the shared tables and the start alone."""
        self._relations = relations = Relations.of(self.schema)
        self._anchor = anchor
        steps = list(relations.walk(anchor))
        path: list[Step] = []
        table = relations.root
        while table != anchor:
            path.insert(0, next(s for s in steps if s.table == table))
            table = path[0].source
        self._path = path
        self._steps = [*path, *(s for s in steps if s not in path)]
        self._codecs = {t: TableCodec(self.schema.tables[t]) for t in relations.tables}
        known: dict[str, list[Known]] = {anchor: []}
        self._sees: dict[str, list[Known]] = {}  # what the columns of a table are drawn from
        self._counts_see: dict[str, int] = {}  # how many columns the number of children is drawn from
        self._models: dict[str, SiblingModel] = {}
        for step in (None, *self._steps):
            table = anchor if step is None else step.table
            if step is not None:
                self._counts_see[table] = len(known[step.source])
                if step.down:
                    known[step.source] = [*known[step.source], Known(f"#{table}", 0)]
            self._sees[table] = seen = [] if step is None else list(known[step.source])
            learned, domains = self._learned(table)
            self._models[table] = SiblingModel(SiblingColumns(learned, domains, seen, self.bins), self.leaf)
            own = [
                Known(f"{table}.{c.name}", len(c.categories), c.kind in ("datetime", "date") and not c.nullable,
                      domains.get(c.name, "")) for c in learned
            ]  # fmt: skip
            known[table] = [*seen, *own]

    def _learned(self, table: str) -> tuple[Schema, dict[str, str]]:
        """The columns of a table that are learned, keys of shared tables as categories; what its codes mean."""
        schema, shared = self.schema.tables[table], self._relations.shared
        parents = {k.column: k.parent for k in schema.foreign_keys}
        columns, domains = [], {}
        for column in schema:
            parent = parents.get(column.name)
            if parent in shared:
                size = self._sizes[str(parent)]
                codes = tuple(range(size))
                column = Column(
                    name=column.name, kind="category", dtype="int64", nullable=column.nullable, categories=codes
                )
                domains[column.name] = f"key of {parent}"
            elif parent is not None or column.kind in ("identifier", "text", "constant"):
                continue
            elif column.is_discrete:
                domains[column.name] = repr((column.kind, column.categories))
            columns.append(column)
        return Schema(modality="tabular", columns=tuple(columns)), domains

    # Learning

    def _fit(self, data: Database, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any] | None:
        relations = data.relations
        self._facts = {name: data[name] for name in relations.shared}
        self._sizes = {name: len(table) for name, table in self._facts.items()}
        self._arrange(_best_anchor(data))
        self._counts: dict[str, CodeTree] = {}
        self._groups: dict[str, np.ndarray] = {}
        rows: dict[str, _Rows] = {}
        for step in (None, *self._steps):
            table = self._anchor if step is None else step.table
            say(f"{self.name}: learning {table!r} ({len(data[table]):,} rows)")
            rows[table] = self._learn(table, step, data, rows, rng)
        self._ratio = len(data.root) / len(data[self._anchor])
        self._others = {}
        for link in self._other_links():
            parent = data.parents(link)
            same = rows[link.child].home == rows[link.parent].home[parent]
            self._others[str(link)] = [float((parent < 0).mean()), float(same[parent >= 0].mean())]
        return {"orphans": data.orphans} if data.orphans else None

    def _encode(self, table: str, data: Database) -> dict[str, np.ndarray]:
        values = self._codecs[table].encode(data[table])
        for link in self._relations.up(table):
            if link.parent in self._relations.shared:
                values[link.column] = data.parents(link)
        return values

    def _learn(
        self, table: str, step: Step | None, data: Database, rows: dict[str, _Rows], rng: np.random.Generator
    ) -> _Rows:
        """Learn one table; returns its rows as its children will know them."""
        model, values = self._models[table], self._encode(table, data)
        n, names = len(data[table]), model.columns.names
        if step is None:
            source, owner = _Rows(n, {}, np.zeros((n, 0), np.int32), np.arange(n)), np.arange(n)
            place, order, of = np.zeros(n, np.int64), np.arange(n), np.arange(n)
        else:
            source, link = rows[step.source], data.parents(step.link)
            if step.down:
                counts = np.bincount(link, minlength=source.n)
                self._counts[table] = CodeTree.grow(source.codes, counts, (step.link.most or 1) + 1, self.leaf, rng)
                source.codes = np.concatenate([source.codes, counts[:, None].astype(np.int32)], axis=1)
                source.values[f"#{table}"] = counts
                time = values[model.columns.time] if model.columns.time else np.zeros(n)
                order = np.lexsort((np.arange(n), time, link))
                of, owner = order, link[order]
                place = np.arange(n) - np.searchsorted(owner, owner)
            else:
                self._counts[table] = CodeTree.grow(source.codes, (link >= 0).astype(np.int64), 2, self.leaf, rng)
                owner = np.flatnonzero(link >= 0)
                of, place = link[owner], np.zeros(len(owner), np.int64)
                sizes = np.bincount(link[owner], minlength=n)
                self._groups[table] = np.bincount(sizes).astype(np.float64) / n
        known, codes = source.take(owner)
        count = (
            np.bincount(owner, minlength=source.n)[owner] if step is not None and step.down else np.ones(len(of), int)
        )
        model.fit({k: v[of] for k, v in values.items()}, known, codes, place, count.astype(np.int64), rng)
        first = np.zeros(n, dtype=np.int64)  # of each row, where it stands among those learned from
        first[of[::-1]] = np.arange(len(of))[::-1]
        own = [model.columns.binned.codes(c.name, values[c.name])[:, None] for c in model.columns.schema]
        seen = {k: v[first] for k, v in known.items()} | {f"{table}.{k}": values[k] for k in names}
        return _Rows(n, seen, np.concatenate([codes[first], *own], axis=1).astype(np.int32), source.home[owner][first])

    def _other_links(self) -> list[Link]:
        """Keys along which nothing is grown."""
        grown = {s.link for s in self._steps}
        return [k for k in self._relations.links if k not in grown and k.parent not in self._relations.shared]

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> Database:
        rows = self._start(n, rng)
        for step in self._steps[len(self._path) :]:
            self._grow(step, rows, rng)
        for link in self._other_links():
            rows[link.child].keys[link.column] = self._refer(link, rows, rng)
        tables = dict(self._facts)
        for table, made in rows.items():
            own = {c.name: made.values[f"{table}.{c.name}"] for c in self._models[table].columns.schema}
            decoded = self._codecs[table].decode(own, made.n)
            keys = {k.column: own[k.column] for k in self._relations.up(table) if k.parent in self._facts} | made.keys
            tables[table] = decoded.assign(**{k: v.astype(np.int64) for k, v in keys.items()})
        return Database({t: tables[t] for t in self._relations.tables}, self._relations)

    def _start(self, n: int, rng: np.random.Generator) -> dict[str, _Rows]:
        """The first table, and those between it and the root, with exactly n rows of the root."""
        size = n if not self._path else int(np.ceil(n / self._ratio * 1.05)) + 4
        while True:
            size = min(size, 2 * n)
            ancestors = _Rows(size, {}, np.zeros((size, 0), np.int32), np.arange(size))
            rows = {self._anchor: self._draw(self._anchor, ancestors, np.arange(size), np.ones(size, np.int64), rng)[0]}
            for step in self._path:
                self._grow(step, rows, rng, sure=n)
            if rows[self._relations.root].n >= n:
                break
            size *= 2
        last = n - 1
        for step in reversed(self._path):  # cut behind the n-th row of the root, and whatever grew from later rows
            table, source = rows[step.table], rows[step.source]
            rows[step.table] = _cut(table, last + 1)
            last = int(table.keys[step.link.column][last]) if step.down else last
            if not step.down:
                source.keys[step.link.column] = source.keys[step.link.column][: last + 1]
        rows[self._anchor] = _cut(rows[self._anchor], last + 1)
        return rows

    def _grow(self, step: Step, rows: dict[str, _Rows], rng: np.random.Generator, sure: int | None = None) -> None:
        """Draw the rows of a table; parents from number ``sure`` on have a child for sure."""
        source = rows[step.source]
        if step.down:
            least = None if sure is None else (np.arange(source.n) >= sure).astype(np.int64)
            counts = np.abs(self._counts[step.table].draw(source.codes, rng, least))  # -1: none in the leaf, so 1
            source.codes = np.concatenate([source.codes, counts[:, None].astype(np.int32)], axis=1)
            source.values[f"#{step.table}"] = counts
            made, parent = self._draw(step.table, source, np.arange(source.n), counts, rng)
            made.keys[step.link.column] = parent
            rows[step.table] = made
            return
        asks = np.flatnonzero(self._counts[step.table].draw(source.codes, rng) == 1)
        wanted, _ = self._draw(step.table, source, asks, np.ones(len(asks), np.int64), rng)
        group, first = _group(wanted.codes[:, source.codes.shape[1] :], self._groups[step.table], rng)
        spare = self._groups[step.table][0]
        more = int(rng.binomial(len(first), spare)) if spare and len(first) else 0  # those that no one refers to
        chosen = np.append(first, rng.choice(first, more)) if more else first
        values, codes = wanted.take(chosen)
        key = np.full(source.n, -1)
        key[asks] = group
        source.keys[step.link.column] = key
        rows[step.table] = _Rows(len(chosen), values, codes, wanted.home[chosen])

    def _draw(
        self, table: str, source: _Rows, at: np.ndarray, counts: np.ndarray, rng: np.random.Generator
    ) -> tuple[_Rows, np.ndarray]:
        """Rows for the rows ``at`` of a source, so many each; with the row of the source that each is from."""
        ancestors, known = source.take(at)
        columns = self._models[table].columns
        values, parent, _ = self._models[table].draw(ancestors, known, counts, rng)
        n = len(parent)
        own = [columns.binned.codes(c.name, values[c.name])[:, None] for c in columns.schema]
        seen = {k: v[parent] for k, v in ancestors.items()} | {f"{table}.{k}": v for k, v in values.items()}
        codes = np.concatenate([known[parent], *own], axis=1).astype(np.int32)
        return _Rows(n, seen, codes, source.home[at][parent]), at[parent]

    def _refer(self, link: Link, rows: dict[str, _Rows], rng: np.random.Generator) -> np.ndarray:
        """Rows of the parent for a key along which nothing grew: of the same family as often as in training."""
        child, parent = rows[link.child], rows[link.parent]
        missing, same = self._others[str(link)]
        if not parent.n:
            return np.full(child.n, -1)
        order = np.argsort(parent.home, kind="stable")
        sizes = np.bincount(parent.home, minlength=int(child.home.max(initial=0)) + 1)
        starts = np.cumsum(sizes) - sizes
        room = sizes[child.home]
        near = (room > 0) & (rng.random(child.n) < same)
        inside = starts[child.home] + (rng.random(child.n) * np.maximum(room, 1)).astype(np.int64)
        anywhere = rng.integers(parent.n, size=child.n)
        chosen = np.where(near, order[np.minimum(inside, parent.n - 1)], anywhere)
        return np.where(rng.random(child.n) < missing, -1, chosen)

    # State

    def _state(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name, table in self._facts.items():
            codec = self._codecs[name]
            plain = [c for c in table if c not in (*codec.discrete, *codec.numeric, *codec.constant)]
            facts[name] = {c: [None if pd.isna(v) else v for v in table[c].astype(object)] for c in plain}
        return {
            "anchor": self._anchor,
            "ratio": self._ratio,
            "facts": facts,
            "sizes": self._sizes,
            "others": self._others,
            "columns": {t: m.columns.state() for t, m in self._models.items()},
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        relations = Relations.of(self.schema)
        self._sizes = {name: int(state["sizes"][name]) for name in relations.shared}
        if state["anchor"] not in relations.tables or state["anchor"] in relations.shared:
            raise ValueError("the table to start from is none")
        self._arrange(state["anchor"])
        self._ratio, self._stored = float(state["ratio"]), state["facts"]
        if not 0 < self._ratio < 1e9:
            raise ValueError("the number of root entities for each row of the first table cannot be")
        self._others = {}
        for link in self._other_links():
            shares = [float(v) for v in state["others"][str(link)]]
            if len(shares) != 2 or not all(0 <= v <= 1 for v in shares):
                raise ValueError(f"the shares of {link} are none")
            self._others[str(link)] = shares
        for table, model in self._models.items():
            model.columns.set_state(state["columns"][table])

    def _arrays(self) -> dict[str, np.ndarray]:
        out: dict[str, np.ndarray] = {}
        for i, name in enumerate(self._relations.tables):
            if name in self._facts:
                encoded = self._codecs[name].encode(self._facts[name])
                out |= {f"{i}.fact.{j}": v for j, v in enumerate(encoded.values())}
                continue
            out |= {f"{i}.{k}": v for k, v in self._models[name].arrays().items()}
            if name in self._counts:
                out |= {f"{i}.count.{k}": v for k, v in self._counts[name].arrays().items()}
            if name in self._groups:
                out[f"{i}.groups"] = self._groups[name]
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._facts, self._counts, self._groups = {}, {}, {}
        steps = {s.table: s for s in self._steps}
        for i, name in enumerate(self._relations.tables):
            mine = {k.split(".", 1)[1]: v for k, v in arrays.items() if k.split(".", 1)[0] == str(i)}
            if name in self._relations.shared:
                self._facts[name] = self._fact(name, mine)
                continue
            self._models[name].set_arrays(mine)
            if name in steps:
                size = (steps[name].link.most or 1) + 1 if steps[name].down else 2
                tree = {k: mine[f"count.{k}"] for k in ("nodes", "upto", "codes")}
                self._counts[name] = CodeTree.of(tree, size, self._counts_see[name])
                if not steps[name].down:
                    groups = mine["groups"]
                    if groups.ndim != 1 or not (groups >= 0).all() or abs(groups.sum() - 1) > 1e-6 or len(groups) < 2:
                        raise ValueError(f"the groups of {name!r} are none")
                    self._groups[name] = groups

    def _fact(self, name: str, mine: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """A shared table as it was stored."""
        codec, schema = self._codecs[name], self.schema.tables[name]
        names, n = [*codec.discrete, *codec.numeric], self._sizes[name]
        table = codec.decode({c: mine[f"fact.{j}"] for j, c in enumerate(names)}, n)
        for column in schema:
            if column.name not in table:
                table[column.name] = pd.Series(self._stored[name][column.name], dtype=column.dtype)
        table = table[schema.names]
        from zoo.data.table_check import check_table

        check_table(table, schema)
        return table


def _cut(rows: _Rows, n: int) -> _Rows:
    """The first n rows."""
    keys = {k: v[:n] for k, v in rows.keys.items()}
    return _Rows(n, {k: v[:n] for k, v in rows.values.items()}, rows.codes[:n], rows.home[:n], keys)


def _group(codes: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put rows that ask for similar parents together.

    Parameters
    ----------
    codes
        ``int (n, C)`` the parent that each row asks for.
    shares
        ``(s,)`` of parents, by their number of rows from 0.

    Returns
    -------
    group, first
        ``(n,)`` number of the group of each row, in the order of their first rows, and ``(g,)`` those rows.
    """
    n = len(codes)
    if not n or len(shares) == 2:  # one row each
        return np.arange(n), np.arange(n)
    chances = np.append(0.0, shares[1:]) / shares[1:].sum()
    sizes = rng.choice(len(shares), size=n, p=chances)
    ends = np.cumsum(sizes)
    label = np.searchsorted(ends, np.arange(n), side="right")
    order = np.lexsort((rng.random(n), *codes.T[::-1], np.arange(n) // _NEAR))
    group = np.empty(n, dtype=np.int64)
    group[order] = label
    _, first, renamed = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[renamed.reshape(-1)], np.sort(first)


def _best_anchor(data: Database) -> str:
    """The table from which to grow: fewest second parents that have other than one child each; the root if it can."""
    relations = data.relations
    starts = [t for t in relations.tables if t not in relations.shared]
    starts = [t for t in starts if all(k.parent in relations.shared for k in relations.up(t))]

    def guessed(start: str) -> tuple[int, bool]:
        many = 0
        for step in relations.walk(start):
            if not step.down:
                parent = data.parents(step.link)
                many += bool((parent < 0).any() or (np.bincount(parent, minlength=len(data[step.table])) != 1).any())
        return many, start != relations.root

    return min(starts, key=guessed)
