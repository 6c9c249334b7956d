"""Optimal scaling: scores of categories that make the columns of a table as correlated as they can be.

Reference: A. Gifi, "Nonlinear Multivariate Analysis", Wiley, 1990. Each column's scores are those with the largest sum
of squared correlations with the scores of all other columns, found in turn until they settle.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.statistics.gaussian_scores import cumulate, normal_scores

_SWEEPS = 6
_SHRINKAGE = 5.0  # rows without association that the mean of each category is taken together with


def scale_categories(
    codes: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    numbers: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Scores of the categories of each discrete column.

    Parameters
    ----------
    codes
        ``int (n,)`` of each discrete column, 0 to its size - 1.
    sizes
        Number of categories of each discrete column.
    numbers
        ``float (n,)`` of each numeric column, NaN where missing; they enter by their normal scores.
    rng
        Breaks the symmetry of a start without numeric columns.

    Returns
    -------
    dict of str to numpy.ndarray
        ``float (K,)`` for each discrete column; infinite for categories without a row.
    """
    if not codes:
        return {}
    n = len(next(iter(codes.values())))
    counts = {c: np.bincount(codes[c], minlength=k).astype(float) for c, k in sizes.items()}
    rowwise = {c: standardise(rank_scores(v)) for c, v in numbers.items()}
    start = rng.normal(size=n) + sum(rowwise.values())
    scores = {c: class_means(codes[c], start, counts[c], shrink=_SHRINKAGE) for c in sizes}
    rowwise |= {c: standardise(scores[c][codes[c]]) for c in sizes}
    for _ in range(_SWEEPS):
        for c in sizes:
            others = [class_means(codes[c], v, counts[c], shrink=_SHRINKAGE) for o, v in rowwise.items() if o != c]
            if others:
                scores[c] = _leading_scores(np.stack(others, axis=1), counts[c], scores[c])
                rowwise[c] = standardise(scores[c][codes[c]])
    return {c: np.where(counts[c] > 0, scores[c], np.inf) for c in sizes}


def rank_scores(values: np.ndarray) -> np.ndarray:
    """Normal scores of each row's value, 0 where missing; ``(n,)``."""
    known = ~np.isnan(values)
    out = np.zeros(len(values))
    if known.any():
        _, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        out[known] = normal_scores(cumulate(counts))[place]
    return out


def standardise(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    scale = np.sqrt(np.square(centred).mean())
    return centred / scale if scale > 0 else centred


def class_means(codes: np.ndarray, values: Any, counts: np.ndarray, *, shrink: float = 0.0) -> np.ndarray:
    """Mean of ``values (n,)`` in each class, drawn towards 0 in small ones; ``(K,)``."""
    total = np.bincount(codes, weights=np.broadcast_to(values, codes.shape), minlength=len(counts))
    return total / np.maximum(counts + shrink, 1e-12)


def _leading_scores(means: np.ndarray, counts: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Class scores with the largest sum of squared correlations with the columns of ``means (K, d)``; ``(K,)``."""
    weight = np.sqrt(counts / counts.sum())
    left, strength, _ = np.linalg.svd(means * weight[:, None], full_matrices=False)
    if strength[0] < 1e-12:
        return before
    scores = np.where(weight > 0, left[:, 0] / np.where(weight > 0, weight, 1.0), 0.0)
    return -scores if (scores * before * counts).sum() < 0 else scores
