"""Mutual information of all pairs of discrete columns, by one product of matrices a column."""

from itertools import pairwise

import numpy as np

_NUMBERS = 2e7  # of the one-hot matrix at most: 80 MB
_PRODUCTS = 2e11
_FEWEST = 200


def pair_information(codes: np.ndarray, sizes: list[int], rng: np.random.Generator) -> np.ndarray:
    """Mutual information of each pair of columns in nats, less what independent columns would show by chance.

    The excess of the plug-in estimate is (K_i - 1) (K_j - 1) / 2n for independent columns (G. A. Miller, "Note on the
    bias of information estimates", 1955).

    Parameters
    ----------
    codes
        ``int (n, D)``; of many rows some are drawn, so that time and memory stay bounded.
    sizes
        Number of codes of each column.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        ``float64 (D, D)``, symmetric, at least 0, with a diagonal of 0.
    """
    total, columns = sum(sizes), len(sizes)
    rows = int(np.clip(min(_NUMBERS / total, _PRODUCTS / total**2), _FEWEST, 10_000))
    if len(codes) > rows:
        codes = codes[rng.choice(len(codes), rows, replace=False)]
    n = len(codes)
    ends = np.cumsum([0, *sizes])
    hot = np.zeros((n, total), dtype=np.float32)
    hot[np.arange(n)[:, None], codes + ends[:-1]] = 1
    share = hot.mean(axis=0, dtype=np.float64)  # (T,)
    own = np.add.reduceat(_p_log_p(share), ends[:-1])  # (D,), minus the entropies
    out = np.zeros((columns, columns))
    for i, (a, b) in enumerate(pairwise(ends)):
        joint = (hot[:, a:b].T @ hot).astype(np.float64) / n  # (K_i, T)
        out[i] = np.add.reduceat(_p_log_p(joint).sum(axis=0), ends[:-1]) - own[i] - own
        out[i] -= (sizes[i] - 1) * (np.array(sizes) - 1) / (2 * n)
    np.fill_diagonal(out, 0)
    return np.maximum((out + out.T) / 2, 0)


def _p_log_p(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))
