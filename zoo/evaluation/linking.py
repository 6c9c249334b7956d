"""Linkability and attribute inference: what does the synthetic table tell of a person of whom a part is known?

The other two risks of the Article 29 Working Party's opinion, as Giomi et al. 2023 measure them. *Linkability*: two
sources hold different columns of the same people; an attacker links two records when a synthetic record is among the
nearest of both. *Inference*: all columns but one are known; the attacker guesses that one from the nearest synthetic
record. Both are tried on training people and on strangers (the control), and beside a guess that knows nothing.

Distances are Gower's: a mean over columns of the difference by the column's range, or of whether categories differ.
"""

from collections.abc import Iterator

import numpy as np

from zoo.evaluation.intervals import excess_risk, fisher_p_value
from zoo.evaluation.metric import Measurement, NotComputable, Trial, metric
from zoo.evaluation.singling_out import rates
from zoo.evaluation.table import Table

_REFERENCE = "Giomi, Boenisch, Wehmeyer and Tasnádi 2023, Anonymeter (arXiv:2211.10459); distance by Gower 1971"
_CELLS = 16_000_000  # distances of single columns at a time, in float32: 64 MB
_LINKS = 10  # nearest synthetic records of each part
_TOLERANCE = 0.05  # of a number that was guessed right
_MOST_SECRETS = 60


def gower_scale(train: Table) -> dict[str, float]:
    """Range of each numeric column in the training data; 1 for a constant."""
    out = {}
    for name, values in train.numbers.items():
        seen = values[~np.isnan(values)]
        spread = float(np.ptp(seen)) if len(seen) else 0.0
        out[name] = spread if spread > 0 else 1.0
    return out


def column_distances(left: Table, right: Table, scale: dict[str, float], names: tuple[str, ...]) -> np.ndarray:
    """Gower's distance in each column: ``float32 (C, N, M)``, 0 to 1; missing differs from all but missing."""
    out = np.empty((len(names), len(left), len(right)), dtype=np.float32)
    for j, name in enumerate(names):
        if name in left.codes:
            np.not_equal(left.codes[name][:, None], right.codes[name][None, :], out=out[j])
            continue
        low = np.nanmin(left.numbers[name]) if not np.isnan(left.numbers[name]).all() else 0.0  # float32 loses little
        a, b = (((t.numbers[name] - low) / scale[name]).astype(np.float32) for t in (left, right))
        np.subtract(a[:, None], b[None, :], out=out[j])
        np.minimum(np.abs(out[j], out=out[j]), 1.0, out=out[j])
        lost = np.isnan(a)[:, None], np.isnan(b)[None, :]
        if lost[0].any() or lost[1].any():
            out[j][lost[0] ^ lost[1]] = 1.0
            out[j][lost[0] & lost[1]] = 0.0
    return out


