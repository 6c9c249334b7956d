"""Released tables: k-anonymity, l-diversity and t-closeness, for masked real rows rather than for samples.

People who look alike in the *quasi-identifiers* (what a neighbour could know: age, place, profession) form a class.
Each measure is the worst class's. They are properties of the table as it is, so their intervals are points.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import DataError, nearest
from zoo.evaluation.metric import Measurement, NotApplicable, Trial, metric
from zoo.evaluation.table import Table


def classes(columns: list[np.ndarray]) -> np.ndarray:
    """Number of the class of each row, ``int64 (N,)``: rows that agree in all columns; missing agrees with missing."""
    frame = pd.DataFrame({i: np.unique(c, return_inverse=True)[1] for i, c in enumerate(columns)})
    return frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()


def smallest_class(group: np.ndarray) -> int:
    """k of k-anonymity: rows in the smallest class (Sweeney 2002)."""
    return int(np.bincount(group).min())


def fewest_values(group: np.ndarray, sensitive: np.ndarray) -> int:
    """l of distinct l-diversity: sensitive values in the class that has the fewest (Machanavajjhala et al. 2007)."""
    pairs = pd.DataFrame({"group": group, "value": np.unique(sensitive, return_inverse=True)[1]}).drop_duplicates()
    return int(pairs.groupby("group").size().min())


def furthest_class(group: np.ndarray, sensitive: np.ndarray, *, ordered: bool) -> float:
    """t of t-closeness: largest distance of a class's sensitive values from those of the whole table (Li et al. 2007).

    Earth mover's distance: between categories all are equally far (total variation); ordered values are as far as their
    ranks are apart, by the largest rank.
    """
    values, place = np.unique(sensitive, return_inverse=True)
    m = len(values)
    counts = np.zeros((int(group.max()) + 1, m)) if m * (int(group.max()) + 1) <= 20_000_000 else None
    whole = np.bincount(place, minlength=m) / len(place)
    if counts is not None:
        np.add.at(counts, (group, place), 1)
        gap = counts / counts.sum(axis=1, keepdims=True) - whole  # (G, M)
        return float(_mover(gap, ordered).max())
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    parts = np.split(place[order], starts[1:])
    return max(float(_mover((np.bincount(p, minlength=m) / len(p) - whole)[None], ordered)[0]) for p in parts)


def _mover(gap: np.ndarray, ordered: bool) -> np.ndarray:
    if not ordered:
        return 0.5 * np.abs(gap).sum(axis=1)
    return np.abs(np.cumsum(gap, axis=1)).sum(axis=1) / max(gap.shape[1] - 1, 1)


def k_anonymity(table: pd.DataFrame, quasi_identifiers: Sequence[str]) -> int:
    """Size of the smallest class of rows that agree in the quasi-identifiers.

    Raises
    ------
    DataError
        Of no rows, no quasi-identifiers, or one that is no column.
    """
    return smallest_class(classes([_codes(table, n) for n in _known(table, quasi_identifiers)]))


def l_diversity(table: pd.DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> int:
    """Fewest different values of the sensitive column in a class; raises as :func:`k_anonymity`."""
    group = classes([_codes(table, n) for n in _known(table, quasi_identifiers)])
    return fewest_values(group, _codes(table, _known(table, [sensitive])[0]))


def t_closeness(table: pd.DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> float:
    """Largest distance of a class from the whole table in the sensitive column, 0 to 1; numbers count as ordered."""
    group = classes([_codes(table, n) for n in _known(table, quasi_identifiers)])
    name = _known(table, [sensitive])[0]
    ordered = pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name])
    return furthest_class(group, _codes(table, name), ordered=ordered)


def _known(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    if len(table) == 0 or len(names) == 0:
        raise DataError("a released table needs rows, and quasi_identifiers at least one column")
    for name in names:
        if name not in table.columns:
            raise DataError(f"{name!r} is no column of the released table; {nearest(name, table.columns)}")
    return list(names)


def _codes(table: pd.DataFrame, name: str) -> np.ndarray:
    return pd.factorize(table[name], sort=True, use_na_sentinel=True)[0]


def _classes_of(trial: Trial) -> np.ndarray:
    if not trial.quasi_identifiers:
        raise NotApplicable("no quasi_identifiers were named; these measures are for released tables")
    return classes([_column(trial.synthetic, n) for n in trial.quasi_identifiers])


def _column(table: Table, name: str) -> np.ndarray:
    return table.numbers[name] if name in table.numbers else table.codes[name]


def _sensitive(trial: Trial) -> list[str]:
    named = [n for n in trial.sensitive if n not in trial.quasi_identifiers]
    if not named:
        raise NotApplicable("no sensitive column was named")
    return named


_SHARED: dict[str, Any] = {"modalities": ("tabular",), "needs": ("quasi_identifiers",), "ceiling": "train"}


@metric(
    "privacy.k_anonymity",
    title="k-anonymity",
    span=(1.0, None),
    direction="higher",
    ideal=None,
    plain="How many people at least look alike in what a neighbour could know; 1 means that someone stands alone.",
    reference="Sweeney 2002 (doi 10.1142/S0218488502001648)",
    **_SHARED,
)
def k_anonymity_metric(trial: Trial) -> Measurement:
    """Rows in the smallest class of the quasi-identifiers, and the share of rows that stand alone."""
    group = _classes_of(trial)
    k = smallest_class(group)
    alone = float((np.bincount(group)[group] == 1).mean())
    return Measurement(value=float(k), interval=(float(k), float(k)), details={"share_that_stands_alone": alone})


@metric(
    "privacy.l_diversity",
    title="l-diversity",
    span=(1.0, None),
    direction="higher",
    ideal=None,
    plain="How many different sensitive values people who look alike have at least; 1 means that the value is known.",
    reference="Machanavajjhala et al. 2007 (doi 10.1145/1217299.1217302), distinct",
    **_SHARED,
)
def l_diversity_metric(trial: Trial) -> Measurement:
    """Fewest different values of a sensitive column in a class, over the sensitive columns."""
    group = _classes_of(trial)
    each = {n: float(fewest_values(group, _column(trial.synthetic, n))) for n in _sensitive(trial)}
    worst = min(each.values())
    return Measurement(value=worst, interval=(worst, worst), details={"columns": each})


@metric(
    "privacy.t_closeness",
    title="t-closeness",
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    plain="How far the sensitive values of people who look alike are at most from those of everyone.",
    reference="Li, Li and Venkatasubramanian 2007 (doi 10.1109/ICDE.2007.367856)",
    **_SHARED,
)
def t_closeness_metric(trial: Trial) -> Measurement:
    """Largest earth mover's distance of a class from the table, over the sensitive columns."""
    group, table = _classes_of(trial), trial.synthetic
    each = {n: furthest_class(group, _column(table, n), ordered=n in table.numbers) for n in _sensitive(trial)}
    worst = max(each.values())
    return Measurement(value=worst, interval=(worst, worst), details={"columns": each})
