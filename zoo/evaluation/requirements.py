"""Requirements for a pipeline: ``privacy.membership_auc<=0.55`` and what became of them; and reports side by side."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.errors import OptionError, nearest
from zoo.evaluation.report import ALIASES, Report, Score, format_number

_FORM = re.compile(r"\s*([a-z_]+\.[a-z0-9_.]+?)(\.normalised|\.low|\.high)?\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """``name`` of a score, which ``part`` of it (value, normalised, low or high end of the interval), and the limit."""

    name: str
    part: str
    sign: str
    limit: float

    def __str__(self) -> str:
        part = "" if self.part == "value" else f".{self.part}"
        return f"{self.name}{part}{self.sign}{self.limit:g}"

    def found(self, score: Score) -> float | None:
        if self.part in ("low", "high"):
            return None if score.interval is None else score.interval[self.part == "high"]
        return score.normalised if self.part == "normalised" else score.value

    def meets(self, value: float) -> bool:
        if self.sign.startswith("<"):
            return value <= self.limit if self.sign == "<=" else value < self.limit
        return value >= self.limit if self.sign == ">=" else value > self.limit


def parse_requirement(text: str) -> Requirement:
    """Read ``name<=number``; after the name ``.low``, ``.high`` or ``.normalised`` asks another part of the score.

    Raises
    ------
    OptionError
        Of anything else, or a score that does not exist.
    """
    from zoo.evaluation.metric import all_metrics

    match = _FORM.fullmatch(text)
    if match is None:
        raise OptionError(
            f"--require {text!r} must be a score, <=, >=, < or >, and a number: privacy.membership_auc<=0.55"
        )
    name, part, sign, number = match.groups()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise OptionError(f"--require {text!r}: {number!r} is no number")
    name = ALIASES.get(name, name)
    known = all_metrics()
    if name not in known:
        raise OptionError(f"--require {text!r}: no score {name!r}; {nearest(name, known)}")
    return Requirement(name, (part or ".value")[1:], sign, limit)


def failures(report: Report, requirements: Sequence[Requirement]) -> list[str]:
    """One sentence for each requirement that is not met; what cannot be computed is not met."""
    out = []
    for one in requirements:
        score = report.get(one.name)
        value = None if score is None else one.found(score)
        if score is None:
            out.append(f"{one}: not measured (another modality, or something it needs was not given)")
        elif value is None:
            out.append(f"{one}: not computable because {score.reason or 'there is no ' + one.part}")
        elif not one.meets(value):
            out.append(f"{one}: it is {value:.4g}")
    return out


def compare(reports: Mapping[str, Report]) -> str:
    """Several reports of the same real data as one Markdown table: values, intervals, and the anchors of the first.

    The best value of a row is in bold, where the metric has a direction and the values differ.
    """
    names = list(dict.fromkeys(n for r in reports.values() for n in r.names))
    first = next(iter(reports.values()))
    lines = [
        "| score | " + " | ".join(reports) + f" | real against real | {first.naive} | copy | best |",
        "| --- |" + " ---: |" * (len(reports) + 3) + " --- |",
    ]
    for name in names:
        scores = [r.get(name) for r in reports.values()]
        known = next(s for s in scores if s is not None)
        best = _best_of(scores, known)
        cells = ["–" if s is None or s.value is None else format_number(s.value) for s in scores]
        cells = [f"**{c}**" if i in best else c for i, c in enumerate(cells)]
        cells = [c + _between(s) for c, s in zip(cells, scores, strict=True)]
        beside = [format_number(known.anchors.get(a)) for a in ("real", "naive", "copy")]
        lines.append(f"| `{name}` | " + " | ".join([*cells, *beside, known.best]) + " |")
    return "\n".join(lines) + "\n"


def _between(score: Score | None) -> str:
    """The interval, in brackets, where there is one."""
    if score is None or score.value is None or score.interval is None:
        return ""
    return f" ({' to '.join(format_number(v) for v in score.interval)})"


def _best_of(scores: Sequence[Score | None], known: Score) -> set[int]:
    values = {i: s.value for i, s in enumerate(scores) if s is not None and s.value is not None}
    if len(values) < 2 or len(set(values.values())) == 1:
        return set()
    far = {i: known.badness(v) for i, v in values.items()}
    least = min(far.values())
    return {i for i, v in far.items() if v == least}
