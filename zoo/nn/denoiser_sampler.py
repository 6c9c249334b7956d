"""What a trained :class:`~zoo.nn.mask_denoiser.MaskDenoiser` computes, in NumPy: torch is not imported to sample."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from zoo.data.code_digits import CodeDigits
from zoo.nn.column_sampler import ColumnSampler, DrawJob


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
        super().__init__(digits, hidden, inner, arrays)
        self._step = step

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

    def _step_weights(self, digits: Sequence[int], hidden: np.ndarray) -> list[np.ndarray]:
        top = self._top(hidden)  # (b, H)
        return [self._exponentials(j, top, 1.0) for j in digits]

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
