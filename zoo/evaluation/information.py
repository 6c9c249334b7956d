"""Information: distances between single, paired and triple distributions, in bits, and what columns tell of each other.

All of these look at *cells*: categories as they are, numbers by twenty quantile bins of the training data, missing as a
cell of its own. So every measure is that of a discrete distribution, exact for the cells, and the same for all columns.
A generator that learned nothing but the columns is perfect in the first ones and poor in those of pairs and triples.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.table import Table, cap_codes

_BINS = 20
_TRIPLES = 60
_PAIRS = 400  # of columns at most, drawn by seed: a table of 50 columns has 1,225
_TABLES = ("tabular", "timeseries")


@dataclass(frozen=True)
class Cells:
    """Columns of two tables as whole numbers from 0: ``real[name] int16 (N,)``, ``synthetic[name] int16 (M,)``."""

    names: tuple[str, ...]
    real: dict[str, np.ndarray]
    synthetic: dict[str, np.ndarray]
    sizes: dict[str, int]


def discretise(values: list[np.ndarray], bins: int = _BINS) -> list[np.ndarray]:
    """Numbers as quantile bins of the first part, 0 for missing; few distinct values keep a bin each."""
    seen = values[0][~np.isnan(values[0])]
    distinct = np.unique(seen)
    if len(distinct) > bins:
        edges = np.unique(np.quantile(seen, np.linspace(0, 1, bins + 1)[1:-1]))
        return [np.where(np.isnan(v), 0, np.searchsorted(edges, v, side="right") + 1) for v in values]
    middles = (distinct[:-1] + distinct[1:]) / 2
    return [np.where(np.isnan(v), 0, np.searchsorted(middles, v, side="right") + 1) for v in values]


def cells_of(real: Table, synthetic: Table) -> Cells:
    """Both tables as cells, by the bins of the real one."""
    parts: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    sizes = {}
    for name in real.names:
        if name in real.numbers:
            found = discretise([real.numbers[name], synthetic.numbers[name]])
            if min(map(len, found)) == 0:
                continue  # a channel of series that one side never observes
        else:
            found = [c + 1 for c in cap_codes([real.codes[name], synthetic.codes[name]])]
        parts[0][name], parts[1][name] = (f.astype(np.int16) for f in found)  # at most 256 cells; many trials are held
        sizes[name] = max(int(f.max(initial=0)) for f in found) + 1
    return Cells(tuple(sizes), *parts, sizes)


def shares(cells: np.ndarray, size: int) -> np.ndarray:
    """Share of each cell, ``float64 (size,)``."""
    return np.bincount(cells, minlength=size) / max(len(cells), 1)


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half of the sum of absolute differences, 0 to 1."""
    return float(0.5 * np.abs(p - q).sum())


def entropy(p: np.ndarray) -> float:
    """Shannon entropy in bits."""
    positive = p[p > 0]
    return float(-(positive * np.log2(positive)).sum())


