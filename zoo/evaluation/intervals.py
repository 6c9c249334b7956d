"""Intervals and exact tests: of shares, of areas under a curve, of rates at a few false positives.

Formulas of textbooks, each checked in the tests against SciPy or by simulation.
"""

import numpy as np

Z = 1.96  # 97.5 % quantile of the standard normal, in the digits that published intervals are computed with


def wilson_interval(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson score interval of a share among ``n``; 95 % by default (Wilson 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share of ``hits`` among ``n``, each end at half of what the confidence leaves out."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an area under the curve (Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    half = Z * np.sqrt(max(variance, 0.0) / (positives * negatives))
    return float(max(auc - half, 0.0)), float(min(auc + half, 1.0))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties half (Mann and Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def auc_p_value(area: float, positives: int, negatives: int) -> float:
    """One-sided: how often guessing reaches this area (normal approximation of Mann and Whitney, no ties)."""
    from scipy.stats import norm

    return float(norm.sf((area - 0.5) / np.sqrt((positives + negatives + 1) / (12 * positives * negatives))))


def tpr_at(positive: np.ndarray, negative: np.ndarray, fpr: float) -> tuple[float, int]:
    """Share of positives above the threshold that at most ``fpr`` of the negatives exceed, and how many those may be.

    The threshold is the (k+1)-th largest negative score with ``k = floor(fpr * N)``, and a score has to exceed it:
    ties count against the attacker.
    """
    k = int(np.floor(fpr * len(negative) + 1e-9))
    threshold = np.sort(negative)[::-1][k] if k < len(negative) else -np.inf
    return float((positive > threshold).mean()), k


def tpr_p_value(hits: int, positives: int, negatives: int, k: int) -> float:
    """One-sided: how often guessing puts ``hits`` positives above the (k+1)-th largest negative score.

    Exact (negative hypergeometric): all orders of the scores are equally likely when nothing tells the two apart. So
    the threshold, which is itself an estimate, is accounted for.
    """
    from scipy.stats import nhypergeom

    return float(nhypergeom.sf(hits - 1, positives + negatives, positives, k + 1))
