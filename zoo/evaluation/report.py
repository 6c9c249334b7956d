"""The report: plain frozen data that is written as JSON, Markdown, a table or one HTML page."""

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from zoo.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from zoo.evaluation.verdict import Verdict

SCHEMA_VERSION = 2
_PARTS = ("train", "synthetic", "holdout")
_ADDED = frozenset({"floor", "modalities", "needs", "cost"})  # fields of a score that reports of form 1 lack
# Other names by which a score is known; a report has each once.
ALIASES = {"fidelity.c2st_auc": "detection.c2st_auc"}
ANCHOR_NAMES = {"real": "real against real", "naive": "naive", "copy": "training rows returned"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score with what is needed to read it.

    ``value`` is None where the score is not computable, and ``reason`` says why. ``anchors`` holds the same
    measure of real data (``real``), of the naive generator (``naive``) and, for privacy, of training rows
    that are returned (``copy``).
    """

    name: str
    title: str
    question: str
    span: tuple[float | None, float | None]
    direction: str
    ideal: float | None
    plain: str
    reference: str
    value: float | None
    reason: str | None = None
    interval: tuple[float, float] | None = None
    anchors: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    floor: str = "naive"
    """The anchor at which the normalised score is 0."""
    modalities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    cost: str = "low"

    def __post_init__(self) -> None:
        if (self.value is None) != (self.reason is not None):
            raise DataError(f"score {self.name!r} needs either a value or a reason why there is none")
        if self.value is not None and not math.isfinite(self.value):
            raise DataError(f"score {self.name!r} is {self.value}; give a finite value, or None and a reason")

    @property
    def best(self) -> str:
        """What the best value is, in a word or two."""
        if self.direction == "higher":
            return "higher"
        if self.direction == "lower":
            return f"lower, down to {self.ideal:g}" if self.ideal else "lower"
        return f"near {self.ideal:g}"

    @property
    def normalised(self) -> float | None:
        """Where the value stands between a bad generator (0) and real data (1).

        The bad one is the naive generator, or in privacy the one that returns training rows. None where real data are
        no better, as in single columns, which the naive generator copies.
        """
        found = self.value, self.anchors.get("real"), self.anchors.get(self.floor)
        if any(v is None for v in found):
            return None
        value, real, floor = (self.badness(v) for v in found if v is not None)
        return None if floor - real < 1e-3 else (floor - value) / (floor - real)

    def badness(self, value: float) -> float:
        """What is smaller for better values.

        From an ideal it is the distance, to either side: a classifier that is wrong more often than chance has learned
        the real rows whose copies it is shown, which is no merit.
        """
        if self.ideal is not None and self.direction != "higher":
            return abs(value - self.ideal)
        return value if self.direction == "lower" else -value


def format_number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Scores of one comparison of real and synthetic data, and how they were made.

    ``report["fidelity.shapes"]`` is a :class:`Score`. ``views`` is plain data for the pictures of the page;
    it holds real samples only where the data are not private.
    """

    scores: tuple[Score, ...]
    modality: str
    target: str | None
    rows: Mapping[str, int]
    seed: int
    quick: bool
    private: bool
    naive: str
    subsampling: Mapping[str, int]
    versions: Mapping[str, str]
    seconds: float
    notes: tuple[str, ...] = ()
    """What a reader has to know before the scores: a holdout that shares samples with train, for instance."""
    views: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        score = self.get(name)
        if score is not None:
            return score
        raise KeyError(f"the report has no score {name!r}; {nearest(name, self.names)}")

    def __contains__(self, name: object) -> bool:
        return ALIASES.get(str(name), name) in self.names

    def get(self, name: str) -> Score | None:
        """The score of this name, or None."""
        name = ALIASES.get(name, name)
        return next((s for s in self.scores if s.name == name), None)

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.scores]

    @property
    def values(self) -> dict[str, float | None]:
        """Values by name, as ``metrics.json`` of an artifact holds them."""
        return {s.name: s.value for s in self.scores}

    def headline(self, k: int = 3) -> list[tuple[str, str]]:
        """The ``k`` scores that say most, as (title, sentence) pairs; one of each question first."""
        order = (
            "utility.tstr_auc",
            "utility.tstr_r2",
            "detection.c2st_auc",
            "privacy.closer_to_train",
            "fidelity.trends",
            "fidelity.shapes",
            "utility.tstr_accuracy",
            "privacy.verbatim",
        )
        computed = {s.name: s for s in self.scores if s.value is not None}
        picked = [computed.pop(name) for name in order if name in computed]
        return [(s.title, sentence(s, self.naive)) for s in [*picked, *computed.values()][:k]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``schema_version`` says in which form."""
        body = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        body["scores"] = [{**dataclasses.asdict(s), "normalised": s.normalised} for s in self.scores]
        return {"schema_version": SCHEMA_VERSION, **body, "verdict": dataclasses.asdict(self.verdict())}

    def verdict(self) -> "Verdict":
        """What the scores say in plain words: usable for this, not for that, privacy risk so high, because of these."""
        from zoo.evaluation.verdict import verdict

        return verdict(self)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text, also written to ``path`` when given."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        if path is not None:
            _write(path, text)
        return text

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; of the ``metrics.json`` of an artifact too, which has no samples and timings.

        Raises
        ------
        DataError
            For a newer form, or anything that is no report.
        """
        found = data.get("schema_version") if isinstance(data, Mapping) else None
        if not isinstance(found, int):
            raise DataError("this is no report: it has no schema_version")
        if found > SCHEMA_VERSION:
            raise DataError(f"the report has form {found}, this zoo reads up to {SCHEMA_VERSION}; update the zoo")
        try:
            scores = tuple(_score(s) for s in data["scores"])
            data = {"seconds": 0.0, "views": {}, **data}
            data["rows"] = {k: data["rows"][k] for k in (*_PARTS, *data["rows"]) if k in data["rows"]}  # JSON may sort
            values = {f.name: data[f.name] for f in dataclasses.fields(cls) if f.name not in ("scores", "notes")}
            return cls(scores=scores, notes=tuple(data.get("notes", ())), **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the report is malformed: {error!r}") from error

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> Self:
        """Read a report from JSON text or from a file."""
        is_text = isinstance(source, str) and source.lstrip().startswith("{")
        try:
            text = str(source) if is_text else Path(source).read_text(encoding="utf-8")
            return cls.from_dict(json.loads(text))
        except OSError as error:
            raise DataError(f"cannot read the report {str(source)!r}: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise DataError(f"the report is no JSON: {error}") from error

    def to_pandas(self) -> "pd.DataFrame":
        """One row a score: question, value, interval, anchors, normalised, direction, needs, cost, reason."""
        import pandas as pd

        rows = [
            {
                "name": s.name,
                "question": s.question,
                "value": s.value,
                "low": s.interval[0] if s.interval else None,
                "high": s.interval[1] if s.interval else None,
                "real": s.anchors.get("real"),
                "naive": s.anchors.get("naive"),
                "copy": s.anchors.get("copy"),
                "normalised": s.normalised,
                "direction": s.direction,
                "ideal": s.ideal,
                "needs": ", ".join(s.needs),
                "cost": s.cost,
                "reason": s.reason,
            }
            for s in self.scores
        ]
        return pd.DataFrame(rows).set_index("name")

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """A table of the scores beside their anchors, as model cards embed it; also written to ``path`` when given."""
        lines = [
            f"| score | value | 95 % interval | real against real | {self.naive} | copy | best |",
            "| --- | ---: | :---: | ---: | ---: | ---: | --- |",
        ]
        for s in self.scores:
            if s.value is None:
                lines.append(f"| {s.title} (`{s.name}`) | not computable: {s.reason} | – | – | – | – | {s.best} |")
                continue
            beside = [format_number(s.anchors.get(a)) for a in ("real", "naive", "copy")]
            between = "–" if s.interval is None else " to ".join(format_number(v) for v in s.interval)
            cells = [f"{s.title} (`{s.name}`)", format_number(s.value), between, *beside, s.best]
            lines.append("| " + " | ".join(cells) + " |")
        rows = ", ".join(f"{n:,} {name}" for name, n in self.rows.items())
        lines += ["", f"Rows: {rows}; seed {self.seed}{'; quick mode' if self.quick else ''}."]
        text = "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"
        if path is not None:
            _write(path, text)
        return text

    def to_tensorboard(self, folder: str | os.PathLike[str], step: int = 0) -> None:
        """Write the values as scalars ``question/what`` that TensorBoard shows, at a step of training."""
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(folder)) as writer:
            for score in self.scores:
                if score.value is not None:
                    writer.add_scalar(score.name.replace(".", "/", 1), score.value, step)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one self-contained page, also written to ``path`` when given."""
        from zoo.evaluation.page import render

        text = render(self)
        if path is not None:
            _write(path, text)
        return text

    def __repr__(self) -> str:
        width = max((len(s.name) for s in self.scores), default=0)
        lines = [f"Report({self.modality}, {', '.join(f'{n:,} {p}' for p, n in self.rows.items())})"]
        for s in self.scores:
            if s.value is None:
                lines.append(f"  {s.name:<{width}}  not computable: {s.reason}")
            else:
                beside = ", ".join(f"{a} {format_number(v)}" for a, v in s.anchors.items())
                between = "" if s.interval is None else " to ".join(format_number(v) for v in s.interval)
                placed = "" if s.normalised is None else f"; normalised {s.normalised:.2f}"
                number = f"{format_number(s.value):>8}  {between:<17}"
                lines.append(f"  {s.name:<{width}}  {number}  ({beside}{placed})")
        lines += [f"Note: {note}" for note in self.notes]
        found = self.verdict()
        lines.append(f"Privacy risk {found.risk}: {'; '.join(found.because)}")
        return "\n".join(lines)


def sentence(score: Score, naive: str) -> str:
    """The score in one line beside its anchors."""
    parts = []
    if score.anchors.get("real") is not None:
        parts.append(f"real data {format_number(score.anchors['real'])}")
    if score.anchors.get("naive") is not None:
        parts.append(f"{naive} {format_number(score.anchors['naive'])}")
    return f"{format_number(score.value)}" + (f" ({', '.join(parts)})" if parts else "")


def _score(data: Mapping[str, Any]) -> Score:
    values = {f.name: data[f.name] for f in dataclasses.fields(Score) if f.name in data or f.name not in _ADDED}
    values["span"] = tuple(values["span"])
    for name in ("modalities", "needs"):
        if name in values:
            values[name] = tuple(values[name])
    values["interval"] = None if values["interval"] is None else tuple(values["interval"])
    return Score(**values)


def _write(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file at once, so that a broken write leaves the old one."""
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise DataError(f"cannot write {str(path)!r}: {error.strerror}; choose a writable folder") from error
