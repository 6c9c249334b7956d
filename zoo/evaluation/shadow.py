"""Attacks that refit the generator: the shadow-model likelihood ratio, and a lower bound of epsilon by a canary.

An attacker who can run the same family learns how the synthetic data look when a person was in the training data, and
how when not (*shadow* generators, each fitted on a random half of a pool of people). For each person the two
distributions of a statistic are taken as normal, and the attacked data are judged by the ratio of likelihoods (LiRA,
Carlini et al. 2022). Every shadow is attacked in turn by the others, so the result speaks of the family with its
configuration rather than of one run; the pool's halves are smaller than the training data as a rule, which overstates
what a generator of more rows remembers, never understates it by design.

The statistic is minus the logarithm of the distance to the nearest synthetic record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.form import native_form
from zoo.errors import ConfigError, ZooError
from zoo.evaluation.intervals import auc, epsilon_lower_bound, mean_interval, tpr_at
from zoo.evaluation.kit import make_kit
from zoo.evaluation.metric import Measurement, NotApplicable, NotComputable, Trial, metric
from zoo.evaluation.neighbours import k_nearest, nearest

_ALL = ("tabular", "timeseries", "image", "text")
_PRIOR = 4.0  # shadows that the common variance counts for beside a person's own
Statistic = Callable[[Any, Any], np.ndarray]
"""(people, synthetic), both native, to one number a person: ``float (N,)``, higher where the person is suspected."""

Maker = Callable[[np.ndarray, int, int], Any]
"""(rows of the pool, number of samples, seed) to native samples."""


@dataclass(frozen=True)
class Shadows:
    """``statistics float (S, N)`` of N people in the data of S shadows, and who was ``inside bool (S, N)``."""

    statistics: np.ndarray
    inside: np.ndarray


def likelihood_ratio(shadows: Shadows) -> np.ndarray:
    """Log likelihood ratio ``float (S, N)`` of having been inside, of each shadow judged by the others alone.

    Normal distributions with a mean for each person, inside and outside, and one variance for each person, pooled over
    the two and drawn towards the median of all people as though that were four more shadows: with a few shadows a
    variance of one's own is too noisy (as Carlini et al. 2022, section IV C, do with a common one).
    """
    x, inside = shadows.statistics, shadows.inside
    means, squares, count = [], np.zeros_like(x), np.zeros_like(x)
    for side in (inside, ~inside):
        n = side.sum(axis=0) - side  # without the shadow that is judged
        total = (x * side).sum(axis=0) - x * side
        square = (x**2 * side).sum(axis=0) - x**2 * side
        mean = total / np.maximum(n, 1)
        means.append(mean)
        squares += square - n * mean**2
        count += np.maximum(n - 1, 0)
    own = squares / np.maximum(count, 1)
    common = np.median(own, axis=1, keepdims=True)
    variance = (count * own + _PRIOR * common) / (count + _PRIOR)
    return ((x - means[1]) ** 2 - (x - means[0]) ** 2) / (2 * np.maximum(variance, 1e-300))


def halves(people: int, shadows: int, rng: np.random.Generator) -> np.ndarray:
    """Who is inside each shadow, ``bool (S, N)``: random halves and their complements, so that each is in S/2."""
    inside = np.zeros((shadows, people), dtype=bool)
    for s in range(0, shadows, 2):
        inside[s, rng.permutation(people)[: people // 2]] = True
        inside[s + 1] = ~inside[s]
    return inside


def nearest_statistic(modality: str, schema: Any) -> Statistic:
    """Minus the log distance to the nearest synthetic record, by the positions that the modality's kit gives."""

    def statistic(people: Any, synthetic: Any) -> np.ndarray:
        kit = make_kit(modality, schema)
        data = kit.prepare({"train": people, "synthetic": synthetic}, None)
        points, reference = kit.points(data["train"], data["train"], data["synthetic"])
        if points.shape[1] == 0:
            raise NotComputable("there is no column in which distances mean anything")
        distance, _ = nearest(points, reference)
        return -np.log(distance + 1e-3 * (float(np.median(distance)) or 1.0))

    return statistic


