"""Run metrics and their anchors over the data of one comparison."""

import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

import zoo
from zoo.data.form import native_form
from zoo.errors import ConfigError, DataError, nearest
from zoo.evaluation.kit import Kit, make_kit, modality_of
from zoo.evaluation.metric import (
    QUICK,
    Anchor,
    Limits,
    Measurement,
    Metric,
    NotApplicable,
    NotComputable,
    Trial,
    select,
)
from zoo.evaluation.report import Report, Score
from zoo.evaluation.table import role_of
from zoo.schema import Schema

Progress = Callable[[str, int, int], None]
Depth = Literal["quick", "standard", "full"]
_DEPTHS = ("quick", "standard", "full")
_REPEATS, _FEWEST = 5, 10
_STUDENT = 2.776  # 97.5 % quantile of Student's distribution with 4 degrees of freedom
_FREE_OVERLAP = 0.02  # of the holdout, shared with train, before it is none
_TEST_SHARE = 0.3  # of train, kept for testing downstream models when there is no holdout


def run(
    train: Any,
    synthetic: Any,
    holdout: Any = None,
    target: str | None = None,
    *,
    schema: Schema | None = None,
    seed: int = 0,
    depth: Depth = "standard",
    metrics: Iterable[str] | str | None = None,
    generator: Any = None,
    quasi_identifiers: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """See :func:`zoo.evaluation.evaluate`."""
    started = time.perf_counter()
    if depth not in _DEPTHS:
        raise ConfigError(f"depth={depth!r} is not known; {nearest(str(depth), _DEPTHS)}")
    quick = depth == "quick"
    modality = modality_of(train, schema)
    kit = make_kit(modality, schema)
    chosen = select(modality, metrics, full=depth == "full")
    limits = QUICK if quick else Limits()
    parts = {"train": train, "synthetic": synthetic} | ({} if holdout is None else {"holdout": holdout})
    parts, thinned = _thinned(parts, modality, limits.rows, seed)
    data = kit.prepare(parts, target)
    target = target if target is not None else kit.default_target()
    overlap = _overlap(kit, data)
    if overlap:
        del data["holdout"], parts["holdout"]
    notes = (*((f"{overlap}; the scores are those without a holdout.",) if overlap else ()), *thinned)
    base = _base_trial(kit, data, target, seed, limits)
    base.no_holdout = overlap or base.no_holdout
    base.native, base.generator = parts, generator
    base.quasi_identifiers = _columns(kit, quasi_identifiers, "quasi_identifiers")
    base.sensitive = _columns(kit, sensitive, "sensitive") or _declared_sensitive(kit)
    anchors = _Anchors(base)
    scores = []
    # Threads of a BLAS wait for each other in the many small problems here; large searches have threads of ours.
    with _shown(progress, len(chosen)) as tell, threadpool_limits(1, user_api="blas"):
        for i, metric in enumerate(chosen):
            tell(metric.name, i, len(chosen))
            score = _measure(metric, base, anchors)
            if score is not None:
                scores.append(score)
        tell("report", len(chosen), len(chosen))
        private = kit.schema.private if kit.schema is not None else False
        views = _overlay(base, private) | kit.views(
            data["train"], data["synthetic"], private=private, rng=base.rng("views")
        )
    rows = {name: kit.length(part) for name, part in data.items()}
    return Report(
        scores=tuple(scores),
        modality=modality,
        target=target,
        rows=rows,
        seed=seed,
        quick=quick,
        private=private,
        naive=kit.naive,
        subsampling=_subsampling(base.limits),
        versions=_versions(),
        notes=notes,
        seconds=round(time.perf_counter() - started, 2),
        views=views,
    )


def _thinned(parts: dict[str, Any], modality: str, most: int, seed: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """At most so many samples of each part, drawn by seed before anything is encoded; and what that costs, in words."""
    out, said = dict(parts), []
    for k, (part, data) in enumerate(parts.items()):
        if not hasattr(data, "__len__") or len(data) <= most:
            continue
        rows = np.sort(np.random.default_rng([seed, 8, k]).choice(len(data), most, replace=False))
        out[part] = native_form(modality).take(data, rows)
        said.append(f"{most:,} of {len(data):,} {part} samples")
    if not said:
        return out, ()
    error = 0.5 / np.sqrt(most)
    return out, (
        f"Read were {', '.join(said)}, drawn by seed {seed}: by that a share has a standard error of at most "
        f"{error:.4f}, and a few people of whom all rows speak may not be among them.",
    )


def _columns(kit: Kit, names: Sequence[str], argument: str) -> tuple[str, ...]:
    """Names of columns that can be compared, checked."""
    known = [] if kit.schema is None else [c.name for c in kit.schema if role_of(c) is not None]
    for name in (names,) if isinstance(names, str) else names:
        if name not in known:
            raise DataError(f"{argument}: {name!r} is no column that can be compared; {nearest(name, known)}")
    return (names,) if isinstance(names, str) else tuple(names)


def _declared_sensitive(kit: Kit) -> tuple[str, ...]:
    return () if kit.schema is None else tuple(c.name for c in kit.schema if c.sensitive and role_of(c) is not None)


def _overlap(kit: Any, data: dict[str, Any]) -> str:
    """Why a holdout that shares samples with train is none; nothing where there are no more than chance has.

    With people of train among the strangers, copies would be as near to strangers as to train, and no attack would
    show. Chance is judged by how often training samples have a twin among themselves: in a table of few categories,
    many do.

    Raises
    ------
    DataError
        If the holdout is the training data.
    """
    if "holdout" not in data:
        return ""
    train, holdout = kit.fingerprints(data["train"], data["holdout"])
    if len(np.unique(train)) > 1 and np.array_equal(np.sort(train), np.sort(holdout)):
        raise DataError("holdout has exactly the samples of train; give samples that the generator has not seen")
    _, place, counts = np.unique(train, return_inverse=True, return_counts=True)
    usual = float((counts[place] > 1).mean())
    shared = float(np.isin(holdout, train).mean())
    if shared <= 2 * usual + _FREE_OVERLAP:
        return ""
    return (
        f"{shared:.1%} of the holdout samples are also training samples, so it was left aside; give samples that the "
        "generator has not seen"
    )


def _base_trial(kit: Any, data: dict[str, Any], target: str | None, seed: int, limits: Limits) -> Trial:
    train, holdout = data["train"], data.get("holdout")
    fit, test = train, holdout
    if holdout is None:
        order = np.random.default_rng([seed, 7]).permutation(kit.length(train))
        cut = max(1, int(len(order) * _TEST_SHARE)) if len(order) > 1 else 0
        fit, test = kit.take(train, order[cut:]), kit.take(train, order[:cut] if cut else order)
    return Trial(
        kit=kit,
        train=train,
        synthetic=data["synthetic"],
        holdout=holdout,
        fit=fit,
        test=test,
        target=target,
        seed=seed,
        limits=limits,
    )


class _Anchors:
    """The trials of the anchors, made once, so that metrics of one question share fitted models."""

    def __init__(self, base: Trial) -> None:
        self.base = base
        self.made: dict[str, Trial] = {}
        self.repeats = _Repeats(base)
        self.usual = {k: getattr(base, k) for k in ("train", "holdout", "fit", "test")}

    def trial(self, anchor: Anchor, metric: Metric) -> Trial:
        role: str = anchor
        if anchor == "real":
            role = f"real:{'fit' if metric.question == 'utility' else metric.ceiling}"
        if role not in self.made:
            parts = self._parts(role)
            same = (
                t for t in self.made.values() if all(getattr(t, k) is v for k, v in {**self.usual, **parts}.items())
            )
            self.made[role] = next(same, None) or replace(self.base, cache={}, role=anchor, **parts)
        return self.made[role]

    def _parts(self, role: str) -> dict[str, Any]:
        base = self.base
        kit = base.kit
        if role == "naive":
            n = kit.length(base.synthetic)
            return {"synthetic": kit.independent(base.train, n, base.rng("naive"))}
        if role == "copy":
            return {"synthetic": base.sample(base.train, kit.length(base.synthetic), "copy")}
        if role == "real:fit":
            return {"synthetic": base.fit}
        if base.holdout is None:
            first, second = _halves(base, base.train, "train")
            return {"train": first, "synthetic": second}
        if role == "real:train":
            return {"synthetic": base.train}
        if role == "real:fresh":
            first, second = _halves(base, base.holdout, "holdout")
            return {"synthetic": first, "holdout": second}
        return {"synthetic": base.holdout}


def _halves(base: Trial, data: Any, name: str) -> tuple[Any, Any]:
    n = base.kit.length(data)
    if n < 2:
        raise NotComputable(f"{name} has one row only, which cannot be halved")
    order = base.rng("halves").permutation(n)
    return base.kit.take(data, np.sort(order[: n // 2])), base.kit.take(data, np.sort(order[n // 2 :]))


def _measure(metric: Metric, base: Trial, anchors: _Anchors) -> Score | None:
    """One score with its anchors; None where the metric does not apply."""
    common: dict[str, Any] = {
        "name": metric.name,
        "title": metric.title,
        "question": metric.question,
        "span": metric.span,
        "direction": metric.direction,
        "ideal": metric.ideal,
        "plain": metric.plain,
        "reference": metric.reference,
        "floor": metric.floor,
        "modalities": metric.modalities,
        "needs": tuple(sorted(metric.needs)),
        "cost": metric.cost,
    }
    try:
        found = _compute(metric, base)
    except NotApplicable:
        return None
    except NotComputable as reason:
        return Score(**common, value=None, reason=str(reason))
    beside: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for anchor in metric.anchors:
        try:
            beside[anchor] = _compute(metric, anchors.trial(anchor, metric)).value
        except (NotComputable, NotApplicable) as reason:
            beside[anchor], reasons[anchor] = None, str(reason)
    details = {**found.details, "anchors_not_computable": reasons} if reasons else found.details
    interval = found.interval
    if interval is None and metric.anchors:
        interval, method = anchors.repeats.interval(metric, found.value)
        details = {**details, "interval": method}
    return Score(**common, value=found.value, interval=interval, anchors=beside, details=details)


def _compute(metric: Metric, trial: Trial) -> Measurement:
    """A metric of a trial, once: anchors of several metrics may be the same trial."""
    key = f"measured {metric.name}"
    if key not in trial.cache:
        trial.cache[key] = metric.compute(trial)
    return trial.cache[key]


class _Repeats:
    """Intervals by repeats, where a metric knows none of its own: its values on disjoint fifths of all parts.

    The fifths are independent data of the same kind, so the standard error of the value on all rows is their spread by
    the root of 5; where a metric looks at so many rows at most that a fifth has no fewer, the spread itself.
    """

    def __init__(self, base: Trial) -> None:
        self.base = base
        self.trials: list[Trial] | None = None

    def interval(self, metric: Metric, value: float) -> tuple[tuple[float, float] | None, str]:
        """95 % interval round the value, within the metric's span, and how it was made."""
        kit, base = self.base.kit, self.base
        rows = min(kit.length(base.train), kit.length(base.synthetic))
        if rows < _REPEATS * _FEWEST:
            return None, f"not computable because there are fewer than {_REPEATS * _FEWEST} rows"
        try:
            values = np.array([_compute(metric, trial).value for trial in self._fifths()])
        except (NotComputable, NotApplicable) as reason:
            return None, f"not computable because a fifth of the rows is too few ({reason})"
        most = rows if metric.rows is None else int(getattr(base.limits, metric.rows))
        spread = float(values.std(ddof=1)) * np.sqrt(min(rows // _REPEATS, most) / min(rows, most))
        low, high = (float(value + sign * _STUDENT * spread) for sign in (-1, 1))
        floor, roof = metric.span
        inside = (low if floor is None else max(low, floor), high if roof is None else min(high, roof))
        return inside, f"95 %, by the spread over {_REPEATS} disjoint parts of the rows"

    def _fifths(self) -> list[Trial]:
        if self.trials is None:
            self.trials = [replace(self.base, cache={}, shared={}) for _ in range(_REPEATS)]
            for part in ("train", "synthetic", "holdout", "fit", "test"):
                data = getattr(self.base, part)
                if data is None:
                    continue
                order = self.base.rng(f"repeats.{part}").permutation(self.base.kit.length(data))
                for k, trial in enumerate(self.trials):
                    setattr(trial, part, self.base.kit.take(data, np.sort(order[k::_REPEATS])))
        return self.trials


_DOTS = 300


def _overlay(trial: Trial, private: bool) -> dict[str, Any]:
    """A few real and synthetic samples in the two main directions of the real ones; none of private data."""
    kit = trial.kit
    if private or kit.modality == "text" or min(kit.length(trial.train), kit.length(trial.synthetic)) < 20:
        return {}
    parts = [trial.sample(d, _DOTS, f"overlay.{i}") for i, d in enumerate((trial.train, trial.synthetic))]
    a, b = (p.astype(np.float64) for p in kit.points(trial.train, *parts))
    if a.shape[1] < 2:
        return {}
    centre = a.mean(axis=0)
    _, _, axes = np.linalg.svd(a - centre, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]  # one sign, not chance
    dots = [np.round((p - centre) @ axes.T, 4).tolist() for p in (a, b)]
    return {"overlay": {"real": dots[0], "synthetic": dots[1]}}


def _subsampling(limits: Limits) -> dict[str, int]:
    return {
        "detection_rows": limits.detection,
        "utility_rows": limits.utility,
        "neighbour_rows": limits.neighbours,
        "reference_rows": limits.references,
        "contingency_rows": limits.contingency,
        "attacked_people": limits.attacked,
        "attackers_reference_rows": limits.attack_reference,
        "attackers_synthetic_rows": limits.attack_synthetic,
        "rows": limits.rows,
        "pair_rows": limits.pairs,
        "panel_rows": limits.panel,
        "guesses": limits.guesses,
        "guess_rows": limits.guess_rows,
        "shadow_generators": limits.shadows,
        "shadow_rows": limits.shadow_rows,
        "audited_generators": limits.audits,
    }


def _versions() -> dict[str, str]:
    packages = ("numpy", "pandas", "scikit-learn", "scipy")
    return {"zoo": zoo.__version__, "python": platform.python_version(), **{p: version(p) for p in packages}}


@contextmanager
def _shown(progress: Progress | None, total: int) -> Iterator[Progress]:
    """The caller's callback, or a progress bar when standard error is a terminal, or nothing."""
    if progress is not None:
        yield progress
        return
    if not sys.stderr.isatty():
        yield lambda name, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("evaluate"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda name, done, of: bar.update(task, description=name, completed=done)
