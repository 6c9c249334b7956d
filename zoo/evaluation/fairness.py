"""Fairness: is every group served as well by synthetic data as the others, and are the groups there at all?

Groups are the values of the sensitive columns (``sensitive=``, or those that the schema marks); a numeric one is halved
at the training median. All of it asks what the synthetic data *change*: a real table may be unjust itself.
"""

from typing import Any

import numpy as np

from zoo.evaluation.information import shares, total_variation
from zoo.evaluation.metric import Measurement, NotApplicable, NotComputable, Trial, metric
from zoo.evaluation.panel import fit_model, make_task, predict, skill
from zoo.evaluation.table import Table

_FEWEST = 50  # test rows of a group


def groups_of(trial: Trial, table: Table, name: str) -> np.ndarray:
    """Group of each row by one sensitive column, ``int64 (N,)``, -1 for missing."""
    if name in table.codes:
        return table.codes[name]
    known = trial.train.numbers[name][~np.isnan(trial.train.numbers[name])]
    middle = float(np.median(known)) if len(known) else np.inf
    return np.where(np.isnan(table.numbers[name]), -1, (table.numbers[name] > middle).astype(np.int64))


def _name(trial: Trial, name: str, group: int) -> str:
    if name in trial.train.codes:
        return f"{name}={trial.train.categories[name][group]}"
    return f"{name} {'above' if group else 'up to'} the median"


def _sensitive(trial: Trial) -> list[str]:
    if not trial.sensitive:
        raise NotApplicable("no sensitive column was named")
    return list(trial.sensitive)


def _outcomes(trial: Trial) -> dict[str, tuple[float, float, float, float]]:
    """By group: skill of boosted trees trained on real and on synthetic rows, and their mean predictions."""
    if "fairness" in trial.cache:
        return trial.cache["fairness"]
    names = [n for n in _sensitive(trial) if n != trial.target]
    if trial.target is None or not names:
        raise NotApplicable("fairness of a model needs a target, and a sensitive column besides")
    tasks = [make_task(trial, learn, trial.target, trial.limits.panel) for learn in (trial.fit, trial.synthetic)]
    if tasks[0].classes > 2:
        raise NotComputable("the target has more than two classes; group rates are defined for two, or for a number")
    predicted = [predict(fit_model("boosting", t, trial.seed), t.test_x, t.classes) for t in tasks]
    classes, truth = tasks[0].classes, tasks[0].test_y
    scale = 1.0 if classes else float(truth.std()) or 1.0
    outcome = [p[:, 1] if classes else p / scale for p in predicted]
    tested = _tested(trial, trial.target, len(truth))
    found: dict[str, tuple[float, float, float, float]] = {}
    for name in names:
        group = groups_of(trial, tested, name)
        for g in np.unique(group[group >= 0]):
            rows = group == g
            if rows.sum() < _FEWEST or (classes and len(np.unique(truth[rows])) < 2):
                continue
            skills = [skill(truth[rows], p[rows], classes) for p in predicted]
            means = [float(o[rows].mean()) for o in outcome]
            found[_name(trial, name, int(g))] = (skills[0], skills[1], means[0], means[1])
    if len(found) < 2:
        raise NotComputable(f"fewer than two groups have {_FEWEST} test rows of both classes")
    trial.cache["fairness"] = found
    return found


def _tested(trial: Trial, target: str, n: int) -> Table:
    """The rows that :func:`make_task` tests on, whole: the same draw."""
    y = trial.test.numbers[target] if target in trial.test.numbers else trial.test.codes[target]
    there = np.flatnonzero(~np.isnan(y) if target in trial.test.numbers else y >= 0)
    table = trial.sample(trial.test.take(there), 2 * trial.limits.panel, f"panel.test.{target}")
    if target in trial.test.codes:
        known = np.unique(trial.fit.codes[target])
        table = table.take(np.flatnonzero(np.isin(table.codes[target], known[known >= 0][:50])))
    assert len(table) == n
    return table


_SHARED: dict[str, Any] = {
    "modalities": ("tabular",),
    "needs": ("sensitive", "target"),
    "direction": "lower",
    "ideal": 0.0,
    "ceiling": "train",
    "cost": "high",
    "depth": "full",
    "rows": "panel",
}


@metric(
    "fairness.worst_group",
    title="Loss of the worst-served group",
    span=(-1.0, 2.0),
    plain="How much more a model loses for the group that synthetic data serve worst than it loses on average.",
    reference="Skill (2 AUC - 1, or R²) within groups, trained on real minus on synthetic rows",
    **_SHARED,
)
def worst_group(trial: Trial) -> Measurement:
    """Largest loss of skill of a group by synthetic training rows, minus the mean loss over the groups."""
    found = _outcomes(trial)
    loss = {g: real - made for g, (real, made, _, _) in found.items()}
    worst = max(loss, key=lambda g: loss[g])
    value = loss[worst] - float(np.mean(list(loss.values())))
    return Measurement(
        value=value, details={"worst_group": worst, "groups": {g: list(v[:2]) for g, v in found.items()}}
    )


@metric(
    "fairness.parity_change",
    title="Change of the gap between groups",
    span=(0.0, None),
    plain="How much further apart (or nearer) the groups' predicted outcomes are when the model learned from synthetic "
    "rows.",
    reference="Demographic parity difference (Dwork et al. 2012, arXiv:1104.3913), by synthetic against by real rows",
    **_SHARED,
)
def parity_change(trial: Trial) -> Measurement:
    """Largest difference of groups' mean predictions, trained on synthetic minus trained on real rows, absolute."""
    found = _outcomes(trial)
    real, made = (float(np.ptp([v[i] for v in found.values()])) for i in (2, 3))
    details = {"real": real, "synthetic": made, "groups": {g: list(v[2:]) for g, v in found.items()}}
    return Measurement(value=abs(made - real), details=details)


@metric(
    "fairness.group_shares",
    title="Shares of the groups",
    modalities=("tabular",),
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    needs=("sensitive",),
    plain="Share of people who would have to change group for each group to be as large as in the real data.",
    reference="Total variation of the sensitive groups' shares, the largest over the sensitive columns",
)
def group_shares(trial: Trial) -> Measurement:
    """Largest total variation distance of group shares over the sensitive columns."""
    each = {}
    for name in _sensitive(trial):
        real, made = (groups_of(trial, t, name) + 1 for t in (trial.train, trial.synthetic))
        size = int(max(real.max(), made.max())) + 1
        each[name] = total_variation(shares(real, size), shares(made, size))
    return Measurement(value=max(each.values()), details={"columns": each})
