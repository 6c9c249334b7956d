"""Truncated normals against SciPy and rejection; latent correlations against integrals, quantile grids."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from zoo.statistics.gaussian_scores import (
    cumulate,
    hermite_coefficients,
    latent_correlation,
    nearest_correlation,
    normal_scores,
)
from zoo.statistics.optimal_scaling import rank_scores, scale_categories
from zoo.statistics.quantile_grid import cumulative_at, density_at, quantile_grid, quantiles_at
from zoo.statistics.truncated_normal import MIN_WIDTH, BoxedNormal, draw_interval, draw_mixture, log_interval

INF = np.inf
COVARIANCE = np.array([[1.0, 0.7, -0.4, 0.2], [0.7, 1.0, 0.1, 0.3], [-0.4, 0.1, 1.0, -0.5], [0.2, 0.3, -0.5, 1.0]])


def proposed(boxed: BoxedNormal, box: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Proposals, and which of them are accepted."""
    vectors, log_acceptance = boxed.propose(box, rng)
    assert (log_acceptance <= 1e-5).all(), "the bound is none"
    return vectors, np.log(rng.random(len(box))) <= log_acceptance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(normals: list[BoxedNormal], weights: list[float], part: list[int], box: list[int], n: int, seed: int = 0):
    one = np.zeros(n, dtype=np.int64)
    return draw_mixture(normals, np.log([weights]), np.array([part]), np.array([box]), one, rng(seed))


