"""Fidelity: do single columns, and pairs of columns, look as they do in the real data?

Both scores follow the definitions that SDMetrics publishes for its quality report (documentation at
docs.sdv.dev/sdmetrics, behaviour of release 0.32), written anew.

Which pairs are averaged matters more than anything else. Since 2026 the report counts only pairs that clearly depend on
each other in the real data (``fidelity.trends``); before, it counted all of them (``fidelity.trends_all``). On Adult,
columns drawn independently score 0.76 by the first and 0.92 by the second, two halves of the real data 0.985 and 0.981:
the second hardly tells a generator without any dependence from a good one. A figure below 0.92 for Adult, as published
for Gaussian copulas (0.75 to 0.85), can only be of the first kind.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.table import Table

CORRELATION_THRESHOLD = 0.5
ASSOCIATION_THRESHOLD = 0.3
_BINS = 10
_DECIMALS = 14  # digits that the published Kolmogorov-Smirnov score rounds to
_DENSE_CELLS = 2_000_000  # contingency tables up to this size are counted densely


def ks_complement(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 minus the two-sample Kolmogorov–Smirnov statistic; missing values are left out.

    Parameters
    ----------
    real, synthetic
        ``float (N,)`` and ``float (M,)``, NaN for missing. Values are rounded to 14 decimals.

    Returns
    -------
    float
        0 to 1, or NaN when one side has no value.
    """
    a, b = (np.sort(np.round(x[~np.isnan(x)], _DECIMALS)) for x in (real, synthetic))
    if not len(a) or not len(b):
        return float("nan")
    grid = np.concatenate([a, b])
    gap = np.searchsorted(a, grid, side="right") / len(a) - np.searchsorted(b, grid, side="right") / len(b)
    return float(1 - np.abs(gap).max())


