"""Nearest records, by blocks: the memory of a search grows with its rows, never with the pairs of rows."""

from typing import Any

import numpy as np

from zoo.threads import spread

_CHUNK = 1024  # rows of distances at a time: 1024 x 16,000 float32 take 66 MB, in each thread
_SPREAD = 32_768  # chunks times rows of the reference from which threads are worth their start
_FEW = 12  # nearest records that are found one after the other


def nearest(points: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distance ``float64 (N,)`` of each row to the closest row of ``reference``, and that row's index ``int64 (N,)``.

    Dense rows: Euclidean; the closest row is searched by inner products in float32 and its distance then
    computed exactly in float64, so that a copy is at distance 0. Sparse unit rows: 1 minus the cosine.
    Memory is bounded by 1,024 rows of distances at a time in each thread.
    """
    distances, index = k_nearest(points, reference, 1)
    return distances[:, 0], index[:, 0]


def k_nearest(points: Any, reference: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances ``float64 (N, k)`` to the k closest rows of ``reference``, ascending, and their indices.

    Fewer columns where ``reference`` has fewer rows; see :func:`nearest` for what a distance is.
    """
    k = min(k, reference.shape[0])
    starts = range(0, points.shape[0], _CHUNK)
    if hasattr(points, "tocsr"):
        transposed = reference.T.tocsr()
        blocks = [_by_cosine(points[start : start + _CHUNK], transposed, k) for start in starts]
    else:
        centre = reference.mean(axis=0)  # centred, so that float32 loses little
        points, reference = points - centre, reference - centre
        half_norms = 0.5 * np.einsum("ij,ij->i", reference, reference)

        def search(start: int) -> tuple[np.ndarray, np.ndarray]:
            return _by_distance(points[start : start + _CHUNK], reference, half_norms, k)

        threads = len(starts) * reference.shape[0] >= _SPREAD
        blocks = spread(search, starts) if threads else [search(start) for start in starts]
    if not blocks:
        return np.empty((0, k)), np.empty((0, k), dtype=np.int64)
    near, found = (np.concatenate(part) for part in zip(*blocks, strict=True))
    order = np.argsort(near, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(found, order, axis=1)


def _by_cosine(block: Any, transposed: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices ``(n, k)`` of a block of sparse rows, in no order within a row."""
    cosine = (block @ transposed).toarray()
    found, largest = _largest(cosine, k)
    return np.maximum(1 - largest, 0), found


def _by_distance(
    block: np.ndarray, reference: np.ndarray, half_norms: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices ``(n, k)`` of a block of dense rows, in no order within a row."""
    scores = block @ reference.T
    scores -= half_norms
    found, _ = _largest(scores, k)
    gaps = block[:, None, :].astype(np.float64) - reference[found]  # (n, k, D)
    return np.linalg.norm(gaps, axis=2), found


def _largest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns ``int64 (n, k)`` of the k largest scores of each row, and these; the scores are overwritten."""
    if k > _FEW:
        found = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        return found, np.take_along_axis(scores, found, axis=1)
    found, largest = np.empty((len(scores), k), dtype=np.int64), np.empty((len(scores), k), dtype=scores.dtype)
    rows = np.arange(len(scores))
    for i in range(k):  # a maximum is found twenty times as fast as a partition
        found[:, i] = scores.argmax(axis=1)
        largest[:, i] = scores[rows, found[:, i]]
        scores[rows, found[:, i]] = -np.inf
    return found, largest