def kullback_leibler(p: np.ndarray, q: np.ndarray) -> float:
    """``sum p log2(p / q)`` in bits; infinite where q lacks a cell of p."""
    positive = p > 0
    if (q[positive] == 0).any():
        return float("inf")
    return float((p[positive] * np.log2(p[positive] / q[positive])).sum())


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits, 0 to 1; its square root is a distance."""
    middle = (p + q) / 2
    return max(0.0, entropy(middle) - (entropy(p) + entropy(q)) / 2)


def smoothed(cells: np.ndarray, size: int, occupied: np.ndarray) -> np.ndarray:
    """Shares with half a row added to each cell that either side has (Krichevsky and Trofimov), so that none is 0."""
    counts = np.bincount(cells, minlength=size) + 0.5 * occupied
    return counts / counts.sum()


def mutual_information(joint: np.ndarray) -> float:
    """Of the two variables of a joint distribution ``float (A, B)``, in bits."""
    return max(0.0, entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0)) - entropy(joint.ravel()))


def conditional_entropy(joint: np.ndarray) -> float:
    """Of the second variable given the first, in bits."""
    return max(0.0, entropy(joint.ravel()) - entropy(joint.sum(axis=1)))


def _cells(trial: Trial) -> Cells:
    if "cells" not in trial.cache:
        trial.cache["cells"] = cells_of(*(trial.kit.as_table(d) for d in (trial.train, trial.synthetic)))
    return trial.cache["cells"]


def _by_column(trial: Trial, measure: Any) -> Measurement:
    cells = _cells(trial)
    if not cells.names:
        raise NotComputable("no column has values on both sides")
    each = {n: measure(cells.real[n], cells.synthetic[n], cells.sizes[n]) for n in cells.names}
    worst = max(each, key=lambda n: each[n])
    return Measurement(value=float(np.mean(list(each.values()))), details={"columns": each, "worst_column": worst})


def _pairs(trial: Trial) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Joint shares ``(A, B)`` of pairs of columns, real and synthetic; once per trial."""
    if "pair cells" not in trial.cache:
        cells = _cells(trial)
        pairs = list(itertools.combinations(cells.names, 2))
        if not pairs:
            raise NotComputable("there is one column only, so there are no pairs")
        if len(pairs) > _PAIRS:
            chosen = trial.rng("information.pairs").choice(len(pairs), _PAIRS, replace=False)
            pairs = [pairs[i] for i in np.sort(chosen)]
        trial.cache["pair cells"] = {pair: _joint(cells, *pair) for pair in pairs}
    return trial.cache["pair cells"]


