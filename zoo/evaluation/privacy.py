"""Privacy: do synthetic samples lie nearer to the people that the generator learned from than to others?

Distances to closest records are weak evidence: a generator may pass them and still be open to an attack. They
catch copying, no more, and the report says so.
"""

from typing import Any

import numpy as np

from zoo.evaluation.intervals import wilson_interval
from zoo.evaluation.kit import Kit
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.neighbours import k_nearest, nearest

_ALL = ("tabular", "timeseries", "image", "text")
_TIE = 1e-5
_NEAR = 0.02


def effective_samples(nearest_record: np.ndarray) -> float:
    """How many independent samples a share over these nearest records is worth: ``N**2 / sum(n_i**2)``.

    ``n_i`` samples have record i as their nearest. Whether record i is one of train or of the holdout is chance for a
    generator that copies nobody, and decides over all n_i at once; so the share varies as if only so many samples had
    been asked (a variance of 0.25 * sum(n_i**2) / N**2), and not N.
    """
    counts = np.unique(nearest_record, return_counts=True)[1].astype(np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum())


def closer_share(to_train: np.ndarray, to_holdout: np.ndarray) -> tuple[float, float]:
    """Share of samples nearer to train than to holdout, ties counting half, and the share of ties."""
    gap = to_train - to_holdout
    ties = np.abs(gap) <= _TIE * np.maximum(1.0, np.maximum(to_train, to_holdout))
    return float(((gap < 0) & ~ties).mean() + 0.5 * ties.mean()), float(ties.mean())


@metric(
    "privacy.closer_to_train",
    title="Closer to train than to holdout",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="ideal",
    ideal=0.5,
    needs=("holdout",),
    ceiling="fresh",
    floor="copy",
    cost="medium",
    plain="Share of synthetic samples whose nearest real record is one the generator learned from: 0.5 is "
    "what strangers would get; compare it with what returned training rows get. Weak evidence: passing it "
    "does not prove privacy.",
    reference="Platzer and Reutterer 2021, Holdout-Based Assessment (doi 10.3389/fdata.2021.679939)",
)
def closer_to_train(trial: Trial) -> Measurement:
    """Share nearer to train than to the holdout, on equally many rows of both, ties half.

    Numbers are standardised by train, categories count 1 when they differ (Hamming); images by principal
    components, series by their summary features, texts by the cosine of their TF-IDF.
    """
    kit = trial.kit
    if trial.holdout is None:
        raise NotComputable(trial.no_holdout)
    n = min(kit.length(trial.train), kit.length(trial.holdout), trial.limits.references)
    train = trial.sample(trial.train, n, "privacy.train")
    holdout = trial.sample(trial.holdout, n, "privacy.holdout")
    synthetic = trial.sample(trial.synthetic, trial.limits.neighbours, "privacy.synthetic")
    points, a, b = kit.points(train, synthetic, train, holdout)
    if points.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    (to_train, in_train), (to_holdout, in_holdout) = nearest(points, a), nearest(points, b)
    share, ties = closer_share(to_train, to_holdout)
    worth = effective_samples(np.where(to_train <= to_holdout, in_train, n + in_holdout))
    return Measurement(
        value=share,
        interval=wilson_interval(share, worth),
        details={
            "synthetic_rows": len(to_train),
            "effective_rows": round(worth, 1),
            "rows_of_train_and_holdout": n,
            "ties": ties,
            "median_distance_to_train": float(np.median(to_train)),
            "median_distance_to_holdout": float(np.median(to_holdout)),
            "standard_error_at_half": float(0.5 / np.sqrt(worth)),
        },
    )


@metric(
    "privacy.verbatim",
    title="Verbatim training samples",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    ceiling="holdout",
    floor="copy",
    plain="Share of synthetic samples that equal a training sample in everything; compare it with how often "
    "real strangers coincide with one.",
    reference="Share of exact matches; identifiers and free text in tables are left out",
)
def verbatim(trial: Trial) -> Measurement:
    """Share of synthetic samples that equal one of the training samples."""
    synthetic, train = trial.kit.fingerprints(trial.synthetic, trial.train)
    share = float(np.isin(synthetic, train).mean())
    return Measurement(
        value=share,
        interval=wilson_interval(share, len(synthetic)),
        details={"synthetic_rows": len(synthetic)},
    )


