"""Singling out: does the synthetic table hand an attacker predicates that isolate one person in the training data?

One of the three risks of the Article 29 Working Party's opinion on anonymisation, measured as Giomi et al. 2023 do: an
attacker reads predicates from the synthetic data that hold for one synthetic record, and wins when a predicate holds
for exactly one training record. Some succeed by chance, so the same predicates are tried on as many people who were not
in the training data (the control), and predicates that know nothing but the columns' ranges are tried too (the naive
guess). The risk is what is gained over the control.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from zoo.evaluation.intervals import excess_risk, mcnemar_p_value, wilson_interval
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.table import Table

_REFERENCE = "Giomi, Boenisch, Wehmeyer and Tasnádi 2023, Anonymeter (arXiv:2211.10459)"
_COLUMNS = 5  # of a predicate of several; of 3, three in a thousand isolate a record of 32,561 (Adult), too few to try
_TRIES = 20  # random predicates for each that is wanted
_FEWEST = 20


class Condition(NamedTuple):
    """One condition on one column: ``value`` in the table's own form, NaN or -1 for missing."""

    column: str
    sign: str  # "=", "!=", "<=" or ">="
    value: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """``bool (N,)`` for values of the column; a missing value meets no inequality."""
        if self.value != self.value:
            return np.isnan(values)
        if self.sign == "=":
            return values == self.value
        if self.sign == "!=":
            return values != self.value
        return values <= self.value if self.sign == "<=" else values >= self.value


Predicate = tuple[Condition, ...]


class Counter:
    """How many rows of a table meet predicates: rows are sorted by each column once, and looked at from the condition
    that holds for the fewest.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sorted: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._spans: dict[Condition, tuple[int, int, Condition]] = {}

    def __call__(self, predicate: Predicate) -> int:
        """How many rows meet all conditions."""
        spans = []
        for condition in predicate:
            span = self._spans.get(condition)
            if span is None:
                span = self._spans[condition] = self._span(condition)
            spans.append(span)
        spans.sort(key=lambda span: span[1] - span[0])
        low, high, first = spans[0]
        rows = self._column(first.column)[2][low:high]
        for _, _, condition in spans:
            if not len(rows):
                break
            if condition is not first or condition.sign == "!=":
                rows = rows[condition.holds(self._column(condition.column)[0][rows])]
        return len(rows)

    def _column(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, values in rising order (NaN last), and the rows that they are of."""
        if name not in self._sorted:
            values = _values(self._table, name).astype(np.float64, copy=False)  # of one type with what is searched
            order = np.argsort(values, kind="stable")
            self._sorted[name] = values, values[order], order
        return self._sorted[name]

    def _span(self, condition: Condition) -> tuple[int, int, Condition]:
        """From where to where in the order of its column a condition may hold; all rows for "!="."""
        rising = self._column(condition.column)[1]
        value = condition.value
        if condition.sign == "!=":
            return 0, len(rising), condition
        if value != value:  # NaN stands last
            return int(rising.searchsorted(np.nan)), len(rising), condition
        low = 0 if condition.sign == "<=" else int(rising.searchsorted(value))
        if condition.sign == ">=":
            return low, int(rising.searchsorted(np.nan)), condition
        return low, int(rising.searchsorted(value, side="right")), condition


def _values(table: Table, name: str) -> np.ndarray:
    """A column's numbers, or codes."""
    return table.numbers[name] if name in table.numbers else table.codes[name]


def univariate(synthetic: Table, rng: np.random.Generator) -> Iterator[Predicate]:
    """In random order: values that occur once, and the extremes of each column where they do."""
    found: list[Predicate] = []
    for name in synthetic.names:
        values = _values(synthetic, name)
        missing = np.isnan(values) if name in synthetic.numbers else values < 0
        if missing.sum() == 1:
            found.append((Condition(name, "=", np.nan if name in synthetic.numbers else -1.0),))
        single, counts = np.unique(values[~missing], return_counts=True)
        once = single[counts == 1]
        found += [(Condition(name, "=", float(v)),) for v in once]
        if name in synthetic.numbers and len(single):
            found += [
                (Condition(name, sign, float(single[end])),)
                for sign, end in (("<=", 0), (">=", -1))
                if counts[end] == 1
            ]
    for i in rng.permutation(len(found)):
        yield found[i]


def multivariate(synthetic: Table, rng: np.random.Generator, tries: int) -> Iterator[Predicate]:
    """Conditions on five columns that a random synthetic record meets: its category, or its side of the median."""
    names = synthetic.names
    rows = rng.integers(len(synthetic), size=tries)
    chosen = np.argsort(rng.random((tries, len(names))), axis=1)[:, :_COLUMNS]
    chosen.sort(axis=1)
    conditions = []  # of the chosen rows, by column
    for name in names:
        values = _values(synthetic, name)[rows].tolist()
        if name in synthetic.codes:
            conditions.append([Condition(name, "=", float(v)) for v in values])
            continue
        numbers = synthetic.numbers[name]
        median = np.nan if np.isnan(numbers).all() else float(np.nanmedian(numbers))
        # np.nan is one object, so that equal predicates are equal
        conditions.append(
            [
                Condition(name, "=", np.nan) if v != v else Condition(name, ">=" if v >= median else "<=", v)
                for v in values
            ]
        )
    for i, columns in enumerate(chosen.tolist()):
        yield tuple(conditions[j][i] for j in columns)


