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


def excess_risk(
    hits: int, n: int, control_hits: int, control_n: int, z: float = Z
) -> tuple[float, tuple[float, float]]:
    """What an attack gains over its control, ``(r - c) / (1 - c)`` and at least 0, with an interval.

    ``r`` and ``c`` are centres of Wilson's intervals; their half-widths are propagated to first order (Giomi et al.
    2023, arXiv:2211.10459, section 3).
    """
    (r, dr), (c, dc) = (_wilson_centre(h, m, z) for h, m in ((hits, n), (control_hits, control_n)))
    if c >= 1:
        return 0.0, (0.0, 1.0)
    risk = (r - c) / (1 - c)
    half = np.hypot(dr / (1 - c), (1 - r) * dc / (1 - c) ** 2)
    low, high = (float(min(max(v, 0.0), 1.0)) for v in (risk - half, risk + half))
    return float(max(risk, 0.0)), (low, high)


def _wilson_centre(hits: int, n: int, z: float) -> tuple[float, float]:
    low, high = wilson_interval(hits / n, n, z)
    return (low + high) / 2, (high - low) / 2


def fisher_p_value(hits: int, n: int, control_hits: int, control_n: int) -> float:
    """One-sided exact test that the attack succeeds more often than its control (Fisher)."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(hits - 1, n + control_n, hits + control_hits, n))


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """One-sided exact test of pairs that disagree (McNemar): the first succeeds no more often than the second."""
    from scipy.stats import binom

    return float(binom.sf(only_first - 1, only_first + only_second, 0.5))


def mean_interval(values: np.ndarray, span: tuple[float | None, float | None] = (None, None)) -> tuple[float, float]:
    """95 % interval of the mean of a few independent repeats (Student), within ``span``."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    low, high = float(np.mean(values)) - half, float(np.mean(values)) + half
    return max(low, -np.inf if span[0] is None else span[0]), min(high, np.inf if span[1] is None else span[1])


def epsilon_lower_bound(
    hits: int, positives: int, false_alarms: int, negatives: int, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """The smallest epsilon of (epsilon, delta)-differential privacy that an attack's successes do not refute.

    Privacy bounds every test of "the person was in": ``TPR <= exp(epsilon) FPR + delta``, and the same with the two
    kinds of error exchanged. Rates are replaced by the ends of Clopper and Pearson's intervals, each at half of what
    the confidence leaves out, so that the true epsilon is below the bound with at most that probability (Jagielski,
    Ullman and Oprea 2020, arXiv:2006.07709). 0 where nothing is refuted.
    """
    tpr_low = clopper_pearson(hits, positives, confidence)[0]  # one end of each is used, so each errs at half
    fpr_high = clopper_pearson(false_alarms, negatives, confidence)[1]
    ratios = ((tpr_low - delta) / fpr_high, (1 - fpr_high - delta) / (1 - tpr_low))
    return float(max([0.0, *(np.log(r) for r in ratios if r > 0)]))