# Intervals


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 2.0), (-INF, INF), (-INF, -7.0), (6.0, INF), (5.0, 5.5), (-9.0, -8.5), (-0.3, 40.0)]
)
def test_an_interval_has_the_probability_and_law_that_scipy_gives(low: float, high: float) -> None:
    a, b = (max(low, -60.0), min(high, 60.0)) if low <= 0 else (-min(high, 60.0), -low)  # SciPy is exact on the left
    wanted = np.log(stats.norm.cdf(b) - stats.norm.cdf(a))
    assert log_interval(np.array(low), np.array(high)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    x = draw_interval(np.full(4000, low), np.full(4000, high), rng().random(4000))
    assert ((x >= low) & (x <= high)).all()
    law = stats.truncnorm(low, high)
    assert stats.kstest(x, law.cdf).pvalue > 1e-3
    assert x.mean() == pytest.approx(law.mean(), abs=5 * law.std() / 60)


def test_intervals_far_out_and_points_keep_their_place_and_probability() -> None:
    assert log_interval(np.array(30.0), np.array(INF)) == pytest.approx(stats.norm.logsf(30.0), rel=1e-12)
    assert log_interval(np.array(-INF), np.array(-30.0)) == pytest.approx(stats.norm.logcdf(-30.0), rel=1e-12)
    for at in (-35.0, -3.0, 0.0, 3.0, 35.0):
        found = log_interval(np.array(at - MIN_WIDTH / 2), np.array(at + MIN_WIDTH / 2))
        assert found == pytest.approx(stats.norm.logpdf(at) + np.log(MIN_WIDTH), rel=1e-6)
        x = draw_interval(np.full(9, at), np.full(9, at), rng().random(9))
        np.testing.assert_array_equal(x, at)
    far = draw_interval(np.full(1000, 30.0), np.full(1000, INF), rng().random(1000))
    assert far.mean() == pytest.approx(30.0 + 1 / 30, abs=0.005)  # nearly exponential there


# Boxes

BOXES = {
    "positive": ([0.0, 0.0], [INF, INF]),
    "tail": ([0.7, -INF, -0.5], [INF, 0.0, 3.0]),
    "inner": ([-0.5, 0.2, -1.0, -2.0], [0.5, 1.0, 0.5, 0.3]),
    "half open": ([-INF, 0.5, -INF, -INF], [INF, INF, -0.5, 0.0]),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_are_drawn_from_as_rejection_does(name: str) -> None:
    low, high = (np.array([e]) for e in BOXES[name])
    d = low.shape[1]
    covariance = COVARIANCE[:d, :d]
    plain = rng(1).multivariate_normal(np.zeros(d), covariance, 400_000)
    plain = plain[((plain >= low) & (plain <= high)).all(axis=1)][:20_000]
    boxed = BoxedNormal(covariance, low, high)
    x, accepted = proposed(boxed, np.zeros(20_000, dtype=np.int64), rng(2))
    x = x[accepted]
    assert ((x >= low - 1e-9) & (x <= high + 1e-9)).all()
    for k in range(d):
        assert stats.ks_2samp(x[:, k], plain[:, k]).pvalue > 1e-3
    turned = np.array([1.0, -1.0, 2.0, 0.5][:d])  # a direction, which sees correlations
    assert stats.ks_2samp(x @ turned, plain @ turned).pvalue > 1e-3
    probability = 1.0
    if d < 3:
        signs = stats.multivariate_normal(np.zeros(d), covariance)
        probability = signs.cdf(np.minimum(high[0], 20), lower_limit=np.maximum(low[0], -20))
    else:
        inside = rng(3).multivariate_normal(np.zeros(d), covariance, 400_000)
        probability = ((inside >= low) & (inside <= high)).all(axis=1).mean()
    # The bound bounds, and what is accepted is in proportion to it.
    assert boxed.bound[0] >= np.log(probability) - 0.03
    assert accepted.mean() == pytest.approx(probability / np.exp(boxed.bound[0]), rel=0.06)


def test_an_orthant_in_the_tail_has_the_probability_that_scipy_gives() -> None:
    low, high = np.full((1, 2), 4.0), np.full((1, 2), INF)
    boxed = BoxedNormal(COVARIANCE[:2, :2], low, high)
    _, accepted = proposed(boxed, np.zeros(20_000, dtype=np.int64), rng())
    wanted = stats.multivariate_normal(np.zeros(2), COVARIANCE[:2, :2]).cdf([-4.0, -4.0])
    assert accepted.mean() * np.exp(boxed.bound[0]) == pytest.approx(wanted, rel=0.02)
    assert accepted.mean() > 0.3


def test_points_give_the_conditional_normal() -> None:
    at = np.array([1.3, -0.4])
    low = np.array([[at[0], at[1], -INF, 0.0]])
    high = np.array([[at[0], at[1], INF, INF]])
    x, _ = draw([BoxedNormal(COVARIANCE, low, high)], [1.0], [0], [0], 8000)
    np.testing.assert_allclose(x[:, :2], np.broadcast_to(at, (8000, 2)), atol=1e-6)
    slope = np.linalg.solve(COVARIANCE[:2, :2], COVARIANCE[:2, 2:]).T
    mean, left = slope @ at, COVARIANCE[2:, 2:] - slope @ COVARIANCE[:2, 2:]
    plain = rng(1).multivariate_normal(mean, left, 40_000)
    plain = plain[plain[:, 1] >= 0]
    for k in range(2):
        assert stats.ks_2samp(x[:, 2 + k], plain[:, k]).pvalue > 1e-3


def test_points_that_hardly_fit_together_are_drawn_all_the_same() -> None:
    """Two columns with the same content, hundreds of standard deviations apart."""
    covariance = np.full((4, 4), 0.99999) + 1e-5 * np.eye(4)
    low = np.array([[-3.0, 3.0, -1.0, -INF], [0.0, 0.001, 0.0, -INF]])
    high = np.array([[-3.0, 3.0, 2.0, INF], [0.0, 0.001, 0.0, 0.0]])
    for box in (0, 1):
        x, _ = draw([BoxedNormal(covariance, low, high)], [1.0], [0], [box], 50)
        assert ((x >= low[box] - 1e-6) & (x <= high[box] + 1e-6)).all()


def test_many_points_of_a_wide_vector_need_no_large_system() -> None:
    d = 200
    factor = rng().normal(size=(d, 20))
    covariance = factor @ factor.T / 20 + 0.5 * np.eye(d)
    at = rng(1).multivariate_normal(np.zeros(d), covariance, 500)
    low, high = at.copy(), at.copy()
    low[:, 7], high[:, 7] = 0.0, INF
    boxed = BoxedNormal(covariance, low, high)
    x, accepted = proposed(boxed, np.arange(500), rng())
    assert accepted.mean() > 0.99
    np.testing.assert_allclose(np.delete(x, 7, axis=1), np.delete(at, 7, axis=1), atol=1e-4)
    assert (x[:, 7] >= -1e-6).all()


def test_unions_of_boxes_and_mixtures_have_the_law_of_rejection() -> None:
    other = np.array([[1.0, -0.8], [-0.8, 1.0]])
    low = np.array([[-INF, 1.0], [0.5, -1.0]])
    high = np.array([[-0.5, INF], [2.0, 0.0]])
    normals = [BoxedNormal(COVARIANCE[:2, :2], low, high), BoxedNormal(other, low, high)]
    x, chosen = draw(normals, [0.7, 0.7, 0.3, 0.3], [0, 0, 1, 1], [0, 1, 0, 1], 20_000)
    both = [rng(4).multivariate_normal(np.zeros(2), c, 300_000) for c in (COVARIANCE[:2, :2], other)]
    first = rng(5).random(300_000) < 0.7
    plain = np.where(first[:, None], *both)
    within = [((plain >= low[b]) & (plain <= high[b])).all(axis=1) for b in (0, 1)]
    shares = np.array([(within[b] & (first == f)).sum() for f in (True, False) for b in (0, 1)])
    seen = np.bincount(chosen, minlength=4)
    assert stats.chi2_contingency([shares, seen]).pvalue > 1e-3
    kept = plain[within[0] | within[1]]
    for k in range(2):
        assert stats.ks_2samp(x[:, k], kept[:, k]).pvalue > 1e-3


# Normal scores and latent correlations


def steps_of(shares: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cumulative = cumulate(np.array(shares))
    scores = normal_scores(cumulative)
    return cumulative, scores, hermite_coefficients(cumulative, scores)


@pytest.mark.parametrize("rho", [-0.8, -0.2, 0.5, 0.9])
def test_the_hermite_expansion_is_the_integral_over_a_bivariate_normal(rho: float) -> None:
    x, y = steps_of([0.5, 0.0, 0.3, 0.2]), steps_of([0.1, 0.6, 0.3])
    law = stats.multivariate_normal(np.zeros(2), [[1, rho], [rho, 1]])
    ends = [np.clip(stats.norm.ppf(c), -9, 9) for c in (x[0], y[0])]
    cdf = law.cdf(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1))
    mass = np.diff(np.diff(cdf, axis=0), axis=1)  # (4, 3)
    wanted = x[1] @ mass @ y[1]
    found = (x[2] * y[2] * rho ** np.arange(1, 25)).sum()
    assert found == pytest.approx(wanted, abs=2e-3)


def test_normal_scores_are_means_of_intervals_and_have_mean_zero() -> None:
    cumulative, scores, _ = steps_of([0.2, 0.5, 0.0, 0.3])
    z = stats.norm.ppf(cumulative)
    for k in (0, 1, 3):
        assert scores[k] == pytest.approx(stats.truncnorm(z[k], z[k + 1]).mean(), abs=1e-6)
    assert np.diff(cumulative) @ scores == pytest.approx(0, abs=1e-12)
    assert np.isfinite(scores).all() and (np.diff(scores) > 0).all()


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.6])
def test_the_polychoric_correlation_of_ordered_data_is_found(rho: float) -> None:
    z = rng().multivariate_normal([0, 0, 0], [[1, rho, 0], [rho, 1, 0], [0, 0, 1]], 60_000)
    ordered = [np.digitize(z[:, 0], [0.3, 1.2]), np.digitize(z[:, 1], [-1.0]), np.digitize(z[:, 2], [-1, 0, 1])]
    scores, coefficients = [], []
    for codes in ordered:
        _, steps, coefficient = steps_of(np.bincount(codes).tolist())
        scores.append(steps[codes])
        coefficients.append(coefficient)
    s = np.stack(scores, axis=1)
    found = latent_correlation(s.T @ s / len(s), np.array(coefficients))
    assert found[0, 1] == pytest.approx(rho, abs=0.02)
    assert abs(found[0, 2]) < 0.02
    raw = np.corrcoef(ordered[0], ordered[1])[0, 1]
    assert rho == 0 or abs(raw) < abs(found[0, 1])  # what cutting had taken away is given back


