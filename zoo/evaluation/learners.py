"""The pinned learners of the harness, so that scores of different days and tools can be compared."""

import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from zoo.evaluation.kit import Features

ITERATIONS = 200
LEARNING_RATE = 0.08
FOLDS = 3
# A leaf of the boosted trees holds at least 20 rows; with fewer than two leaves' worth nothing is learned, and a score
# would say "cannot be told apart" of anything.
MIN_ROWS = 40
# Rows below which histogram boosting is as fast in one thread as in two when the machine is idle, and does not spin for
# many times as long where it is not.
_ONE_THREAD = 20_000


def make_classifier(features: Features, seed: int) -> Any:
    """Histogram gradient boosting (200 iterations, rate 0.08, no early stopping), or logistic regression.

    Boosting takes categories as unordered codes and missing values as such. Logistic regression standardises
    dense features and takes TF-IDF rows as they are.
    """
    if features.learner == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=ITERATIONS,
            learning_rate=LEARNING_RATE,
            categorical_features=features.categorical,
            early_stopping=False,
            random_state=seed,
        )
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sparse = hasattr(features.parts[0], "tocsr")
    # TF-IDF rows have norm 1: a weak penalty lets rare n-grams count
    model = LogisticRegression(C=10.0 if sparse else 0.1, max_iter=300)
    return model if sparse else make_pipeline(StandardScaler(), model)


def make_regressor(features: Features, seed: int) -> Any:
    """Histogram gradient boosting for a numeric target, with the same settings."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=ITERATIONS,
        learning_rate=LEARNING_RATE,
        categorical_features=features.categorical,
        early_stopping=False,
        random_state=seed,
    )


def fit_quietly(model: Any, x: Any, y: np.ndarray) -> Any:
    """Fit; that logistic regression stops before full convergence is no news to a reader of the report.

    A column without any value in ``x`` is taken as constant: the trees cannot bin it, and learn nothing from it.
    """
    from sklearn.exceptions import ConvergenceWarning

    if isinstance(x, np.ndarray):
        empty = np.isnan(x).all(axis=0)
        x = np.where(empty, 0.0, x) if empty.any() else x
    limit = threadpool_limits(1, "openmp") if x.shape[0] < _ONE_THREAD else nullcontext()
    with warnings.catch_warnings(), limit:
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def stack(parts: list[Any]) -> Any:
    """Join feature matrices by rows, dense or sparse."""
    if hasattr(parts[0], "tocsr"):
        from scipy import sparse

        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def cross_fitted_scores(features: Features, y: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Probability of class 1 for each row, by models that did not see it: ``float (N,)``."""
    return cross_fitted(features, y, seed, folds)[0]


def cross_fitted(
    features: Features, y: np.ndarray, seed: int, folds: int = FOLDS
) -> tuple[np.ndarray, Any, np.ndarray]:
    """The probabilities of :func:`cross_fitted_scores`, the last model, and the rows that it did not see."""
    from sklearn.model_selection import StratifiedKFold

    x = stack(list(features.parts))
    out = np.empty(len(y))
    model, test = None, np.arange(0)
    for fit, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y):
        model = fit_quietly(make_classifier(features, seed), x[fit], y[fit])
        out[test] = model.predict_proba(x[test])[:, 1]
    return out, model, test
