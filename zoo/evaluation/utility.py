"""Utility: does a model that is trained on synthetic data do its work on real data (TSTR)?

The anchor *real against real* is the same model trained on the real training data (TRTR), tested on the same
rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.intervals import auc
from zoo.evaluation.learners import MIN_ROWS, fit_quietly, make_classifier, make_regressor
from zoo.evaluation.metric import Measurement, NotApplicable, NotComputable, Trial, metric

_REFERENCE = "Esteban, Hyland and Rätsch 2017 (arXiv:1706.02633): train on synthetic, test on real"
_ALL = ("tabular", "timeseries", "image", "text")


@dataclass(frozen=True)
class _Fitted:
    """Predictions on the test rows, and what they are compared with."""

    task: str  # binary, multiclass or regression
    truth: np.ndarray
    predicted: np.ndarray  # (N,) values; or (N, K) probabilities
    details: dict[str, Any]


def _task(labels: np.ndarray) -> str:
    classes = np.unique(labels)
    if len(classes) < 2:
        raise NotComputable("the target has one class only in the real training data")
    if len(classes) == 2:
        return "binary"
    return "regression" if labels.dtype.kind == "f" else "multiclass"


def _present(labels: np.ndarray) -> np.ndarray:
    return ~np.isnan(labels) if labels.dtype.kind == "f" else labels >= 0


def _labelled(trial: Trial, data: Any, rows: int, purpose: str) -> tuple[Any, np.ndarray]:
    kit, target = trial.kit, trial.target
    assert target is not None
    data = kit.take(data, np.flatnonzero(_present(kit.labels(data, target))))
    data = trial.sample(data, rows, purpose)
    return data, kit.labels(data, target)


def _fit(trial: Trial) -> _Fitted:
    """Train on the synthetic rows of the trial, predict its test rows; once per trial for all utility
    metrics.
    """
    if "utility" in trial.cache:
        return trial.cache["utility"]
    if trial.target is None:
        raise NotComputable("no target was named; pass target= with the column that a model should predict")
    rows = trial.limits.utility
    _, real = _labelled(trial, trial.fit, rows, "utility.real")
    synthetic, y = _labelled(trial, trial.synthetic, rows, "utility.synthetic")
    test, truth = _labelled(trial, trial.test, rows, "utility.test")
    for what, labels in (
        ("the real training data", real),
        ("the synthetic data", y),
        ("the test rows", truth),
    ):
        if len(labels) == 0:
            raise NotComputable(f"every target value is missing in {what}")
    task = _task(real)
    classes, y_codes, truth_codes = np.array([]), y, truth
    if task != "regression":
        classes = np.unique(np.concatenate([real, truth]))
        known = np.isin(y, classes)
        synthetic, y = trial.kit.take(synthetic, np.flatnonzero(known)), y[known]
        if len(np.unique(y)) < 2:
            raise NotComputable("the target has one class only in the synthetic data, so no model can be trained")
        if len(np.unique(truth)) < 2:
            raise NotComputable("the target has one class only in the test rows")
        y_codes, truth_codes = np.searchsorted(classes, y), np.searchsorted(classes, truth)
    features = trial.kit.features(synthetic, test, without=trial.target)
    if features.parts[0].shape[1] == 0:
        raise NotComputable("no column is left to predict the target from")
    if features.learner == "boosting" and len(y_codes) < MIN_ROWS:
        raise NotComputable(f"{len(y_codes)} synthetic rows with a target are too few for a model to learn from")
    if task == "regression":
        model = fit_quietly(make_regressor(features, trial.seed), features.parts[0], y_codes)
        predicted = model.predict(features.parts[1])
    else:
        model = fit_quietly(make_classifier(features, trial.seed), features.parts[0], y_codes)
        predicted = np.zeros((len(truth_codes), len(classes)))
        predicted[:, model.classes_] = model.predict_proba(features.parts[1])
    details = {
        "target": trial.target,
        "task": task,
        "rows_trained_on": len(y_codes),
        "rows_tested_on": len(truth_codes),
        "tested_on": "holdout" if trial.holdout is not None else "rows of train that the generator has seen",
        "learner": features.learner,
        "ignored": list(features.ignored),
    }
    trial.cache["utility"] = _Fitted(task, truth_codes, predicted, details)
    return trial.cache["utility"]


_RESAMPLES = 50


def _bootstrap(trial: Trial, fitted: _Fitted, measure: Callable[[np.ndarray, np.ndarray], float]) -> Measurement:
    """A measure of the predictions, with the 95 % interval of resampled test rows; only where it is shown."""
    value = measure(fitted.truth, fitted.predicted)
    interval = None
    if trial.role == "synthetic" and len(fitted.truth) >= 10:
        rng, found = trial.rng("utility.bootstrap"), []
        for _ in range(_RESAMPLES):
            rows = rng.integers(len(fitted.truth), size=len(fitted.truth))
            if np.ptp(fitted.truth[rows]) > 0:
                found.append(measure(fitted.truth[rows], fitted.predicted[rows]))
        if len(found) > 1:
            half = 1.96 * float(np.std(found, ddof=1))
            interval = (value - half, value + half)
    return Measurement(value=float(value), interval=interval, details=fitted.details)


def _binary_auc(truth: np.ndarray, predicted: np.ndarray) -> float:
    return auc(predicted[truth == 1, 1], predicted[truth == 0, 1])


def _multiclass_auc(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes that occur in the test rows of the one-versus-rest area under the curve."""
    return float(np.mean([auc(predicted[truth == k, k], predicted[truth != k, k]) for k in np.unique(truth)]))