def test_a_constant_depends_on_nothing_and_one_variable_is_enough() -> None:
    coefficients = np.array([steps_of([0.5, 0.5])[2], np.zeros(24)])
    found = latent_correlation(np.array([[0.6, 0.1], [0.1, 0.0]]), coefficients)
    np.testing.assert_array_equal(found, np.eye(2))
    np.testing.assert_array_equal(latent_correlation(np.ones((1, 1)), coefficients[:1]), np.eye(1))


@given(hnp.arrays(np.float64, (5, 5), elements=st.floats(-1, 1)))
@settings(max_examples=40, deadline=None)
def test_the_nearest_correlation_is_one(matrix: np.ndarray) -> None:
    matrix = np.clip((matrix + matrix.T) / 2, -1, 1)
    np.fill_diagonal(matrix, 1.0)
    found = nearest_correlation(matrix)
    assert np.linalg.eigvalsh(found).min() > 0
    np.testing.assert_allclose(np.diag(found), 1.0, atol=1e-12)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    if np.linalg.eigvalsh(matrix).min() > 1e-4:
        np.testing.assert_allclose(found, matrix, atol=1e-12)


def test_the_nearest_correlation_agrees_with_highams_example() -> None:
    """Higham 2002: the tridiagonal matrix of ones has this nearest correlation."""
    wanted = np.array([[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]])
    matrix = np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    np.testing.assert_allclose(nearest_correlation(matrix), wanted, atol=2e-3)