@metric(
    "privacy.near_copies",
    title="Near copies",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    ceiling="holdout",
    floor="copy",
    cost="medium",
    plain="Share of synthetic samples that equal a training sample in every category and nearly in every number; "
    "compare it with how often real strangers come as near.",
    reference="Nearest training record within 2 % of a standard deviation a number, and no category that differs",
)
def near_copies(trial: Trial) -> Measurement:
    """Share of synthetic samples within 0.02 of their nearest training sample, root mean square over the coordinates.

    Coordinates are numbers in standard deviations of train (categories must agree), principal components of images in
    units of their own spread, summary features of series; texts: a cosine of at least 0.98.
    """
    kit, limits = trial.kit, trial.limits
    synthetic = trial.sample(trial.synthetic, limits.attacked, "near_copies.synthetic")
    train = trial.sample(trial.train, limits.attack_synthetic, "near_copies.train")
    points, reference = kit.points(trial.train, synthetic, train)
    if points.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    distance, _ = nearest(points, reference)
    share = float((distance <= _near(kit, trial.train, reference)).mean())
    return Measurement(
        value=share,
        interval=wilson_interval(share, len(distance)),
        details={
            "synthetic_rows": len(distance),
            "train_rows": reference.shape[0],
            "share_of_train_searched": reference.shape[0] / kit.length(trial.train),
        },
    )


def _near(kit: Kit, train: Any, reference: Any) -> float:
    """The distance up to which a sample is a near copy."""
    if hasattr(reference, "tocsr"):
        return _NEAR
    if kit.modality == "image":
        return _NEAR * float(np.sqrt(reference.var(axis=0).sum()))
    return min(_NEAR * float(np.sqrt(max(kit.numeric_count(train), 1))), 0.5)


@metric(
    "privacy.neighbour_ratio",
    title="Nearest-neighbour ratio (weak)",
    modalities=_ALL,
    span=(-1.0, 1.0),
    direction="ideal",
    ideal=0.0,
    needs=("holdout",),
    ceiling="fresh",
    floor="copy",
    cost="medium",
    depth="full",
    plain="Distance to the nearest over distance to the second nearest record, in the holdout minus in train: above 0, "
    "samples stick to single training records. Weak evidence: passing it does not prove privacy.",
    reference="Nearest-neighbour distance ratio against a holdout; refuted as a proof of privacy by Ganev and De "
    "Cristofaro 2023 (arXiv:2312.05114)",
)
def neighbour_ratio(trial: Trial) -> Measurement:
    """Mean over synthetic samples of d1/d2 among holdout rows minus d1/d2 among equally many training rows."""
    kit = trial.kit
    if trial.holdout is None:
        raise NotComputable(trial.no_holdout)
    n = min(kit.length(trial.train), kit.length(trial.holdout), trial.limits.attack_reference)
    if n < 2:
        raise NotComputable("one row of train or of the holdout has no second nearest neighbour")
    train = trial.sample(trial.train, n, "privacy.train")
    holdout = trial.sample(trial.holdout, n, "privacy.holdout")
    synthetic = trial.sample(trial.synthetic, trial.limits.attacked, "neighbour_ratio.synthetic")
    points, a, b = kit.points(trial.train, synthetic, train, holdout)
    if points.shape[1] == 0:
        raise NotComputable("there is no column in which distances mean anything")
    gap = _ratio(points, b) - _ratio(points, a)
    half = 1.96 * float(gap.std(ddof=1)) / np.sqrt(len(gap)) if len(gap) > 1 else 2.0
    value = float(gap.mean())
    return Measurement(
        value=value,
        interval=(max(value - half, -1.0), min(value + half, 1.0)),
        details={"synthetic_rows": len(gap), "rows_of_train_and_holdout": n, "evidence": "weak"},
    )


def _ratio(points: Any, reference: Any) -> np.ndarray:
    """Nearest over second nearest distance, 1 where both are 0: ``float64 (N,)``."""
    distance, _ = k_nearest(points, reference, 2)
    positive = distance[:, 1] > 0
    return np.where(positive, distance[:, 0] / np.where(positive, distance[:, 1], 1.0), 1.0)
