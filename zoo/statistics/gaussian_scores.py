"""Normal scores of ordered columns, and the latent correlation that reproduces the correlation of such scores.

A column with atoms (a category, an integer, zeros) is a step function of a latent normal variable. The correlation of
two such columns' scores is smaller than that of their latent variables; in Hermite polynomials He_k,
``E[g(X) h(Y)] = sum_k a_k b_k rho^k`` for standard normals X and Y with correlation rho, so that rho is found by
solving one increasing equation a pair. References: M. C. Cario and B. L. Nelson, "Modeling and Generating Random
Vectors with Arbitrary Marginal Distributions and Correlation Matrix", Northwestern University, 1997 (NORTA); U. Olsson,
"Maximum Likelihood Estimation of the Polychoric Correlation Coefficient", Psychometrika 44, 1979; N. J. Higham,
"Computing the Nearest Correlation Matrix", IMA Journal of Numerical Analysis 22, 2002.
"""

import numpy as np
from scipy.special import ndtri

DEGREE = 24  # of the Hermite expansion; what is left out matters above a correlation of 0.95 only
_LEAST_EIGENVALUE = 1e-5


def cumulate(counts: np.ndarray) -> np.ndarray:
    """Cumulative shares ``(K + 1,)`` of counts ``(K,)``, from exactly 0 to exactly 1."""
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return total / total[-1]


def normal_scores(cumulative: np.ndarray) -> np.ndarray:
    """Mean of a standard normal within each of consecutive quantile intervals.

    Parameters
    ----------
    cumulative
        ``(K + 1,)`` rising from 0 to 1: the intervals' ends. Empty intervals are allowed.

    Returns
    -------
    numpy.ndarray
        ``(K,)``.
    """
    z = ndtri(cumulative)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    mass = np.diff(cumulative)
    middle = np.clip(ndtri((cumulative[1:] + cumulative[:-1]) / 2), -9.0, 9.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = -np.diff(density) / mass
    return np.where(mass > 1e-9, mean, middle)


def hermite_coefficients(cumulative: np.ndarray, scores: np.ndarray, degree: int = DEGREE) -> np.ndarray:
    """Coefficients 1 to ``degree`` of the step function ``scores`` in normalised Hermite polynomials; ``(degree,)``."""
    z = ndtri(cumulative)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    finite = np.where(np.isfinite(z), z, 0.0)
    before, now = np.zeros_like(finite), density.copy()  # normalised He_{k-1} times the density, at the ends
    out = np.empty(degree)
    for k in range(1, degree + 1):
        # The integral of He_k over an interval is He_{k-1} phi at its lower end minus that at its upper end.
        out[k - 1] = -(scores * np.diff(now)).sum() / np.sqrt(k)
        before, now = now, (finite * now - np.sqrt(k - 1) * before) / np.sqrt(k)
    return out


def latent_correlation(moments: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Correlations of latent normals that give the observed second moments of scores.

    Parameters
    ----------
    moments
        ``(D, D)`` mean products of the scores.
    coefficients
        ``(D, degree)`` from :func:`hermite_coefficients`.

    Returns
    -------
    numpy.ndarray
        ``(D, D)``, a correlation matrix, positive definite.
    """
    first, second = np.triu_indices(len(moments), 1)
    if not len(first):
        return np.eye(len(moments))
    product = coefficients[first] * coefficients[second]  # (P, degree)
    target = moments[first, second]
    low, high = np.full(len(first), -1.0), np.full(len(first), 1.0)
    for _ in range(30):  # the moment rises with the correlation (Slepian's inequality)
        middle = (low + high) / 2
        value = np.zeros_like(middle)
        for k in range(product.shape[1] - 1, -1, -1):
            value = (value + product[:, k]) * middle
        below = value < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    dependent = np.abs(product).sum(axis=1) > 1e-12  # a constant column depends on nothing
    out = np.eye(len(moments))
    out[first, second] = out[second, first] = np.where(dependent, (low + high) / 2, 0.0)
    return nearest_correlation(out)


def nearest_correlation(matrix: np.ndarray, rounds: int = 100) -> np.ndarray:
    """The nearest correlation matrix in Frobenius norm, by Higham's alternating projections; positive definite."""
    current, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(rounds):
        values, vectors = np.linalg.eigh(current - correction)
        if values[0] >= _LEAST_EIGENVALUE:
            break
        shifted = current - correction
        projected = (vectors * np.maximum(values, 2 * _LEAST_EIGENVALUE)) @ vectors.T
        correction = projected - shifted
        current = projected.copy()
        np.fill_diagonal(current, 1.0)
    values, vectors = np.linalg.eigh((current + current.T) / 2)
    current = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(current))
    return current / np.outer(scale, scale)
