"""Draws of binned columns that are independent given a latent code, as they come or under conditions.

What decoders and generators over discretised columns share once they are trained: latent codes are resampled by the
probability of what is asked (importance resampling); then the asked columns are drawn among what is admitted, the
others as they come. Features run along the first axis and rows along the last, see :class:`zoo.nn.dense.DenseStack`.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from zoo.conditions import Conditions
from zoo.data.binned_columns import BinnedColumns
from zoo.errors import ConditionError
from zoo.nn.dense import draw_codes

_POOLS = 32  # candidates a sample at most, under conditions that are the same for all
_ROW_POOL = 4096  # candidates that all rows of a table of conditions share
_ROWS_AT_ONCE = 512
_NUMBERS = 2**19  # weights that are held at once, 2 MB: they stay in the cache
_TINY = 1e-30


class LatentModel(Protocol):
    """A distribution of latent codes, and of each column given one."""

    columns: BinnedColumns

    def propose(
        self, n: int, asked: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Candidates for rows of which ``asked`` (a weight ``(K,)`` of each code) is known.

        Returns latent codes ``float32 (L, n)`` and, for each, ln of the probability that the model gives it over the
        one with which it is proposed here, ``(n,)``.
        """
        ...

    def weights(self, latent: np.ndarray) -> list[np.ndarray]:
        """Weights ``float32 (K_j, b)`` of the codes of each column at latent codes ``(L, b)``; they need not sum to 1.

        The caller may overwrite them.
        """
        ...


def draw(model: LatentModel, n: int, rng: np.random.Generator) -> np.ndarray:
    """Codes ``int64 (n, C)``."""
    codes = np.empty((n, len(model.columns.names)), dtype=np.int64)
    latent, _ = model.propose(n, {}, rng)  # (L, n)
    for rows in _pieces(model, n):
        for j, part in enumerate(model.weights(latent[:, rows])):  # (K_j, b)
            codes[rows, j] = draw_codes(part, rng)
    return codes