class Refit:
    """Fits a generator's family anew through its contract: its configuration, other rows, other seeds."""

    def __init__(self, generator: Any, pool: Any, train: Any = None) -> None:
        self.generator, self.pool, self.train = generator, pool, train
        self.form = native_form(generator.modality)
        self.schema = generator.schema
        try:
            self.form.check(pool, self.schema)
        except ZooError:  # people whom the generator's schema does not know: a category that train lacks
            self.schema = self.form.infer(pool).replace(private=generator.schema.private)

    def sample(self, rows: np.ndarray, n: int, seed: int) -> Any:
        """``n`` samples of a new generator that learned from these rows of the pool."""
        fresh = type(self.generator)(**self.generator.config)
        fresh.fit(self.form.take(self.pool, rows), schema=self.schema, seed=seed, train=self.train)
        return fresh.sample(n, seed=seed)


def run_shadows(
    generator: Any,
    pool: Any,
    *,
    shadows: int = 16,
    seed: int = 0,
    train: Any = None,
    statistic: Statistic | None = None,
    samples: int | None = None,
    make: Maker | None = None,
) -> Shadows:
    """Fit ``shadows`` new generators on halves of a pool of people, and take the statistic of everyone in each.

    Parameters
    ----------
    generator
        A fitted generator, whose family and configuration are used.
    pool
        Native data of N people; each shadow learns from N/2 of them.
    shadows
        An even number, at least 4.
    seed
        Of the halves, fits and samples.
    train
        A ``zoo.TrainConfig`` for the fits.
    statistic
        What the attacker looks at; see the module by default.
    samples
        Samples that each shadow gives; as many as it learned from by default.
    make
        What stands in the place of the refitted generator, for the anchors.

    Raises
    ------
    ConfigError
        Of shadows that are odd or fewer than 4.
    """
    if shadows < 4 or shadows % 2:
        raise ConfigError(f"shadows={shadows} must be an even number of at least 4")
    refit = Refit(generator, pool, train)
    look = statistic or nearest_statistic(generator.modality, refit.schema)
    n = refit.form.length(pool)
    inside = halves(n, shadows, np.random.default_rng([seed, 21]))
    statistics = np.empty((shadows, n))
    for s in range(shadows):
        rows = np.flatnonzero(inside[s])
        statistics[s] = look(pool, (make or refit.sample)(rows, samples or len(rows), seed * 1_000 + s))
    return Shadows(statistics, inside)


@dataclass(frozen=True)
class Audit:
    """Outcome of :func:`audit_epsilon`: the bound, and the counts it comes from."""

    epsilon: float
    hits: int
    with_canary: int
    false_alarms: int
    without_canary: int
    delta: float
    confidence: float

    @property
    def highest(self) -> float:
        """The bound that a perfect attack would have reached with so many trials."""
        n, m = self.with_canary, self.without_canary
        return epsilon_lower_bound(n, n, 0, m, delta=self.delta, confidence=self.confidence)


