"""Distances between whole distributions, and between numeric columns in their own scale."""

from typing import Any

import numpy as np

from zoo.evaluation.fidelity import ks_complement
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric

_LOW: dict[str, Any] = {"direction": "lower", "ideal": 0.0}


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Area between two distribution functions: how far values move on average (order 1)."""
    grid = np.sort(np.concatenate([a, b]))
    left, right = (np.searchsorted(np.sort(x), grid[:-1], side="right") / len(x) for x in (a, b))
    return float((np.abs(left - right) * np.diff(grid)).sum())


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of all pairs of rows, ``float64 (N, M)``."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0)


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, unbiased (Székely and Rizzo 2013); may be slightly below 0."""
    n, m = len(a), len(b)
    between = np.sqrt(squared_distances(a, b)).mean()
    within = [np.sqrt(squared_distances(x, x)) for x in (a, b)]
    for w in within:
        np.fill_diagonal(w, 0.0)
    return float(2 * between - within[0].sum() / (n * (n - 1)) - within[1].sum() / (m * (m - 1)))


def squared_mmd(a: np.ndarray, b: np.ndarray, width: float) -> float:
    """Squared maximum mean discrepancy by the kernel ``exp(-d^2 / (2 width^2))``, unbiased (Gretton et al. 2012)."""
    n, m = len(a), len(b)
    cross, *within = (np.exp(-squared_distances(x, y) / (2 * width**2)) for x, y in ((a, b), (a, a), (b, b)))
    return float(
        (within[0].sum() - np.trace(within[0])) / (n * (n - 1))
        + (within[1].sum() - np.trace(within[1])) / (m * (m - 1))
        - 2 * cross.mean()
    )


def _numeric(trial: Trial, measure: Any) -> Measurement:
    real, synthetic = (trial.kit.as_table(d) for d in (trial.train, trial.synthetic))
    each = {}
    for name, values in real.numbers.items():
        a, b = (v[~np.isnan(v)].astype(np.float64) for v in (values, synthetic.numbers[name]))
        if len(a) and len(b):
            each[name] = measure(a, b)
    if not each:
        raise NotComputable("no numeric column has values on both sides")
    worst = max(each, key=lambda n: each[n])
    return Measurement(value=float(np.mean(list(each.values()))), details={"columns": each, "worst_column": worst})


@metric(
    "fidelity.wasserstein",
    title="Wasserstein distance of numbers",
    modalities=("tabular", "timeseries"),
    span=(0.0, None),
    plain="How far the values of a numeric column would have to be moved on average, in standard deviations of the "
    "real column.",
    reference="Order 1: the area between the distribution functions",
    **_LOW,
)
def column_wasserstein(trial: Trial) -> Measurement:
    """Mean over numeric columns of the Wasserstein distance by the training column's standard deviation."""
    return _numeric(trial, lambda a, b: wasserstein(a, b) / (float(a.std()) or 1.0))


@metric(
    "fidelity.kolmogorov_smirnov",
    title="Kolmogorov–Smirnov distance of numbers",
    modalities=("tabular", "timeseries"),
    span=(0.0, 1.0),
    plain="Largest difference between the real and synthetic share of values below any point, averaged over numeric "
    "columns.",
    reference="Two-sample Kolmogorov–Smirnov statistic",
    **_LOW,
)
def column_kolmogorov_smirnov(trial: Trial) -> Measurement:
    """Mean over numeric columns of the two-sample statistic."""
    return _numeric(trial, lambda a, b: 1 - ks_complement(a, b))


def _points(trial: Trial, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of at most 2,000 training and 2,000 synthetic rows."""
    real, synthetic = (
        trial.sample(d, trial.limits.pairs, f"{purpose}.{i}") for i, d in enumerate((trial.train, trial.synthetic))
    )
    a, b = trial.kit.points(trial.train, real, synthetic)
    if a.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    if min(a.shape[0], b.shape[0]) < 2:
        raise NotComputable("one row has no distance to another of its side")
    return tuple(x.toarray() if hasattr(x, "toarray") else x for x in (a, b))


@metric(
    "fidelity.mmd",
    title="Maximum mean discrepancy",
    modalities=("tabular", "timeseries", "image"),
    span=(None, None),
    cost="medium",
    rows="pairs",
    depth="full",
    plain="How far the two clouds of samples are apart as a whole; 0 when they are one, slightly below by chance.",
    reference="Gretton et al. 2012, A Kernel Two-Sample Test; squared, unbiased, Gaussian kernel of median distance",
    **_LOW,
)
def mmd(trial: Trial) -> Measurement:
    """Squared maximum mean discrepancy on 2,000 rows of each side."""
    a, b = _points(trial, "mmd")
    distances = squared_distances(a[:500], a[:500])
    width = float(np.sqrt(np.median(distances[distances > 0]))) if (distances > 0).any() else 1.0
    value = squared_mmd(a, b, width)
    return Measurement(value=value, details={"rows": [len(a), len(b)], "kernel_width": width})


@metric(
    "fidelity.energy",
    title="Energy distance",
    modalities=("tabular", "timeseries", "image"),
    span=(None, None),
    cost="medium",
    rows="pairs",
    depth="full",
    plain="How much further synthetic samples are from real ones than each are from their own kind.",
    reference="Székely and Rizzo 2013 (doi 10.1016/j.jspi.2013.03.018), unbiased",
    **_LOW,
)
def energy(trial: Trial) -> Measurement:
    """Energy distance on 2,000 rows of each side."""
    a, b = _points(trial, "energy")
    return Measurement(value=energy_distance(a, b), details={"rows": [len(a), len(b)]})


def pmse_ratio(x: np.ndarray, y: np.ndarray) -> float:
    """Propensity mean squared error of a logistic regression, by what it is on average for two alike samples.

    That is ``k c (1 - c) / N`` for k coefficients (the constant not counted) and a share c of synthetic rows among N.
    Snoke et al. 2018 (theorem 1) have ``k c (1 - c)^2 / N``, for rows drawn from a model fitted to the real ones: at
    c = 1/2 half of it, since only one of the two samples then varies.
    """
    from sklearn.linear_model import LogisticRegression

    from zoo.evaluation.learners import fit_quietly

    rank = np.linalg.matrix_rank(x - x.mean(axis=0))
    if rank == 0:
        raise NotComputable("every row is the same, so nothing can tell the two sides apart")
    c, n = float(y.mean()), len(y)
    model = fit_quietly(LogisticRegression(C=1e6, max_iter=300), x, y)
    return float(((model.predict_proba(x)[:, 1] - c) ** 2).mean() / (rank * c * (1 - c) / n))


@metric(
    "fidelity.pmse_ratio",
    title="Propensity score, pMSE ratio",
    modalities=("tabular",),
    span=(0.0, None),
    direction="lower",
    ideal=1.0,
    cost="medium",
    rows="pairs",
    depth="full",
    plain="How much better a simple model can say whether a row is synthetic than chance alone would let it (1).",
    reference="Snoke, Raab, Nowok, Dibben and Slavković 2018 (doi 10.1111/rssa.12358), for independent samples",
)
def propensity(trial: Trial) -> Measurement:
    """pMSE ratio of a logistic regression on main effects, on 2,000 rows of each side."""
    a, b = _points(trial, "pmse")
    return Measurement(
        value=pmse_ratio(np.concatenate([a, b]).astype(np.float64), np.repeat([0, 1], [len(a), len(b)])),
        details={"rows": [len(a), len(b)]},
    )
