"""How blocks are made when a call asks for more than samples: classes in balance, constraints that hold, exactly n.

Block k depends on (seed, k) only. Without constraints it is one call of the family (one a class, if classes are
balanced). With constraints, rows that break one are drawn again from further random numbers of the same block, seeded
by (seed, k, class, attempt), see :mod:`zoo.rejection`. Rows that have to differ throughout a call
(:class:`~zoo.constraints.Unique`) also depend on the blocks before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.balance import Balance, parse_balance
from zoo.conditions import Condition, Conditions, parse, parse_one
from zoo.errors import ConditionError, ConstraintError, OptionError, UnsupportedCapability
from zoo.random import block_rng, check_seed, isolated_rng

if TYPE_CHECKING:
    from zoo.constraints import Constraint
    from zoo.data.form import NativeForm
    from zoo.generator import Generator
    from zoo.rejection import Rejection

CONTROLS = ("balance", "constraints", "allow_unseen")
"""Sampling options that every family takes."""

_AT_ONCE = 4096  # rows that may be drawn anew in one call, if blocks are smaller
_CALLS = 16  # classes that get a call each; more are drawn by one call with a condition a row


@dataclass(eq=False)
class BlockMaker:
    """Makes block k of one call, in native form.

    Parameters
    ----------
    generator
        A ready generator.
    n
        Number of samples of the call; None for an endless stream.
    conditions, seed, options
        As in ``Generator.sample``; ``options`` may hold :data:`CONTROLS`.
    ordered
        Whether blocks will be asked for one after the other, from the first.

    Raises
    ------
    ConditionError, ConstraintError, OptionError, NotReadyError
        For arguments that cannot be, at once.
    """

    generator: "Generator"
    n: int | None
    conditions: Any
    seed: int | None
    options: Mapping[str, Any]
    ordered: bool = False

    def __post_init__(self) -> None:
        generator = self.generator
        generator._require_ready()
        given = dict(self.options)
        balance, constraints, unseen = (given.pop(name, None) for name in CONTROLS)
        if not isinstance(unseen, (bool, np.bool_, type(None))):
            raise OptionError(f"allow_unseen={unseen!r} must be True or False")
        self._options = generator._check_options(given)
        declared = hasattr(type(generator), "condition_columns")
        allowed = tuple(getattr(generator, "condition_columns", ())) if declared else ()
        schema, family = generator.schema, generator.name
        self._asked = parse(self.conditions, schema, allowed, family=family, n=self.n)
        occurred = None if unseen else generator._occurred
        if occurred is not None:
            occurred.check(self._asked)
        self._balance: Balance | None = parse_balance(
            balance, schema, allowed, self._asked, family=family, occurred=occurred
        )
        self._late: list[Constraint] = []
        self._rejection = None if constraints is None else self._reject(constraints, allowed)
        self._seed = check_seed(self.seed)

    def _reject(self, given: Any, allowed: Sequence[str]) -> "Rejection | None":
        """What rows are rejected by; constraints on columns that are made anew are only looked after."""
        from zoo.constraints import Unique, parse_constraints
        from zoo.rejection import Rejection

        generator = self.generator
        if not generator.makes_tables:
            raise UnsupportedCapability(
                f"{generator.name} takes no constraints, which are rules for the columns of tables; filter the samples"
            )
        schema = generator.schema
        known = [c for constraint in parse_constraints(given) for c in constraint.known(schema, generator._occurred)]
        kinds = {c.name: c.kind for c in schema}
        rules: list[Constraint] = []
        unique: list[Unique] = []
        for constraint in known:
            constraint.check(schema)
            of = {kinds[n] for n in constraint.columns}
            if isinstance(constraint, Unique):
                if "identifier" not in of:  # those never repeat
                    (self._late if "text" in of else unique).append(constraint)
            else:
                (self._late if of & {"identifier", "text"} else rules).append(constraint)
        for constraint in unique:
            self._check_unique(constraint)
        if not rules and not unique:
            return None
        for constraint in rules:  # errors of types now, and not at the first block
            constraint.holds(constraint.repair(_empty(schema), schema), schema)
        draw = partial(_draw, generator, self._options)
        implied = self._imply(rules, allowed)
        return Rejection(generator.form, schema, draw, rules, unique, implied, max(generator.block_size, _AT_ONCE))

    def _check_unique(self, constraint: Any) -> None:
        most = constraint.most(self.generator.schema)
        if not self.ordered and (self.n is None or self.n > self.generator.block_size):
            raise ConstraintError(
                f"constraint {constraint} cannot be kept in an endless or sharded stream; use sample or to_dataset"
            )
        if self.n is not None and self.n > most:
            raise ConstraintError(
                f"constraint {constraint} cannot be met: n={self.n:,}, and only {most:,.0f} different values exist"
            )

    def _imply(self, rules: "Sequence[Constraint]", allowed: Sequence[str]) -> dict[str, Condition]:
        """What the rules say of single columns, as conditions on columns of which nothing else is asked."""
        schema = self.generator.schema
        if self._asked.per_row:
            return {}
        taken = {*self._asked} | {n for c in (self._balance.cells if self._balance else ()) for n in c.conditions}
        out: dict[str, Condition] = {}
        for rule in rules:
            for name, parts in rule.implied(schema).items():
                column = schema[name]
                if name not in allowed or name in taken or name in rule.determined:
                    continue
                for kind, value in parts:
                    if kind == "range" and column.is_discrete and column.kind != "ordinal":
                        continue
                    try:
                        one = parse_one(column, value if kind == "range" else _possible(column, value))
                        out[name] = one if name not in out else out[name].both(one)
                    except ConditionError as error:
                        raise ConstraintError(f"constraint {rule} cannot be met: {error}") from error
        return out

    # Blocks

    def __call__(self, index: int, needed: int | None = None) -> Any:
        """Block ``index``, or its first ``needed`` samples."""
        generator, size = self.generator, self.generator.block_size
        start = index * size
        needed = size if needed is None else min(needed, size)
        asked, rejection = self._asked.block(start, size), self._rejection
        if rejection is not None:
            rejection.begin(index)
        with isolated_rng():
            if self._balance is not None:
                block = self._balanced(self._balance, index, asked, needed)
            elif rejection is not None:
                block = rejection.fill(asked, (), size, needed, partial(self._rng, index, 0))
            else:
                block = _draw(generator, self._options, size, asked, self._rng(index, 0, 0))
        block = generator.form.finish(block, generator.schema, start, self._seed)
        if generator.form.length(block) > needed:
            block = generator.form.slice(block, 0, needed)
        if rejection is not None:
            rejection.end(block)
        for constraint in self._late:
            if not constraint.holds(block, generator.schema).all():
                where = " and ".join(map(repr, constraint.columns))
                raise ConstraintError(
                    f"constraint {constraint} cannot be met: {where} holds what is made anew in its pattern and not "
                    "drawn; change the pattern in the schema"
                )
        return block

    def _rng(self, index: int, group: int, attempt: int) -> np.random.Generator:
        if group == attempt == 0:  # the first draw of a block is what it is without constraints
            return block_rng(self._seed, index)
        return np.random.default_rng(np.random.SeedSequence([self._seed, index], spawn_key=(group, attempt)))

    def _balanced(self, balance: Balance, index: int, asked: Conditions, needed: int) -> Any:
        """A block whose rows have the classes that the balance assigns to them."""
        size, form, cells = self.generator.block_size, self.generator.form, balance.cells
        cell = balance.assign(index * size, size, self._seed)
        used = np.unique(cell)
        single = all(not c.outside and all(a.is_equality for a in c.conditions.values()) for c in cells)
        if asked.per_row or (len(used) > _CALLS and single and all(c.is_equality for c in asked.values())):
            if not single:
                raise ConditionError(
                    "balance with a table of conditions takes single classes; leave out one of the two"
                )
            rows = {n: Condition(c.column, rows=c.fixed(size)) for n, c in asked.items()}
            for name, first in cells[0].conditions.items():
                values = np.array([c.conditions[name].fixed(1)[0] for c in cells])
                rows[name] = Condition(first.column, rows=values[cell])
            return self._fill(index, 1, Conditions(rows), (), size, needed)
        parts, places = [], []
        for c in used:
            mine = np.flatnonzero(cell == c)
            count = int((mine < needed).sum())
            if count:
                conditions = Conditions({**asked, **cells[c].conditions})
                parts.append(self._fill(index, 1 + int(c), conditions, cells[c].outside, len(mine), count))
                places.append(mine[: form.length(parts[-1])])
        if not parts:
            return self._fill(index, 1, asked, (), size, 0)
        return form.slice(form.take(form.concat(parts), np.argsort(np.concatenate(places))), 0, needed)

    def _fill(
        self, index: int, group: int, asked: Conditions, outside: Sequence[Condition], size: int, needed: int
    ) -> Any:
        """The first ``needed`` of ``size`` rows of one class, or all ``size`` of them."""
        from zoo.rejection import Rejection

        generator, rejection = self.generator, self._rejection
        draw, random = partial(_draw, generator, self._options), partial(self._rng, index, group)
        if rejection is None and outside:
            rejection = Rejection(
                generator.form, generator.schema, draw, (), (), {}, max(generator.block_size, _AT_ONCE)
            )
        if rejection is None:
            return draw(size, asked, random(0))
        return rejection.fill(asked, outside, size, needed, random)


def _possible(column: Any, values: Sequence[Any]) -> list[Any]:
    """Those of some values that the column can have; all of them if it can have none, for the message."""
    possible = []
    for value in values:
        try:
            parse_one(column, [value])
        except ConditionError:
            continue
        possible.append(value)
    return possible or list(values)


def with_controls(options: Mapping[str, Any], balance: Any, constraints: Any, allow_unseen: bool) -> dict[str, Any]:
    """The family's options together with those that every family takes and that the caller gave."""
    given = {"balance": balance, "constraints": constraints, "allow_unseen": allow_unseen or None}
    return {**options, **{name: value for name, value in given.items() if value is not None}}


