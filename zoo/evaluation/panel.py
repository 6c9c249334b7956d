"""A panel of models: would a data scientist who has only the synthetic table come to the same conclusions?

Five models of different kinds (linear, single tree, boosted trees, nearest neighbours, a small network) learn a target
from synthetic rows and, beside it, from as many real ones, and are tested on the same real rows. Do all of them work?
Is the best one the same? Do they find the same columns important? Can their probabilities be trusted? Do synthetic rows
help where real ones are few? And is it so for every column as the target, not only the one that was named?
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.evaluation.intervals import auc, mean_interval
from zoo.evaluation.metric import Measurement, NotApplicable, NotComputable, Trial, metric
from zoo.evaluation.table import Table, table_points

MODELS = ("linear", "tree", "boosting", "neighbours", "network")
_RESAMPLES, _SHUFFLES = 50, 5
_TARGETS = 8  # columns that take their turn as the target
_FEWEST = 40
_IMPORTANCE_ROWS = 2_000


@dataclass(frozen=True)
class Task:
    """Rows to learn from and to be tested on: points ``float32 (N, D)``, labels as codes or numbers."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int  # 0 for a numeric target
    groups: tuple[tuple[str, np.ndarray], ...] = ()  # columns of x that belong to one column of the table


def build(kind: str, classes: int, seed: int) -> Any:
    """A model of the panel for so many classes, 0 for a number."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    boosting = {"max_iter": 60, "learning_rate": 0.15, "early_stopping": False, "random_state": seed}
    network = {"hidden_layer_sizes": (32,), "early_stopping": True, "max_iter": 40, "random_state": seed}
    made: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
        "linear": (LogisticRegression, Ridge, {}),
        "tree": (DecisionTreeClassifier, DecisionTreeRegressor, {"max_depth": 6, "random_state": seed}),
        "boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor, boosting),
        "neighbours": (KNeighborsClassifier, KNeighborsRegressor, {"n_neighbors": 15}),
        "network": (MLPClassifier, MLPRegressor, network),
    }
    classifier, regressor, options = made[kind]
    return classifier(**options, **({"max_iter": 300} if kind == "linear" else {})) if classes else regressor(**options)


def fit_model(kind: str, task: Task, seed: int, rows: np.ndarray | None = None) -> Any:
    """A fitted model, on all rows or some; that a network or a line has not converged in full is no news."""
    from sklearn.exceptions import ConvergenceWarning

    x, y = (task.x, task.y) if rows is None else (task.x[rows], task.y[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return build(kind, task.classes, seed).fit(x, y)


def predict(model: Any, x: np.ndarray, classes: int) -> np.ndarray:
    """``float (N, K)`` probabilities of all classes, or ``float (N,)`` numbers."""
    if not classes:
        return np.asarray(model.predict(x), dtype=np.float64)
    out = np.zeros((len(x), classes))
    out[:, model.classes_.astype(int)] = model.predict_proba(x)
    return out


def skill(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """0 for guessing, 1 for always right: 2 AUC - 1 (mean of one against the rest), or R² and at least -1."""
    if not classes:
        spread = float(((truth - truth.mean()) ** 2).sum())
        return max(-1.0, 1 - float(((truth - predicted) ** 2).sum()) / spread) if spread > 0 else 0.0
    present = [k for k in range(classes) if 0 < (truth == k).sum() < len(truth)]
    if classes == 2:
        present = present[-1:]
    areas = [auc(predicted[truth == k, k], predicted[truth != k, k]) for k in present]
    return 2 * float(np.mean(areas)) - 1 if areas else 0.0


def calibration_error(truth: np.ndarray, predicted: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of the likeliest class, bins of equal width (Guo et al. 2017)."""
    sure, right = predicted.max(axis=1), predicted.argmax(axis=1) == truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(right[place == b].mean() - sure[place == b].mean()) * (place == b).mean() for b in np.unique(place)]
    return float(np.sum(gaps))


def _labels(table: Table, target: str) -> np.ndarray:
    return table.numbers[target] if target in table.numbers else table.codes[target]


