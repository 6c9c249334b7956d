"""Gaussian copula: each column's own distribution, tied together by correlations of latent normal variables.

References: R. B. Nelsen, "An Introduction to Copulas", Springer, 2006; the synthetic data vault made it the usual first
choice for tables (N. Patki, R. Wedge, K. Veeramachaneni, DSAA 2016). What is done here beyond the textbook, and why:

- *Categories get an order* by optimal scaling (A. Gifi, "Nonlinear Multivariate Analysis", 1990): scores for which the
  squared correlations with all other columns' scores are largest. On a fifth of Adult held out from the training data,
  pair trends rose from 0.855 (one correspondence axis for all columns) to 0.908.
- *Latent correlations* are those that reproduce the correlations of the observed steps (see
  :mod:`zoo.statistics.gaussian_scores`); correlating the steps themselves gives trends of 0.895 instead of 0.908.
- *Strata*: one copula for each class of a column, when the table is large enough. With the column that is chosen on
  Adult (relationship) instead of one copula for all, pair trends rose from 0.909 to 0.961, the AUC of a model trained
  on samples from 0.875 to 0.890, and the AUC of a classifier that tells them from real rows fell from 0.86 to 0.75.
- *Conditions* confine latent variables to boxes and are drawn exactly, on any subset of columns
  (:mod:`zoo.statistics.truncated_normal`).

Best at: speed (a fit in less than half a second, a million rows in seconds), exact marginals, exact conditions, small
tables. Worst at: interactions of three columns, and anything that is not monotone within a stratum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.latent_columns import LatentColumns, LatentLayout
from zoo.errors import ConditionError, ConfigError
from zoo.generator import Generator
from zoo.statistics.gaussian_scores import latent_correlation
from zoo.statistics.optimal_scaling import class_means, rank_scores, scale_categories, standardise
from zoo.statistics.quantile_grid import quantile_grid
from zoo.statistics.truncated_normal import BoxedNormal, draw_mixture

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_SCALING_ROWS = 20_000  # rows on which categories are ordered; more change the order of rare ones only
_STRATUM_ROWS = 500  # a stratum has at least so many rows, and 30 a latent variable
_MAX_STRATA = 12
_MAX_BOXES = 4096


@dataclass(kw_only=True, eq=False)
class GaussianCopula(Generator):
    """A Gaussian copula for tables of mixed types with missing values; conditions and imputes exactly.

    Parameters
    ----------
    strata
        A discrete column, for each class of which a copula of its own is fitted; "auto" takes the column of at most
        12 large classes that explains most of the others, if there is one; None fits one copula to all rows.
    quantiles
        Points of the quantile grid of a numeric column, at most a quarter of the rows.
    """

    strata: str | None = "auto"
    quantiles: Annotated[int, Range(2, 1000)] = 1000

    default_block_size: ClassVar[int] = 16_384

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        codec = self._layout.codec
        return (*codec.discrete, *codec.numeric)

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> None:
        self._layout = layout = LatentLayout(self.schema)
        encoded = layout.encode(data)
        self._order(encoded, len(data), rng)
        rows = self._split(encoded, len(data))
        self._weights = np.array([len(r) for r in rows]) / len(data)
        whole = {name: quantile_grid(encoded[name], self.quantiles) for name in layout.codec.numeric}
        self._columns = [LatentColumns(layout) for _ in rows]
        self._correlation = np.empty((len(rows), len(layout), len(layout)), dtype=np.float32)
        for s, index in enumerate(rows):
            part = encoded if len(rows) == 1 else {n: v[index] for n, v in encoded.items()}
            scores, known, coefficients = self._columns[s].fit(part, len(index), self.quantiles, whole)
            self._correlation[s] = latent_correlation(_moments(scores, known), coefficients)
        self._finish()

    def _order(self, encoded: Mapping[str, np.ndarray], n: int, rng: np.random.Generator) -> None:
        """Order the classes of each discrete column by optimal scaling."""
        layout = self._layout
        rows = np.sort(rng.choice(n, _SCALING_ROWS, replace=False)) if n > _SCALING_ROWS else slice(None)
        some = {name: values[rows] for name, values in encoded.items()}
        codes = {c: some[c] for c in layout.classes}
        scores = scale_categories(codes, layout.classes, {c: some[c] for c in layout.codec.numeric}, rng)
        for c in layout.classes:
            layout.order_by(c, scores[c], float(np.median(scores[c][codes[c]])))

    def _split(self, encoded: Mapping[str, np.ndarray], n: int) -> list[np.ndarray]:
        """The rows of each stratum."""
        column = self.strata
        if column is not None and column != "auto" and column not in self._layout.classes:
            raise ConfigError(f"{self.name}: strata={column!r} is no discrete column of the table; use None or 'auto'")
        if column == "auto":
            column = self._best_strata(encoded, n)
        if column is None:
            return [np.arange(n)]
        return [np.flatnonzero(encoded[column] == c) for c in np.unique(encoded[column])]

    def _best_strata(self, encoded: Mapping[str, np.ndarray], n: int) -> str | None:
        """The column whose classes explain the largest share of the others' variance, summed over the others."""
        layout = self._layout
        least = max(_STRATUM_ROWS, 30 * len(layout))
        large = []
        for c, size in layout.classes.items():
            counts = np.bincount(encoded[c], minlength=size)
            counts = counts[counts > 0]
            if 2 <= len(counts) <= _MAX_STRATA and counts.min() >= least:
                large.append(c)
        if not large:
            return None
        ranks = {c: layout.rank(c, v) if c in layout.classes else v for c, v in encoded.items()}
        scores = {c: standardise(rank_scores(v)) for c, v in ranks.items()}
        explained = {}
        for c in large:
            counts = np.bincount(encoded[c], minlength=layout.classes[c]).astype(np.float64)
            means = [class_means(encoded[c], v, counts) for o, v in scores.items() if o != c]
            explained[c] = sum(float((counts * m**2).sum()) / n for m in means)
        return max(large, key=lambda c: explained[c])

    def _finish(self) -> None:
        """What sampling needs, made from the state."""
        exact = self._correlation.astype(np.float64) + 1e-6 * np.eye(len(self._layout))
        factor = np.linalg.cholesky(exact)
        self._factor = factor.astype(np.float32)
        self._covariance = exact

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        fixed = {name: condition.rows for name, condition in conditions.items() if condition.rows is not None}
        if fixed:
            columns = self._draw_rows(fixed, n, rng)
        else:
            columns = self._draw_boxes(conditions, n, rng) if conditions else self._draw(n, rng)
        return self._layout.codec.decode(columns, n)

    def _draw(self, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parts = []
        for s, m in enumerate(rng.multinomial(n, self._weights)):
            noise = rng.standard_normal((m, len(self._layout)), dtype=np.float32)
            parts.append(self._columns[s].values(noise @ self._factor[s].T))  # of (m, D)
        if len(parts) == 1:
            return parts[0]
        shuffled = rng.permutation(n)  # strata do not follow each other in the samples
        return {name: np.concatenate([p[name] for p in parts])[shuffled] for name in parts[0]}

    def _draw_boxes(self, conditions: Conditions, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Samples under the same conditions for every row."""
        names = list(conditions)
        index = self._layout.of(names)
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
        made = self._complete(index, vectors, stratum[chosen], rng)
        for k, name in enumerate(names):
            self._enforce(made, name, [s[k] for s in settings], chosen)
        return made

    def _enforce(self, columns: dict[str, np.ndarray], name: str, settings: Sequence[Any], chosen: np.ndarray) -> None:
        """Put what was asked where rounding may have missed it: the nearest rank or number that is admitted."""
        low, high = (np.array([s[i] for s in settings])[chosen] for i in (0, 1))
        if name in self._layout.classes:
            layout = self._layout
            rank = layout.rank(name, layout.to_class(name, columns[name]))
            columns[name] = layout.to_code(name, layout.ranked[name][np.clip(rank, low, high)])
        else:
            columns[name] = np.where(np.isnan(low), np.nan, np.clip(columns[name], low, high))

    def _confined(self, s: int, index: list[int], low: np.ndarray, high: np.ndarray) -> BoxedNormal:
        return BoxedNormal(self._covariance[s][np.ix_(index, index)], low, high)

    def _complete(
        self, index: list[int], vectors: np.ndarray, stratum: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Columns of rows whose latent variables ``index`` are ``vectors (n, d)``: the others are drawn given those."""
        n, size = len(vectors), len(self._layout)
        rest = [j for j in range(size) if j not in index]
        noise = rng.standard_normal((n, len(rest)))
        columns: dict[str, np.ndarray] = {}
        for s in np.unique(stratum):
            mine = np.flatnonzero(stratum == s)
            latent = np.empty((len(mine), size))
            latent[:, index] = vectors[mine]
            if rest:
                covariance = self._covariance[s]
                slope = np.linalg.solve(covariance[np.ix_(index, index)], covariance[np.ix_(index, rest)])  # (d, r)
                left = covariance[np.ix_(rest, rest)] - covariance[np.ix_(rest, index)] @ slope
                factor = np.linalg.cholesky(left + 1e-9 * np.eye(len(rest)))
                latent[:, rest] = vectors[mine] @ slope + noise[mine] @ factor.T
            for name, values in self._columns[s].values(latent).items():
                columns.setdefault(name, np.empty(n, dtype=values.dtype))[mine] = values
        return columns

    def _draw_rows(
        self, fixed: Mapping[str, np.ndarray], n: int, rng: np.random.Generator, fill: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Samples that have row i's values in the columns ``fixed``.

        ``fill (n, columns)`` marks what is to be imputed there: any value but a missing one.
        """
        names = list(fixed)
        asked = np.stack([np.asarray(fixed[c], dtype=np.float64) for c in names], axis=1)  # (n, k)
        marks = np.zeros(asked.shape, dtype=bool) if fill is None else fill
        key = np.concatenate([np.where(np.isnan(asked), np.inf, asked), marks], axis=1)
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        group = group.reshape(-1)  # rows that ask the same are worked out once
        index = self._layout.of(names)
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
        made = self._complete(index, vectors, chosen, rng)
        for k, name in enumerate(names):
            made[name] = np.where(marks[:, k], made[name], asked[:, k].astype(made[name].dtype))
        return made

    def _impute_rows(
        self, values: Mapping[str, np.ndarray], absent: np.ndarray, rng: np.random.Generator
    ) -> pd.DataFrame:
        """All patterns of what is missing at once, exactly; see :mod:`zoo.imputing`."""
        drawn = self._draw_rows({n: values[n] for n in self.condition_columns}, len(absent), rng, absent)
        return self._layout.codec.decode(drawn, len(absent))

    # State

    def _state(self) -> dict[str, Any]:
        return {"strata": len(self._weights)}

    def _set_state(self, state: dict[str, Any]) -> None:
        self._layout = LatentLayout(self.schema)
        if not 1 <= int(state["strata"]) <= 100_000:
            raise ValueError("the number of strata cannot be")
        self._columns = [LatentColumns(self._layout) for _ in range(int(state["strata"]))]

    def _arrays(self) -> dict[str, np.ndarray]:
        out: dict[str, np.ndarray] = {"weights": self._weights, "correlation": self._correlation}
        for i, name in enumerate(self._layout.classes):
            out[f"order.{i}"] = self._layout.ranked[name].astype(np.int32)
        for s, columns in enumerate(self._columns):
            out |= {f"{s}.{key}": value for key, value in columns.arrays().items()}
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._weights, self._correlation = arrays["weights"], arrays["correlation"]
        strata, size = len(self._columns), len(self._layout)
        if self._weights.shape != (strata,) or self._correlation.shape != (strata, size, size):
            raise ValueError("weights and correlation do not fit the schema")
        sound = (self._weights > 0).all() and abs(self._weights.sum() - 1) < 1e-6
        if not sound or not np.isfinite(self._correlation).all():
            raise ValueError("weights or correlation hold values that cannot be")
        self._weights = self._weights / self._weights.sum()
        ones = np.diagonal(self._correlation, axis1=1, axis2=2)
        turned = self._correlation.transpose(0, 2, 1)
        if not np.allclose(ones, 1, atol=1e-4) or not np.allclose(self._correlation, turned, atol=1e-5):
            raise ValueError("the correlation is not symmetric with ones on its diagonal")
        for i, (name, size) in enumerate(self._layout.classes.items()):
            order = arrays[f"order.{i}"].astype(np.int64)
            # "Missing" stands first or last, so that "not missing" is one interval.
            middle = self.schema[name].nullable and size - 1 not in (order[:1].tolist() + order[-1:].tolist())
            if middle or sorted(order.tolist()) != list(range(size)):
                raise ValueError(f"the order of the classes of column {name!r} does not fit the schema")
            self._layout.set_order(name, order)
        for s, columns in enumerate(self._columns):
            prefix = f"{s}."
            columns.set_arrays({k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)})
        self._finish()


def _moments(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean products ``(D, D)`` of scores ``(n, D)``; where some are unknown, over the rows where both are known, about
    their means there."""
    if known.all():
        return scores.T @ scores / len(scores)
    weight = known.astype(np.float64)
    both = np.maximum(weight.T @ weight, 1.0)
    mean = scores.T @ weight / both  # of a column, over the rows where the other one is known too
    return scores.T @ scores / both - mean * mean.T
