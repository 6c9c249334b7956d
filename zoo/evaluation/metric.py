"""The protocol that every metric speaks: what it asks, of which data, in which range, beside which anchors.

A metric is one function in a file per question (``fidelity.py``, ``detection.py``, ``utility.py``,
``privacy.py``)::

    @metric(
        "fidelity.shapes", title="Column shapes", modalities=("tabular",), span=(0.0, 1.0), ideal=1.0, …
    )
    def shapes(trial: Trial) -> Measurement: ...

The harness calls it on the data at hand, and again with other data in the place of the synthetic ones: these
are the *anchors*, without which no score is shown.
"""

import fnmatch
import importlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.errors import ConfigError, ZooError, nearest

if TYPE_CHECKING:
    from zoo.evaluation.kit import Kit

Question = Literal["fidelity", "detection", "diversity", "generalisation", "utility", "privacy", "fairness"]
Direction = Literal["higher", "lower", "ideal"]
Anchor = Literal["real", "naive", "copy"]

# Modules whose import registers metrics; a new question is a new file and a name here.
_MODULES = (
    "fidelity",
    "information",
    "distances",
    "detection",
    "support",
    "utility",
    "panel",
    "fairness",
    "privacy",
    "membership",
    "singling_out",
    "linking",
    "shadow",
    "released",
)
_QUESTIONS = ("fidelity", "detection", "diversity", "generalisation", "utility", "fairness", "privacy")


class NotComputable(ZooError):
    """A metric cannot be computed on these data; the message is the reason that the report states."""


