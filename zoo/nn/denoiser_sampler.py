"""What a trained :class:`~zoo.nn.mask_denoiser.MaskDenoiser` computes, in NumPy: torch is not imported to sample."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from zoo.data.code_digits import CodeDigits
from zoo.nn.column_sampler import PIECE, ColumnSampler, DrawJob
from zoo.nn.dense import publishable
from zoo.threads import spread

_SCALINGS = 5
_FACTORS = (0.5, 2.0)  # what no training leaves to be mended


class DenoiserSampler(ColumnSampler):
    """Unmasks digits step by step: the shared layers are evaluated once a step, for all digits that it unmasks.

    Parameters
    ----------
    digits
        The columns, wide ones in digits.
    hidden, inner, blocks
        As of the network.
    step
        The step in which each digit is unmasked, ``int (D,)``: digits of one step are drawn independently.
    arrays
        Weights by the names of the network's parameters; cast to float32.

    Raises
    ------
    ValueError
        If a weight is missing, left over, of another shape or not finite.
    """

    def __init__(
        self,
        digits: CodeDigits,
        hidden: int,
        inner: int,
        blocks: int,
        step: np.ndarray,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self._blocks = blocks
        self._step = step
        super().__init__(digits, hidden, inner, arrays)

    def _shapes(self, columns: int, total: int, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
        square, flat = (self._blocks, hidden, hidden), (self._blocks, hidden)
        shared = {"bias": (hidden,), "enter": square, "enter_bias": flat, "leave": square, "leave_bias": flat}
        return super()._shapes(columns, total, hidden, inner) | shared

    # The network

    def _top(self, hidden: np.ndarray) -> np.ndarray:
        """The shared layers' output ``(b, H)`` for sums ``(b, H)``."""
        a = self.arrays
        hidden = hidden + a["bias"]  # (b, H)
        rest = np.empty_like(hidden)
        for layer in range(self._blocks):
            within = np.maximum(hidden, 0, out=rest) @ a["enter"][layer]  # (b, H)
            within += a["enter_bias"][layer]
            np.maximum(within, 0, out=within)
            hidden += np.matmul(within, a["leave"][layer], out=rest)
            hidden += a["leave_bias"][layer]
        return np.maximum(hidden, 0, out=hidden)

    def _weights(self, j: int, hidden: np.ndarray, temperature: float) -> np.ndarray:
        return self._exponentials(j, self._top(hidden), temperature)

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
        for _, step in groupby(order, key=lambda j: self._step[j]):
            digits = list(step)
            seen = [j for j in order if self._step[j] < self._step[digits[0]]]
            weights = {j: np.empty((self.digits.sizes[j], len(codes)), dtype=np.float32) for j in digits}

            def piece(
                part: slice, seen: list[int] = seen, weights: dict[int, np.ndarray] = weights
            ) -> None:  # of one step
                top = self._top(self._sums(codes[part], seen))  # (b, H)
                for j, all_rows in weights.items():
                    mine = self._exponentials(j, top, 1.0)  # (K, b)
                    column = self.digits.owner[j]
                    level = j - self.digits.digits[column][0]
                    self._cap(column, level, mine, codes, np.arange(part.start, part.stop))
                    all_rows[:, part] = mine

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

    # Drawing

    def _arrange(self, order: Sequence[int]) -> Sequence[int]:
        return sorted(order, key=lambda j: (self._step[j], j))

    def _draw_piece(self, job: DrawJob, part: slice, hidden: np.ndarray, order: Sequence[int], begun: int) -> None:
        rows = np.arange(part.start, part.stop)
        for _, digits in groupby(range(begun, len(order)), key=lambda i: self._step[order[i]]):
            top = self._top(hidden)  # (b, H)
            for i in digits:
                j = order[i]
                weights = self._exponentials(j, top, job.temperature)  # (K, b)
                self._draw_digit(job, part, rows, i, j, weights, hidden)
