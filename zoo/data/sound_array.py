"""One array of an artifact, held against what it has to be: shape, range, finite."""

from collections.abc import Mapping

import numpy as np

from zoo.errors import ArtifactError


def sound_array(
    arrays: Mapping[str, np.ndarray],
    name: str,
    shape: tuple[int | None, ...],
    low: float = -np.inf,
    high: float = np.inf,
    total: float | None = None,
) -> np.ndarray:
    """The array of a name, checked; for a family's ``_set_arrays``, as an artifact may come from anybody.

    Parameters
    ----------
    arrays
        What the artifact holds.
    name
        Which.
    shape
        What its shape has to be; None is any size.
    low, high
        Closed range of its numbers, which are finite in any case.
    total
        What its last axis has to add up to, to 1e-6; 0 is anything above zero.

    Raises
    ------
    ArtifactError
        If the array is not there or not as it should be.
    """
    array = arrays.get(name)
    if array is None:
        raise ArtifactError(f"the artifact has no array {name!r}; it is incomplete")
    if array.ndim != len(shape) or any(s not in (None, a) for s, a in zip(shape, array.shape, strict=True)):
        raise ArtifactError(f"array {name!r} has shape {array.shape}, it should be {shape}; the artifact is damaged")
    if not np.isfinite(array).all() or (array < low).any() or (array > high).any():
        raise ArtifactError(f"array {name!r} holds numbers that cannot be; the artifact is damaged")
    if total is not None:
        sums = array.sum(axis=-1)
        if not (sums > 0 if total == 0 else np.abs(sums - total) < 1e-6).all():
            raise ArtifactError(f"array {name!r} adds up to what cannot be; the artifact is damaged")
    return array