@metric(
    "utility.tstr_auc",
    title="Trained on synthetic, tested on real: AUC",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    ceiling="train",
    cost="high",
    plain="How well a classifier that learned from synthetic data ranks real cases; the mark to reach is "
    "the same classifier trained on the real data.",
    reference=_REFERENCE,
)
def tstr_auc(trial: Trial) -> Measurement:
    """Area under the curve on the test rows; macro one-versus-rest for more than two classes."""
    fitted = _fit(trial)
    if fitted.task == "regression":
        raise NotApplicable("the target is numeric")
    return _bootstrap(trial, fitted, _binary_auc if fitted.task == "binary" else _multiclass_auc)


@metric(
    "utility.tstr_accuracy",
    title="Trained on synthetic, tested on real: accuracy",
    modalities=("timeseries", "image", "text"),
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    ceiling="train",
    cost="high",
    plain="Share of real cases that a classifier trained on synthetic data gets right.",
    reference=_REFERENCE,
)
def tstr_accuracy(trial: Trial) -> Measurement:
    """Share of test rows whose most probable class is the true one."""
    fitted = _fit(trial)
    if fitted.task == "regression":
        raise NotApplicable("the target is numeric")
    return _bootstrap(trial, fitted, lambda truth, predicted: float((predicted.argmax(1) == truth).mean()))


@metric(
    "utility.tstr_f1",
    title="Trained on synthetic, tested on real: macro F1",
    modalities=_ALL,
    span=(0.0, 1.0),
    direction="higher",
    ideal=1.0,
    ceiling="train",
    cost="high",
    plain="Precision and recall of a classifier trained on synthetic data, each class counting the same.",
    reference=_REFERENCE,
)
def tstr_f1(trial: Trial) -> Measurement:
    """Mean F1 over the classes; for targets of more than two classes."""
    from sklearn.metrics import f1_score

    fitted = _fit(trial)
    if fitted.task != "multiclass":
        raise NotApplicable("the target does not have more than two classes")
    return _bootstrap(
        trial, fitted, lambda truth, p: float(f1_score(truth, p.argmax(1), average="macro", zero_division=0))
    )


@metric(
    "utility.tstr_r2",
    title="Trained on synthetic, tested on real: R²",
    modalities=("tabular", "timeseries"),
    span=(None, 1.0),
    direction="higher",
    ideal=1.0,
    ceiling="train",
    cost="high",
    plain="Share of the numeric target's variance that a model trained on synthetic data explains in real data.",
    reference=_REFERENCE,
)
def tstr_r2(trial: Trial) -> Measurement:
    """Coefficient of determination on the test rows."""
    from sklearn.metrics import r2_score

    fitted = _regression(trial)
    if len(fitted.truth) < 2 or np.ptp(fitted.truth) == 0:
        raise NotComputable("the target is constant in the test rows")
    return _bootstrap(trial, fitted, lambda truth, predicted: float(r2_score(truth, predicted)))


@metric(
    "utility.tstr_rmse",
    title="Trained on synthetic, tested on real: RMSE",
    modalities=("tabular", "timeseries"),
    span=(0.0, None),
    direction="lower",
    ideal=0.0,
    ceiling="train",
    cost="high",
    plain="Typical error, in the target's own unit, of a model trained on synthetic data.",
    reference=_REFERENCE,
)
def tstr_rmse(trial: Trial) -> Measurement:
    """Root mean squared error on the test rows."""
    fitted = _regression(trial)
    return _bootstrap(trial, fitted, lambda truth, predicted: float(np.sqrt(np.mean((truth - predicted) ** 2))))


def _regression(trial: Trial) -> _Fitted:
    if trial.target is None:
        raise NotApplicable("no target was named")  # said once, by the area under the curve
    try:
        fitted = _fit(trial)
    except NotComputable as error:
        raise NotApplicable(str(error)) from error
    if fitted.task != "regression":
        raise NotApplicable("the target is no number")
    return fitted
