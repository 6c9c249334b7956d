"""Ordered codes in groups of neighbours that hold about as many rows each."""

import numpy as np


def neighbour_groups(counts: np.ndarray, most: int) -> np.ndarray:
    """The group of each code, rising from 0 in steps of 1 at most.

    A code that many rows share is a group of its own, and the others are parted the more finely for it.

    Parameters
    ----------
    counts
        Rows of each code, ``(K,)``, at least 0.
    most
        Number of groups at most; where there are no more codes, each is its own.

    Returns
    -------
    numpy.ndarray
        ``int64 (K,)``.
    """
    if len(counts) <= most:
        return np.arange(len(counts))
    middle = np.cumsum(counts) - counts / 2
    share = middle / max(float(counts.sum()), 1.0)
    best, parts = np.zeros(len(counts), dtype=np.int64), most
    while True:
        cell = np.minimum((share * parts).astype(np.int64), parts - 1)
        group = np.cumsum(np.diff(cell, prepend=cell[0]) > 0, dtype=np.int64)
        if group[-1] >= most or parts > 2**40:
            return best
        best, parts = group, 2 * parts
