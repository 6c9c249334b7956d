"""The verdict in plain words: usable for this, not for that, privacy risk so high, because of these numbers.

It is drawn from the report's scores by fixed rules, stated here and in the documentation; it claims no more than they.

Privacy risk is *high* when an attack succeeds clearly and by much, *moderate* when it succeeds clearly but by little,
*low* when no attack that was tried does better than its control, *unknown* when none could be tried. Clearly: guessing
would do as well at most once in a thousand times. By much: an area under the curve above 0.6, five times as many people
named as by guessing at 1 or 0.1 % false alarms, an excess risk above 0.1, or one copy in a hundred above what strangers
have in common.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.evaluation.report import Report, Score

CLEAR = 1e-3  # chance of guessing as well
GOOD, FAIR = 0.9, 0.6  # of the way from the naive generator to real data
_RISKS = ("unknown", "low", "moderate", "high")
_EXCESS = {
    "privacy.singling_out_univariate": "isolates people by rare values",
    "privacy.singling_out_multivariate": "isolates people by combinations of attributes",
    "privacy.linkability": "links two sources on the same person",
    "privacy.attribute_inference": "reveals an attribute of people who are otherwise known",
}
# Looks at one column at a time, so independent columns that repeat the real values reach all that it can reach: what is
# no more than that is no sign that a generator knows people, only that exact values were repeated.
_BY_VALUES = "privacy.singling_out_univariate"


@dataclass(frozen=True)
class Verdict:
    """``risk`` is unknown, low, moderate or high; the rest are short phrases, ``because`` with their numbers."""

    usable: tuple[str, ...]
    unfit: tuple[str, ...]
    risk: str
    because: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What one attack says: the level of risk, and the sentence."""

    level: int
    text: str


def verdict(report: "Report") -> Verdict:
    """The verdict on a report."""
    evidence = sorted(_evidence(report), key=lambda e: -e.level)
    level = evidence[0].level if evidence else 0
    said = [e.text for e in evidence if e.level == level][:3] or ["no attack could be tried: " + _lacking(report)]
    usable: list[str] = []
    unfit: list[str] = []
    for phrase, names in _USES:
        score = next((s for n in names if (s := report.get(n)) is not None and s.value is not None), None)
        if score is not None:
            (usable if _fit(score) else unfit).append(f"{phrase} ({_told(score)})")
    (usable if level == 1 else unfit).append(
        {
            0: "giving to others (privacy was not measured)",
            1: "giving to those who may not see the real data, as far as these attacks tell",
            2: "giving to others without further protection",
            3: "giving to anyone who may not see the real data",
        }[level]
    )
    return Verdict(tuple(usable), tuple(unfit), _RISKS[level], tuple(said))


_USES = (
    ("summaries of single columns", ("fidelity.shapes", "fidelity.total_variation")),
    ("studying how columns hang together", ("fidelity.trends", "fidelity.pair_variation")),
    ("training models", ("utility.tstr_auc", "utility.tstr_r2", "utility.tstr_accuracy")),
    ("studying rare cases and extremes", ("diversity.coverage",)),
    ("passing for real data", ("detection.c2st_auc",)),
)


def _fit(score: "Score") -> bool:
    """Good enough: most of the way to real data; where the naive generator is as good as those, nearly as good."""
    place, real = score.normalised, score.anchors.get("real")
    if score.interval is not None and real is not None and score.interval[0] <= real <= score.interval[1]:
        return place is None or place >= FAIR  # as good as real data, for all that so few rows tell
    if place is not None:
        return place >= GOOD
    if score.value is None or real is None or score.ideal is None:
        return False
    return abs(score.ideal - score.value) <= 1.25 * abs(score.ideal - real) + 0.01


def _told(score: "Score") -> str:
    from zoo.evaluation.report import format_number

    real = score.anchors.get("real")
    beside = "" if real is None else f", real data {format_number(real)}"
    return f"{score.title[0].lower() + score.title[1:]} {format_number(score.value)}{beside}"


def _share(value: float) -> str:
    """A share in percent with the digits that count."""
    return f"{100 * value:.1f} %" if value >= 0.01 or value == 0 else f"{100 * value:.2g} %"


def _lacking(report: "Report") -> str:
    reasons = [s.reason for s in report.scores if s.question == "privacy" and s.reason]
    return reasons[0] if reasons else "none was asked for"


def _evidence(report: "Report") -> Iterator[Evidence]:
    yield from _membership(report)
    for name, what in _EXCESS.items():
        score = report.get(name)
        if score is not None and score.value is not None and score.interval is not None:
            clear = score.details["p_value"] <= CLEAR and score.interval[0] > 0
            level = 1 if not clear else 3 if score.value > 0.1 else 2
            text = f"an attacker {what} in {_share(score.value)} of cases beyond chance"
            naive = score.anchors.get("naive")
            if level > 1 and name == _BY_VALUES and naive is not None and score.interval[0] <= naive:
                level, text = 1, f"{text}, as independent columns of the same values would ({_share(naive)})"
            yield Evidence(level, text)
    shadow = report.get("privacy.shadow_auc")
    if shadow is not None and shadow.value is not None and shadow.interval is not None:
        level = 1 if shadow.interval[0] <= 0.5 else 3 if shadow.value > 0.6 else 2
        yield Evidence(level, f"an attacker who refits the family picks the member {_share(shadow.value)} of the time")
    bound = report.get("privacy.epsilon_lower_bound")
    if bound is not None and bound.value is not None and bound.details.get("claim_refuted"):
        yield Evidence(
            3, f"the claimed epsilon {bound.details['claimed']:g} is refuted: it is at least {bound.value:.2f}"
        )
    yield from _copies(report)


def _membership(report: "Report") -> Iterator[Evidence]:
    area = report.get("privacy.membership_auc")
    if area is not None and area.value is not None:
        level = 1 if area.details["p_value"] > CLEAR else 3 if area.value > 0.6 else 2
        tried = f"chance: 50 %; {area.details['members']:,} people tried"
        text = f"an attacker picks a training person from a stranger {_share(area.value)} of the time ({tried})"
        yield Evidence(level, text)
    for percent, times in ((10, 2.0), (1, 5.0), (0.1, 5.0)):
        rate = report.get(f"privacy.membership_tpr_{percent:g}")
        if rate is None or rate.value is None:
            continue
        level = 1 if rate.details["p_value"] > CLEAR else 3 if rate.value > times * percent / 100 else 2
        if level > 1:
            text = f"an attacker names {_share(rate.value)} of the training people at {percent:g} % false alarms"
            yield Evidence(level, text)


def _copies(report: "Report") -> Iterator[Evidence]:
    for name, what in (("privacy.verbatim", "equal"), ("privacy.near_copies", "nearly equal")):
        score = report.get(name)
        usual = None if score is None else score.anchors.get("real")
        if score is None or score.value is None or usual is None or score.interval is None:
            continue
        if score.interval[0] > 2 * usual + 0.001:
            level = 3 if score.value - usual > 0.01 else 2
            text = f"{_share(score.value)} of the samples {what} a training record (of strangers {_share(usual)})"
            yield Evidence(level, text)
    near = report.get("privacy.closer_to_train")
    if near is not None and near.value is not None and near.interval is not None and near.interval[0] > 0.5:
        worst = near.anchors.get("copy") or 1.0
        place = (near.value - 0.5) / max(worst - 0.5, 1e-9)
        if place > 0.1:
            yield Evidence(
                3 if place > 0.3 else 2, f"{_share(near.value)} of the samples lie nearer to a training record"
            )
