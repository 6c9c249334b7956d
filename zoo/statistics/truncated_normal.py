"""Exact draws from a multivariate normal that is confined to boxes.

Reference: Z. I. Botev, "The Normal Law Under Linear Restrictions: Simulation and Estimation via Minimax Tilting",
Journal of the Royal Statistical Society B 79(1), 2017, arXiv 1603.04166. The sequential proposal of Genz, Hajivassiliou
and Keane is tilted by the solution of a saddle point problem, which also bounds its importance weights; so it can be
accepted or rejected, and what is accepted has exactly the wanted law, in tails too. Here the saddle points of many
boxes are found at once, and a union of disjoint boxes is drawn from by choosing boxes by their bounds, which keeps the
draws exact, for mixtures of normals as well.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from zoo.errors import ConditionError

MIN_WIDTH = 1e-7  # a point is a box of this width; narrower ones lose their probability to rounding
_NARROW = 1e-4  # widths below which the density is taken as that of the middle
_NEWTON_STEPS = 60
_NEWTON_NUMBERS = 4_000_000  # of the Jacobians that are held at once
_TOLERANCE = 1e-8
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def log_interval(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """ln P(low < Z < high) of a standard normal, exact in both tails; any common shape."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)  # now a is on the left
    upper, lower = log_ndtr(b), log_ndtr(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))
        middle = 0.5 * (a + b)
        narrow = -0.5 * middle**2 - _LOG_SQRT_2PI + np.log(b - a)
    return np.where(b - a < _NARROW, narrow, wide)


