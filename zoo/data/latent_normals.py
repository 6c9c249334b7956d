"""Latent normal variables of a table under conditions: drawn exactly, in every group of rows (stratum) and across them.

What copulas share: conditions are boxes of the latent variables of the columns that are asked for
(:mod:`zoo.data.latent_columns`); those variables are drawn within them (:mod:`zoo.statistics.truncated_normal`), the
others given those.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from zoo.conditions import Conditions
from zoo.data.latent_columns import LatentColumns, LatentLayout
from zoo.errors import ConditionError
from zoo.statistics.truncated_normal import BoxedNormal, draw_mixture

_MAX_BOXES = 4096

Columns = dict[str, np.ndarray]
"""Codes (-1 missing) and numbers (NaN missing) by column, ``(n,)`` each."""


class LatentNormals:
    """A mixture, over strata, of normal latent variables.

    Parameters
    ----------
    layout
        Which variable stands for what.
    columns
        The marginal distributions in each of S strata.
    weights
        ``(S,)`` shares of the strata.
    covariance
        ``(S, D, D)``, positive definite.
    """

    def __init__(
        self, layout: LatentLayout, columns: Sequence[LatentColumns], weights: np.ndarray, covariance: np.ndarray
    ) -> None:
        self.layout = layout
        self._columns = columns
        self._weights = weights
        self._covariance = covariance

    def under(
        self, conditions: Conditions, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, Callable[[Columns], None]]:
        """Latent variables under the same conditions for every row.

        Returns
        -------
        latent, stratum, enforce
            ``(n, D)`` and ``(n,)``; what puts into columns, in place, what was asked where rounding has missed it.

        Raises
        ------
        ConditionError
            If what is asked never occurred in training, or as more than 4,096 boxes.
        """
        names = list(conditions)
        index = self.layout.of(names)
        place = {j: i for i, j in enumerate(index)}
        boxes: list[tuple[int, np.ndarray, np.ndarray]] = []  # stratum, ends
        settings: list[tuple[Any, ...]] = []
        more: list[float] = []
        for s, columns in enumerate(self._columns):
            for combination in product(*(columns.choices(conditions[name]) for name in names)):
                low, high = np.full(len(index), -np.inf), np.full(len(index), np.inf)
                for intervals, _, _ in combination:
                    for j, (start, end) in intervals.items():
                        low[place[j]], high[place[j]] = start, end
                boxes.append((s, low, high))
                settings.append(tuple(setting for _, setting, _ in combination))
                more.append(sum(extra for _, _, extra in combination))
                if len(boxes) > _MAX_BOXES:
                    raise ConditionError(f"more than {_MAX_BOXES} combinations of values are asked for; ask for fewer")
        if not boxes:
            raise ConditionError(f"what is asked of {', '.join(map(repr, names))} never occurred in training")
        stratum = np.array([b[0] for b in boxes])
        strata, part = np.unique(stratum, return_inverse=True)
        low, high = np.stack([b[1] for b in boxes]), np.stack([b[2] for b in boxes])
        place_in = np.concatenate([np.arange(m) for m in np.bincount(part)])  # boxes follow their strata
        normals = [self._confined(s, index, low[stratum == s], high[stratum == s]) for s in strata]
        weights = np.log(self._weights[stratum]) + np.array(more)
        one = np.zeros(n, dtype=np.int64)
        vectors, chosen = draw_mixture(normals, weights[None], part[None], place_in[None], one, rng)
        latent = self._complete(index, vectors, stratum[chosen], rng)

        def enforce(made: Columns) -> None:
            for k, name in enumerate(names):
                self._enforce(made, name, [s[k] for s in settings], chosen)

        return latent, stratum[chosen], enforce

    def of_rows(
        self, fixed: Mapping[str, np.ndarray], rng: np.random.Generator, fill: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, Callable[[Columns], None]]:
        """Latent variables of rows that have row i's values in the columns ``fixed``.

        Parameters
        ----------
        fixed
            Codes or numbers by column, ``(n,)`` each.
        rng
            Source of randomness.
        fill
            ``bool (n, columns)``: what is to be imputed there, any value but a missing one.

        Returns
        -------
        latent, stratum, enforce
            As of :meth:`under`.

        Raises
        ------
        ConditionError
            If what a row asks never occurred in training.
        """
        names = list(fixed)
        asked = np.stack([np.asarray(fixed[c], dtype=np.float64) for c in names], axis=1)  # (n, k)
        marks = np.zeros(asked.shape, dtype=bool) if fill is None else fill
        key = np.concatenate([np.where(np.isnan(asked), np.inf, asked), marks], axis=1)
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        group = group.reshape(-1)  # rows that ask the same are worked out once
        index = self.layout.of(names)
        strata, groups = len(self._weights), len(first)
        log_weights = np.repeat(np.log(self._weights)[None], groups, axis=0)  # (G, S)
        place = np.zeros((groups, strata), dtype=np.int64)
        normals = []
        for s, columns in enumerate(self._columns):
            low, high = np.full((groups, len(index)), -np.inf), np.full((groups, len(index)), np.inf)
            ends = {j: (low[:, i], high[:, i]) for i, j in enumerate(index)}
            for k, name in enumerate(names):
                log_weights[:, s] += columns.row_boxes(name, asked[first, k], marks[first, k], ends, fill is not None)
            mine = np.flatnonzero(np.isfinite(log_weights[:, s]))
            place[mine, s] = np.arange(len(mine))
            normals.append(self._confined(s, index, low[mine], high[mine]))
        never = np.isinf(log_weights).all(axis=1)
        if never.any():
            row = int(np.argmax(never[group]))
            raise ConditionError(
                f"row {row}: what is asked of {', '.join(map(repr, names))} never occurred in training; ask otherwise"
            )
        part = np.broadcast_to(np.arange(strata), (groups, strata))
        vectors, chosen = draw_mixture(normals, log_weights, part, place, group, rng)

        def enforce(made: Columns) -> None:
            for k, name in enumerate(names):
                made[name] = np.where(marks[:, k], made[name], asked[:, k].astype(made[name].dtype))

        return self._complete(index, vectors, chosen, rng), chosen, enforce

    def _complete(
        self, index: list[int], vectors: np.ndarray, stratum: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Latent variables ``(n, D)`` of which ``index`` are ``vectors (n, d)``: the others are drawn given those."""
        n, size = len(vectors), len(self.layout)
        rest = [j for j in range(size) if j not in index]
        noise = rng.standard_normal((n, len(rest)))
        latent = np.empty((n, size))
        latent[:, index] = vectors
        for s in np.unique(stratum) if rest else ():
            mine = np.flatnonzero(stratum == s)
            covariance = self._covariance[s]
            slope = np.linalg.solve(covariance[np.ix_(index, index)], covariance[np.ix_(index, rest)])  # (d, r)
            left = covariance[np.ix_(rest, rest)] - covariance[np.ix_(rest, index)] @ slope
            factor = np.linalg.cholesky(left + 1e-9 * np.eye(len(rest)))
            latent[np.ix_(mine, np.array(rest))] = vectors[mine] @ slope + noise[mine] @ factor.T
        return latent

    def values(self, latent: np.ndarray, stratum: np.ndarray) -> Columns:
        """Columns of latent variables ``(n, D)``, each row in its stratum ``(n,)``."""
        columns: Columns = {}
        for s in np.unique(stratum):
            mine = np.flatnonzero(stratum == s)
            for name, values in self._columns[s].values(latent[mine]).items():
                columns.setdefault(name, np.empty(len(latent), dtype=values.dtype))[mine] = values
        return columns

    def _enforce(self, columns: Columns, name: str, settings: Sequence[Any], chosen: np.ndarray) -> None:
        """Put what was asked where rounding may have missed it: the nearest rank or number that is admitted."""
        low, high = (np.array([s[i] for s in settings])[chosen] for i in (0, 1))
        if name in self.layout.classes:
            layout = self.layout
            rank = layout.rank(name, layout.to_class(name, columns[name]))
            columns[name] = layout.to_code(name, layout.ranked[name][np.clip(rank, low, high)])
        else:
            columns[name] = np.where(np.isnan(low), np.nan, np.clip(columns[name], low, high))

    def _confined(self, s: int, index: list[int], low: np.ndarray, high: np.ndarray) -> BoxedNormal:
        return BoxedNormal(self._covariance[s][np.ix_(index, index)], low, high)