def draw_conditioned(
    model: LatentModel,
    n: int,
    conditions: Conditions,
    rng: np.random.Generator,
    seen: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Codes under conditions.

    Parameters
    ----------
    model
        What to draw from.
    n
        Number of rows.
    conditions
        What is asked.
    rng
        Source of randomness.
    seen
        For each column ``bool (K,)``: which codes occurred in training, so that no other is drawn; by default all.

    Returns
    -------
    codes, limits
        ``int64 (n, C)``, and the ranges ``(n,)``, ``(n,)`` that asked numbers have to lie in.

    Raises
    ------
    ConditionError
        If what is asked of a column never occurred in training.
    """
    columns = model.columns
    asked: dict[str, np.ndarray] = {}  # weights (m, K)
    ends: dict[str, np.ndarray] = {}  # (m, 2)
    for name, condition in conditions.items():
        if condition.rows is None and not conditions.per_row:
            asked[name], range_ = columns.admitted(condition)
            if range_ is not None:
                ends[name] = range_
        else:  # one alternative a row
            values = condition.fixed(n)
            asked[name] = columns.row_weights(name, values)
            if name in columns.edges:
                ends[name] = np.stack([values] * 2, axis=1)
        if seen is None:
            continue
        possible = (asked[name] * seen[name]).sum(axis=1) > 0  # (m,)
        if not (possible.all() if conditions.per_row else possible.any()):
            where = f"row {int(np.argmin(possible))}: " if conditions.per_row else ""
            raise ConditionError(f"{where}what is asked of {name!r} never occurred in training; ask for another value")
        asked[name] = asked[name] * seen[name]
    if conditions.per_row:
        latent = _resample_rows(model, asked, rng)
    else:
        latent = _resample(model, n, {c: np.minimum(w.sum(axis=0), 1.0) for c, w in asked.items()}, rng)
    codes = np.empty((n, len(columns.names)), dtype=np.int64)
    chosen = {name: np.empty(n, dtype=np.int64) for name in ends}
    for rows in _pieces(model, n):
        parts = model.weights(latent[:, rows])
        for j, (name, part) in enumerate(zip(columns.names, parts, strict=True)):
            if name in asked:
                index = np.arange(n)[rows]
                if not conditions.per_row:  # which alternative, given the latent code
                    each = (asked[name] @ part / part.sum(axis=0)).astype(np.float32)  # (m, b)
                    index = draw_codes(np.maximum(each, _TINY), rng)  # (b,)
                part = _restrict(part, asked[name][index].T)
                if name in ends:
                    chosen[name][rows] = index
            codes[rows, j] = draw_codes(part, rng)
    return codes, {name: (ends[name][chosen[name], 0], ends[name][chosen[name], 1]) for name in ends}


def _pieces(model: LatentModel, n: int) -> list[slice]:
    """Rows whose weights are held at once."""
    size = max(1, _NUMBERS // sum(model.columns.widths))
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def _restrict(part: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Weights ``part (K, b)`` where ``among (K, b)`` admits them; where none is left, ``among`` itself."""
    kept = (part * among).astype(np.float32)
    total = kept.sum(axis=0)
    return np.where(total > _TINY * part.sum(axis=0), kept, among).astype(np.float32)


def _log_weight(model: LatentModel, latent: np.ndarray, asked: Mapping[str, np.ndarray]) -> np.ndarray:
    """Ln probability ``(G, M)`` of what is asked, as weights ``(G, K)`` a column, at latent codes ``(L, M)``."""
    groups = len(next(iter(asked.values())))
    total = np.zeros((groups, latent.shape[1]))
    wanted = {name: weights.astype(np.float32) for name, weights in asked.items()}
    for rows in _pieces(model, latent.shape[1]):
        parts = model.weights(latent[:, rows])
        for name, weights in wanted.items():
            part = parts[model.columns.names.index(name)]  # (K, b)
            total[:, rows] += np.log(np.maximum(weights @ part / part.sum(axis=0), _TINY))  # (G, b)
    return total


def _resample(model: LatentModel, n: int, asked: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """n latent codes ``(L, n)`` under the same conditions, weights ``(K,)`` a column, for all.

    The pool grows, up to a limit, until rejection against its largest weight would keep n of it.
    """
    pool: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    mass = np.empty(0)
    while len(pool) < _POOLS:
        candidates, ratio = model.propose(n, asked, rng)
        pool.append(candidates)
        weights.append(ratio + _log_weight(model, candidates, {c: w[None] for c, w in asked.items()})[0])
        joined = np.concatenate(weights)  # (M,)
        mass = np.exp(joined - joined.max()).cumsum()
        if mass[-1] >= n:
            break
    place = np.searchsorted(mass, rng.random(n) * mass[-1], side="right")
    return np.concatenate(pool, axis=1)[:, np.minimum(place, len(mass) - 1)]


def _resample_rows(model: LatentModel, asked: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A latent code for each row of conditions, ``(L, n)``; all share one pool, and equal rows their weights."""
    pool, ratio = model.propose(_ROW_POOL, {c: w.mean(axis=0) for c, w in asked.items()}, rng)  # (L, M), (M,)
    rows = np.concatenate(list(asked.values()), axis=1)  # (n, sum of K)
    distinct, group = np.unique(rows, axis=0, return_inverse=True)  # (G, sum of K), (n,)
    bounds = np.cumsum([w.shape[1] for w in asked.values()])[:-1]
    parts = dict(zip(asked, np.split(distinct, bounds, axis=1), strict=True))
    point = rng.random(len(rows))
    chosen = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(distinct), _ROWS_AT_ONCE):
        some = {name: weights[start : start + _ROWS_AT_ONCE] for name, weights in parts.items()}
        log_weight = ratio + _log_weight(model, pool, some)  # (g, M)
        mass = np.exp(log_weight - log_weight.max(axis=1, keepdims=True)).cumsum(axis=1)
        mass = mass / mass[:, -1:] + np.arange(len(mass))[:, None]  # row g ends at g + 1
        mine = np.flatnonzero((group >= start) & (group < start + _ROWS_AT_ONCE))
        at = group[mine] - start
        found = np.searchsorted(mass.ravel(), at + point[mine], side="right") - at * pool.shape[1]
        chosen[mine] = np.clip(found, 0, pool.shape[1] - 1)
    return pool[:, chosen]
