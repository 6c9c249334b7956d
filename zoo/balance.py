"""Balance: which class each sample of a call is to have, so that classes come evenly or in given shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.conditions import Condition, Conditions, parse_one
from zoo.errors import ConditionError, nearest
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    from zoo.occurred import Occurred

MAX_CLASSES = 100_000
_ROWS = 4096  # of the cycles that share random numbers
_CYCLE = 100  # of so many samples in a row, given shares are met to within one


@dataclass(frozen=True)
class Cell:
    """One class, or one combination of classes, with its share of the samples.

    ``conditions`` say what is asked; ``outside`` what must not be met, of columns whose remaining classes fill up.
    """

    share: float
    conditions: Mapping[str, Condition]
    outside: tuple[Condition, ...] = ()


class Balance:
    """The classes that are asked for, and their assignment to the samples of a block.

    Parameters
    ----------
    cells
        Shares sum to 1.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)
        shares = np.array([c.share for c in cells])
        self._ends = np.cumsum(shares / shares.sum())
        self._ends[-1] = 1.0
        even = np.allclose(shares, shares[0])
        self._cycle = len(cells) if even else max(_CYCLE, len(cells))
        self._together = -(-_ROWS // self._cycle)

    def assign(self, start: int, n: int, seed: int) -> np.ndarray:
        """The cell of samples ``start`` to ``start + n`` of a call, ``int64 (n,)``.

        Systematic sampling within cycles: each cycle holds every even class once (and others in their shares to
        within one), in random order. So any beginning of the samples is balanced too. Cycles are counted from the
        first sample on, and some of them at a time share random numbers, so that a block needs none before it.
        """
        length, run = self._cycle, self._cycle * self._together
        parts = []
        for k in range(start // run, -(-(start + n) // run)):
            rng = np.random.default_rng(np.random.SeedSequence([seed, k], spawn_key=(1,)))
            points = (np.arange(length) + rng.random((self._together, 1))) / length  # (cycles, length)
            cell = np.minimum(np.searchsorted(self._ends, points, side="right"), len(self.cells) - 1)
            parts.append(rng.permuted(cell, axis=1).reshape(-1))
        return np.concatenate(parts)[start % run :][:n]


def parse_balance(
    balance: Any,
    schema: Schema,
    allowed: Sequence[str],
    conditions: Conditions,
    *,
    family: str,
    occurred: "Occurred | None" = None,
) -> Balance | None:
    """Check what the caller asked to be balanced.

    Parameters
    ----------
    balance
        The name of a column, a list of names (their combinations come evenly), or a mapping of a column to shares:
        ``{"income": {">50K": 0.3}}``; the rest goes to the other classes as they come. A mapping may also have ranges
        as keys, ``{"age": {(None, 30): 0.5, (31, None): 0.5}}``, and "even" in place of shares.
    schema, allowed, family
        As in :func:`zoo.conditions.parse`.
    conditions
        What is asked otherwise: classes that they do not admit are left out.
    occurred
        What occurred in training, if it is known: combinations that never did are left out.

    Raises
    ------
    ConditionError
        For an unknown column, one that the family cannot condition on or that has no classes, and shares that are none.
    """
    if balance is None:
        return None
    if isinstance(balance, str):
        balance = [balance]
    if not isinstance(balance, (list, tuple, Mapping)) or not len(balance):
        raise ConditionError(
            f"balance={balance!r} must be a column, a list of columns, or a mapping of a column to shares"
        )
    if not isinstance(balance, Mapping) and len({*map(str, balance)}) < len(balance):
        raise ConditionError(f"balance={balance!r} names a column twice")
    sides: list[list[Cell]] = []
    for name in balance:
        if name not in schema:
            raise ConditionError(f"balance on unknown column {name!r}; {nearest(str(name), schema.names)}")
        if name not in allowed:
            what = f"it conditions on {', '.join(map(repr, allowed))}" if allowed else "it takes no conditions"
            raise ConditionError(f"{family} cannot balance {name!r}: {what}")
        column, given = schema[name], conditions.get(name)
        if given is not None and given.rows is not None:
            raise ConditionError(f"balance on {name!r}: the table of conditions fixes it; leave out one of the two")
        shares = balance[name] if isinstance(balance, Mapping) and balance[name] != "even" else None
        sides.append(_even(column, given, occurred) if shares is None else _shares(column, shares, given))
    total = 1
    for side in sides:
        total *= len(side)
    if total > MAX_CLASSES:
        raise ConditionError(
            f"balance: {total:,} combinations of classes, at most {MAX_CLASSES:,}; balance fewer columns"
        )
    fixed = {} if conditions.per_row else dict(conditions)
    cells = []
    for parts in product(*sides):
        share = float(np.prod([p.share for p in parts]))
        asked = {k: v for p in parts for k, v in p.conditions.items()}
        if share > 0 and (occurred is None or occurred.missing_pair(asked) is None):
            if occurred is not None:
                occurred.check({**fixed, **asked})
            cells.append(Cell(share, asked, tuple(c for p in parts for c in p.outside)))
    if not cells:
        raise ConditionError(f"balance={balance!r}: no combination of these classes occurred in training")
    return Balance(cells)


def _even(column: Column, given: Condition | None, occurred: "Occurred | None") -> list[Cell]:
    if not column.is_discrete or not column.categories:
        raise ConditionError(
            f"balance on {column.name!r}: a column of kind {column.kind!r} has no classes; give shares of ranges, "
            f"balance={{{column.name!r}: {{(None, 30): 0.5, (31, None): 0.5}}}}"
        )
    codes = np.arange(len(column.categories)) if given is None else given.values
    assert codes is not None
    if occurred is not None:
        codes = codes[[occurred.has(column.name, int(c)) for c in codes]]
    if not len(codes):
        raise ConditionError(f"balance on {column.name!r}: no class that the conditions admit occurred in training")
    return [Cell(1 / len(codes), {column.name: Condition(column, values=np.array([c]))}) for c in codes]


def _shares(column: Column, shares: Any, given: Condition | None) -> list[Cell]:
    name = column.name
    if given is not None:
        raise ConditionError(f"balance on {name!r} gives shares, and a condition asks something else; leave out one")
    if not isinstance(shares, Mapping) or not shares:
        raise ConditionError(f"balance on {name!r}: give shares as a mapping, {{value: 0.3}}, not {shares!r}")
    for value, share in shares.items():
        real = isinstance(share, (int, float, np.number)) and not isinstance(share, bool)
        if not real or not 0 <= share <= 1:
            raise ConditionError(f"balance on {name!r}: the share {share!r} of {value!r} must be a number from 0 to 1")
    total = float(sum(shares.values()))
    if total > 1 + 1e-9:
        raise ConditionError(f"balance on {name!r}: the shares sum to {total:g}, which is more than 1")
    asked = [parse_one(column, value) for value in shares]
    cells = [Cell(float(s), {name: c}) for c, s in zip(asked, shares.values(), strict=True)]
    rest = 1 - total
    if rest <= 1e-9:
        return cells
    if not column.is_discrete:
        return [*cells, Cell(rest, {}, tuple(asked))]
    named = np.concatenate([c.values for c in asked if c.values is not None])
    others = np.setdiff1d(np.arange(-1 if column.nullable else 0, len(column.categories)), named)
    if not len(others):
        raise ConditionError(
            f"balance on {name!r}: all classes are named, so their shares must sum to 1, not {total:g}"
        )
    return [*cells, Cell(rest, {name: Condition(column, values=others)})]
