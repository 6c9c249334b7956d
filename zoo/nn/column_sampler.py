"""What a trained :class:`~zoo.nn.column_network.ColumnNetwork` computes, in NumPy: torch is not imported to sample.

Work goes in pieces of rows that stay in the processor's cache. A column's logits lie as ``(K, b)``, values first, so
that sums over values are additions of whole rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from zoo.data.code_digits import CodeDigits
from zoo.nn.dense import publishable
from zoo.threads import spread

PIECE = 2048  # rows at once
_SCALINGS = 5
_FACTORS = (0.5, 2.0)  # what no training leaves to be mended


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
        shapes = self._shapes(len(digits.sizes), sum(digits.sizes), hidden, inner)
        if set(arrays) != set(shapes):
            raise ValueError(f"the network has no or needless weights: {sorted(set(arrays) ^ set(shapes))}")
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"the weights {name!r} have shape {arrays[name].shape}, not {shape}")
            if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
                raise ValueError(f"the weights {name!r} hold numbers that are not finite")
        self.arrays = {name: np.array(arrays[name], dtype=np.float32) for name in shapes}
        self._step = np.arange(len(digits.sizes))  # in which each digit is drawn
        self._cut()

    def _cut(self) -> None:
        """The weights of each digit."""
        digits = self.digits
        ends = np.cumsum([0, *digits.sizes])
        parts = [slice(a, b) for a, b in pairwise(ends)]
        self._embed = [self.arrays["embed"][p] for p in parts]  # (K_j, H) each
        self._head = [self.arrays["head"][p] for p in parts]  # (K_j, M) each
        self._head_bias = [self.arrays["head_bias"][p][:, None] for p in parts]  # (K_j, 1) each

    # The network

    def _shapes(self, columns: int, total: int, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
        """The weights by name."""
        return {
            "embed": (total, hidden),
            "bias": (columns, hidden),
            "inner": (columns, hidden, inner),
            "inner_bias": (columns, inner),
            "head": (total, inner),
            "head_bias": (total,),
        }

    def _weights(self, j: int, hidden: np.ndarray, temperature: float) -> np.ndarray:
        """Probabilities of digit j up to a factor, the largest 1: ``(K, b)`` given sums ``(b, H)``."""
        seen = hidden + self.arrays["bias"][j]  # (b, H)
        return self._exponentials(j, np.maximum(seen, 0, out=seen), temperature)

    def _exponentials(self, j: int, top: np.ndarray, temperature: float) -> np.ndarray:
        """What :meth:`_weights` gives, from the last shared layer ``(b, H)``."""
        inner = top @ self.arrays["inner"][j]  # (b, M)
        inner += self.arrays["inner_bias"][j]
        np.maximum(inner, 0, out=inner)
        logits = self._head[j] @ inner.T  # (K, b)
        logits += self._head_bias[j]
        logits -= logits.max(axis=0)
        if temperature != 1:
            logits /= np.float32(temperature)
        return np.exp(logits, out=logits)

    def _sums(self, codes: np.ndarray, given: Sequence[int]) -> np.ndarray:
        """What digits ``given`` of ``codes (b, D)`` add up to, ``(b, H)``."""
        hidden = np.zeros((len(codes), self.arrays["embed"].shape[1]), dtype=np.float32)
        for j in given:
            hidden += self._embed[j][codes[:, j]]
        return hidden

    # Calibrating

    def calibrate(self, codes: np.ndarray) -> None:
        """Shift the last biases so that each digit is as frequent as in rows of digits ``(n, D)``.

        A network that was trained with dropout and decay gives slightly other frequencies without dropout. The mean
        over the rows of what it gives, each digit seen with those before it, is made to be that of the rows, by
        iterative scaling (J. N. Darroch, D. Ratcliff, 1972).
        """
        order = self._arrange(range(codes.shape[1]))
        ends = np.cumsum([0, *self.digits.sizes])
        pieces = [slice(start, min(len(codes), start + PIECE)) for start in range(0, len(codes), PIECE)]
        sums = np.zeros((len(codes), self.arrays["embed"].shape[1]), dtype=np.float32)  # (n, H)
        for _, step in groupby(order, key=lambda j: self._step[j]):
            weights = {j: np.empty((self.digits.sizes[j], len(codes)), dtype=np.float32) for j in step}

            def piece(part: slice, weights: dict[int, np.ndarray] = weights) -> None:  # of one step
                for j, mine in zip(weights, self._step_weights(list(weights), sums[part]), strict=True):
                    column = self.digits.owner[j]
                    level = j - self.digits.digits[column][0]
                    self._cap(column, level, mine, codes, np.arange(part.start, part.stop))
                    weights[j][:, part] = mine
                for j in weights:
                    sums[part] += self._embed[j][codes[part, j]]

            spread(piece, pieces)
            for j, each in weights.items():
                share = (np.bincount(codes[:, j], minlength=len(each)) + 0.5) / len(codes)  # (K,)
                factor = np.ones(len(each), dtype=np.float32)
                for _ in range(_SCALINGS):
                    mean = factor * (each / np.maximum(factor @ each, 1e-30)).mean(axis=1)  # (K,)
                    factor *= (share / np.maximum(mean, 0.1 / len(codes))).astype(np.float32)
                shift = np.log(factor.clip(*_FACTORS))  # (K,)
                self.arrays["head_bias"][ends[j] : ends[j + 1]] += shift - shift.mean()
        self.arrays["head_bias"] = publishable(self.arrays["head_bias"]).astype(np.float32)
        self._cut()

    def _step_weights(self, digits: Sequence[int], hidden: np.ndarray) -> list[np.ndarray]:
        """What :meth:`_weights` gives for digits that are drawn in one step."""
        return [self._weights(j, hidden, 1.0) for j in digits]

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
        alike: bool = False,
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
        alike
            Whether all rows have the same given digits and the same restrictions.

        Returns
        -------
        numpy.ndarray
            ``(n,)`` natural logarithm of the probability of what is admitted, each column's given those before it: the
            weight that corrects a draw in which only columns before it were seen.
        """
        n, order = len(codes), self._arrange(order)
        job = DrawJob(
            codes=codes,
            chance=rng.random((len(order), n), dtype=np.float32),
            limits={c: _Limit(self.digits.levels(c, a.weights), a.group) for c, a in (admitted or {}).items()},
            temperature=temperature,
            total=np.zeros(n),
        )
        begun, sums, index = 0, None, None
        if alike and not isinstance(given, np.ndarray):
            begun, sums, index = self._draw_alike(job, given, order)

        def piece(part: slice) -> None:
            if isinstance(given, np.ndarray):
                self._draw_gaps(job, part, given[part], order)
            else:
                hidden = self._sums(codes[part], given) if sums is None or index is None else sums[index[part]]
                self._draw_piece(job, part, hidden, order, begun)

        # The random numbers are there already, so that threads change nothing.
        spread(piece, [slice(start, min(n, start + PIECE)) for start in range(0, n, PIECE)])
        return job.total

    def _arrange(self, order: Sequence[int]) -> Sequence[int]:
        """The order in which digits are drawn that are asked for in some order."""
        return order

    def _draw_piece(self, job: "DrawJob", part: slice, hidden: np.ndarray, order: Sequence[int], begun: int) -> None:
        """Draw the digits ``order[begun:]`` of rows that have seen ``hidden (b, H)``."""
        rows = np.arange(part.start, part.stop)
        for i in range(begun, len(order)):
            j = order[i]
            weights = self._weights(j, hidden, job.temperature)  # (K, b)
            self._draw_digit(job, part, rows, i, j, weights, hidden)

    def _draw_digit(
        self, job: "DrawJob", part: slice, rows: np.ndarray, i: int, j: int, weights: np.ndarray, hidden: np.ndarray
    ) -> None:
        """Draw digit j, the i-th of the order, of some rows by ``weights (K, b)``; their sums ``(b, H)`` see it."""
        job.total[part] += self._restrict(j, weights, job, rows)
        drawn = _draw(_accumulate(weights), job.chance[i, part])  # (b,)
        job.codes[part, j] = drawn
        hidden += self._embed[j][drawn]

    def _draw_gaps(self, job: "DrawJob", part: slice, known: np.ndarray, order: Sequence[int]) -> None:
        """Draw the digits that are not ``known (b, D)``, each given what its row has."""
        hidden = np.zeros((len(known), self.arrays["embed"].shape[1]), dtype=np.float32)
        for j in range(known.shape[1]):
            rows = np.flatnonzero(known[:, j])
            hidden[rows] += self._embed[j][job.codes[rows + part.start, j]]
        for i, j in enumerate(order):
            absent = np.flatnonzero(~known[:, j])
            if len(absent):
                rows = absent + part.start
                weights = self._weights(j, hidden[absent], job.temperature)  # (K, b)
                job.total[rows] += self._restrict(j, weights, job, rows)
                drawn = _draw(_accumulate(weights), job.chance[i, rows])  # (b,)
                job.codes[rows, j] = drawn
                hidden[absent] += self._embed[j][drawn]

    def _draw_alike(
        self, job: "DrawJob", given: Sequence[int], order: Sequence[int]
    ) -> tuple[int, np.ndarray, np.ndarray]:
        """Draw the first digits of rows that begin alike, as long as few beginnings differ: each is worked out once.

        Returns how many digits were drawn, the sums ``(U, H)`` that the distinct beginnings have seen, and the
        beginning of each row, ``(n,)``.
        """
        n = len(job.codes)
        index = np.zeros(n, dtype=np.int64)
        sums = self._sums(job.codes[:1], given)  # (U, H)
        for i, j in enumerate(order):
            if len(sums) > n // 4:
                return i, sums, index
            size = self.digits.sizes[j]
            example = np.empty(len(sums), dtype=np.int64)
            example[index] = np.arange(n)  # a row with each beginning
            mass = self._weights(j, sums, job.temperature)  # (K, U)
            job.total[:] += np.broadcast_to(self._restrict(j, mass, job, example), len(sums))[index]
            _accumulate(mass)
            drawn = np.empty(n, dtype=np.int64)
            for start in range(0, n, PIECE):
                part = slice(start, start + PIECE)
                drawn[part] = _draw(mass[:, index[part]], job.chance[i, part])
            job.codes[:, j] = drawn
            key = index * size + drawn
            present = np.zeros(len(sums) * size, dtype=bool)
            present[key] = True
            index = (np.cumsum(present) - 1)[key]
            before, value = np.divmod(np.flatnonzero(present), size)
            sums = sums[before] + self._embed[j][value]
        return len(order), sums, index

    def _restrict(self, j: int, weights: np.ndarray, job: "DrawJob", rows: np.ndarray) -> np.ndarray | float:
        """Leave ``weights (K, b)`` of digit j of the ``rows (b,)`` where its column admits them, in place.

        Returns the natural logarithm of the share that is left, ``(b,)`` or 0.
        """
        column = self.digits.owner[j]
        level = j - self.digits.digits[column][0]
        limit = job.limits.get(column)
        self._cap(column, level, weights, job.codes, rows)
        if limit is None:
            return 0.0
        group = 0 if limit.group is None else limit.group[rows]
        prefix = self.digits.prefix(job.codes[rows], column, level)
        share = limit.levels[level][group, prefix].T  # (K, b)
        whole = weights.sum(axis=0)
        weights *= share
        left = weights.sum(axis=0)
        never = left <= 1e-30 * whole  # less than float32 tells from nothing: what is admitted, by its own weight
        if never.any():
            weights[:, never] = share[:, never]
        return np.log(np.maximum(left, np.float32(1e-30)) / whole)

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
        job = DrawJob(codes=codes, chance=np.zeros((0, 0)), limits={}, temperature=1.0, total=np.zeros(len(codes)))
        for start in range(0, len(codes), PIECE):
            rows = np.arange(start, min(len(codes), start + PIECE))
            part = codes[rows]  # (b, D)
            hidden = self._sums(part, ())  # (b, H)
            for j in range(codes.shape[1]):
                weights = self._weights(j, hidden, 1.0)  # (K, b)
                self._restrict(j, weights, job, rows)
                share = weights[part[:, j], np.arange(len(part))] / weights.sum(axis=0)  # (b,)
                job.total[rows] += np.log(np.maximum(share, 1e-30))
                hidden += self._embed[j][part[:, j]]
        return job.total


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """One call of ``draw``."""

    codes: np.ndarray  # (n, D), filled in place
    chance: np.ndarray  # (digits to draw, n), uniform
    limits: Mapping[int, _Limit]
    temperature: float
    total: np.ndarray  # (n,)


def _accumulate(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums over the values of weights ``(K, b)``, in place."""
    for before, mine in pairwise(weights):
        mine += before
    return weights


def _draw(mass: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """One value a row, ``int (b,)``, by cumulative weights ``(K, b)``; never one of weight 0."""
    end = mass[-1]
    point = np.minimum(chance * end, np.nextafter(end, np.float32(0)))
    below = (mass <= point).view(np.uint8)  # sums of bytes are many times faster than counts of truths
    return np.add.reduce(below, axis=0, dtype=np.uint8 if len(mass) < 256 else np.int32).astype(np.int64)
