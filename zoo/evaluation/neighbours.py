"""Nearest records, by blocks: the memory of a search grows with its rows, never with the pairs of rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

_CHUNK = 1024  # rows of distances at a time: 1024 x 16,000 float32 take 66 MB


def nearest(points: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distance ``float64 (N,)`` of each row to the closest row of ``reference``, and that row's index ``int64 (N,)``.

    Dense rows: Euclidean; the closest row is searched by inner products in float32 and its distance then
    computed exactly in float64, so that a copy is at distance 0. Sparse unit rows: 1 minus the cosine.
    Memory is bounded by 1,024 rows of distances at a time.
    """
    distances, index = k_nearest(points, reference, 1)
    return distances[:, 0], index[:, 0]


def k_nearest(points: Any, reference: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances ``float64 (N, k)`` to the k closest rows of ``reference``, ascending, and their indices.

    Fewer columns where ``reference`` has fewer rows; see :func:`nearest` for what a distance is.
    """
    k = min(k, reference.shape[0])
    distances = np.empty((points.shape[0], k))
    index = np.empty((points.shape[0], k), dtype=np.int64)
    for start, found, near in _blocks(points, reference, k):
        order = np.argsort(near, axis=1, kind="stable")
        distances[start : start + len(near)] = np.take_along_axis(near, order, axis=1)
        index[start : start + len(near)] = np.take_along_axis(found, order, axis=1)
    return distances, index


def _blocks(points: Any, reference: Any, k: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(start, indices (n, k), distances (n, k)) of each block of rows, in no order within a row."""
    if hasattr(points, "tocsr"):
        transposed = reference.T.tocsr()
        for start in range(0, points.shape[0], _CHUNK):
            cosine = (points[start : start + _CHUNK] @ transposed).toarray()
            found = _largest(cosine, k)
            yield start, found, np.maximum(1 - np.take_along_axis(cosine, found, axis=1), 0)
        return
    centre = reference.mean(axis=0)  # centred, so that float32 loses little
    points, reference = points - centre, reference - centre
    half_norms = 0.5 * np.einsum("ij,ij->i", reference, reference)
    for start in range(0, len(points), _CHUNK):
        block = points[start : start + _CHUNK]
        found = _largest(block @ reference.T - half_norms, k)
        gaps = block[:, None, :].astype(np.float64) - reference[found]  # (n, k, D)
        yield start, found, np.linalg.norm(gaps, axis=2)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns ``int64 (n, k)`` of the k largest scores of each row."""
    if k == 1:
        return scores.argmax(axis=1)[:, None]
    return np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
