"""Wide columns of codes as digits, so that nothing downstream is as wide as a column of 100,000 categories."""

from itertools import pairwise

import numpy as np


class CodeDigits:
    """Codes ``(n, C)`` <-> digits ``(n, D)``: a column of more than ``widest`` codes becomes two digits or more.

    Digits stand side by side, the most significant first; the other columns are one digit each.

    Parameters
    ----------
    widths
        Number of codes of each column, C of them.
    widest
        Most values that a digit may have.

    Attributes
    ----------
    sizes : list of int
        Number of values of each digit.
    owner : list of int
        The column that each digit belongs to.
    digits : list of list of int
        The digits of each column.
    radices : list of list of int
        Their sizes.
    """

    def __init__(self, widths: list[int], widest: int) -> None:
        self.widths = list(widths)
        self.radices = [_radices(width, widest) for width in widths]
        self.sizes = [r for radices in self.radices for r in radices]
        self.owner = [c for c, radices in enumerate(self.radices) for _ in radices]
        ends = np.cumsum([0, *(len(r) for r in self.radices)]).tolist()
        self.digits = [list(range(a, b)) for a, b in pairwise(ends)]

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Digits ``int64 (n, D)`` of codes ``(n, C)``."""
        out = np.empty((len(codes), len(self.sizes)), dtype=np.int64)
        for c, digits in enumerate(self.digits):
            rest = codes[:, c].astype(np.int64)
            for j in reversed(digits[1:]):
                rest, out[:, j] = np.divmod(rest, self.sizes[j])
            out[:, digits[0]] = rest
        return out

    def join(self, digits: np.ndarray) -> np.ndarray:
        """Codes ``int64 (n, C)`` of digits ``(n, D)``."""
        out = np.empty((len(digits), len(self.widths)), dtype=np.int64)
        for c, places in enumerate(self.digits):
            out[:, c] = self.prefix(digits, c, len(places))
        return out

    def prefix(self, digits: np.ndarray, column: int, length: int) -> np.ndarray:
        """The number ``int64 (n,)`` that the first ``length`` digits of a column write; 0 for none."""
        number = np.zeros(len(digits), dtype=np.int64)
        for j in self.digits[column][:length]:
            number = number * self.sizes[j] + digits[:, j]
        return number

    def levels(self, column: int, weights: np.ndarray) -> list[np.ndarray]:
        """Weights ``(G, K)`` of a column's codes by digits: ``(G, P, R)`` each, P the numbers of the digits before.

        A digit weighs as much as the heaviest code that begins with it, in shares of what the digits before it weigh:
        their product is the code's weight.
        """
        radices = self.radices[column]
        whole = np.zeros((len(weights), int(np.prod(radices))), dtype=np.float32)
        whole[:, : weights.shape[1]] = weights
        out = []
        above = np.ones((len(weights), 1, 1), dtype=np.float32)
        for radix in radices:
            level = whole.reshape(len(weights), above.size // len(weights), radix, -1).max(axis=3)  # (G, P, R)
            out.append(np.divide(level, above, out=np.zeros_like(level), where=above > 0))
            above = level.reshape(len(weights), -1, 1)
        return out


def _radices(width: int, widest: int) -> list[int]:
    """As few equal digits as hold ``width`` codes; the first no larger than it has to be."""
    count = 1
    while widest**count < width:
        count += 1
    radix = width
    if count > 1:
        radix = int(np.ceil(width ** (1 / count)))
        while radix**count < width:
            radix += 1
    rest = radix ** (count - 1)
    return [-(-width // rest), *[radix] * (count - 1)]