def _joint(cells: Cells, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    shape = (cells.sizes[a], cells.sizes[b])
    real, synthetic = (
        shares(s[a].astype(np.int64) * shape[1] + s[b], shape[0] * shape[1]) for s in (cells.real, cells.synthetic)
    )
    return real.reshape(shape), synthetic.reshape(shape)


def _by_pair(trial: Trial, measure: Any) -> Measurement:
    each = {pair: float(measure(*joint)) for pair, joint in _pairs(trial).items()}
    worst = sorted(each, key=lambda p: -each[p])[:10]
    details = {"pairs": len(each), "worst_pairs": [[*p, each[p]] for p in worst]}
    return Measurement(value=float(np.mean(list(each.values()))), details=details)


_LOW: dict[str, Any] = {"direction": "lower", "ideal": 0.0, "modalities": _TABLES}
_PAIRED = _LOW | {"modalities": ("tabular",)}  # a channel of series has no row in common with a static attribute
_COVER = "Cover and Thomas 2006, Elements of Information Theory, chapter 2; cells of twenty quantile bins"


@metric(
    "fidelity.total_variation",
    title="Total variation of columns",
    span=(0.0, 1.0),
    plain="Share of rows that would have to change their cell for a column to be distributed as in the real data, "
    "averaged over the columns.",
    reference="Half of the L1 distance of the shares of cells",
    **_LOW,
)
def column_total_variation(trial: Trial) -> Measurement:
    """Mean over columns of the total variation distance between shares of cells."""
    return _by_column(trial, lambda a, b, size: total_variation(shares(a, size), shares(b, size)))


@metric(
    "fidelity.jensen_shannon",
    title="Jensen–Shannon divergence of columns",
    span=(0.0, 1.0),
    plain="How much one value tells of whether it is real or synthetic, in bits: 0 nothing, 1 everything.",
    reference="Lin 1991 (doi 10.1109/18.61115)",
    **_LOW,
)
def column_jensen_shannon(trial: Trial) -> Measurement:
    """Mean over columns of the Jensen-Shannon divergence, base 2."""
    return _by_column(trial, lambda a, b, size: jensen_shannon(shares(a, size), shares(b, size)))


@metric(
    "fidelity.kullback_leibler",
    title="Kullback–Leibler divergence of columns",
    span=(0.0, None),
    plain="Bits a value that are lost when real data are described as though they were synthetic; lacking values cost "
    "most.",
    reference="Kullback and Leibler 1951; shares with half a row added to each occupied cell",
    **_LOW,
)
def column_kullback_leibler(trial: Trial) -> Measurement:
    """Mean over columns of KL(real || synthetic), base 2, smoothed by half a row a cell."""

    def measure(a: np.ndarray, b: np.ndarray, size: int) -> float:
        occupied = (shares(a, size) + shares(b, size)) > 0
        return kullback_leibler(smoothed(a, size, occupied), smoothed(b, size, occupied))

    return _by_column(trial, measure)


@metric(
    "fidelity.entropy",
    title="Entropy of columns",
    span=(0.0, None),
    plain="How far the variety of a column is from the real one, in bits, averaged over the columns.",
    reference=_COVER,
    **_LOW,
)
def column_entropy(trial: Trial) -> Measurement:
    """Mean over columns of the absolute difference of entropies; details hold both entropies of each."""
    cells, each = _cells(trial), {}
    if not cells.names:
        raise NotComputable("no column has values on both sides")
    for n in cells.names:
        each[n] = [entropy(shares(side[n], cells.sizes[n])) for side in (cells.real, cells.synthetic)]
    gaps = {n: abs(a - b) for n, (a, b) in each.items()}
    return Measurement(value=float(np.mean(list(gaps.values()))), details={"columns": gaps, "real_and_synthetic": each})


@metric(
    "fidelity.pair_variation",
    title="Total variation of pairs",
    span=(0.0, 1.0),
    plain="Share of rows that would have to change for two columns together to be distributed as in the real data, "
    "averaged over the pairs.",
    reference="Half of the L1 distance of the shares of joint cells; at most 400 pairs, drawn by seed",
    **_PAIRED,
)
def pair_total_variation(trial: Trial) -> Measurement:
    """Mean over pairs of columns of the total variation distance of their joint cells."""
    return _by_pair(trial, lambda p, q: total_variation(p.ravel(), q.ravel()))


@metric(
    "fidelity.mutual_information",
    title="Mutual information of pairs",
    span=(0.0, None),
    plain="How far what one column tells of another is from the real amount, in bits, averaged over the pairs.",
    reference=_COVER,
    **_PAIRED,
)
def pair_mutual_information(trial: Trial) -> Measurement:
    """Mean over pairs of the absolute difference of mutual informations."""
    return _by_pair(trial, lambda p, q: abs(mutual_information(p) - mutual_information(q)))


@metric(
    "fidelity.conditional_entropy",
    title="Conditional entropy of pairs",
    span=(0.0, None),
    plain="How far what remains unknown of one column when another is known is from the real amount, in bits.",
    reference=_COVER,
    **_PAIRED,
)
def pair_conditional_entropy(trial: Trial) -> Measurement:
    """Mean over ordered pairs of the absolute difference of conditional entropies."""

    def measure(p: np.ndarray, q: np.ndarray) -> float:
        ways = ((p, q), (p.T, q.T))
        return float(np.mean([abs(conditional_entropy(a) - conditional_entropy(b)) for a, b in ways]))

    return _by_pair(trial, measure)


@metric(
    "fidelity.triple_variation",
    title="Total variation of triples",
    span=(0.0, 1.0),
    cost="medium",
    depth="full",
    plain="The same of three columns together, for sixty triples drawn by seed.",
    reference="Three-way marginals, as in the NIST differential privacy challenges (McKenna, Miklau and Sheldon 2021)",
    **_PAIRED,
)
def triple_total_variation(trial: Trial) -> Measurement:
    """Mean over at most 60 triples of the total variation distance of their joint cells."""
    cells = _cells(trial)
    triples = list(itertools.islice(itertools.combinations(range(len(cells.names)), 3), 200_000))
    if not triples:
        raise NotComputable("there are fewer than three columns")
    chosen = trial.rng("information.triples").permutation(len(triples))[:_TRIPLES]
    each = {}
    for names in (tuple(cells.names[j] for j in triples[i]) for i in np.sort(chosen)):
        a, b, c = names
        joint = [
            (s[a].astype(np.int64) * cells.sizes[b] + s[b]) * cells.sizes[c] + s[c]
            for s in (cells.real, cells.synthetic)
        ]
        _, place = np.unique(np.concatenate(joint), return_inverse=True)
        size, n = int(place.max()) + 1, len(joint[0])
        each[names] = total_variation(shares(place[:n], size), shares(place[n:], size))
    worst = sorted(each, key=lambda t: -each[t])[:5]
    details = {"triples": len(each), "worst_triples": [[*t, each[t]] for t in worst]}
    return Measurement(value=float(np.mean(list(each.values()))), details=details)