# Optimal scaling


def test_optimal_scaling_finds_a_shuffled_order() -> None:
    z = rng().normal(size=20_000)
    first = np.digitize(z + 0.3 * rng(1).normal(size=20_000), [-1.2, -0.4, 0.3, 1.0])
    second = np.digitize(z + 0.3 * rng(2).normal(size=20_000), [-1, 0, 1])
    names = {"a": np.array([3, 0, 4, 1, 2]), "b": np.array([2, 0, 3, 1])}  # true rank -> code
    codes = {"a": names["a"][first], "b": names["b"][second]}
    for numbers in ({}, {"z": z}):
        scores = scale_categories(codes, {"a": 5, "b": 5}, numbers, rng())
        assert scores["b"][4] == INF  # a category without a row
        for c, truth in names.items():
            found = np.argsort(scores[c][: len(truth)])
            assert found.tolist() in (truth.tolist(), truth[::-1].tolist())
    assert scale_categories({}, {}, {"z": z}, rng()) == {}


def test_rank_scores_are_normal_and_leave_out_what_is_missing() -> None:
    found = rank_scores(np.array([np.nan, 5.0, 1.0, 9.0, np.nan]))
    assert found[0] == found[4] == 0 and found[2] < found[1] < found[3]
    assert found[1] == pytest.approx(0, abs=1e-12) and found.sum() == pytest.approx(0, abs=1e-12)


# Quantile grids

VALUES = st.lists(st.integers(-6, 6) | st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), min_size=2, max_size=200)


@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_probabilities_lie_where_their_quantiles_do(values: list[float], probabilities: list[float]) -> None:
    grid = quantile_grid(np.array(values, dtype=np.float64), 50)
    u = np.array(probabilities)
    x = quantiles_at(grid, u)
    below, upto = cumulative_at(grid, x, "left"), cumulative_at(grid, x, "right")
    # Numbers of this size are exact to 1e-10; where the grid rises by less, probabilities are not.
    least = np.diff(grid)[np.diff(grid) > 0].min(initial=1.0)
    slack = 1e-9 / min(least, 1.0) + 1e-12
    assert (below - slack <= u).all() and (u <= upto + slack).all()
    assert (below <= upto).all() and (below >= 0).all() and (upto <= 1).all()


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_cumulative_probabilities_rise(values: list[float]) -> None:
    grid = quantile_grid(np.array(values, dtype=np.float64), 50)
    x = np.sort(np.concatenate([grid, values, grid + 0.25]))
    for side in ("left", "right"):
        assert (np.diff(cumulative_at(grid, x, side)) >= -1e-12).all()
    assert cumulative_at(grid, grid[0] - 1, "right") == 0 and cumulative_at(grid, grid[-1] + 1, "left") == 1


@pytest.mark.parametrize("n", [8, 9, 100, 101, 4001, 20_001])
def test_no_inner_value_of_the_data_is_stored(n: int) -> None:
    values = rng().normal(size=n)
    grid = quantile_grid(np.append(values, np.nan), 1000)
    assert not set(grid[1:-1]) & set(values)
    assert len(grid) <= max(2, n // 4)
    assert (grid[0], grid[-1]) == (values.min(), values.max())


def test_grids_hold_few_values_and_great_ones() -> None:
    np.testing.assert_array_equal(quantile_grid(np.array([3.0]), 10), [3, 3])
    assert quantiles_at(np.array([3.0, 3.0]), np.array([0.0, 0.4, 1.0])).tolist() == [3, 3, 3]
    wide = quantile_grid(np.array([-8e307, 0.0, 9e307]), 10)
    found = quantiles_at(wide, np.array([0.0, 0.25, 0.5, 1.0]))
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()
    u = cumulative_at(wide, found, "left")
    np.testing.assert_allclose(u, [0, 0.25, 0.5, 1.0])


def test_the_density_of_a_grid_is_that_of_its_values() -> None:
    grid = quantile_grid(rng().normal(size=40_000) * 3, 1000)
    at = np.array([-4.0, 0.0, 2.5])
    np.testing.assert_allclose(density_at(grid, at), stats.norm(0, 3).pdf(at), rtol=0.1)