def audit_epsilon(
    generator: Any,
    pool: Any,
    *,
    trials: int = 80,
    seed: int = 0,
    delta: float = 0.0,
    confidence: float = 0.95,
    train: Any = None,
) -> Audit:
    """Lower bound of the epsilon of a family's privacy, by fitting it with and without one canary.

    The canary is the member of the pool who stands furthest from all others: the worst case. Half of the trials choose
    the threshold of the distance to the nearest sample, the other half are judged by it.

    Parameters
    ----------
    generator
        A fitted generator, whose family and configuration are used.
    pool
        Native data; all but the canary are in every fit.
    trials
        Fits in all, at least 8; a quarter counts as "with" and a quarter as "without". 80 can show an epsilon of 1.7.
    seed, delta, confidence, train
        Of the fits; of (epsilon, delta)-privacy; of the bound; of the fits.
    """
    if trials < 8:
        raise ConfigError(f"trials={trials} must be at least 8")
    refit = Refit(generator, pool, train)
    look = nearest_statistic(generator.modality, refit.schema)
    n = refit.form.length(pool)
    canary = loneliest(pool, generator.modality, refit.schema)
    others = np.delete(np.arange(n), canary)
    inside = np.arange(trials) % 2 == 0
    score = np.empty(trials)
    for s in range(trials):
        rows = np.append(others, canary) if inside[s] else others
        score[s] = look(pool, refit.sample(rows, n, seed * 1_000 + s))[canary]
    tune = np.arange(trials) < trials // 2
    threshold = _threshold(score[tune], inside[tune], delta, confidence)
    hit = score > threshold
    a, b = ~tune & inside, ~tune & ~inside
    counts = int(hit[a].sum()), int(a.sum()), int(hit[b].sum()), int(b.sum())
    return Audit(epsilon_lower_bound(*counts, delta=delta, confidence=confidence), *counts, delta, confidence)


def _threshold(score: np.ndarray, inside: np.ndarray, delta: float, confidence: float) -> float:
    """The threshold that shows the largest bound; between two neighbouring scores, the middle."""
    order = np.unique(score)
    cuts = (order[:-1] + order[1:]) / 2 if len(order) > 1 else order
    n, m = int(inside.sum()), int((~inside).sum())
    found = [
        epsilon_lower_bound(
            int((score[inside] > c).sum()), n, int((score[~inside] > c).sum()), m, delta=delta, confidence=confidence
        )
        + 1e-3 * ((score[inside] > c).mean() - (score[~inside] > c).mean())  # decides where no bound is above 0
        for c in cuts
    ]
    return float(cuts[int(np.argmax(found))])


def loneliest(pool: Any, modality: str, schema: Any) -> int:
    """The row of the pool whose nearest other row is furthest."""
    kit = make_kit(modality, schema)
    data = kit.prepare({"train": pool, "synthetic": pool}, None)
    (points,) = kit.points(data["train"], data["train"])
    return int(k_nearest(points, points, 2)[0][:, -1].argmax())


