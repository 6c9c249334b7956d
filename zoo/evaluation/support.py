"""Diversity and generalisation: does the synthetic data cover the real ones, and more than the training rows?

Scores of supports by nearest neighbours, on equally many rows of each side. Copies are perfect in all but two of them:
authenticity and the generalisation gap, which ask whether samples are new.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.intervals import wilson_interval
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.neighbours import k_nearest, nearest

_ALL = ("tabular", "timeseries", "image", "text")
_DENSE = ("tabular", "timeseries", "image")
_ALPHAS = np.linspace(0, 1, 31)
_K = 5
_RARE = 0.05
_CELLS = 50
_ALAA = "Alaa, van Breugel, Saveliev and van der Schaar 2022 (arXiv:2102.08921), in the space of the columns themselves"
_NAEEM = "Naeem, Oh, Uh, Choi and Yoo 2020 (arXiv:2002.09797), k = 5"


@dataclass(frozen=True)
class Clouds:
    """Positions of training rows ``real`` and of ``synthetic`` ones, with neighbours that several scores need."""

    real: Any
    synthetic: Any
    real_radius: np.ndarray  # distance of each real row to its 5th nearest other real row
    to_synthetic: np.ndarray  # distance of each real row to the nearest synthetic one
    synthetic_of: np.ndarray  # which that is


def clouds(trial: Trial) -> Clouds:
    """Equally many rows of each side and their neighbours; once per trial."""
    if "clouds" not in trial.cache:
        kit, limits = trial.kit, trial.limits
        n = min(kit.length(trial.train), kit.length(trial.synthetic), limits.attacked)
        if n < _K + 2:
            raise NotComputable(f"{n} rows of each side are too few to speak of neighbourhoods")
        real, made = (trial.sample(d, n, f"support.{i}") for i, d in enumerate((trial.train, trial.synthetic)))
        a, b = kit.points(trial.train, real, made)
        if a.shape[1] == 0:
            raise NotComputable("there is no column in which distances mean anything")
        own, _ = k_nearest(a, a, _K + 1)  # the first is the row itself
        distance, which = nearest(a, b)
        trial.cache["clouds"] = Clouds(a, b, own[:, _K], distance, which)
    return trial.cache["clouds"]


def precision_curve(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Share of synthetic rows within the ball round the real mean that holds a share alpha of the real rows."""
    centre = real.mean(axis=0)
    to_real, to_synthetic = (np.linalg.norm(x - centre, axis=1) for x in (real, synthetic))
    radii = np.quantile(to_real, _ALPHAS)
    radii[0] = -np.inf  # nobody is within alpha = 0
    return np.searchsorted(np.sort(to_synthetic), radii, side="right") / len(synthetic)


def curve_score(curve: np.ndarray) -> float:
    """1 minus twice the area between the curve and the diagonal: 1 where they agree, 0 at worst."""
    return float(max(0.0, 1 - 2 * np.trapezoid(np.abs(curve - _ALPHAS), _ALPHAS)))


def recall_curve(points: Clouds) -> np.ndarray:
    """Share of real rows whose nearest synthetic row is near, and within the synthetic rows' ball of a share beta."""
    centre = points.synthetic.mean(axis=0)
    spread = np.linalg.norm(points.synthetic[points.synthetic_of] - centre, axis=1)
    radii = np.quantile(spread, _ALPHAS)
    radii[0] = -np.inf
    near = points.to_synthetic <= points.real_radius
    return np.array([(near & (spread <= r)).mean() for r in radii])


def density(real: np.ndarray, synthetic: np.ndarray, radius: np.ndarray, k: int) -> float:
    """Mean number of real neighbourhoods (radius: k-th nearest real row) that a synthetic row is in, by k."""
    total, squared = 0, radius.astype(np.float64) ** 2
    norms = (real.astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(synthetic), 1024):
        block = synthetic[start : start + 1024].astype(np.float64)
        distance = (block**2).sum(axis=1)[:, None] + norms - 2 * block @ real.T.astype(np.float64)
        total += int((distance <= squared * (1 + 1e-6) + 1e-9).sum())
    return total / (k * len(synthetic))


@metric(
    "fidelity.alpha_precision",
    title="α-precision",
    modalities=_DENSE,
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    cost="medium",
    rows="attacked",
    plain="Whether synthetic samples lie among the typical real ones in the right share, neither outside nor too near "
    "the middle.",
    reference=_ALAA,
)
def alpha_precision(trial: Trial) -> Measurement:
    """Integrated α-precision: 1 minus twice the mean distance of the curve from the diagonal."""
    points = clouds(trial)
    curve = precision_curve(points.real, points.synthetic)
    return Measurement(value=curve_score(curve), details={"curve": curve.tolist(), "rows_of_each": len(points.real)})