class NotApplicable(ZooError):
    """A metric asks something that these data have no part in (F1 of a numeric target); the report omits
    it.
    """


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seeded subsampling, in rows; stated in the report."""

    detection: int = 20_000
    """Synthetic rows, and as many real ones, in the classifier two-sample test."""
    utility: int = 50_000
    """Rows that a downstream model is trained on, and tested on."""
    neighbours: int = 16_000
    """Synthetic rows whose nearest real rows are searched."""
    references: int = 16_000
    """Rows of train, and as many of the holdout, that they are searched among."""
    contingency: int = 50_000
    """Rows of each table in contingency tables, as in the published definition."""
    attacked: int = 4_000
    """People of train, and as many strangers, whom an attack is tried on."""
    attack_reference: int = 4_000
    """Records of the population that the attacker knows."""
    attack_synthetic: int = 50_000
    """Synthetic rows that the attacker has, and training rows among which near copies are searched."""
    guesses: int = 1_000
    """Guesses of the attack that singles out; half as many people are linked and inferred."""
    guess_rows: int = 16_000
    """Synthetic rows that links and inferences go through."""
    pairs: int = 2_000
    """Rows of each side in distances of all pairs."""
    panel: int = 2_500
    """Rows that each model of the panel learns from, and twice as many that it is tested on."""
    rows: int = 200_000
    """Rows of each part that are read at all."""
    shadows: int = 16
    """Generators that are fitted anew for the shadow-model attack, an even number."""
    shadow_rows: int = 1_000
    """Rows that each of them learns from."""
    audits: int = 80
    """Generators that are fitted anew, with and without the canary, for the lower bound of epsilon."""


QUICK = Limits(
    detection=3_000,
    utility=5_000,
    neighbours=2_000,
    attacked=1_000,
    attack_reference=2_000,
    attack_synthetic=10_000,
    guesses=300,
    guess_rows=3_000,
    pairs=1_000,
    panel=1_000,
    rows=50_000,
    shadows=8,
    shadow_rows=300,
    audits=32,
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a metric returns: a finite value, an interval of it where one is known in closed form, and
    details.
    """

    value: float
    interval: tuple[float, float] | None = None
    """95 % interval of the sampling error of the rows that were compared."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Trial:
    """One comparison: the data in the form of their kit, and what a metric may use besides.

    ``train`` are the rows a generator learned from and ``synthetic`` what stands in the generator's place
    (its samples, or those of an anchor). ``holdout`` are real rows that no generator saw, or None. ``fit``
    and ``test`` are what a real-trained downstream model learns from and is tested on: train and holdout, or
    two disjoint parts of train when there is no holdout.
    """

    kit: "Kit"
    train: Any
    synthetic: Any
    holdout: Any | None
    fit: Any
    test: Any
    target: str | None = None
    no_holdout: str = "there is no holdout; pass holdout= with real rows that the generator has not seen"
    """Why ``holdout`` is None, where it is."""
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    cache: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    """What is the same for the synthetic data and all anchors: models trained on the real rows."""
    role: str = "synthetic"
    """What stands in the synthetic part: the synthetic data themselves, or the anchor ``real``, ``naive``, ``copy``."""
    native: Mapping[str, Any] = field(default_factory=dict)
    """The parts as the caller gave them, for a generator that is fitted anew."""
    generator: Any = None
    """The fitted generator whose family a shadow attack refits, or None."""
    quasi_identifiers: tuple[str, ...] = ()
    """Columns by which a person in a released table may be recognised."""
    sensitive: tuple[str, ...] = ()
    """Columns that tell something sensitive, and by whose values fairness is judged."""

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of random numbers of its own for each purpose, so that metrics do not disturb each
        other.
        """
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def sample(self, data: Any, rows: int, purpose: str) -> Any:
        """At most ``rows`` samples of ``data``, drawn without replacement."""
        n = self.kit.length(data)
        if n <= rows:
            return data
        return self.kit.take(data, np.sort(self.rng(purpose).choice(n, size=rows, replace=False)))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A declared metric.

    Parameters
    ----------
    name
        ``question.what``, the key in reports.
    modalities
        Modalities that it is defined for.
    span
        Closed range of its values; None is open.
    direction
        Whether ``higher`` or ``lower`` is better, or nearer to ``ideal`` from both sides.
    ideal
        The value of a perfect generator.
    needs
        ``holdout`` and ``target`` where it cannot do without.
    ceiling
        Which real rows take the synthetic part in the anchor *real against real*: the ``holdout`` (compared
        with train), ``train`` (compared with the holdout, or as training data), or ``fresh`` rows (half of
        the holdout, the other half standing for the holdout). Without a holdout two halves of train are
        compared.
    anchors
        Those that are computed.
    rows
        The field of :class:`Limits` that bounds the rows it looks at, for the interval by repeats.
    floor
        The anchor at which the normalised score is 0: ``naive``, or ``copy`` where a copy is the worst.
    depth
        ``standard``: in every report; ``full``: only in full ones, or when asked for by name.
    plain
        One sentence of what the number says, for readers who are no statisticians.
    reference
        Where it is defined.
    cost
        ``low`` (below a second on 30,000 rows), ``medium``, ``high`` (models are trained).
    """

    name: str
    title: str
    modalities: tuple[str, ...]
    span: tuple[float | None, float | None]
    direction: Direction
    ideal: float | None
    plain: str
    reference: str
    compute: Callable[[Trial], Measurement]
    needs: frozenset[str] = frozenset()
    ceiling: Literal["holdout", "train", "fresh"] = "holdout"
    anchors: tuple[Anchor, ...] = ("real", "naive", "copy")
    rows: str | None = None
    floor: Literal["naive", "copy"] = "naive"
    depth: Literal["standard", "full"] = "standard"
    cost: Literal["low", "medium", "high"] = "low"

    @property
    def question(self) -> str:
        return self.name.partition(".")[0]


_METRICS: dict[str, Metric] = {}


def metric(name: str, **declaration: Any) -> Callable[[Callable[[Trial], Measurement]], Callable]:
    """Register a function as the metric ``name``; see :class:`Metric` for the declaration."""

    def register(compute: Callable[[Trial], Measurement]) -> Callable[[Trial], Measurement]:
        declaration["needs"] = frozenset(declaration.get("needs", ()))
        _METRICS[name] = Metric(name=name, compute=compute, **declaration)
        return compute

    return register


def all_metrics() -> dict[str, Metric]:
    """All metrics by name, in the order of questions."""
    for module in _MODULES:
        importlib.import_module(f"zoo.evaluation.{module}")
    order = {q: i for i, q in enumerate(_QUESTIONS)}
    return dict(sorted(_METRICS.items(), key=lambda item: order.get(item[1].question, len(order))))


def select(modality: str, patterns: Iterable[str] | str | None = None, *, full: bool = False) -> list[Metric]:
    """Metrics of a modality: the standard ones, with ``full`` all, or those that match one of the patterns.

    A name finds its metric at any depth; a pattern such as ``"privacy.*"`` those of the depth.

    Raises
    ------
    ConfigError
        If a pattern matches no metric of the modality.
    """
    known = {name: m for name, m in all_metrics().items() if modality in m.modalities}
    usual = {name: m for name, m in known.items() if full or m.depth == "standard"}
    if patterns is None:
        return list(usual.values())
    wanted: set[str] = set()
    from zoo.evaluation.report import ALIASES

    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        pattern = ALIASES.get(pattern, pattern)
        hits = [pattern] if pattern in known else fnmatch.filter(usual, pattern) or fnmatch.filter(known, pattern)
        if not hits:
            raise ConfigError(f"no metric {pattern!r} for modality {modality!r}; {nearest(pattern, known)}")
        wanted.update(hits)
    return [m for name, m in known.items() if name in wanted]