def _pool(trial: Trial, rows: int) -> Any:
    """Native people of train and holdout, half of each as far as they go."""
    if trial.generator is None:
        raise NotApplicable("no generator was given; pass generator= to have it refitted")
    form, rng = native_form(trial.generator.modality), trial.rng("shadow.pool")
    parts = [trial.native["train"], *([trial.native["holdout"]] if "holdout" in trial.native else [])]
    picked = []
    for part in parts:
        n = form.length(part)
        size = min(n, rows // len(parts))
        picked.append(form.take(part, np.sort(rng.choice(n, size, replace=False))))
    pool = form.concat(picked)
    if form.length(pool) < 20:
        raise NotComputable(f"{form.length(pool)} people are too few to fit shadow generators on halves of them")
    return pool


def _stand_in(trial: Trial, pool: Any) -> Maker | None:
    """What an anchor has in the place of the refitted generator; None for the generator itself."""
    form = native_form(trial.generator.modality)
    if trial.role == "copy":
        return lambda rows, n, seed: form.take(pool, rows[:n])
    if trial.role == "real":  # people drawn without regard to who is inside

        def others(rows: np.ndarray, n: int, seed: int) -> Any:
            return form.take(pool, np.random.default_rng([seed, 22]).choice(form.length(pool), n, replace=False))

        return others
    if trial.role == "naive":
        if trial.generator.modality != "tabular":
            raise NotComputable("independent columns are made of tables only")

        def columns(rows: np.ndarray, n: int, seed: int) -> Any:
            rng, known = np.random.default_rng([seed, 23]), form.take(pool, rows)
            return type(known)({c: known[c].array[rng.integers(len(known), size=n)] for c in known})

        return columns
    return None


def _attacked(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Likelihood ratios and memberships, ``(S, N)`` each; once per trial."""
    if "shadows" not in trial.cache:
        limits = trial.limits
        pool = _pool(trial, 2 * limits.shadow_rows)
        make = _stand_in(trial, pool)
        made = run_shadows(trial.generator, pool, shadows=limits.shadows, seed=trial.seed, make=make)
        trial.cache["shadows"] = likelihood_ratio(made), made.inside
    return trial.cache["shadows"]


_SHARED: dict[str, Any] = {
    "modalities": _ALL,
    "span": (0.0, 1.0),
    "direction": "lower",
    "needs": ("generator",),
    "ceiling": "fresh",
    "floor": "copy",
    "cost": "high",
    "depth": "full",
    "reference": "Carlini et al. 2022, Membership Inference Attacks From First Principles (arXiv:2112.03570)",
}


@metric(
    "privacy.shadow_auc",
    title="Shadow-model attack",
    ideal=0.5,
    plain="An attacker who refits the same family on other people judges who was in the training data: 0.5 is "
    "guessing. It speaks of the family with its configuration, on fewer rows than the generator learned from.",
    **_SHARED,
)
def shadow_auc(trial: Trial) -> Measurement:
    """Mean over the attacked shadows of the area under the curve of the likelihood ratio."""
    ratio, inside = _attacked(trial)
    each = np.array([auc(r[i], r[~i]) for r, i in zip(ratio, inside)])
    details = {"shadows": len(each), "people": ratio.shape[1], "naive_guess": 0.5}
    return Measurement(value=float(each.mean()), interval=mean_interval(each, (0.0, 1.0)), details=details)


@metric(
    "privacy.shadow_tpr_1",
    title="Shadow-model attack at 1 % false alarms",
    ideal=0.01,
    plain="Share of the training people whom the refitting attacker names while wrongly accusing at most 1 % of the "
    "others.",
    **_SHARED,
)
def shadow_tpr(trial: Trial) -> Measurement:
    """Mean over the attacked shadows of the true-positive rate at 1 % false positives."""
    ratio, inside = _attacked(trial)
    if ratio.shape[1] < 200:
        raise NotComputable(f"a false-positive rate of 1 % needs 200 people in the shadows, there are {ratio.shape[1]}")
    each = np.array([tpr_at(r[i], r[~i], 0.01)[0] for r, i in zip(ratio, inside)])
    details = {"shadows": len(each), "people": ratio.shape[1], "naive_guess": 0.01}
    return Measurement(value=float(each.mean()), interval=mean_interval(each, (0.0, 1.0)), details=details)


@metric(
    "privacy.epsilon_lower_bound",
    title="Epsilon, lower bound",
    modalities=_ALL,
    span=(0.0, None),
    direction="lower",
    ideal=0.0,
    needs=("generator",),
    anchors=(),
    cost="high",
    depth="full",
    plain="The least epsilon of differential privacy that the family can have, as shown by fitting it with and without "
    "one conspicuous person; it must stay below what a private generator claims. 0 refutes nothing and proves nothing.",
    reference="Jagielski, Ullman and Oprea 2020, Auditing Differentially Private Machine Learning (arXiv:2006.07709)",
)
def epsilon_bound(trial: Trial) -> Measurement:
    """Lower bound at 95 % confidence by the canary test, beside the most that so many fits could have shown."""
    pool = _pool(trial, trial.limits.shadow_rows)
    found = audit_epsilon(trial.generator, pool, trials=trial.limits.audits, seed=trial.seed)
    claimed = trial.generator.config.get("epsilon")
    details: dict[str, Any] = {
        "hits": found.hits,
        "with_canary": found.with_canary,
        "false_alarms": found.false_alarms,
        "without_canary": found.without_canary,
        "highest_that_could_show": found.highest,
        "confidence": found.confidence,
    }
    if isinstance(claimed, (int, float)):
        details |= {"claimed": float(claimed), "claim_refuted": bool(found.epsilon > claimed)}
    return Measurement(value=found.epsilon, details=details)
