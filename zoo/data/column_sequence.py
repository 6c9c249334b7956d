"""Columns in sequence: a table drawn column by column, each given those before it, under conditions on any of them.

What families share that learn one conditional distribution a column (boosted classifiers, single trees): the order of
the columns, the order of each column's codes, the coarser levels by which later columns see it, and drawing along the
sequence. Conditions are met by importance resampling: an asked column is drawn among what is admitted, which gives the
row the probability of that as its weight; of several candidates a row one is kept by weight.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from zoo.conditions import Condition, Conditions
from zoo.data.code_tree import CodeTree
from zoo.data.conditional import Asked, Conditional, SharedConditionals
from zoo.data.point_columns import PointColumns
from zoo.errors import ConditionError
from zoo.schema import Schema
from zoo.statistics.optimal_scaling import scale_categories
from zoo.threads import cores

_LEVELS = 255  # levels by which a column is seen at most: they fit a byte
_SCALING_ROWS = 20_000  # rows on which categories are ordered; more change the order of rare ones only
_PART = 4096  # rows that a thread works on at once; fixed, so that no sum depends on the number of threads
_FREE, _KNOWN = -1, -2  # instead of a position: whatever comes; whatever is not missing
_FEWEST, _MOST, _EFFECTIVE = 5, 60, 7.0  # candidates a row, and how many equally weighted ones they have to be worth

_TARGET_CODES = 20  # a last column with so many codes at most is taken for what the table is about

Ranges = dict[str, tuple[np.ndarray, np.ndarray]]


class ColumnSequence:
    """Tables <-> positions ``int32 (C, n)`` in the order in which columns are drawn.

    Parameters
    ----------
    schema
        The table's schema.
    bins
        Bins of a number at most.

    Attributes
    ----------
    order : tuple of str
        The columns in the order in which they are drawn.
    sizes : list of int
        Number of positions of each, in that order.
    """

    def __init__(self, schema: Schema, bins: int) -> None:
        # No category is pooled: a tree over codes ends where few rows are left, whatever their number.
        self.columns = PointColumns(schema, bins, categories=2**31)
        self.order: tuple[str, ...] = ()
        self._position: dict[str, np.ndarray] = {}  # discrete column -> position of each code
        self._code: dict[str, np.ndarray] = {}
        self._level: list[np.ndarray] = []  # level of each position, uint8 (K,)

    @property
    def sizes(self) -> list[int]:
        return [self.columns.sizes[n] for n in self.order]

    # Learning

    def fit(self, encoded: Mapping[str, np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
        """Choose bins and orders for an encoded table; returns its positions ``(C, n)``."""
        columns = self.columns
        columns.fit(encoded)
        codes = columns.encode(encoded)
        self._order_codes(encoded, codes, n, rng)
        positions = {name: self._to_position(name, codes[:, j]) for j, name in enumerate(columns.names)}
        counts = {name: np.bincount(p, minlength=columns.sizes[name]) for name, p in positions.items()}
        self.order = _order(counts, [name for name in columns.schema if name in positions])
        self._level = [_levels(counts[name]) for name in self.order]
        return self._stack([positions[name] for name in self.order], n)

    def _order_codes(
        self, encoded: Mapping[str, np.ndarray], codes: np.ndarray, n: int, rng: np.random.Generator
    ) -> None:
        """Put the codes of unordered columns into an order in which neighbours are alike; "missing" is the last."""
        columns = self.columns
        most = max(_SCALING_ROWS, 5 * max(columns.codec.sizes.values(), default=0))  # rare categories have to be seen
        rows = np.sort(rng.choice(n, most, replace=False)) if n > most else slice(None)
        discrete = columns.codec.discrete
        some = {name: codes[rows, j] for j, name in enumerate(columns.names) if name in discrete}
        numbers = {name: encoded[name][rows] for name in columns.codec.numeric}
        scores = scale_categories(some, {name: columns.sizes[name] for name in discrete}, numbers, rng)
        for name in discrete:
            size = columns.sizes[name]
            score = scores[name].copy()
            if columns.schema[name].kind == "ordinal":
                score = np.arange(size, dtype=np.float64)
            if columns.schema[name].nullable:
                score[-1] = np.inf
            order = np.argsort(score, kind="stable")
            if columns.schema[name].nullable:
                order = np.append(order[order != size - 1], size - 1)
            self._set_order(name, order)

    def _set_order(self, name: str, order: np.ndarray) -> None:
        self._code[name] = order.astype(np.int32)
        self._position[name] = np.argsort(order).astype(np.int32)

    def _to_position(self, name: str, codes: np.ndarray) -> np.ndarray:
        return self._position[name][codes] if name in self._position else codes

    @staticmethod
    def _stack(rows: Sequence[np.ndarray], n: int) -> np.ndarray:
        return np.stack(rows).astype(np.int32) if rows else np.zeros((0, n), dtype=np.int32)

    def encode(self, encoded: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Positions ``(C, n)`` of an encoded table."""
        codes = self.columns.encode(encoded)
        place = {name: j for j, name in enumerate(self.columns.names)}
        return self._stack([self._to_position(name, codes[:, place[name]]) for name in self.order], n)

    def levels(self, positions: np.ndarray) -> np.ndarray:
        """The levels ``uint8 (C, n)`` by which later columns see positions ``(C, n)``."""
        out = np.empty(positions.shape, dtype=np.uint8)
        for j, level in enumerate(self._level):
            np.take(level, positions[j], out=out[j])
        return out

    def decode(self, positions: np.ndarray, rng: np.random.Generator, ranges: Ranges | None = None) -> Any:
        """A table of positions ``(C, n)``; numbers are drawn within their bins."""
        place = {name: j for j, name in enumerate(self.order)}
        codes = np.empty((positions.shape[1], len(self.order)), dtype=np.int32)
        for k, name in enumerate(self.columns.names):
            row = positions[place[name]]
            codes[:, k] = self._code[name][row] if name in self._code else row
        return self.columns.decode(codes, rng, ranges)

    def reorder(self, places: Sequence[int]) -> None:
        """Draw the columns in another order: first the one that is ``places[0]`` now, and so on."""
        self.order = tuple(self.order[j] for j in places)
        self._level = [self._level[j] for j in places]

    @property
    def position_levels(self) -> list[np.ndarray]:
        """The level of each position, ``uint8 (K,)``, of the columns in the order in which they are drawn."""
        return list(self._level)

    # Drawing

    def draw(self, conditionals: Sequence[Conditional], n: int, rng: np.random.Generator) -> np.ndarray:
        """Positions ``(C, n)``."""
        return self._forward(conditionals, n, rng, [None] * len(conditionals))[0]

    def calibrate(self, trees: Sequence[CodeTree], n: int, rng: np.random.Generator) -> None:
        """Make n drawn rows have each column's codes as often as the training rows had them, column by column."""
        levels = np.empty((len(trees), n), dtype=np.uint8)
        for j, tree in enumerate(trees):
            np.take(self._level[j], tree.calibrate(levels[:j], rng.random(n)), out=levels[j])

    def _forward(
        self,
        conditionals: Sequence[Conditional],
        n: int,
        rng: np.random.Generator,
        asked: Sequence[Asked | None],
        given: np.ndarray | None = None,
        weigh: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions ``(J, n)`` of the first J columns, J the length of ``asked``, and ln weights ``(n,)``.

        ``given (j, n)`` are positions of the first columns that are there already.
        """
        first = 0 if given is None else len(given)
        u = rng.random((len(asked), n))
        positions = np.empty((len(asked), n), dtype=np.int32)
        log_weight = np.zeros(n)
        if given is not None:
            positions[:first] = given

        def work(rows: slice) -> None:
            mine = positions[:, rows]
            levels = np.empty(mine.shape, dtype=np.uint8)
            total = log_weight[rows]
            models = (
                conditionals.for_part(mine.shape[1]) if isinstance(conditionals, SharedConditionals) else conditionals
            )
            for j in range(len(asked)):
                if j >= first:
                    wanted = asked[j]
                    if wanted is None:
                        mine[j] = models[j].draw(levels[:j], u[j, rows])
                    else:
                        _draw_asked(models[j], levels[:j], u[j, rows], wanted.part(rows), mine[j], total, weigh)
                np.take(self._level[j], mine[j], out=levels[j])

        in_parts(work, n)
        return positions, log_weight

    def draw_asked(
        self, conditionals: Sequence[Conditional], n: int, rng: np.random.Generator, asked: Mapping[str, Asked]
    ) -> np.ndarray:
        """Positions ``(C, n)`` under what is asked of some columns.

        Candidates are drawn up to the last asked column until those of a row are worth :data:`_EFFECTIVE` of equal
        weight on average; the columns after it follow the one that is kept.
        """
        wanted = [asked.get(name) for name in self.order]
        stop = max((j + 1 for j, a in enumerate(wanted) if a is not None), default=0)
        leading = wanted[:stop]
        # Where everything before the last asked column is given, all candidates of a row are alike.
        alike = all(a is not None and a.is_fixed for a in leading[:-1])
        chosen, total = self._forward(conditionals, n, rng, leading, weigh=not alike)
        if not alike:
            squares = 2 * total
            for drawn in range(2, _MOST + 1):
                candidate, weight = self._forward(conditionals, n, rng, leading)
                total = np.logaddexp(total, weight)
                squares = np.logaddexp(squares, 2 * weight)
                taken = np.log(rng.random(n)) < weight - total
                chosen[:, taken] = candidate[:, taken]
                if drawn >= _FEWEST and np.exp(2 * total - squares).mean() >= _EFFECTIVE:
                    break
        return self._forward(conditionals, n, rng, wanted[:stop] + [None] * (len(wanted) - stop), chosen)[0]

    # What is asked

    def sample(
        self, conditionals: Sequence[Conditional], n: int, conditions: Conditions, rng: np.random.Generator
    ) -> Any:
        """A table of n rows under conditions.

        Raises
        ------
        ConditionError
            If what is asked never occurred in training.
        """
        if not conditions:
            return self.decode(self.draw(conditionals, n, rng), rng)
        of = dict(zip(self.order, conditionals))
        asked: dict[str, Asked] = {}
        alternatives: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        ranges: Ranges = {}
        for name, condition in conditions.items():
            if condition.is_equality:
                values = condition.fixed(n)
                asked[name] = Asked(self._seen(name, values, of[name].counts))
                if name in self.columns.edges:
                    ranges[name] = (values, values)
                continue
            weight, ends = self._weights(condition)  # (m, K)
            total = np.minimum(weight.sum(axis=0), 1.0)
            if not (total * of[name].counts).any():
                raise ConditionError(f"what is asked of {name!r} never occurred in training; ask otherwise")
            asked[name] = Asked(weight=total)
            if ends is not None:
                alternatives[name] = weight, ends
        positions = self.draw_asked(conditionals, n, rng, asked)
        for name, (weight, ends) in alternatives.items():
            each = np.cumsum(weight, axis=0)[:, positions[self.order.index(name)]]  # (m, n)
            chosen = np.minimum((each <= rng.random(n) * each[-1]).sum(axis=0), len(ends) - 1)
            ranges[name] = (ends[chosen, 0], ends[chosen, 1])
        return self.decode(positions, rng, ranges)

    def _seen(self, name: str, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Positions of asked values, which have to have occurred."""
        distinct, place = np.unique(values, return_inverse=True)  # NaN is one value
        positions = self._positions_of(name, distinct)
        never = counts[positions] == 0
        if never.any():
            code = distinct[int(np.argmax(never))]
            column = self.columns.schema[name]
            shown = column.categories[int(code)] if column.is_discrete and code >= 0 else code
            raise ConditionError(f"condition {name}={shown!r} never occurred in training; ask for another value")
        return positions[place.reshape(-1)]

    def _positions_of(self, name: str, values: np.ndarray) -> np.ndarray:
        """Positions of codes (-1 missing) or numbers (NaN missing) of one column."""
        last = self.columns.sizes[name] - 1
        if name in self.columns.edges:
            return np.where(np.isnan(values), last, self.columns.bin(name, values)).astype(np.int32)
        return self._to_position(name, np.where(values < 0, last, values).astype(np.int64)).astype(np.int32)

    def _weights(self, condition: Condition) -> tuple[np.ndarray, np.ndarray | None]:
        """The alternatives of a condition, as weights of positions ``(m, K)`` and for numbers their ranges."""
        name = condition.column.name
        weight, ends = self.columns.admitted(condition)
        return (weight[:, self._code[name]] if name in self._code else weight), ends

    def impute(
        self, conditionals: Sequence[Conditional], encoded: Mapping[str, np.ndarray], n: int, rng: np.random.Generator
    ) -> Any:
        """A table in which what is missing is drawn given the rest of its row; the rest is to be taken from the data.

        Values that never occurred stand for their position all the same.
        """
        asked = {}
        positions = self.encode(encoded, n)
        for j, name in enumerate(self.order):
            values = encoded[name]
            missing = np.isnan(values) if name in self.columns.edges else values < 0
            may_be = conditionals[j].counts[:-1].any()  # a column of nothing but missing values stays so
            asked[name] = Asked(np.where(missing & may_be, _KNOWN, positions[j]).astype(np.int32))
        return self.decode(self.draw_asked(conditionals, n, rng, asked), rng)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        out = {f"columns.{k}": v for k, v in self.columns.arrays().items()}
        place = {name: j for j, name in enumerate(self.columns.names)}
        out["order"] = np.array([place[name] for name in self.order], dtype=np.int32)
        out |= {f"codes.{i}": self._code[name] for i, name in enumerate(self.columns.codec.discrete)}
        return out | {f"level.{j}": level for j, level in enumerate(self._level)}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin."""
        columns = self.columns
        columns.set_arrays({k[8:]: v for k, v in arrays.items() if k.startswith("columns.")})
        order = arrays["order"].tolist()
        if sorted(order) != list(range(len(columns.names))):
            raise ValueError("the order of the columns does not fit the schema")
        self.order = tuple(columns.names[j] for j in order)
        for i, name in enumerate(columns.codec.discrete):
            codes = arrays[f"codes.{i}"]
            if codes.ndim != 1 or not np.array_equal(np.sort(codes), np.arange(columns.sizes[name])):
                raise ValueError(f"the order of the codes of column {name!r} does not fit the schema")
            if columns.schema[name].nullable and codes[-1] != columns.sizes[name] - 1:
                raise ValueError(f"missing is not the last code of column {name!r}")
            self._set_order(name, codes)
        self._level = []
        for j, name in enumerate(self.order):
            level = arrays[f"level.{j}"]
            if (
                level.dtype != np.uint8
                or level.shape != (columns.sizes[name],)
                or (np.diff(level.astype(int)) < 0).any()
            ):
                raise ValueError(f"the levels of column {name!r} do not fit the schema")
            self._level.append(level)


def _draw_asked(
    conditional: Conditional,
    levels: np.ndarray,
    u: np.ndarray,
    asked: Asked,
    out: np.ndarray,
    log_weight: np.ndarray,
    weigh: bool,
) -> None:
    """Write positions to ``out (n,)`` and add the ln probability of what is asked to ``log_weight (n,)``."""
    if asked.positions is None:
        assert asked.weight is not None
        out[:], mass = conditional.draw_within(levels, u, asked.weight)
        log_weight += np.log(np.maximum(mass, 1e-300))
        return
    fixed, known, free = (np.flatnonzero(m) for m in _kinds(asked.positions))
    out[fixed] = asked.positions[fixed]
    if len(fixed) and weigh:
        log_weight[fixed] += np.log(conditional.probability(levels[:, fixed], asked.positions[fixed]))
    if len(known):
        weight = np.ones(len(conditional.counts))
        weight[-1] = 0.0
        out[known], mass = conditional.draw_within(levels[:, known], u[known], weight)
        log_weight[known] += np.log(np.maximum(mass, 1e-300))
    if len(free):
        out[free] = conditional.draw(levels[:, free], u[free])


def _kinds(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return positions >= 0, positions == _KNOWN, positions == _FREE


def in_parts(work: Callable[[slice], None], n: int) -> None:
    """Do work on slices of n rows, by as many threads as there are cores; what is written must not overlap."""
    parts = [slice(start, min(n, start + _PART)) for start in range(0, n, _PART)]
    threads = min(len(parts), cores())
    if threads <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))


def _order(counts: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[str, ...]:
    """The last column first if it has few codes, as targets stand last; then by falling entropy.

    A column with many codes is drawn from what few columns say of it; behind all others, what it is given would be
    noise. What is drawn last is told by one model alone; what is drawn first is told by all the others together, which
    a target is worth. Of single trees on held-out rows of Adult: 21.81 nats a row and an AUC of models trained on
    samples of 0.919, instead of 22.78 and 0.906 as the columns come, and 22.89 and 0.920 by rising entropy.
    """
    entropy = {}
    for name in names:
        share = counts[name][counts[name] > 0] / counts[name].sum()
        entropy[name] = float(-(share * np.log(share)).sum())
    target = [name for name in names[-1:] if len(counts[name]) <= _TARGET_CODES]
    return (*target, *sorted((n for n in names if n not in target), key=lambda n: -entropy[n]))


def _levels(counts: np.ndarray) -> np.ndarray:
    """A level for each position, ``uint8 (K,)``, neighbours of few rows sharing one where there are too many."""
    size = len(counts)
    if size <= _LEVELS:
        return np.arange(size, dtype=np.uint8)
    share = (counts + 1e-9) / (counts + 1e-9).sum()
    middle = np.cumsum(share) - share / 2
    _, level = np.unique(np.minimum((middle * _LEVELS).astype(np.int64), _LEVELS - 1), return_inverse=True)
    return level.reshape(-1).astype(np.uint8)
