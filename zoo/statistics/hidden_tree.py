"""A hidden Chow-Liu tree: one hidden variable a column, joined in a tree; exact sums by passes over it.

References: A. Liu, G. Van den Broeck, "Tractable Regularization of Probabilistic Circuits", NeurIPS 2021, arXiv
2106.02264 (hidden Chow-Liu trees, as circuits); C. Chow, C. Liu, "Approximating Discrete Probability Distributions with
Dependence Trees", IEEE Trans. Information Theory 14, 1968. Learned in :mod:`zoo.statistics.hidden_tree_em`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from zoo.statistics.alias_table import AliasTable

_TINY = np.float32(1e-30)
_COARSE = 16  # codes of a column when dependence is measured: the tree needs its rank, not its amount
_TREE_ROWS = 50_000


class Upward(NamedTuple):
    """What the pass from the leaves to the root gives; see :meth:`HiddenTree.up`."""

    below: list[np.ndarray | None]
    messages: list[np.ndarray | None]
    log_likelihood: np.ndarray


@dataclass(eq=False)
class HiddenTree:
    """C columns of codes; column c's hidden variable has H states, and depends on that of the column's parent.

    Parameters
    ----------
    parents
        ``int (C,)``: the parent of each column; -1 is the root.
    order
        ``int (C,)``: the columns, every parent before its children.
    moves
        ``float32 (C, H, H)``: probability of the state (last axis) given its parent's; the root's rows are equal.
    emissions
        For each column ``float32 (K_c, H)``: probability of each code given the column's state.
    """

    parents: np.ndarray
    order: np.ndarray
    moves: np.ndarray
    emissions: list[np.ndarray]

    @property
    def states(self) -> int:
        """H."""
        return self.moves.shape[1]

    def evidence(self, codes: np.ndarray) -> list[np.ndarray]:
        """Probability of each row's code given the column's state, ``(n, H)`` a column, of codes ``int (n, C)``."""
        return [e[codes[:, c]] for c, e in enumerate(self.emissions)]

    def up(self, evidence: Sequence[np.ndarray | None]) -> Upward:
        """Messages from the leaves to the root.

        Parameters
        ----------
        evidence
            For each column ``float32 (n, H)`` or ``(1, H)``: probability of what is known of it given its state; None
            where nothing is.

        Returns
        -------
        below
            For each column ``(n, H)``: probability, up to a factor, of what is known of it and of all columns under it
            given its state; None where nothing is.
        messages
            The same given its parent's state.
        log_likelihood
            ``float64 (n,)`` or ``(1,)``: natural logarithm of the probability of all that is known.
        """
        below = list(evidence)
        messages: list[np.ndarray | None] = [None] * len(evidence)
        log_likelihood = np.zeros(1)
        for c in self.order[::-1]:
            mine = below[c]
            if mine is None:
                continue
            message = mine @ self.moves[c].T  # (n, H), of the parent's states
            messages[c] = message
            parent = self.parents[c]
            if parent < 0:
                with np.errstate(divide="ignore"):
                    log_likelihood = log_likelihood + np.log(message[:, 0].astype(np.float64))
            elif below[parent] is None:
                below[parent] = message
            else:
                both = below[parent] * message
                scale = both.sum(axis=1, keepdims=True)  # (n, 1); without it products over many columns underflow
                both /= np.maximum(scale, _TINY)
                below[parent] = both
                with np.errstate(divide="ignore"):
                    log_likelihood = log_likelihood + np.log(scale[:, 0].astype(np.float64))
        return Upward(below, messages, log_likelihood)

    @cached_property
    def _moves_tables(self) -> list[AliasTable]:
        return [AliasTable(m) for m in self.moves]

    @cached_property
    def _emission_tables(self) -> list[AliasTable]:
        return [AliasTable(e.T) for e in self.emissions]

    def draw_states(self, n: int, below: Sequence[np.ndarray | None], rng: np.random.Generator) -> list[np.ndarray]:
        """Draw the hidden variables from the root to the leaves.

        Parameters
        ----------
        n
            Number of rows.
        below
            From :meth:`up`: ``(n, H)``, or ``(1, H)`` where all rows know the same, or None.
        rng
            Source of randomness.

        Returns
        -------
        list of numpy.ndarray
            ``int64 (n,)`` for each column.
        """
        states: list[np.ndarray] = [np.empty(0)] * len(below)
        for c in self.order:
            parent, known = self.parents[c], below[c]
            above = np.zeros(n, dtype=np.int64) if parent < 0 else states[parent]
            if known is None:
                states[c] = self._moves_tables[c].draw(above, rng)
            elif len(known) == 1:
                states[c] = AliasTable(self.moves[c] * known).draw(above, rng)
            else:
                states[c] = draw_each(self.moves[c][above] * known, rng)
        return states

    def draw_codes(self, column: int, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Codes ``int64 (n,)`` of a column of which nothing is known, given its states ``(n,)``."""
        return self._emission_tables[column].draw(states, rng)


