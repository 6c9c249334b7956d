"""Constraints that tie several columns or rows: fixed combinations, functional dependencies, uniqueness."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations as pairs_of
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.conditions import bounds
from zoo.constraints.base import Constraint
from zoo.errors import ConstraintError
from zoo.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from zoo.occurred import Occurred


def _names(given: str | Iterable[str], what: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise ConstraintError(f"{what} needs the names of different columns, not {given!r}")
    return names


def _keys(table: "pd.DataFrame", names: Sequence[str]) -> "pd.MultiIndex | pd.Index":
    """The rows' values of some columns as an index of plain objects; missing values are all None."""
    import pandas as pd

    arrays = []
    for name in names:
        values = table[name].astype(object)
        arrays.append(values.mask(values.isna(), None).to_numpy())
    return pd.Index(arrays[0], dtype=object) if len(arrays) == 1 else pd.MultiIndex.from_arrays(arrays)


def _recorded(
    constraint: Constraint, names: tuple[str, str], schema: Schema, occurred: "Occurred | None", remedy: str
) -> list[tuple[Any, Any]]:
    """The pairs of categories of two columns that occurred in training."""
    for name in names:
        _ = schema[name]
    pairs = None if occurred is None else occurred.pairs(*names)
    if pairs is None:
        raise ConstraintError(
            f"constraint {constraint}: which values of {names[0]!r} and {names[1]!r} occurred together is not "
            f"recorded; {remedy}"
        )
    a, b = (schema[n].categories for n in names)
    return [
        (None if i < 0 else a[i], None if j < 0 else b[j]) for i, j in zip(*(p.tolist() for p in pairs), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class FixedCombinations(Constraint):
    """Several columns only take combinations of values that are known.

    Parameters
    ----------
    over
        At least two columns.
    combinations
        A table that has these columns (real data, a reference list), or rows of values in their order. None: pairs of
        categories that occurred in training, as far as the generator recorded them (:mod:`zoo.occurred`).
    """

    over: tuple[str, ...]
    combinations: Any = None

    def __post_init__(self) -> None:
        import pandas as pd

        object.__setattr__(self, "over", _names(self.over, "FixedCombinations"))
        if len(self.over) < 2:
            raise ConstraintError("FixedCombinations needs at least two columns; for one, use an expression with 'in'")
        if self.combinations is None:
            return
        given = self.combinations
        if not isinstance(given, pd.DataFrame):
            rows = [tuple(r) for r in given]
            if any(len(r) != len(self.over) for r in rows):
                raise ConstraintError(f"constraint {self}: each combination needs {len(self.over)} values")
            given = pd.DataFrame(rows, columns=list(self.over), dtype=object)
        for name in self.over:
            if name not in given:
                raise ConstraintError(f"constraint {self}: the table of combinations has no column {name!r}")
        if not len(given):
            raise ConstraintError(f"constraint {self}: the table of combinations is empty")
        object.__setattr__(self, "combinations", given[list(self.over)].drop_duplicates(ignore_index=True))

    @property
    def columns(self) -> tuple[str, ...]:
        return self.over

    def known(self, schema: Schema, occurred: "Occurred | None") -> list[Constraint]:
        if self.combinations is not None:
            return [self]
        remedy = f"give combinations=table[{[*self.over]!r}]"
        super().check(schema)
        return [
            FixedCombinations(pair, _recorded(self, pair, schema, occurred, remedy)) for pair in pairs_of(self.over, 2)
        ]

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        if self.combinations is None:
            raise ConstraintError(
                f"constraint {self} needs its combinations; give combinations=table[{[*self.over]!r}]"
            )
        known = _keys(self.combinations, self.over)
        return np.asarray(_keys(table, self.over).isin(known))

    def __str__(self) -> str:
        return f"combinations({', '.join(self.over)})"


@dataclass(frozen=True, eq=False)
class FunctionalDependency(Constraint):
    """One column follows from others: each value of ``determinant`` goes with one value of ``dependent``.

    By construction: the dependent value is looked up and put in place; rows whose determinant is not in the table are
    drawn again.

    Parameters
    ----------
    determinant
        One column or several.
    dependent
        The column that follows.
    mapping
        A table that has all of them (real data, a reference list), or a dict from values (tuples of them) to the
        dependent value. None: what occurred in training, as far as the generator recorded it.
    """

    determinant: tuple[str, ...]
    dependent: str
    mapping: Any = None

    def __post_init__(self) -> None:
        import pandas as pd

        names = _names(self.determinant, "FunctionalDependency")
        object.__setattr__(self, "determinant", names)
        _names((*names, self.dependent), "FunctionalDependency")
        given = self.mapping
        if given is None:
            return
        if isinstance(given, Mapping):
            rows = [(*(k if isinstance(k, tuple) else (k,)), v) for k, v in given.items()]
            if any(len(r) != len(self.columns) for r in rows):
                raise ConstraintError(f"constraint {self}: each key of the mapping needs {len(names)} values")
            given = pd.DataFrame(rows, columns=list(self.columns), dtype=object)
        for name in self.columns:
            if name not in given:
                raise ConstraintError(f"constraint {self}: the mapping has no column {name!r}")
        pairs = given[list(self.columns)].drop_duplicates(ignore_index=True)
        twice = pairs.duplicated(list(names))
        if twice.any() or not len(pairs):
            value = pairs.loc[twice, list(names)].iloc[0].tolist() if len(pairs) else []
            raise ConstraintError(f"constraint {self}: the mapping gives {value} several values of {self.dependent!r}")
        object.__setattr__(self, "mapping", pairs)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.determinant, self.dependent)

    @property
    def determined(self) -> tuple[str, ...]:
        return (self.dependent,)

    def known(self, schema: Schema, occurred: "Occurred | None") -> list[Constraint]:
        if self.mapping is not None:
            return [self]
        super().check(schema)
        remedy = f"give mapping=table[{[*self.columns]!r}]"
        if len(self.determinant) > 1:
            raise ConstraintError(f"constraint {self}: pairs are recorded, not triples; {remedy}")
        pairs = _recorded(self, (self.determinant[0], self.dependent), schema, occurred, remedy)
        if len({a for a, _ in pairs}) < len(pairs):
            a = next(a for i, (a, _) in enumerate(pairs) if a in {b for b, _ in pairs[:i]})
            several = [d for b, d in pairs if b == a]
            raise ConstraintError(
                f"constraint {self} did not hold in training: {self.determinant[0]}={a!r} went with {self.dependent} "
                f"{several[:3]!r}; {remedy}"
            )
        return [FunctionalDependency(self.determinant, self.dependent, dict(pairs))]

    def _place(self, table: "pd.DataFrame") -> np.ndarray:
        """For each row, the row of the mapping that has its determinant; -1 for none."""
        if self.mapping is None:
            raise ConstraintError(f"constraint {self} needs its mapping; give mapping=table[{[*self.columns]!r}]")
        return _keys(self.mapping, self.determinant).get_indexer(_keys(table, self.determinant))

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        place = self._place(table)
        wanted = _keys(self.mapping, [self.dependent]).to_numpy()[place]
        given = _keys(table, [self.dependent]).to_numpy()
        return (place >= 0) & (wanted == given).astype(bool)  # missing is None, and equals None

    def repair(self, table: "pd.DataFrame", schema: Schema) -> "pd.DataFrame":
        from zoo.data.table_values import category_dtype

        place = self._place(table)
        known = place >= 0
        column = schema[self.dependent]
        target: Any = category_dtype(column) if column.dtype == "category" else column.dtype
        values = table[self.dependent].copy()
        values[known] = self.mapping[self.dependent].iloc[place[known]].astype(target).array
        return table.assign(**{self.dependent: values})

    def check(self, schema: Schema) -> None:
        super().check(schema)
        if self.mapping is None:
            return
        column = schema[self.dependent]
        if column.is_discrete:
            for value in self.mapping[self.dependent].dropna().unique():
                try:
                    column.code_of(value)
                except LookupError as error:
                    raise ConstraintError(f"constraint {self}: {error}") from error

    def __str__(self) -> str:
        return f"determines({', '.join(self.columns)})"


@dataclass(frozen=True)
class Unique(Constraint):
    """No two rows of one call have the same values in these columns; two missing values are the same.

    Promised within one call of ``sample``, ``to_dataset`` or ``zoo sample``, whose blocks are made in order; an endless
    or sharded stream cannot keep it and refuses. Identifiers are unique anyway.
    """

    over: tuple[str, ...]

    def __init__(self, *over: str) -> None:
        object.__setattr__(self, "over", _names(over, "Unique"))

    @property
    def columns(self) -> tuple[str, ...]:
        return self.over

    def holds(self, table: "pd.DataFrame", schema: Schema | None = None) -> np.ndarray:
        """The first row of each value."""
        return ~table.duplicated(list(self.over)).to_numpy()

    def keys(self, table: "pd.DataFrame") -> np.ndarray:
        """A hash of each row's values, ``uint64 (n,)``."""
        import pandas as pd

        hashed: Any = pd.util.hash_pandas_object(table[list(self.over)], index=False)
        return hashed.to_numpy()

    def most(self, schema: Schema) -> float:
        """How many rows can differ in these columns."""
        out = 1.0
        for name in self.over:
            column = schema[name]
            if column.kind == "constant":
                continue
            low, high = bounds(column) if column.kind == "integer" else (0.0, np.inf)
            out *= (len(column.categories) if column.is_discrete else high - low + 1) + column.nullable
        return out

    def __str__(self) -> str:
        return f"unique({', '.join(self.over)})"