def tv_complement(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 minus the total variation distance of two columns of codes; missing values (-1) are left out.

    Returns
    -------
    float
        0 to 1, or NaN when one side has no value.
    """
    a, b = real[real >= 0], synthetic[synthetic >= 0]
    if not len(a) or not len(b):
        return float("nan")
    size = int(max(a.max(), b.max())) + 1
    gap = np.bincount(a, minlength=size) / len(a) - np.bincount(b, minlength=size) / len(b)
    return float(1 - 0.5 * np.abs(gap).sum())


def column_shapes(real: Table, synthetic: Table) -> dict[str, float]:
    """Score of each column: KS complement for numbers and instants, TV complement for categories and
    booleans.

    A column that one side misses altogether scores NaN, and is left out of averages, as published.
    """
    return {
        name: ks_complement(real.numbers[name], synthetic.numbers[name])
        if name in real.numbers
        else tv_complement(real.codes[name], synthetic.codes[name])
        for name in real.names
    }


def contingency_similarity(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 minus the total variation distance of two joint distributions, each given as cell numbers ``int
    (N,)``.
    """
    cells, index = np.unique(np.concatenate([real, synthetic]), return_inverse=True)
    a = np.bincount(index[: len(real)], minlength=len(cells)) / len(real)
    b = np.bincount(index[len(real) :], minlength=len(cells)) / len(synthetic)
    return float(1 - 0.5 * np.abs(a - b).sum())


def cramers_v(rows: np.ndarray, columns: np.ndarray) -> float:
    """Cramér's V of two columns of codes from 0, without continuity correction; NaN if one of them is
    constant.
    """
    r, c = np.bincount(rows), np.bincount(columns)
    least = min(np.count_nonzero(r), np.count_nonzero(c))
    if least < 2:
        return float("nan")
    cells, counts = _count(rows * len(c) + columns, len(r) * len(c))
    # n * phi^2 = sum(n_ij^2 / (r_i c_j)) * n - n; empty cells contribute nothing to the sum
    phi2 = (counts.astype(np.float64) ** 2 / (r[cells // len(c)] * 1.0 * c[cells % len(c)])).sum() - 1
    return float(np.sqrt(max(phi2, 0.0) / (least - 1)))


def _count(cells: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size <= _DENSE_CELLS:
        counts = np.bincount(cells, minlength=size)
        where = np.flatnonzero(counts)
        return where, counts[where]
    return np.unique(cells, return_counts=True)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation over the rows where both are present; NaN if undefined."""
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both].astype(np.float64), y[both].astype(np.float64)
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else float("nan")


def _is_constant(values: np.ndarray) -> bool:
    present = values[~np.isnan(values)]
    return len(present) > 0 and bool((present == present[0]).all())


def _edges(values: np.ndarray) -> np.ndarray | None:
    """Edges of ten bins of equal width; None where the numbers leave no room for ten (one large value, say)."""
    try:
        return np.histogram_bin_edges(values[~np.isnan(values)], bins=_BINS)
    except ValueError:
        return None


def _digitize(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    # NaN goes to the last index, where the published report puts the maximum and missing values together.
    return np.digitize(values, edges)


@dataclass(frozen=True)
class PairTrend:
    """How alike the dependence of two columns is in real and synthetic data.

    ``strength`` is the dependence in the real data: absolute Pearson correlation or Cramér's V, NaN when it
    is not defined; ``strong`` says whether it passes the threshold. ``shared_bins`` is the score with the
    bins of the real column on both sides.
    """

    first: str
    second: str
    measure: str
    score: float
    strength: float
    strong: bool
    shared_bins: float


def _pair_numbers(real: Table, synthetic: Table, a: str, b: str, constant: set[str]) -> PairTrend:
    if a in constant or b in constant:
        return PairTrend(a, b, "correlation", float("nan"), float("nan"), False, float("nan"))
    r = pearson(real.numbers[a], real.numbers[b])
    s = pearson(synthetic.numbers[a], synthetic.numbers[b])
    score = 1 - abs(r - s) / 2
    return PairTrend(a, b, "correlation", score, abs(r), abs(r) > CORRELATION_THRESHOLD, score)


def pair_trends(real: Table, synthetic: Table, *, rows: int | None, rng: np.random.Generator) -> list[PairTrend]:
    """Compare every pair of columns.

    Parameters
    ----------
    real, synthetic
        Tables that were encoded together.
    rows
        Contingency tables are counted on at most so many rows of each table, drawn once with ``rng`` (the
        published report draws 50,000 anew for each pair); correlations use all rows.

    Notes
    -----
    Two numeric or time columns: ``1 - |r_real - r_synthetic| / 2`` with Pearson's r over the rows where both
    are present; not computable, and left out, when one column is constant on either side.

    Any other pair: 1 minus the total variation distance of the joint distributions. Missing is a category of
    its own. The numeric side is cut into ten bins of equal width *between its own minimum and maximum, in
    each table separately*, which is what the published report does (its documentation speaks of the real
    data's bins; ``shared_bins`` is that reading). The maximum falls in a bin of its own together with
    missing values.

    A pair is strong when the real |r| is above 0.5, or the real Cramér's V above 0.3.
    """
    constant = {n for n in real.numbers if _is_constant(real.numbers[n]) or _is_constant(synthetic.numbers[n])}
    tables = [real, synthetic]
    if rows is not None and max(len(real), len(synthetic)) > rows:
        picks = [np.sort(rng.choice(len(t), min(rows, len(t)), replace=False)) for t in tables]
    else:
        picks = [np.arange(len(t)) for t in tables]
    own: dict[str, list[np.ndarray]] = {}
    shared: dict[str, list[np.ndarray]] = {}
    failed: set[str] = set()
    for name in real.names:
        if name in real.codes:
            size = len(real.categories[name])
            own[name] = [np.where(t.codes[name] < 0, size, t.codes[name])[p] for t, p in zip(tables, picks)]
            shared[name] = own[name]
            continue
        edges = [e for t in tables if (e := _edges(t.numbers[name])) is not None]
        if len(edges) < 2:
            failed.add(name)
            continue
        own[name] = [_digitize(t.numbers[name][p], e) for t, p, e in zip(tables, picks, edges)]
        open_edges = np.concatenate([[-np.inf], edges[0][1:-1], [np.inf]])
        shared[name] = [_digitize(t.numbers[name][p], open_edges) for t, p in zip(tables, picks)]
    out = []
    for a, b in itertools.combinations(real.names, 2):
        if a in real.numbers and b in real.numbers:
            out.append(_pair_numbers(real, synthetic, a, b, constant))
        elif a in failed or b in failed:
            out.append(PairTrend(a, b, "contingency", float("nan"), float("nan"), False, float("nan")))
        else:
            out.append(_pair_cells(a, b, own, shared))
    return out


def _joint(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    width = max(int(x.max()) for x in b) + 1
    size = (max(int(x.max()) for x in a) + 1) * width
    cells = [x * width + y for x, y in zip(a, b)]
    if size > _DENSE_CELLS:
        return contingency_similarity(cells[0], cells[1])
    real, synthetic = (np.bincount(c, minlength=size) / len(c) for c in cells)
    return float(1 - 0.5 * np.abs(real - synthetic).sum())


def _pair_cells(a: str, b: str, own: dict[str, list[np.ndarray]], shared: dict[str, list[np.ndarray]]) -> PairTrend:
    score = _joint(own[a], own[b])
    same = own[a] is shared[a] and own[b] is shared[b]
    v = cramers_v(own[a][0], own[b][0])
    with_real_bins = score if same else _joint(shared[a], shared[b])
    return PairTrend(a, b, "contingency", score, v, v > ASSOCIATION_THRESHOLD, with_real_bins)


def _mean(values: list[float]) -> float:
    present = [v for v in values if not np.isnan(v)]
    return float(np.mean(present)) if present else float("nan")


_SHAPES = "SDMetrics quality report, column shapes (docs.sdv.dev/sdmetrics)"
_TRENDS = "SDMetrics quality report, column pair trends (docs.sdv.dev/sdmetrics)"


@metric(
    "fidelity.shapes",
    title="Column shapes",
    modalities=("tabular", "timeseries"),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="How alike each single column's distribution is, averaged over the columns; says nothing of how "
    "columns hang together.",
    reference=_SHAPES,
)
def shapes(trial: Trial) -> Measurement:
    """Mean over columns of the Kolmogorov–Smirnov or total-variation complement against the training rows."""
    real, synthetic = (trial.kit.as_table(d) for d in (trial.train, trial.synthetic))
    scores = column_shapes(real, synthetic)
    value = _mean(list(scores.values()))
    if np.isnan(value):
        raise NotComputable("no column has values on both sides")
    left_out = [n for n, s in scores.items() if np.isnan(s)]
    return Measurement(
        value=value,
        details={
            "columns": {n: s for n, s in scores.items() if not np.isnan(s)},
            "not_computable": left_out,
            "ignored": list(real.ignored),
        },
    )


def _trends_of(trial: Trial) -> list[PairTrend]:
    if "trends" not in trial.cache:
        real, synthetic = (trial.kit.as_table(d) for d in (trial.train, trial.synthetic))
        if len(real.names) < 2:
            raise NotComputable("there is one column only, so there are no pairs")
        rng = trial.rng("fidelity.trends")
        trial.cache["trends"] = pair_trends(real, synthetic, rows=trial.limits.contingency, rng=rng)
    return trial.cache["trends"]


def _describe(pairs: list[PairTrend]) -> dict[str, Any]:
    shown = [p for p in pairs if not np.isnan(p.score)]
    return {
        "pairs": [
            [p.first, p.second, p.measure, p.score, None if np.isnan(p.strength) else p.strength, p.strong]
            for p in shown
        ],
        "compared": len(shown),
        "not_computable": len(pairs) - len(shown),
        "shared_bins": _mean([p.shared_bins for p in pairs]),
    }


@metric(
    "fidelity.trends",
    rows="contingency",
    title="Pair trends",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="How alike the dependence between two columns is, averaged over the pairs that clearly depend on "
    "each other in the real data.",
    reference=_TRENDS,
)
def trends(trial: Trial) -> Measurement:
    """Mean pair score over the strong pairs: real |r| > 0.5, or real Cramér's V > 0.3 (the report's
    defaults).
    """
    pairs = [p for p in _trends_of(trial) if p.strong]
    value = _mean([p.score for p in pairs])
    if np.isnan(value):
        raise NotComputable(
            f"no pair of real columns is strongly dependent (correlation above {CORRELATION_THRESHOLD} or "
            f"Cramér's V above {ASSOCIATION_THRESHOLD})"
        )
    return Measurement(value=value, details=_describe(pairs))


@metric(
    "fidelity.trends_all",
    rows="contingency",
    title="Pair trends, all pairs",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="The same over all pairs of columns, those without any dependence too; papers before 2026 report this one.",
    reference=_TRENDS + ", both thresholds zero",
)
def trends_all(trial: Trial) -> Measurement:
    """Mean pair score over all pairs that can be computed."""
    pairs = _trends_of(trial)
    value = _mean([p.score for p in pairs])
    if np.isnan(value):
        raise NotComputable("no pair of columns can be compared: each has a constant or all-missing column")
    return Measurement(value=value, details=_describe(pairs))
