"""What a trained :class:`~zoo.nn.column_network.ColumnNetwork` computes, in NumPy: torch is not imported to sample.

Work goes in pieces of rows that stay in the processor's cache. A column's logits lie as ``(K, b)``, values first, so
that sums over values are additions of whole rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data.code_digits import CodeDigits

_PIECE = 2048  # rows at once
_SHAPES = ("embed", "bias", "inner", "inner_bias", "head", "head_bias")


@dataclass(frozen=True)
class Admitted:
    """The values of a column that may be drawn, weighted: row i has the weights of group ``group[i]``.

    Parameters
    ----------
    weights
        ``(G, K)`` in [0, 1], not all zero.
    group
        ``(n,)``; None where all rows share the first.
    """

    weights: np.ndarray
    group: np.ndarray | None = None

    def repeat(self, times: int) -> "Admitted":
        """The same for ``times`` rows in place of each."""
        return Admitted(self.weights, None if self.group is None else np.repeat(self.group, times))


@dataclass(frozen=True)
class _Limit:
    levels: list[np.ndarray]  # (G, P, R) of each digit
    group: np.ndarray | None


class ColumnSampler:
    """Draws and weighs columns, each given those before it.

    Parameters
    ----------
    digits
        The columns, wide ones in digits.
    arrays
        Weights by the names of the network's parameters; cast to float32.

    Raises
    ------
    ValueError
        If a weight is missing, left over, of another shape or not finite.
    """

    def __init__(self, digits: CodeDigits, hidden: int, inner: int, arrays: Mapping[str, np.ndarray]) -> None:
        self.digits = digits
        columns, total = len(digits.sizes), sum(digits.sizes)
        shapes = dict(
            zip(
                _SHAPES,
                [(total, hidden), (columns, hidden), (columns, hidden, inner), (columns, inner), (total, inner), (total,)],
                strict=True,
            )
        )
        if set(arrays) != set(shapes):
            raise ValueError(f"the network has no or needless weights: {sorted(set(arrays) ^ set(shapes))}")
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"the weights {name!r} have shape {arrays[name].shape}, not {shape}")
            if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
                raise ValueError(f"the weights {name!r} hold numbers that are not finite")
        self.arrays = {name: np.asarray(arrays[name], dtype=np.float32) for name in _SHAPES}
        ends = np.cumsum([0, *digits.sizes])
        parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self._embed = [self.arrays["embed"][p] for p in parts]  # (K_j, H) each
        self._head = [self.arrays["head"][p] for p in parts]  # (K_j, M) each
        self._head_bias = [self.arrays["head_bias"][p][:, None] for p in parts]  # (K_j, 1) each

    # The network

    def _weights(self, j: int, hidden: np.ndarray, temperature: float) -> np.ndarray:
        """Probabilities of digit j up to a factor, the largest 1: ``(K, b)`` given sums ``(b, H)``."""
        seen = hidden + self.arrays["bias"][j]  # (b, H)
        np.maximum(seen, 0, out=seen)
        inner = seen @ self.arrays["inner"][j]  # (b, M)
        inner += self.arrays["inner_bias"][j]
        np.maximum(inner, 0, out=inner)
        logits = self._head[j] @ inner.T  # (K, b)
        logits += self._head_bias[j]
        logits -= logits.max(axis=0)
        if temperature != 1:
            logits /= np.float32(temperature)
        return np.exp(logits, out=logits)

    def _see(self, hidden: np.ndarray, codes: np.ndarray, given: Sequence[int] | np.ndarray) -> None:
        """Add digits ``codes (b, D)`` to the sums ``(b, H)``: columns ``given``, or where ``bool (b, D)`` says so."""
        if isinstance(given, np.ndarray):
            for j in range(codes.shape[1]):
                rows = np.flatnonzero(given[:, j])
                if len(rows):
                    hidden[rows] += self._embed[j][codes[rows, j]]
        else:
            for j in given:
                hidden += self._embed[j][codes[:, j]]

    # Drawing

    def draw(
        self,
        codes: np.ndarray,
        given: Sequence[int] | np.ndarray,
        order: Sequence[int],
        rng: np.random.Generator,
        *,
        admitted: Mapping[int, Admitted] | None = None,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Draw digits of ``codes (n, D)``, in place.

        Parameters
        ----------
        codes
            What is given stands there already.
        given
            The digits that are given in all rows, or ``bool (n, D)`` which are given in which.
        order
            The digits to draw, in this order; where ``given`` is an array, only in the rows where they are not given.
        rng
            Source of randomness.
        admitted
            By column: to what the draws are restricted.
        temperature
            Logits are divided by it.

        Returns
        -------
        numpy.ndarray
            ``(n,)`` natural logarithm of the probability of what is admitted, each column's given those before it: the
            weight that corrects a draw in which only columns before it were seen.
        """
        n = len(codes)
        total = np.zeros(n)
        limits = {c: _Limit(self.digits.levels(c, a.weights), a.group) for c, a in (admitted or {}).items()}
        chance = rng.random((n, len(order)), dtype=np.float32)
        for start in range(0, n, _PIECE):
            part = slice(start, min(n, start + _PIECE))
            hidden = np.zeros((part.stop - start, self.arrays["embed"].shape[1]), dtype=np.float32)
            known = given[part] if isinstance(given, np.ndarray) else None
            self._see(hidden, codes[part], given if known is None else known)
            for i, j in enumerate(order):
                if known is None:
                    rows, sums = np.arange(start, part.stop), hidden
                else:
                    absent = np.flatnonzero(~known[:, j])
                    if not len(absent):
                        continue
                    rows, sums = absent + start, hidden[absent]
                weights = self._weights(j, sums, temperature)  # (K, b)
                self._restrict(j, weights, codes, rows, limits, total)
                drawn = _draw(weights, chance[rows, i])  # (b,)
                codes[rows, j] = drawn
                if known is None:
                    hidden += self._embed[j][drawn]
                else:
                    hidden[absent] += self._embed[j][drawn]
        return total

    def _restrict(
        self,
        j: int,
        weights: np.ndarray,
        codes: np.ndarray,
        rows: np.ndarray,
        limits: Mapping[int, _Limit],
        total: np.ndarray,
    ) -> None:
        """Leave ``weights (K, b)`` of digit j where its column admits them, in place; add the log share that is left."""
        column = self.digits.owner[j]
        level = j - self.digits.digits[column][0]
        limit = limits.get(column)
        if limit is None:
            self._cap(column, level, weights, codes, rows)
            return
        group = 0 if limit.group is None else limit.group[rows]
        prefix = self.digits.prefix(codes[rows], column, level)
        share = limit.levels[level][group, prefix].T  # (K, b)
        whole = weights.sum(axis=0)
        weights *= share
        left = weights.sum(axis=0)
        never = left <= 1e-30 * whole  # less than float32 tells from nothing: what is admitted, by its own weight
        if never.any():
            weights[:, never] = share[:, never]
        total[rows] += np.log(np.maximum(left, np.float32(1e-30)) / whole)

    def _cap(self, column: int, level: int, weights: np.ndarray, codes: np.ndarray, rows: np.ndarray) -> None:
        """Rule out the digits that would write a number beyond the column's last code."""
        radices = self.digits.radices[column]
        last = (self.digits.widths[column] - 1) // math.prod(radices[level + 1 :])
        before, most = divmod(last, radices[level])
        if level and most < radices[level] - 1:
            weights[most + 1 :, self.digits.prefix(codes[rows], column, level) == before] = 0

    # Weighing

    def log_probability(self, codes: np.ndarray) -> np.ndarray:
        """Natural logarithm of the probability of rows of digits ``(n, D)``, in the order of the columns: ``(n,)``."""
        n, columns = codes.shape
        total = np.zeros(n)
        for start in range(0, n, _PIECE):
            part = codes[start : start + _PIECE]
            rows = np.arange(start, start + len(part))
            hidden = np.zeros((len(part), self.arrays["embed"].shape[1]), dtype=np.float32)
            for j in range(columns):
                weights = self._weights(j, hidden, 1.0)
                self._restrict(j, weights, codes, rows, {}, total)
                mine = weights[part[:, j], np.arange(len(part))]
                total[rows] += np.log(np.maximum(mine / weights.sum(axis=0), 1e-30))
                hidden += self._embed[j][part[:, j]]
        return total


def _draw(weights: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """One value a row, ``(b,)``, by weights ``(K, b)`` that become their cumulative sums; no value of weight 0."""
    for before, mine in zip(weights[:-1], weights[1:], strict=True):
        mine += before
    end = weights[-1]
    point = np.minimum(chance * end, np.nextafter(end, np.float32(0)))
    return (weights <= point).sum(axis=0, dtype=np.int32).astype(np.int64)