def make_task(trial: Trial, learn: Table, target: str, rows: int) -> Task:
    """The task of predicting a column: at most ``rows`` rows to learn from, twice as many to be tested on."""
    parts = []
    for data, most, purpose in ((learn, rows, "panel.learn"), (trial.test, 2 * rows, "panel.test")):
        y = _labels(data, target)
        there = np.flatnonzero(~np.isnan(y) if target in data.numbers else y >= 0)
        parts.append(trial.sample(data.take(there), most, f"{purpose}.{target}"))
    y, test_y = (_labels(p, target) for p in parts)
    classes = 0
    if target not in trial.train.numbers:
        known = np.unique(_labels(trial.fit, target))
        known = known[known >= 0][:50]
        kept = [np.isin(v, known) for v in (y, test_y)]
        parts = [p.take(np.flatnonzero(k)) for p, k in zip(parts, kept)]
        y, test_y = (np.searchsorted(known, v[k]) for v, k in zip((y, test_y), kept))
        classes = len(known)
        if len(np.unique(y)) < 2 or len(np.unique(test_y)) < 2:
            raise NotComputable(f"{target!r} has one class only in the rows to learn from, or in those to be tested on")
    if min(len(y), len(test_y)) < _FEWEST:
        raise NotComputable(f"{min(len(y), len(test_y))} rows with {target!r} are too few for models to learn from")
    rest = tuple(n for n in trial.train.names if n != target)
    if not rest:
        raise NotComputable("no column is left to predict the target from")
    tables = [
        replace(p, names=rest, codes={n: c for n, c in p.codes.items() if n != target}) for p in (trial.fit, *parts)
    ]
    x, test_x = table_points(*tables)
    return Task(x, y, test_x, test_y, classes, _groups(tables, x.shape[1]))


def _groups(tables: list[Table], width: int) -> tuple[tuple[str, np.ndarray], ...]:
    """Which columns of the points each column of the table has: found by giving them one at a time."""
    out, start = [], 0
    for name in tables[0].names:
        alone = [replace(t, names=(name,), codes={n: c for n, c in t.codes.items() if n == name}) for t in tables]
        size = table_points(alone[0].take(np.arange(1)), *alone[1:])[0].shape[1]
        out.append((name, np.arange(start, min(start + size, width))))
        start += size
    return tuple(out)


def _target(trial: Trial) -> str:
    if trial.target is None:
        raise NotApplicable("no target was named")
    return trial.target


@dataclass(frozen=True)
class Panel:
    """Skill and predictions of each model, and the fitted boosted trees with their task."""

    skills: dict[str, float]
    predicted: dict[str, np.ndarray]
    task: Task
    boosting: Any

    def skill(self, model: str, rows: np.ndarray) -> float:
        """Skill of a model on some of the test rows."""
        return skill(self.task.test_y[rows], self.predicted[model][rows], self.task.classes)


def resampled(
    trial: Trial,
    panel: Panel,
    value: float,
    measure: Callable[[np.ndarray], float],
    span: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float] | None:
    """95 % interval by resampled test rows, of the synthetic data alone: anchors are shown without one."""
    if trial.role != "synthetic":
        return None
    rng, n = trial.rng("panel.resampled"), len(panel.task.test_y)
    found = [measure(rng.integers(n, size=n)) for _ in range(_RESAMPLES)]
    half = 1.96 * float(np.std(found, ddof=1))
    return max(value - half, span[0]), min(value + half, span[1])


def panel_of(trial: Trial, learn: Table, key: str) -> Panel:
    """All models on the named target; those of the real rows once for the synthetic data and all anchors."""
    store = trial.shared if key == "real" else trial.cache
    if f"panel.{key}" not in store:
        task = make_task(trial, learn, _target(trial), trial.limits.panel)
        models = {kind: fit_model(kind, task, trial.seed) for kind in MODELS}
        predicted = {kind: predict(m, task.test_x, task.classes) for kind, m in models.items()}
        skills = {kind: skill(task.test_y, p, task.classes) for kind, p in predicted.items()}
        store[f"panel.{key}"] = Panel(skills, predicted, task, models["boosting"])
    return store[f"panel.{key}"]


def both(trial: Trial) -> tuple[Panel, Panel]:
    """The panel trained on real rows, and on those of the trial."""
    return panel_of(trial, trial.fit, "real"), panel_of(trial, trial.synthetic, "synthetic")


_SHARED: dict[str, Any] = {
    "modalities": ("tabular",),
    "needs": ("target",),
    "ceiling": "train",
    "cost": "high",
    "depth": "full",
    "rows": "panel",
}


