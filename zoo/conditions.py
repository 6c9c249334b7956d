"""Conditions: what a caller asks of samples, in one mapping for every family.

``{"income": ">50K"}`` means equal, ``{"race": ["White", "Black"]}`` any of, ``{"age": (60, None)}`` a closed range
with None open. A table of conditions has one row a sample. A missing value (None, NaN) asks for a missing value.
:func:`parse` turns what the caller wrote into arrays of codes and numbers, checked against the schema, so that a
family never sees a spelling.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ConditionError, nearest
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Condition:
    """One column's condition in normal form: exactly one of ``values``, a range, or ``rows``.

    Parameters
    ----------
    column
        The column that is constrained.
    values
        ``(m,)`` any of: codes (``int64``, -1 is missing) of a discrete column, else numbers (``float64``, NaN is
        missing; times are seconds, see :func:`to_number`).
    low, high
        Closed range in numbers; None is open.
    rows
        ``(n,)`` one value a sample, coded like ``values``.
    """

    column: Column
    values: np.ndarray | None = None
    low: float | None = None
    high: float | None = None
    rows: np.ndarray | None = None

    @property
    def is_range(self) -> bool:
        return self.values is None and self.rows is None

    @property
    def is_equality(self) -> bool:
        """Whether each sample's value is fixed (a single value, or one a row)."""
        return self.rows is not None or (self.values is not None and len(self.values) == 1)

    def fixed(self, n: int) -> np.ndarray:
        """The n fixed values of an equality, ``(n,)``."""
        if self.rows is not None:
            return self.rows
        assert self.values is not None
        return np.broadcast_to(self.values[0], (n,))

    def allowed(self) -> np.ndarray:
        """``bool (K,)`` over the categories of a discrete column: which of them the condition admits."""
        assert self.values is not None and self.column.is_discrete
        admitted = np.zeros(len(self.column.categories), dtype=bool)
        admitted[self.values[self.values >= 0]] = True
        return admitted

    def both(self, other: "Condition") -> "Condition":
        """What meets this condition and another one on the same column; neither has a value a row.

        Raises
        ------
        ConditionError
            If nothing can.
        """
        lows = [c.low for c in (self, other) if c.low is not None]
        highs = [c.high for c in (self, other) if c.high is not None]
        low, high = max(lows, default=None), min(highs, default=None)
        listed = [c.values for c in (self, other) if c.values is not None]
        if not listed:
            if low is not None and high is not None and low > high:
                raise ConditionError(f"no value of {self.column.name!r} lies between {low!r} and {high!r}")
            return Condition(self.column, low=low, high=high)
        values = listed[0]
        if len(listed) == 2:
            values = values[np.isin(values, listed[1]) | (np.isnan(values) & bool(np.isnan(listed[1]).any()))]
        if low is not None or high is not None:
            values = values[
                (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
            ]
        if not len(values):
            raise ConditionError(f"no value of {self.column.name!r} is asked for by all of them")
        return Condition(self.column, values=values)


class Conditions(Mapping[str, Condition]):
    """The conditions of one call, by column name; empty when nothing was asked."""

    def __init__(self, by_column: Mapping[str, Condition]) -> None:
        self._by_column = dict(by_column)

    def __getitem__(self, name: str) -> Condition:
        return self._by_column[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_column)

    def __len__(self) -> int:
        return len(self._by_column)

    @property
    def per_row(self) -> bool:
        return any(c.rows is not None for c in self._by_column.values())

    def block(self, start: int, size: int) -> "Conditions":
        """The conditions of samples ``start`` to ``start + size``.

        Blocks are always made whole, so rows beyond the last are filled with the last row of the table; the
        samples made for them are cut off afterwards.
        """
        if not self.per_row:
            return self
        out = {}
        for name, condition in self._by_column.items():
            if condition.rows is not None:
                index = np.minimum(np.arange(start, start + size), len(condition.rows) - 1)
                condition = Condition(condition.column, rows=condition.rows[index])
            out[name] = condition
        return Conditions(out)

    def draw_codes(self, name: str, prior: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw codes of a discrete column, for families that condition on labels only.

        Parameters
        ----------
        name
            The column.
        prior
            ``(K,)`` training frequencies of its categories; used as they are when nothing is asked, and
            restricted to the admitted categories for an any-of.
        rng
            Source of randomness.
        n
            Number of samples.

        Returns
        -------
        numpy.ndarray
            ``int64 (n,)``.

        Raises
        ------
        ConditionError
            If the admitted categories never occurred in training.
        """
        weight = np.asarray(prior, dtype=np.float64)
        condition = self._by_column.get(name)
        if condition is not None:
            codes = condition.fixed(n) if condition.is_equality else condition.values
            assert codes is not None
            if not condition.is_equality and (codes >= 0).any():
                codes = codes[codes >= 0]  # of several values, those that a label can have
            unseen = np.unique(codes[(codes < 0) | (weight[codes] <= 0)])
            if len(unseen):
                value = condition.column.categories[unseen[0]] if unseen[0] >= 0 else None
                raise ConditionError(f"condition {name}={value!r} never occurred in training; ask for another value")
            if condition.is_equality:
                return codes.astype(np.int64)
            weight = np.where(condition.allowed(), weight, 0.0)
        return rng.choice(len(weight), size=n, p=weight / weight.sum()).astype(np.int64)


def to_number(values: Any, column: Column) -> np.ndarray:
    """Numbers for the values of a numeric or time column: ``float64``, NaN where missing.

    Datetimes and dates become seconds since 1970-01-01 (UTC when they carry a zone), durations seconds.
    """
    import pandas as pd

    series = pd.Series(values) if not isinstance(values, pd.Series) else values
    if column.kind in ("datetime", "date"):
        # Columns of text may have a form of their own, such as %d.%m.%Y; bounds and most conditions are ISO 8601.
        own = column.pattern if "64[" not in column.dtype and "-%m-%d" not in (column.pattern or "-%m-%d") else None
        try:
            times = _in_form(series, own) if own is not None else pd.to_datetime(series, utc=True, format="ISO8601")
        except ValueError:  # a caller's own spelling of one value; slow, and columns never need it
            times = pd.to_datetime(series, utc=True, format="mixed")
        ticks = times.dt.tz_convert(None).to_numpy()  # not a difference of Timestamps: those end in the year 2262
        steps = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[np.datetime_data(ticks.dtype)[0]]
        return np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / steps)
    elif column.kind == "duration":
        if not pd.api.types.is_numeric_dtype(series):
            series = pd.to_timedelta(series)
        second: Any = pd.Timedelta(seconds=1)
        out = series / second if getattr(series.dtype, "kind", "") == "m" else series
    else:
        out = pd.to_numeric(series)
    return out.to_numpy(dtype=np.float64, na_value=np.nan)


def _in_form(series: Any, form: str) -> Any:
    """Times from text in one strftime form, or else in ISO 8601."""
    import pandas as pd

    try:
        return pd.to_datetime(series, utc=True, format=form)
    except ValueError:
        return pd.to_datetime(series, utc=True, format="ISO8601")


def bounds(column: Column) -> tuple[float, float]:
    """Closed range of a numeric or time column in the numbers of ``to_number``; infinite where it is open."""
    low, high = column.minimum, column.maximum
    if column.kind in ("datetime", "date"):
        low, high = (None if v is None else float(to_number([v], column)[0]) for v in (low, high))
    return (-np.inf if low is None else float(low), np.inf if high is None else float(high))


def _encode(column: Column, values: Sequence[Any] | Any) -> np.ndarray:
    """Codes or numbers of given values, checked: every value can occur in the column."""
    import pandas as pd

    series = values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=object)
    missing = series.isna().to_numpy()
    if missing.any() and not column.nullable:
        raise ConditionError(f"condition on {column.name!r}: the column has no missing values; give a value")
    if column.is_discrete:
        place, distinct = pd.factorize(series)  # -1 where missing
        code_of = np.empty(len(distinct) + 1, dtype=np.int64)
        code_of[-1] = -1
        for i, value in enumerate(distinct):
            try:
                code_of[i] = column.code_of(value)
            except LookupError as error:
                raise ConditionError(f"condition on {column.name!r}: {error}") from error
        return code_of[place]
    try:
        numbers = to_number(series, column)
    except (TypeError, ValueError) as error:
        shown = series[~missing].iloc[0]
        raise ConditionError(f"condition on {column.name!r}: {shown!r} is no value of kind {column.kind!r}") from error
    part = ~missing & (numbers != np.rint(numbers)) if column.kind == "integer" else np.zeros(len(numbers), dtype=bool)
    if part.any():
        raise ConditionError(
            f"condition on {column.name!r}: {series.iloc[int(np.argmax(part))]!r} is no whole number, and the column "
            "has no others"
        )
    low, high = bounds(column)
    bad = ~missing & ~((numbers >= low) & (numbers <= high))
    if bad.any():
        shown = series.iloc[int(np.argmax(bad))]
        raise ConditionError(
            f"condition on {column.name!r}: {shown!r} is outside what was seen, "
            f"{column.minimum!r} to {column.maximum!r}; ask within it"
        )
    return numbers


def parse_one(column: Column, value: Any) -> Condition:
    """The condition that a scalar, a list or a 2-tuple asks of a column; see :func:`parse`."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ConditionError(f"condition on {column.name!r}: a range is (low, high), with None for open")
        if column.is_discrete and column.kind != "ordinal":
            raise ConditionError(
                f"condition on {column.name!r}: a {column.kind} column has no range; give a value or a list"
            )
        if column.kind == "ordinal":
            k = len(column.categories)
            first = 0 if value[0] is None else int(_encode(column, [value[0]])[0])
            last = k - 1 if value[1] is None else int(_encode(column, [value[1]])[0])
            if first > last:
                raise ConditionError(f"condition on {column.name!r}: the range {value!r} is empty; swap its ends")
            return Condition(column, values=np.arange(first, last + 1))
        ends = []
        for end in value:
            try:
                ends.append(None if end is None else float(to_number([end], column)[0]))
            except (TypeError, ValueError) as error:
                raise ConditionError(
                    f"condition on {column.name!r}: {end!r} is no value of kind {column.kind!r}"
                ) from error
        low, high = ends
        if (low is not None and np.isnan(low)) or (high is not None and np.isnan(high)):
            raise ConditionError(f"condition on {column.name!r}: a range cannot end in a missing value; use None")
        if low is not None and high is not None and low > high:
            raise ConditionError(f"condition on {column.name!r}: the range {value!r} is empty; swap its ends")
        least, most = bounds(column)
        if (low is not None and low > most) or (high is not None and high < least):
            raise ConditionError(
                f"condition on {column.name!r}: the range {value!r} lies outside what was seen, "
                f"{column.minimum!r} to {column.maximum!r}; ask within it"
            )
        return Condition(column, low=low, high=high)
    if isinstance(value, (list, set, frozenset, np.ndarray)):
        if len(value) == 0:
            raise ConditionError(f"condition on {column.name!r}: the list is empty; give at least one value")
        listed = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return Condition(column, values=np.unique(_encode(column, listed)))
    return Condition(column, values=_encode(column, [value]))


def parse(
    conditions: "Mapping[str, Any] | pd.DataFrame | None",
    schema: Schema,
    allowed: Sequence[str],
    *,
    family: str,
    n: int | None = None,
) -> Conditions:
    """Check what the caller asked and bring it into normal form.

    Parameters
    ----------
    conditions
        A mapping of column name to scalar, list or 2-tuple; or a table with one row a sample.
    schema
        The generator's schema.
    allowed
        Columns that this family can condition on.
    family
        Its name, for the messages.
    n
        Number of samples; None for an endless stream, which takes no table.

    Raises
    ------
    ConditionError
        For an unknown column or value, a column that the family cannot condition on, an empty range or list, or a
        table whose rows are not n.
    """
    import pandas as pd

    if conditions is None:
        return Conditions({})
    if not isinstance(conditions, (Mapping, pd.DataFrame)):
        raise ConditionError(f"conditions must be a mapping or a table, not {type(conditions).__name__}")
    is_table = isinstance(conditions, pd.DataFrame)
    if is_table and n is None:
        raise ConditionError("an endless stream takes no table of conditions; give a mapping, or use sample(n, …)")
    if is_table and len(conditions) != n:
        raise ConditionError(f"the table of conditions has {len(conditions)} rows for n={n} samples; make them equal")
    out = {}
    for name in conditions:
        if name not in schema:
            raise ConditionError(f"condition on unknown column {name!r}; {nearest(str(name), schema.names)}")
        if name not in allowed:
            what = f"it conditions on {', '.join(map(repr, allowed))}" if allowed else "it takes no conditions"
            raise ConditionError(f"{family} cannot condition on {name!r}; {what}")
        column = schema[str(name)]
        value: Any = conditions[name]  # type: ignore[index]
        if is_table:
            if isinstance(value, pd.DataFrame):
                raise ConditionError(f"the table of conditions has column {name!r} twice; drop one")
            if len(value):
                out[column.name] = Condition(column, rows=_encode(column, value))
        else:
            out[column.name] = parse_one(column, value)
    return Conditions(out)
