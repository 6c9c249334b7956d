"""Constraints: rules that every row of a sample fulfils, whatever the family learned.

``generator.sample(1000, constraints=["capital_gain >= capital_loss", Unique("email")])``. A constraint is one of the
classes here, or a string: an expression over the columns as pandas reads it (:mod:`zoo.constraints.expressions`), or a
short form of a class, ``"unique(a, b)"``, ``"combinations(city, country)"``, ``"determines(zip, city)"``.

Rows that break a constraint are drawn again, within bounds (:mod:`zoo.sampling`); what a constraint says of a single
column is asked of the generator as a condition when rejection alone would take long, and a functional dependency is put
in place. A missing value fulfils :class:`Inequality`, :class:`Range` and :class:`Regex` unless ``missing=False``, as in
SQL's CHECK; in an expression a comparison with a missing value is false, as in pandas.

>>> import pandas as pd
>>> table = pd.DataFrame({"start": [1, 5, 3], "end": [2, 4, 3]})
>>> Inequality("start", "end").holds(table)
array([ True, False,  True])
>>> Expression("end > start or end == 3").holds(table)
array([ True, False,  True])
"""

import re
from typing import Any

from zoo.constraints.base import Constraint
from zoo.constraints.order import Inequality, Range
from zoo.constraints.relations import FixedCombinations, FunctionalDependency, Unique
from zoo.constraints.text import Expression, Regex
from zoo.errors import ConstraintError

__all__ = [
    "Constraint",
    "Expression",
    "FixedCombinations",
    "FunctionalDependency",
    "Inequality",
    "Range",
    "Regex",
    "Unique",
    "parse_constraints",
]


def parse_constraints(given: Any) -> tuple[Constraint, ...]:
    """Constraints of what a caller wrote: one or a list of constraints and strings.

    Raises
    ------
    ConstraintError
        Naming what is malformed, and the remedy.
    """
    if given is None:
        return ()
    items = [given] if isinstance(given, (str, Constraint)) else given
    if not isinstance(items, (list, tuple)):
        raise ConstraintError(f"constraints must be a list of constraints and strings, not {type(given).__name__}")
    return tuple(_parse_one(item) for item in items)


def _parse_one(item: Any) -> Constraint:
    if isinstance(item, Constraint):
        return item
    if not isinstance(item, str):
        raise ConstraintError(f"a constraint is a string or one of zoo.constraints, not {type(item).__name__}")
    short = re.fullmatch(r"\s*(unique|combinations|determines)\s*\((.*)\)\s*", item)
    if not short:
        return Expression(item)
    names = [p.strip().strip("`") for p in short[2].split(",")]
    if short[1] == "unique":
        return Unique(*names)
    if short[1] == "combinations":
        return FixedCombinations(tuple(names))
    return FunctionalDependency(tuple(names[:-1]), names[-1])
