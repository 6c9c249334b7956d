"""Singling out: does the synthetic table hand an attacker predicates that isolate one person in the training data?

One of the three risks of the Article 29 Working Party's opinion on anonymisation, measured as Giomi et al. 2023 do: an
attacker reads predicates from the synthetic data that hold for one synthetic record, and wins when a predicate holds
for exactly one training record. Some succeed by chance, so the same predicates are tried on as many people who were not
in the training data (the control), and predicates that know nothing but the columns' ranges are tried too (the naive
guess). The risk is what is gained over the control.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.intervals import excess_risk, mcnemar_p_value, wilson_interval
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.table import Table

_REFERENCE = "Giomi, Boenisch, Wehmeyer and Tasnádi 2023, Anonymeter (arXiv:2211.10459)"
_COLUMNS = 5  # of a predicate of several; of 3, three in a thousand isolate a record of 32,561 (Adult), too few to try
_TRIES = 20  # random predicates for each that is wanted
_FEWEST = 20


@dataclass(frozen=True)
class Condition:
    """One condition on one column: ``value`` in the table's own form, NaN or -1 for missing."""

    column: str
    sign: str  # "=", "!=", "<=" or ">="
    value: float

    def holds(self, table: Table) -> np.ndarray:
        """``bool (N,)``; a missing value meets no inequality."""
        values = table.numbers[self.column] if self.column in table.numbers else table.codes[self.column]
        if np.isnan(self.value):
            return np.isnan(values)
        if self.sign == "=":
            return values == self.value
        if self.sign == "!=":
            return values != self.value
        return values <= self.value if self.sign == "<=" else values >= self.value


Predicate = tuple[Condition, ...]


def count(predicate: Predicate, table: Table) -> int:
    """How many rows meet all conditions."""
    held = predicate[0].holds(table)
    for condition in predicate[1:]:
        held = held & condition.holds(table)
    return int(held.sum())


def univariate(synthetic: Table, rng: np.random.Generator) -> Iterator[Predicate]:
    """In random order: values that occur once, and the extremes of each column where they do."""
    found: list[Predicate] = []
    for name in synthetic.names:
        values = synthetic.numbers[name] if name in synthetic.numbers else synthetic.codes[name]
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
    medians = {n: float(np.nanmedian(v)) if not np.isnan(v).all() else np.nan for n, v in synthetic.numbers.items()}
    for _ in range(tries):
        row = int(rng.integers(len(synthetic)))
        chosen = rng.choice(len(synthetic.names), min(_COLUMNS, len(synthetic.names)), replace=False)
        conditions = []
        for name in (synthetic.names[i] for i in sorted(chosen)):
            if name in synthetic.codes:
                conditions.append(Condition(name, "=", float(synthetic.codes[name][row])))
                continue
            value = float(synthetic.numbers[name][row])
            value = np.nan if np.isnan(value) else value  # one NaN, so that equal predicates are equal
            sign = "=" if np.isnan(value) else ">=" if value >= medians[name] else "<="
            conditions.append(Condition(name, sign, value))
        yield tuple(conditions)


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
    kept: dict[Predicate, None] = {}
    for predicate in candidates:
        if len(kept) == wanted:
            break
        if predicate not in kept and count(predicate, synthetic) == 1:
            kept[predicate] = None
    return list(kept)


def _single_out(trial: Trial, columns: int) -> Measurement:
    kit, limits = trial.kit, trial.limits
    if trial.holdout is None:
        raise NotComputable("there is no holdout; pass holdout= with real rows that the generator has not seen")
    rng = trial.rng(f"singling_out.{columns}")
    rows = min(kit.length(trial.train), kit.length(trial.holdout), limits.attack_synthetic)
    train = trial.sample(trial.train, rows, "singling_out.train")
    control = trial.sample(trial.holdout, rows, "singling_out.holdout")
    synthetic = trial.synthetic
    tries = univariate(synthetic, rng) if columns == 1 else multivariate(synthetic, rng, _TRIES * limits.guesses)
    guesses = _guesses(tries, synthetic, limits.guesses)
    if len(guesses) < _FEWEST:
        raise NotComputable(f"{len(guesses)} predicates single out one synthetic record, fewer than {_FEWEST}")
    hit, missed = (np.array([count(g, table) == 1 for g in guesses]) for table in (train, control))
    naive = sum(count(g, train) == 1 for g in blind(synthetic, rng, columns, len(guesses)))
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