@metric(
    "utility.panel_gap",
    title="Panel of models: loss",
    span=(-1.0, 2.0),
    direction="lower",
    ideal=0.0,
    plain="How much five different models lose when they learn from synthetic rather than real rows, on a scale from "
    "guessing (0) to always right (1).",
    reference="Train on synthetic, test on real (Esteban et al. 2017); 2 AUC - 1, or R² for a numeric target",
    **_SHARED,
)
def panel_gap(trial: Trial) -> Measurement:
    """Mean over the panel of the skill learned from real rows minus that learned from synthetic ones."""
    real, made = both(trial)
    gaps = {m: real.skills[m] - made.skills[m] for m in MODELS}
    details = {"models": {m: [real.skills[m], made.skills[m]] for m in MODELS}, "rows": len(made.task.y)}
    value = float(np.mean(list(gaps.values())))

    def again(rows: np.ndarray) -> float:
        return float(np.mean([real.skill(m, rows) - made.skill(m, rows) for m in MODELS]))

    return Measurement(value=value, interval=resampled(trial, real, value, again), details=details)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation, 0 where one side does not vary."""
    from scipy.stats import rankdata

    x, y = (rankdata(v) - (len(v) + 1) / 2 for v in (a, b))
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / scale) if scale > 0 else 0.0


@metric(
    "utility.model_order",
    title="Order of models",
    span=(-1.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="Whether who compares models on synthetic data would choose the same one as on real data (1).",
    reference="Spearman's rank correlation of the skills of the five models",
    **_SHARED,
)
def model_order(trial: Trial) -> Measurement:
    """Rank correlation of the models' skills when trained on real and on synthetic rows."""
    real, made = both(trial)
    value = spearman(np.array([real.skills[m] for m in MODELS]), np.array([made.skills[m] for m in MODELS]))

    def again(rows: np.ndarray) -> float:
        return spearman(*(np.array([p.skill(m, rows) for m in MODELS]) for p in (real, made)))

    details = {"models": {m: [real.skills[m], made.skills[m]] for m in MODELS}}
    return Measurement(value=value, interval=resampled(trial, real, value, again, (-1.0, 1.0)), details=details)


def importances(panel: Panel, rng: np.random.Generator) -> dict[str, float]:
    """Loss of skill of the boosted trees on real test rows when a column is shuffled (Breiman 2001)."""
    task = panel.task
    rows = rng.permutation(len(task.test_y))[:_IMPORTANCE_ROWS]
    x, y = task.test_x[rows], task.test_y[rows]
    whole = skill(y, predict(panel.boosting, x, task.classes), task.classes)
    out = {}
    for name, columns in task.groups:
        shuffled = x.copy()
        shuffled[:, columns] = x[rng.permutation(len(x))][:, columns]
        out[name] = whole - skill(y, predict(panel.boosting, shuffled, task.classes), task.classes)
    return out


@metric(
    "utility.importance_order",
    title="Order of important columns",
    span=(-1.0, 1.0),
    direction="higher",
    ideal=1.0,
    plain="Whether a model that learned from synthetic rows relies on the same columns as one that learned from "
    "real ones.",
    reference="Spearman's rank correlation of permutation importances (Breiman 2001), on real test rows",
    **_SHARED,
)
def importance_order(trial: Trial) -> Measurement:
    """Rank correlation of permutation importances of boosted trees trained on real and on synthetic rows."""
    panels = both(trial)
    if len(panels[0].task.groups) < 3:
        raise NotComputable("fewer than three columns have no order to speak of")
    shuffles = [[importances(p, trial.rng(f"panel.importance.{k}")) for p in panels] for k in range(_SHUFFLES)]
    orders = np.array([spearman(np.array(list(r.values())), np.array([m[n] for n in r])) for r, m in shuffles])
    mean = {n: [float(np.mean([s[i][n] for s in shuffles])) for i in (0, 1)] for n in shuffles[0][0]}
    low, high = mean_interval(orders, (-1.0, 1.0))
    return Measurement(value=float(orders.mean()), interval=(low, high), details={"columns": mean})


@metric(
    "utility.calibration",
    title="Calibration",
    span=(0.0, 1.0),
    direction="lower",
    ideal=0.0,
    plain="How far the probabilities of a model that learned from synthetic rows are from how often it is right on "
    "real ones.",
    reference="Expected calibration error, ten bins (Guo et al. 2017, arXiv:1706.04599)",
    **_SHARED,
)
def calibration(trial: Trial) -> Measurement:
    """Expected calibration error of boosted trees trained on the synthetic rows, on real test rows."""
    made = panel_of(trial, trial.synthetic, "synthetic")
    if not made.task.classes:
        raise NotApplicable("the target is numeric")
    truth, predicted = made.task.test_y, made.predicted["boosting"]
    value = calibration_error(truth, predicted)
    interval = resampled(trial, made, value, lambda rows: calibration_error(truth[rows], predicted[rows]), (0.0, 1.0))
    return Measurement(value=value, interval=interval, details={"rows": len(truth)})


