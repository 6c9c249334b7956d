"""Detection: can a classifier tell synthetic samples from real ones that no generator saw?"""

import numpy as np

from zoo.evaluation.intervals import auc_interval
from zoo.evaluation.learners import FOLDS, MIN_ROWS, cross_fitted_scores
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric


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
    from sklearn.metrics import roc_auc_score

    kit = trial.kit
    source = "train" if trial.holdout is None else "holdout"
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
    auc = float(roc_auc_score(y, cross_fitted_scores(features, y, trial.seed)))
    return Measurement(
        value=auc,
        interval=auc_interval(auc, n, n),
        details={
            "rows_of_each": n,
            "folds": FOLDS,
            "real_rows_from": source,
            "learner": features.learner,
            "ignored": list(features.ignored),
        },
    )
