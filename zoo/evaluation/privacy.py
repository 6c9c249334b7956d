"""Privacy: do synthetic samples lie nearer to the people that the generator learned from than to others?

Distances to closest records are weak evidence: a generator may pass them and still be open to an attack. They
catch copying, no more, and the report says so.
"""

from typing import Any

import numpy as np

from zoo.evaluation.learners import wilson_interval
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric

_ALL = ("tabular", "timeseries", "image", "text")
_CHUNK = 1024  # rows of distances at a time: 1024 x 16,000 float32 take 66 MB
_TIE = 1e-5


def nearest(points: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distance ``float64 (N,)`` of each row to the closest row of ``reference``, and that row's index ``int64 (N,)``.

    Dense rows: Euclidean; the closest row is searched by inner products in float32 and its distance then
    computed exactly in float64, so that a copy is at distance 0. Sparse unit rows: 1 minus the cosine.
    Memory is bounded by 1,024 rows of distances at a time.
    """
    distance, index = np.empty(points.shape[0]), np.empty(points.shape[0], dtype=np.int64)
    if hasattr(points, "tocsr"):
        transposed = reference.T.tocsr()
        for start in range(0, len(distance), _CHUNK):
            cosine = points[start : start + _CHUNK] @ transposed
            index[start : start + _CHUNK] = np.asarray(cosine.argmax(axis=1)).ravel()
            distance[start : start + _CHUNK] = np.maximum(1 - cosine.max(axis=1).toarray().ravel(), 0)
        return distance, index
    centre = reference.mean(axis=0)  # centred, so that float32 loses little
    points, reference = points - centre, reference - centre
    half_norms = 0.5 * np.einsum("ij,ij->i", reference, reference)
    for start in range(0, len(distance), _CHUNK):
        block = points[start : start + _CHUNK]
        closest = (block @ reference.T - half_norms).argmax(axis=1)
        index[start : start + _CHUNK] = closest
        distance[start : start + _CHUNK] = np.linalg.norm(block.astype(np.float64) - reference[closest], axis=1)
    return distance, index


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
    anchors=("real", "naive", "copy"),
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
        raise NotComputable("there is no holdout; pass holdout= with real rows that the generator has not seen")
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
    anchors=("real", "naive", "copy"),
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