def _augmented(trial: Trial, percent: int) -> Measurement:
    if "panel.joint" not in trial.cache:
        trial.cache["panel.joint"] = make_joint(trial)
    real, made = trial.cache["panel.joint"]
    n = max(_FEWEST // 2, len(real.y) * percent // 100)
    rows = trial.rng(f"augmentation.{percent}").permutation(len(real.y))[:n]
    if real.classes and len(np.unique(real.y[rows])) < 2:
        raise NotComputable(f"{percent} % of the real rows have one class only")
    joined = replace(real, x=np.concatenate([real.x[rows], made.x]), y=np.concatenate([real.y[rows], made.y]))
    predicted = [
        predict(fit_model("boosting", t, trial.seed, r), t.test_x, t.classes) for t, r in ((real, rows), (joined, None))
    ]
    alone, helped = (skill(real.test_y, p, real.classes) for p in predicted)

    def again(tested: np.ndarray) -> float:
        before, after = (skill(real.test_y[tested], p[tested], real.classes) for p in predicted)
        return after - before

    panel = Panel({}, {}, real, None)
    return Measurement(
        value=helped - alone,
        interval=resampled(trial, panel, helped - alone, again, (-2.0, 2.0)),
        details={"real_rows": n, "synthetic_rows": len(made.y), "real_alone": alone, "with_synthetic": helped},
    )


def make_joint(trial: Trial) -> tuple[Task, Task]:
    """The tasks of real and synthetic rows in common points."""
    target, rows = _target(trial), trial.limits.panel
    real, made = trial.sample(trial.fit, rows, "joint.real"), trial.sample(trial.synthetic, rows, "joint.made")
    whole = make_task(trial, _joined(real, made), target, len(real) + len(made))
    cut = int((~np.isnan(v) if (v := _labels(real, target)).dtype.kind == "f" else v >= 0).sum())
    return replace(whole, x=whole.x[:cut], y=whole.y[:cut]), replace(whole, x=whole.x[cut:], y=whole.y[cut:])


def _joined(a: Table, b: Table) -> Table:
    numbers = {n: np.concatenate([a.numbers[n], b.numbers[n]]) for n in a.numbers}
    codes = {n: np.concatenate([a.codes[n], b.codes[n]]) for n in a.codes}
    return replace(a, numbers=numbers, codes=codes)


def _augmentation_metric(percent: int) -> None:
    @metric(
        f"utility.augmentation_{percent}",
        title=f"Augmentation of {percent} % of the real rows",
        span=(-2.0, 2.0),
        direction="higher",
        ideal=None,
        plain=f"What a model gains when synthetic rows are added to {percent} % of the real rows it could learn from; "
        "below 0 they do harm.",
        reference="Skill (2 AUC - 1, or R²) of boosted trees on real + synthetic minus on real rows alone",
        **_SHARED,
    )
    def augmentation(trial: Trial) -> Measurement:
        """Skill gained by adding the synthetic rows to a share of the real ones."""
        return _augmented(trial, percent)


for _percent in (1, 10, 100):
    _augmentation_metric(_percent)


@metric(
    "utility.every_column",
    title="Every column as the target",
    modalities=("tabular",),
    span=(-1.0, 2.0),
    direction="lower",
    ideal=0.0,
    ceiling="train",
    cost="high",
    depth="full",
    rows="panel",
    plain="What a decision tree loses when it learns from synthetic rows, whichever column it is to predict.",
    reference="Skill (2 AUC - 1, or R²) on real rows minus on synthetic ones; at most eight columns, drawn by seed",
)
def every_column(trial: Trial) -> Measurement:
    """Mean over columns in turn of the skill learned from real rows minus that learned from synthetic ones."""
    names = list(trial.train.names)
    chosen = np.sort(trial.rng("panel.targets").permutation(len(names))[:_TARGETS])
    each: dict[str, list[float]] = {}
    for name in (names[i] for i in chosen):
        try:
            real = trial.shared.get(f"column.{name}")
            if real is None:
                real = trial.shared[f"column.{name}"] = _skill_of(trial, trial.fit, name)
            each[name] = [real, _skill_of(trial, trial.synthetic, name)]
        except NotComputable:
            continue
    if not each:
        raise NotComputable("no column can be predicted: each is constant, or alone")
    value = float(np.mean([real - made for real, made in each.values()]))
    return Measurement(value=value, details={"columns": each})


def _skill_of(trial: Trial, learn: Table, target: str) -> float:
    task = make_task(trial, learn, target, trial.limits.panel // 2)
    return skill(task.test_y, predict(fit_model("tree", task, trial.seed), task.test_x, task.classes), task.classes)