def draw_each(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One outcome ``int64 (n,)`` for each row of weights ``(n, K)``; one of weight 0 never, unless all are."""
    mass = np.cumsum(weights, axis=1)  # (n, K)
    end = mass[:, -1]
    # Strictly below its end, so that rounding draws no outcome without weight.
    point = np.minimum(rng.random(len(end), dtype=np.float32) * end, np.nextafter(end, np.float32(0)))
    return np.minimum((mass <= point[:, None]).sum(axis=1), weights.shape[1] - 1)


def chow_liu(codes: np.ndarray, widths: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The tree over columns that has the largest sum of mutual information along its edges.

    Parameters
    ----------
    codes
        ``int (n, C)``, C at least 1.
    widths
        Number of codes of each column.
    rng
        Draws 50,000 of the rows where there are more.

    Returns
    -------
    parents, order
        ``int64 (C,)`` each, as :class:`HiddenTree` wants them. The root is the column that shares most with all others.
    """
    if len(codes) > _TREE_ROWS:
        codes = codes[np.sort(rng.choice(len(codes), _TREE_ROWS, replace=False))]
    shared = mutual_information(codes, widths)
    size = len(shared)
    root = int(shared.sum(axis=1).argmax())
    parents, order = np.full(size, -1), [root]
    best, nearest = shared[root].copy(), np.full(size, root)  # Prim's algorithm
    outside = np.ones(size, dtype=bool)
    outside[root] = False
    while outside.any():
        c = int(np.where(outside, best, -np.inf).argmax())
        parents[c] = nearest[c]
        order.append(c)
        outside[c] = False
        closer = shared[c] > best
        best[closer], nearest[closer] = shared[c][closer], c
    return parents, np.array(order)


def mutual_information(codes: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Mutual information in nats of each two columns, ``(C, C)``, zeros on the diagonal.

    Columns of many codes are cut into 16 ranges of equal shares; the bias of so many cells is taken off
    (Miller 1955).
    """
    n = len(codes)
    parts = [_coarse(codes[:, c], k) for c, k in enumerate(widths)]
    sizes = np.array([int(p.max()) + 1 for p in parts])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    counts = np.zeros((sizes.sum(), sizes.sum()))
    for begin in range(0, n, 4096):  # one-hot rows of bounded number: all tables of all pairs are one product
        some = np.zeros((min(4096, n - begin), len(counts)), dtype=np.float32)
        for start, part in zip(starts, parts, strict=True):
            some[np.arange(len(some)), start + part[begin : begin + 4096]] = 1.0
        counts += some.T @ some
    joint = counts / n
    single = np.diagonal(joint)
    expected = np.outer(single, single)
    filled = joint > 0
    term = np.where(filled, joint * np.log(np.where(filled, joint, 1.0) / np.where(filled, expected, 1.0)), 0.0)
    shared = np.add.reduceat(np.add.reduceat(term, starts, axis=0), starts, axis=1)
    free = np.add.reduceat((single > 0).astype(np.float64), starts) - 1
    shared -= np.outer(free, free) / (2 * n)
    np.fill_diagonal(shared, 0.0)
    return shared


def _coarse(codes: np.ndarray, width: int) -> np.ndarray:
    if width <= _COARSE:
        return codes
    share = np.bincount(codes, minlength=width) / len(codes)
    middle = np.cumsum(share) - share / 2
    return np.minimum((middle * _COARSE).astype(np.int64), _COARSE - 1)[codes]