def draw_interval(low: np.ndarray, high: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Standard normals confined to intervals, by inversion of ``uniform`` in (0, 1); any common shape."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    upper, lower = log_ndtr(b), log_ndtr(a)
    share = np.exp(np.minimum(lower - upper, 0.0))
    inside = ndtri_exp(upper + np.log(uniform + (1 - uniform) * share))
    with np.errstate(invalid="ignore"):  # of infinite intervals, which are not narrow
        inside = np.where(b - a < _NARROW, a + (b - a) * uniform, inside)
    inside = np.clip(inside, a, b)
    return np.where(flip, -inside, inside)


class BoxedNormal:
    """A centred normal vector confined to each of a list of boxes.

    Parameters
    ----------
    covariance
        ``(d, d)``, positive definite.
    low, high
        ``(B, d)`` ends of the boxes, infinite where open.
    """

    def __init__(self, covariance: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        narrow = np.maximum(MIN_WIDTH - (high - low), 0.0) / 2
        low, high = low - narrow, high + narrow
        # The most confined variables first: what they leave to the others is then known (Gibson et al. 1994).
        scale = np.sqrt(np.diag(covariance))
        self.order = np.argsort(log_interval(low / scale, high / scale).sum(axis=0), kind="stable")
        factor = np.linalg.cholesky(covariance[np.ix_(self.order, self.order)])
        self.factor = factor
        diagonal = np.diag(factor)
        self.coupling = np.tril(factor / diagonal[:, None], -1)  # (d, d)
        self.low, self.high = low[:, self.order] / diagonal, high[:, self.order] / diagonal  # (B, d)
        self.tilt = np.zeros_like(self.low)
        self.bound = self._settle_points()
        boxes, d = self._low.shape
        size = max(1, _NEWTON_NUMBERS // (4 * d * d + 1))
        for start in range(0, boxes if d else 0, size):
            some = np.arange(start, min(start + size, boxes))
            self.tilt[some, -d:], value = self._saddle_points(some)
            self.bound[some] += value

    def _settle_points(self) -> np.ndarray:
        """Leave to :meth:`_saddle_points` what is no point in all boxes; the ln weights ``(B,)`` of the points.

        Points need no tilt, and what they do to the other variables is known: the system to be solved is as small as
        the number of those.
        """
        narrow = (self.high - self.low < _NARROW).all(axis=0)
        fixed = len(narrow) if narrow.all() else int(np.argmin(narrow))
        x = np.zeros((len(self.low), fixed))
        value = np.zeros(len(x))
        for k in range(fixed):
            shift = x[:, :k] @ self.coupling[k, :k]
            low, high = self.low[:, k] - shift, self.high[:, k] - shift
            x[:, k] = (low + high) / 2
            value += log_interval(low, high)
        shift = x @ self.coupling[fixed:, :fixed].T  # (B, d - fixed)
        self._low, self._high = self.low[:, fixed:] - shift, self.high[:, fixed:] - shift
        self._coupling = self.coupling[fixed:, fixed:]
        return value

    def _saddle_points(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tilts ``(b, d)`` and bounds of ln weight ``(b,)`` of b boxes, by Newton's method on all of them at once."""
        boxes, d = len(some), self._low.shape[1]
        point = np.zeros((boxes, d))
        tilt = np.zeros((boxes, d))
        active = np.arange(boxes) if d > 1 else np.arange(0)
        value, gradient, jacobian = self._psi(some[active], point[active], tilt[active])
        for _ in range(_NEWTON_STEPS):
            size = np.square(gradient).sum(axis=1)
            going = size > _TOLERANCE**2
            if not going.any():
                break
            active, gradient, jacobian, size = active[going], gradient[going], jacobian[going], size[going]
            step = np.linalg.solve(jacobian, -gradient[..., None])[..., 0]  # (A, 2 (d - 1))
            length = np.ones(len(active))
            for _ in range(12):  # halve the steps that do not shrink the gradient
                x, m = point[active].copy(), tilt[active].copy()
                x[:, :-1] += length[:, None] * step[:, : d - 1]
                m[:, :-1] += length[:, None] * step[:, d - 1 :]
                _, trial, trial_jacobian = self._psi(some[active], x, m)
                worse = ~(np.square(trial).sum(axis=1) < size * 1.0001)
                if not worse.any():
                    break
                length[worse] /= 2
            point[active], tilt[active], gradient, jacobian = x, m, trial, trial_jacobian
        value, gradient, _ = self._psi(some, point, tilt)
        # Where Newton failed, no tilt: each factor of the weight is at most the mass of its centred interval.
        failed = ~(np.square(gradient).sum(axis=1) < 1e-8) if d > 1 else np.zeros(boxes, dtype=bool)
        if failed.any():
            half = (self._high[some[failed]] - self._low[some[failed]]) / 2
            tilt[failed] = 0.0
            value[failed] = log_interval(-half, half).sum(axis=1)
        return tilt, value

    def _psi(self, box: np.ndarray, x: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ln weight at ``x (A, d)`` under ``tilt (A, d)``, its gradient ``(A, 2 (d - 1))`` and Jacobian."""
        d = x.shape[1]
        shift = x @ self._coupling.T + tilt  # (A, d)
        low, high = self._low[box] - shift, self._high[box] - shift
        log_mass = log_interval(low, high)
        value = (0.5 * tilt**2 - x * tilt + log_mass).sum(axis=1)
        at_low = np.exp(-0.5 * low**2 - _LOG_SQRT_2PI - log_mass)  # (A, d)
        at_high = np.exp(-0.5 * high**2 - _LOG_SQRT_2PI - log_mass)
        # Of narrow intervals the difference would be rounding only; ln mass is -middle^2 / 2 + ln width there.
        narrow = high - low < _NARROW
        with np.errstate(invalid="ignore"):
            pull = np.where(narrow, (low + high) / 2, at_low - at_high)
        gradient = np.concatenate(
            [-tilt[:, :-1] + (pull @ self._coupling)[:, :-1], (tilt - x + pull)[:, :-1]], axis=1
        )  # (A, 2 (d - 1))
        low, high = (np.where(np.isfinite(v), v, 0.0) for v in (low, high))
        change = np.where(narrow, -1.0, -(pull**2) + low * at_low - high * at_high)  # (A, d)
        carried = change[:, :, None] * self._coupling  # (A, d, d)
        top = self._coupling.T @ carried  # (A, d, d)
        mixed = -np.eye(d) + carried
        jacobian = np.zeros((len(x), 2 * (d - 1), 2 * (d - 1)))
        jacobian[:, : d - 1, : d - 1] = top[:, :-1, :-1]
        jacobian[:, d - 1 :, : d - 1] = mixed[:, :-1, :-1]
        jacobian[:, : d - 1, d - 1 :] = mixed[:, :-1, :-1].transpose(0, 2, 1)
        index = np.arange(d - 1)
        jacobian[:, d - 1 + index, d - 1 + index] = 1 + change[:, :-1]
        return value, gradient, jacobian

    def propose(self, box: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One proposal for each given box, and the ln probability with which it is to be accepted.

        Parameters
        ----------
        box
            ``int (m,)``.
        rng
            Source of randomness.

        Returns
        -------
        vectors, log_acceptance
            ``float64 (m, d)`` and ``float64 (m,)``. The accepted ones have the law of the normal within their box; a
            proposal is accepted with probability P(box) / exp(bound) in the mean.
        """
        m, d = len(box), self.low.shape[1]
        x = np.zeros((m, d))
        log_weight = np.zeros(m)
        for k in range(d):
            tilt = self.tilt[box, k]
            shift = x[:, :k] @ self.coupling[k, :k] + tilt
            low, high = self.low[box, k] - shift, self.high[box, k] - shift
            x[:, k] = tilt + draw_interval(low, high, rng.random(m))
            log_weight += log_interval(low, high) + 0.5 * tilt**2 - tilt * x[:, k]
        vectors = np.empty((m, d))
        vectors[:, self.order] = x @ self.factor.T
        return vectors, log_weight - self.bound[box]


def draw_mixture(
    normals: Sequence[BoxedNormal],
    log_weights: np.ndarray,
    part: np.ndarray,
    box: np.ndarray,
    group: np.ndarray,
    rng: np.random.Generator,
    *,
    rounds: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from a mixture of normals that is confined to a union of disjoint boxes, exactly.

    A candidate (normal, box) is chosen in proportion to its weight times the bound of its probability and then
    accepted or not; a refused draw chooses anew. What is so improbable that no proposal of ``rounds`` is accepted takes
    one of its proposals in proportion to their weights (importance resampling), which is then an approximation.

    Parameters
    ----------
    normals
        The parts of the mixture, each with its boxes.
    log_weights
        ``(G, C)`` ln mixture weight of each candidate, for each of G groups of draws; -inf rules one out.
    part, box
        ``int (G, C)``: which normal, and which of its boxes, a candidate is.
    group
        ``int (n,)``: the group of each draw.
    rng
        Source of randomness.
    rounds
        Proposals a draw at most.

    Returns
    -------
    vectors, candidate
        ``float64 (n, d)`` and the candidate that each draw came from, ``int (n,)``.

    Raises
    ------
    ConditionError
        If some draw has no proposal of positive weight.
    """
    bounds = np.full(log_weights.shape, -np.inf)
    for s, normal in enumerate(normals):
        mine = (part == s) & np.isfinite(log_weights)
        bounds[mine] = log_weights[mine] + normal.bound[box[mine]]
    share = np.exp(bounds - bounds.max(axis=1, keepdims=True))
    cumulative = np.cumsum(share, axis=1)  # (G, C)
    cumulative /= cumulative[:, -1:]
    n = len(group)
    vectors = np.empty((n, normals[0].low.shape[1]))
    candidate = np.empty(n, dtype=np.int64)
    best = np.full(n, -np.inf)  # of the proposals so far: the highest of ln weight plus Gumbel noise
    waiting = np.arange(n)
    for _ in range(rounds):
        if not len(waiting):
            break
        rows = group[waiting]
        chosen = (cumulative[rows] <= rng.random((len(rows), 1))).sum(axis=1)  # (m,)
        accepted = np.zeros(len(waiting), dtype=bool)
        for s, normal in enumerate(normals):
            mine = np.flatnonzero(part[rows, chosen] == s)
            if len(mine):
                made, log_acceptance = normal.propose(box[rows[mine], chosen[mine]], rng)
                accepted[mine] = np.log(rng.random(len(mine))) <= log_acceptance
                # Gumbel-max: the proposal with the highest sum is drawn in proportion to the weights.
                score = log_acceptance + rng.gumbel(size=len(mine))
                better = accepted[mine] | (score > best[waiting[mine]])
                hit = waiting[mine[better]]
                vectors[hit], candidate[hit], best[hit] = made[better], chosen[mine[better]], score[better]
        waiting = waiting[~accepted]
    lost = np.flatnonzero(np.isneginf(best[waiting]))
    if len(lost):
        raise ConditionError(f"what is asked cannot occur together: {len(lost)} of {n} samples were not found")
    return vectors, candidate