@metric(
    "fidelity.density",
    title="Density",
    modalities=_DENSE,
    span=(0.0, None),
    direction="higher",
    ideal=1.0,
    cost="medium",
    rows="attacked",
    depth="full",
    plain="How many real neighbourhoods a synthetic sample lies in, by how many real ones do; above 1, samples crowd "
    "where real ones are dense.",
    reference=_NAEEM,
)
def density_metric(trial: Trial) -> Measurement:
    """Density of the synthetic rows in neighbourhoods of training rows."""
    points = clouds(trial)
    value = density(points.real, points.synthetic, points.real_radius, _K)
    return Measurement(value=value, details={"rows_of_each": len(points.real), "neighbours": _K})


@metric(
    "diversity.beta_recall",
    title="β-recall",
    modalities=_DENSE,
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    cost="medium",
    rows="attacked",
    plain="Whether the synthetic samples cover the variety of the real ones.",
    reference=_ALAA,
)
def beta_recall(trial: Trial) -> Measurement:
    """Integrated β-recall, neighbourhoods of the 5th nearest training row."""
    points = clouds(trial)
    curve = recall_curve(points)
    return Measurement(value=curve_score(curve), details={"curve": curve.tolist(), "rows_of_each": len(points.real)})


@metric(
    "diversity.coverage",
    title="Coverage",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    cost="medium",
    rows="attacked",
    plain="Share of real samples that have a synthetic one in their neighbourhood.",
    reference=_NAEEM,
)
def coverage(trial: Trial) -> Measurement:
    """Share of training rows whose nearest synthetic row is no further than their 5th nearest training row."""
    points = clouds(trial)
    share = float((points.to_synthetic <= points.real_radius * (1 + 1e-6) + 1e-9).mean())
    n = len(points.to_synthetic)
    return Measurement(value=share, interval=wilson_interval(share, n), details={"rows_of_each": n, "neighbours": _K})


@metric(
    "diversity.rare_categories",
    title="Rare categories",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="Share of the rare categories of the real data (below 5 % of the rows) that occur in as many synthetic rows.",
    reference="Category coverage, of categories below 5 %; categories of a single row are left out",
)
def rare_categories(trial: Trial) -> Measurement:
    """Share of categories below 5 % and of at least two training rows that occur among as many synthetic rows."""
    n = min(len(trial.train), len(trial.synthetic))
    real = trial.train
    made = trial.sample(trial.synthetic, n, "rare.synthetic")
    found, total, lacking = 0, 0, {}
    for name, codes in real.codes.items():
        size = len(real.categories[name])
        counts = np.bincount(codes[codes >= 0], minlength=size)
        # of which at least three are expected among n rows: a rarer one may be lacking by chance
        rare = (counts < _RARE * len(codes)) & (counts >= 2) & (counts * n / len(codes) >= 3)
        seen = np.bincount(made.codes[name][made.codes[name] >= 0], minlength=size) > 0
        found, total = found + int((rare & seen).sum()), total + int(rare.sum())
        if (rare & ~seen).any():
            lacking[name] = int((rare & ~seen).sum())
    if total == 0:
        raise NotComputable("no category is rarer than 5 % and frequent enough to be expected")
    share = found / total
    return Measurement(
        value=share, interval=wilson_interval(share, total), details={"rare_categories": total, "lacking": lacking}
    )


@metric(
    "diversity.tails",
    title="Tails of numbers",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="How much of the outermost hundredth on each side of the real columns the synthetic data fill.",
    reference="min(1, synthetic share beyond the real 1 % and 99 % quantiles / real share), mean over both ends",
)
def tails(trial: Trial) -> Measurement:
    """Mean over numeric columns and both ends of the synthetic share beyond the 1 % quantile, by the real share."""
    each: dict[str, list[float]] = {}
    for name, values in trial.train.numbers.items():
        a, b = (v[~np.isnan(v)] for v in (values, trial.synthetic.numbers[name]))
        if len(a) < 100 or len(b) < 100:
            continue
        low, high = np.quantile(a, [0.01, 0.99])
        ends = [((a <= low).mean(), (b <= low).mean()), ((a >= high).mean(), (b >= high).mean())]
        each[name] = [float(min(1.0, s / r)) for r, s in ends if r < 0.1]  # an end that is a single value is no tail
    filled = [v for ends in each.values() for v in ends]
    if not filled:
        raise NotComputable("no numeric column has a tail: fewer than 100 values, or its ends are single values")
    return Measurement(value=float(np.mean(filled)), details={"columns": {n: v for n, v in each.items() if v}})


