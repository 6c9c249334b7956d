"""Detection: can a classifier tell synthetic samples from real ones that no generator saw?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.intervals import auc, auc_interval
from zoo.evaluation.kit import Features
from zoo.evaluation.learners import FOLDS, MIN_ROWS, cross_fitted, stack
from zoo.evaluation.metric import Measurement, NotApplicable, NotComputable, Trial, metric

_SHUFFLED = 2_000  # rows on which columns are shuffled
_COLUMNS = 60
_GROUP = 50  # rows of each kind in a group


@metric(
    "detection.c2st_auc",
    title="Classifier two-sample test",
    modalities=("tabular", "timeseries", "image", "text"),
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.5,
    ceiling="train",
    cost="high",
    plain="How well a classifier tells synthetic from unseen real samples: 0.5 is guessing, 1 is always right.",
    reference="Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests (arXiv:1610.06545)",
)
def c2st_auc(trial: Trial) -> Measurement:
    """Area under the curve of the pinned classifier, cross-fitted in 3 folds.

    Equally many synthetic and real rows; the real ones come from the holdout, or from train when there is
    none (``details["real_rows_from"]`` says which). Tables and features of series: histogram gradient
    boosting, 200 iterations, rate 0.08. Images: the same on principal components of the pixels. Texts:
    logistic regression on TF-IDF of character n-grams.

    A value clearly below 0.5 is no merit: it comes about when equal samples stand on both sides, so that a sample's
    twin in another fold bears the other label.
    """
    told = _told_apart(trial)
    n = len(told.y) // 2
    value = auc(told.scores[told.y == 1], told.scores[told.y == 0])
    details: dict[str, Any] = {
        "rows_of_each": n,
        "folds": FOLDS,
        "real_rows_from": "train" if trial.holdout is None else "holdout",
        "learner": told.features.learner,
        "ignored": list(told.features.ignored),
    }
    if trial.role == "synthetic" and told.features.names:
        details["gave_away"] = _gave_away(trial, told)
    return Measurement(value=value, interval=auc_interval(value, n, n), details=details)


@dataclass(frozen=True)
class _Told:
    """Cross-fitted probabilities of being synthetic ``float (2 n,)``, labels, rows, and one of the models."""

    scores: np.ndarray
    y: np.ndarray
    features: Features
    synthetic: Any
    real: Any
    model: Any
    unseen: np.ndarray


def _told_apart(trial: Trial) -> _Told:
    """The classifier, once per trial."""
    if "told apart" in trial.cache:
        return trial.cache["told apart"]
    kit = trial.kit
    real = trial.train if trial.holdout is None else trial.holdout
    n = min(kit.length(real), kit.length(trial.synthetic), trial.limits.detection)
    if n < FOLDS:
        raise NotComputable(f"there are {n} rows of each kind, fewer than the {FOLDS} folds")
    real = trial.sample(real, n, "detection.real")
    synthetic = trial.sample(trial.synthetic, n, "detection.synthetic")
    features = kit.features(synthetic, real)
    if features.parts[0].shape[1] == 0:
        raise NotComputable("there is nothing that a classifier could look at")
    if features.learner == "boosting" and 2 * n * (FOLDS - 1) // FOLDS < MIN_ROWS:
        raise NotComputable(f"{n} rows of each kind are too few for a classifier to learn from")
    y = np.repeat([1, 0], n)
    scores, model, unseen = cross_fitted(features, y, trial.seed)
    trial.cache["told apart"] = _Told(scores, y, features, synthetic, real, model, unseen)
    return trial.cache["told apart"]


def _gave_away(trial: Trial, told: _Told) -> list[list[Any]]:
    """The columns that gave it away: what the area loses when one is shuffled, of at most 2,000 unseen rows."""
    rows = told.unseen[trial.rng("detection.gave_away").permutation(len(told.unseen))[:_SHUFFLED]]
    x, y = stack(list(told.features.parts))[rows], told.y[rows]
    order = trial.rng("detection.shuffle").permutation(len(rows))

    def area(matrix: np.ndarray) -> float:
        sure = told.model.predict_proba(matrix)[:, 1]
        return auc(sure[y == 1], sure[y == 0])

    whole = area(x)
    found: list[tuple[str, float]] = []
    for j, name in enumerate(told.features.names[:_COLUMNS]):
        shuffled = x.copy()
        shuffled[:, j] = x[order, j]
        found.append((name, whole - area(shuffled)))
    return [list(f) for f in sorted(found, key=lambda f: -f[1])[:5]]


@metric(
    "detection.worst_subgroup",
    title="Classifier two-sample test, worst subgroup",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.5,
    ceiling="train",
    cost="high",
    depth="full",
    plain="The same within one group of rows at a time, for the group that is the easiest to tell apart.",
    reference="Lopez-Paz and Oquab 2017 (arXiv:1610.06545), by the values of target and sensitive columns",
)
def worst_subgroup(trial: Trial) -> Measurement:
    """Largest area under the curve among the rows of one category of the target or of a sensitive column."""
    columns = [n for n in dict.fromkeys((trial.target, *trial.sensitive)) if n in trial.train.codes]
    if not columns:
        raise NotApplicable("neither the target nor a sensitive column is a category")
    told = _told_apart(trial)
    groups: dict[str, tuple[float, tuple[float, float]]] = {}
    for name in columns:
        codes = np.concatenate([told.synthetic.codes[name], told.real.codes[name]])
        for code in np.unique(codes[codes >= 0]):
            sure, y = told.scores[codes == code], told.y[codes == code]
            real, made = np.bincount(y, minlength=2)
            if min(real, made) >= _GROUP:
                area = auc(sure[y == 1], sure[y == 0])
                groups[f"{name}={trial.train.categories[name][code]}"] = area, auc_interval(area, made, real)
    if not groups:
        raise NotComputable(f"no group has {_GROUP} rows of each kind")
    worst = max(groups, key=lambda g: groups[g][0])
    value, interval = groups[worst]
    details = {"worst_group": worst, "groups": {g: v[0] for g, v in groups.items()}}
    return Measurement(value=value, interval=interval, details=details)