def recorded(update: Callable[..., Any]) -> Callable[..., Any]:
    """A family's ``update``, after which the record of what occurred has the new data too."""

    @wraps(update)
    def updated(self: "Generator", data: Any, **arguments: Any) -> Any:
        made = update(self, data, **arguments)
        if self._occurred is not None:
            self._occurred = self._occurred.extended(self.form.coerce(data, self.schema), self.schema)
        return made

    return updated


def rebatch(form: "NativeForm", blocks: Iterator[Any], batch_size: int) -> Iterator[Any]:
    """The samples of blocks in batches of ``batch_size``; an incomplete last one is not given."""
    pending: list[Any] = []
    held = 0
    for block in blocks:
        start, size = 0, form.length(block)
        while start < size:
            stop = min(size, start + batch_size - held)
            pending.append(form.slice(block, start, stop))
            held += stop - start
            start = stop
            if held == batch_size:
                yield form.concat(pending)
                pending, held = [], 0


def _draw(
    generator: "Generator", options: Mapping[str, Any], n: int, conditions: Conditions, rng: np.random.Generator
) -> Any:
    return generator._sample_block(n, conditions, rng, options)


def _empty(schema: Any) -> Any:
    """A table of a schema without rows."""
    from zoo.data.table_codec import TableCodec
    from zoo.data.tabular import TableForm

    codec = TableCodec(schema)
    codes = {n: np.zeros(0, dtype=np.int64 if n in codec.discrete else np.float64) for n in schema.names}
    return TableForm().finish(codec.decode(codes, 0), schema, 0)