@metric(
    "diversity.collapsed",
    title="Mode collapse",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    cost="medium",
    rows="attacked",
    plain="Share of the real samples that lie in regions which the synthetic data have all but left out.",
    reference="Fifty regions round real samples drawn by seed; left out: below a tenth of the real share",
)
def collapsed(trial: Trial) -> Measurement:
    """Real share of those of fifty Voronoi cells whose synthetic share is below a tenth of it."""
    points = clouds(trial)
    n = points.real.shape[0]
    centres = points.real[np.sort(trial.rng("collapsed").choice(n, min(_CELLS, n), replace=False))]
    real, made = (
        np.bincount(nearest(x, centres)[1], minlength=centres.shape[0]) / x.shape[0]
        for x in (points.real, points.synthetic)
    )
    left = (made < 0.1 * real) & (real * n >= 30)  # 30 expected and fewer than 3 there: no accident
    share = float(real[left].sum())
    details = {"regions": centres.shape[0], "left_out": int(left.sum())}
    return Measurement(value=share, interval=wilson_interval(share, n), details=details)


@metric(
    "generalisation.authenticity",
    title="Authenticity",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="higher",
    ideal=None,
    floor="copy",
    cost="medium",
    rows="attacked",
    plain="Share of synthetic samples that are no nearer to a training sample than another training sample is: made, "
    "not copied.",
    reference=_ALAA,
)
def authenticity(trial: Trial) -> Measurement:
    """Share of synthetic rows further from their nearest training row than that row is from the next training row.

    All training rows are searched: in a part of them a copy would lack its original.
    """
    kit, limits = trial.kit, trial.limits
    if kit.length(trial.train) < 2:
        raise NotComputable("one training row has no other to compare with")
    made = trial.sample(trial.synthetic, limits.attacked // 4, "authenticity.synthetic")
    train = trial.sample(trial.train, limits.attack_synthetic, "authenticity.train")
    points, reference = kit.points(trial.train, made, train)
    if points.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    distance, which = nearest(points, reference)
    found, place = np.unique(which, return_inverse=True)
    other = k_nearest(reference[found], reference, 2)[0][:, 1]  # the first is the row itself, or its twin
    share = float((distance > other[place]).mean())
    n = len(distance)
    return Measurement(
        value=share, interval=wilson_interval(share, n), details={"rows": n, "train_rows": reference.shape[0]}
    )


@metric(
    "generalisation.gap",
    title="Generalisation gap",
    modalities=_ALL,
    span=(-1.0, 1.0),
    direction="lower",
    ideal=0.0,
    needs=("holdout",),
    ceiling="fresh",
    floor="copy",
    cost="medium",
    rows="attacked",
    plain="Coverage of the training data minus coverage of people whom the generator has not seen: above 0, it "
    "remembers more than it understands.",
    reference="Coverage (Naeem et al. 2020), against equally many rows of train and of the holdout",
)
def gap(trial: Trial) -> Measurement:
    """Share of training rows, minus that of holdout rows, that have a synthetic row within the typical distance.

    The typical distance is one for both: the median distance of a holdout row to its nearest training row.
    """
    kit = trial.kit
    if trial.holdout is None:
        raise NotComputable(trial.no_holdout)
    n = min(kit.length(trial.train), kit.length(trial.holdout), trial.limits.attacked)
    train, holdout = trial.sample(trial.train, n, "gap.train"), trial.sample(trial.holdout, n, "gap.holdout")
    made = trial.sample(trial.synthetic, trial.limits.neighbours, "gap.synthetic")
    a, b, c = kit.points(trial.train, train, holdout, made)
    if a.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    near = float(np.median(nearest(b, a)[0])) / 2
    seen, unseen = (nearest(x, c)[0] <= near for x in (a, b))
    value = float(seen.mean() - unseen.mean())
    half = 1.96 * float(np.sqrt((seen.var() + unseen.var()) / n))
    return Measurement(
        value=value,
        interval=(max(value - half, -1.0), min(value + half, 1.0)),
        details={"train": float(seen.mean()), "holdout": float(unseen.mean()), "rows_of_each": n, "near": near},
    )