def blind(synthetic: Table, rng: np.random.Generator, columns: int, n: int) -> list[Predicate]:
    """Predicates of one who knows no more than each column's range and categories."""
    out = []
    for _ in range(n):
        chosen = rng.choice(len(synthetic.names), min(columns, len(synthetic.names)), replace=False)
        conditions = []
        for name in (synthetic.names[i] for i in sorted(chosen)):
            if name in synthetic.codes:
                value = float(rng.integers(max(len(synthetic.categories[name]), 1)))
                conditions.append(Condition(name, str(rng.choice(["=", "!="])), value))
                continue
            seen = synthetic.numbers[name][~np.isnan(synthetic.numbers[name])]
            value = float(rng.uniform(seen.min(), seen.max())) if len(seen) else np.nan
            conditions.append(Condition(name, str(rng.choice(["<=", ">="])), value))
        out.append(tuple(conditions))
    return out


def _guesses(candidates: Iterator[Predicate], synthetic: Table, wanted: int) -> list[Predicate]:
    """Different candidates that hold for exactly one synthetic record."""
    count = Counter(synthetic)
    kept: dict[Predicate, None] = {}
    for predicate in candidates:
        if len(kept) == wanted:
            break
        if predicate not in kept and count(predicate) == 1:
            kept[predicate] = None
    return list(kept)


def _single_out(trial: Trial, columns: int) -> Measurement:
    kit, limits = trial.kit, trial.limits
    if trial.holdout is None:
        raise NotComputable(trial.no_holdout)
    rng = trial.rng(f"singling_out.{columns}")
    rows = min(kit.length(trial.train), kit.length(trial.holdout), limits.attack_synthetic)
    train = trial.sample(trial.train, rows, "singling_out.train")
    control = trial.sample(trial.holdout, rows, "singling_out.holdout")
    synthetic = trial.synthetic
    tries = univariate(synthetic, rng) if columns == 1 else multivariate(synthetic, rng, _TRIES * limits.guesses)
    guesses = _guesses(tries, synthetic, limits.guesses)
    if len(guesses) < _FEWEST:
        raise NotComputable(f"{len(guesses)} predicates single out one synthetic record, fewer than {_FEWEST}")
    of_train, of_control = Counter(train), Counter(control)
    hit, missed = (np.array([count(g) == 1 for g in guesses]) for count in (of_train, of_control))
    naive = sum(of_train(g) == 1 for g in blind(synthetic, rng, columns, len(guesses)))
    risk, interval = excess_risk(int(hit.sum()), len(hit), int(missed.sum()), len(missed))
    return Measurement(
        value=risk,
        interval=interval,
        details=rates(len(guesses), int(hit.sum()), len(guesses), int(missed.sum()), naive / len(guesses))
        | {"rows_of_each": rows, "p_value": mcnemar_p_value(int((hit & ~missed).sum()), int((missed & ~hit).sum()))},
    )


def rates(n: int, hits: int, control_n: int, control_hits: int, naive: float) -> dict[str, Any]:
    """What an attack, its control and the naive guess reached, in the words that the report shows."""
    return {
        "guesses": n,
        "success": hits / n,
        "success_interval": list(wilson_interval(hits / n, n)),
        "control": control_hits / control_n,
        "control_interval": list(wilson_interval(control_hits / control_n, control_n)),
        "naive_guess": naive,
        "stronger_than_naive": bool(hits / n > naive),
    }


_SHARED: dict[str, Any] = {
    "modalities": ("tabular",),
    "span": (0.0, 1.0),
    "direction": "lower",
    "ideal": 0.0,
    "needs": ("holdout",),
    "ceiling": "fresh",
    "floor": "copy",
    "cost": "medium",
    "depth": "full",
    "reference": _REFERENCE,
}


@metric(
    "privacy.singling_out_univariate",
    title="Singling out by one attribute",
    plain="How much better an attacker isolates one training person by a rare or extreme value of the synthetic data "
    "than one isolates a stranger by it.",
    **_SHARED,
)
def singling_out_univariate(trial: Trial) -> Measurement:
    """Excess risk of predicates on one column: values that occur once in the synthetic data, and its extremes."""
    return _single_out(trial, 1)


@metric(
    "privacy.singling_out_multivariate",
    title="Singling out by several attributes",
    plain="The same by five attributes at a time, as a synthetic record combines them.",
    **_SHARED,
)
def singling_out_multivariate(trial: Trial) -> Measurement:
    """Excess risk of predicates on five columns that hold for one synthetic record."""
    return _single_out(trial, _COLUMNS)