def _blocks(people: Table, synthetic: Table, scale: dict[str, float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, distances (C, n, M)) of some people at a time."""
    step = max(1, _CELLS // (len(people.names) * len(synthetic)))
    for start in range(0, len(people), step):
        rows = np.arange(start, min(start + step, len(people)))
        yield rows, column_distances(people.take(rows), synthetic, scale, people.names)


def links(people: Table, synthetic: Table, scale: dict[str, float], first: np.ndarray, k: int) -> np.ndarray:
    """Whether the k nearest synthetic records by the columns ``first`` (``bool (C,)``) meet those by the others."""
    k = min(k, len(synthetic))
    out = np.empty(len(people), dtype=bool)
    for rows, distances in _blocks(people, synthetic, scale):
        near = [_nearest(distances[part].sum(axis=0), k) for part in (first, ~first)]
        out[rows] = (near[0][:, :, None] == near[1][:, None, :]).any(axis=(1, 2))
    return out


def _nearest(total: np.ndarray, k: int) -> np.ndarray:
    if k >= total.shape[1]:
        return np.broadcast_to(np.arange(total.shape[1]), total.shape)
    return np.argpartition(total, k - 1, axis=1)[:, :k]


def guesses(people: Table, synthetic: Table, scale: dict[str, float]) -> np.ndarray:
    """The synthetic record that is nearest in all other columns, for each person and secret: ``int64 (N, C)``."""
    out = np.empty((len(people), len(people.names)), dtype=np.int64)
    for rows, distances in _blocks(people, synthetic, scale):
        total = distances.sum(axis=0)
        for j in range(len(people.names)):
            out[rows, j] = (total - distances[j]).argmin(axis=1)
    return out


def right(people: Table, synthetic: Table, name: str, guess: np.ndarray, spread: float) -> np.ndarray:
    """Whether a guess (row of ``synthetic``) is right: the category, or the number within 5 % of it.

    Instants have no natural zero: they must be within 5 % of the column's range in the training data.
    """
    if name in people.codes:
        return people.codes[name] == synthetic.codes[name][guess]
    truth, said = people.numbers[name], synthetic.numbers[name][guess]
    room = _TOLERANCE * (spread if name in people.times else np.abs(truth))
    return np.where(np.isnan(truth), np.isnan(said), np.abs(truth - said) <= room)


def halves_of(table: Table) -> np.ndarray:
    """Which columns the first of two sources holds, ``bool (C,)``: dealt in turn, those of most values first.

    So both sources can tell people apart; where one holds few categories alone, nothing could ever be linked.
    """
    columns = [table.numbers[n] if n in table.numbers else table.codes[n] for n in table.names]
    distinct = np.array([len(np.unique(c)) for c in columns])
    first = np.zeros(len(columns), dtype=bool)
    first[np.argsort(-distinct, kind="stable")[::2]] = True
    return first


def _sides(trial: Trial) -> tuple[Table, Table, Table]:
    """People of train, as many of the holdout, and the synthetic records."""
    if trial.holdout is None:
        raise NotComputable(trial.no_holdout)
    if len(trial.train.names) < 2:
        raise NotComputable("there is one column only; nothing else of a person can be known")
    n = min(trial.limits.guesses // 2, len(trial.train), len(trial.holdout))
    people, control = trial.sample(trial.train, n, "linking.train"), trial.sample(trial.holdout, n, "linking.holdout")
    return people, control, trial.sample(trial.synthetic, trial.limits.guess_rows, "linking.synthetic")


@metric(
    "privacy.linkability",
    title="Linkability",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    needs=("holdout",),
    ceiling="fresh",
    floor="copy",
    cost="medium",
    depth="full",
    plain="Two sources hold different attributes of the same people: how much better the synthetic data link the two "
    "records of a training person than those of a stranger.",
    reference=_REFERENCE,
)
def linkability(trial: Trial) -> Measurement:
    """Excess risk of linking two halves of the columns through the 10 nearest synthetic records of each."""
    people, control, synthetic = _sides(trial)
    scale = gower_scale(trial.train)
    first = halves_of(trial.train)
    hit, missed = (int(links(who, synthetic, scale, first, _LINKS).sum()) for who in (people, control))
    n, k = len(people), min(_LINKS, len(synthetic))
    risk, interval = excess_risk(hit, n, missed, n)
    details = rates(n, hit, n, missed, 1 - (1 - k / len(synthetic)) ** k)
    sources = {"first_source": [c for c, f in zip(people.names, first) if f]}
    p_value = fisher_p_value(hit, n, missed, n)
    return Measurement(value=risk, interval=interval, details=details | sources | {"p_value": p_value})


@metric(
    "privacy.attribute_inference",
    title="Attribute inference, worst column",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    needs=("holdout",),
    ceiling="fresh",
    floor="copy",
    cost="medium",
    depth="full",
    plain="All but one attribute of a person are known: how much better the synthetic data reveal the last one of a "
    "training person than of a stranger, for the attribute where that is worst.",
    reference=_REFERENCE,
)
def attribute_inference(trial: Trial) -> Measurement:
    """Excess risk of the secret column that is worst for certain, by the low end of its interval.

    The interval is widened for the choice among columns (Bonferroni), the chance too.
    """
    from scipy.stats import norm

    people, control, synthetic = _sides(trial)
    scale = gower_scale(trial.train)
    n, rng = len(people), trial.rng("inference.naive")
    random = rng.integers(len(synthetic), size=n)
    by_person, by_stranger = (guesses(who, synthetic, scale) for who in (people, control))
    secrets = list(enumerate(people.names))[:_MOST_SECRETS]
    z = float(norm.ppf(1 - 0.025 / len(secrets)))
    columns = {}
    for j, name in secrets:
        spread = scale.get(name, 1.0)
        hit = int(right(people, synthetic, name, by_person[:, j], spread).sum())
        missed = int(right(control, synthetic, name, by_stranger[:, j], spread).sum())
        naive = float(right(people, synthetic, name, random, spread).mean())
        columns[name] = excess_risk(hit, n, missed, n, z), rates(n, hit, n, missed, naive), (hit, missed)
    # The column that is worst for certain: where nearly all share one value, a chance hit is a large excess.
    worst = max(columns, key=lambda c: (columns[c][0][1][0], -fisher_p_value(columns[c][2][0], n, columns[c][2][1], n)))
    (risk, interval), details, (hit, missed) = columns[worst]
    p_value = min(fisher_p_value(hit, n, missed, n) * len(secrets), 1.0)
    return Measurement(
        value=risk,
        interval=interval,
        details=details
        | {"worst_column": worst, "columns": {c: v[0][0] for c, v in columns.items()}, "p_value": p_value},
    )
