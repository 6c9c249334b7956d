"""The report as one self-contained HTML page: geometry and plain words here, layout in ``report.html.j2``.

The page has no script and asks for nothing over the network (a content security policy forbids both); every
text that comes from data is escaped by Jinja2.
"""

import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from zoo.evaluation.verdict import verdict

if TYPE_CHECKING:
    from zoo.evaluation.report import Report, Score

_QUESTIONS = {
    "fidelity": "Does it look like the real data?",
    "detection": "Can a classifier tell it from real data?",
    "utility": "Can it stand in for real training data?",
    "privacy": "Does it expose the people it learned from?",
}
_GROUPS = _QUESTIONS | {
    "diversity": "Does it cover the variety of the real data?",
    "generalisation": "Is it new, or remembered?",
    "fairness": "Does it serve every group alike?",
}
# the score that answers each question on the first screen; the first that is computed
_ANSWERS = {
    "detection": ("detection.c2st_auc",),
    "utility": ("utility.tstr_auc", "utility.tstr_r2", "utility.tstr_accuracy"),
    "privacy": ("privacy.membership_auc", "privacy.closer_to_train", "privacy.verbatim"),
}
# whether it looks real is as good as the weakest of these, and of the classifier's answer
_SIDES = (("fidelity.trends", "fidelity.trends_all"), ("fidelity.shapes",))
_GRADES = ("poor", "fair", "good", "none")  # from what speaks most against
_WORDS = {"poor": "far from real", "fair": "partly", "good": "close to real", "none": "no verdict"}
# what the headline scores ask, in words of their own
_PLAIN = {
    "fidelity.trends": "How columns hang together:",
    "fidelity.trends_all": "How columns hang together:",
    "fidelity.shapes": "The distribution of each column:",
    "utility.tstr_auc": "A model that learned from it, tested on real cases:",
    "utility.tstr_r2": "A model that learned from it, tested on real cases:",
    "utility.tstr_accuracy": "A model that learned from it, tested on real cases:",
}
_MARKS = ("synthetic", "real", "naive", "copy")
_MAX_HEAT = 40
_WIDTH = 240.0


def render(report: "Report") -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    template = environment.from_string(files("zoo.evaluation").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        report=report,
        verdict=verdict(report),
        overlay=_overlay(report.views.get("overlay")),
        attack=_attack(report),
        cards=[_card(report, question) for question in _QUESTIONS if _of(report, question)],
        groups=[(_GROUPS.get(q, q), _rows(_of(report, q), report)) for q in _questions(report)],
        names=_names(report),
        columns=[_marginal(c) for c in report.views.get("columns", ())],
        heat=_heat(report),
        lines=_lines(report.views.get("lines")),
        sheets=report.views.get("sheets"),
        rows=report.views.get("rows"),
    )


def _questions(report: "Report") -> list[str]:
    return list(dict.fromkeys(s.question for s in report.scores))


def _of(report: "Report", question: str) -> list["Score"]:
    return [s for s in report.scores if s.question == question]


def _names(report: "Report") -> dict[str, str]:
    return {
        "synthetic": "synthetic",
        "real": "real against real",
        "naive": report.naive,
        "copy": "training rows returned",
    }


def _number(value: float | None) -> str:
    from zoo.evaluation.report import format_number

    return format_number(value)


def _card(report: "Report", question: str) -> dict[str, Any]:
    """The answer to one question: a grade (good, fair, poor, none), a word and a sentence."""
    by_name = {s.name: s for s in _of(report, question)}
    picked = _weakest(report) if question == "fidelity" else _first(report, _ANSWERS[question])
    out = {"question": _QUESTIONS[question], "figures": _figures(picked, report), "grade": "none"}
    if picked is None:
        reasons = [s.reason for s in by_name.values() if s.reason]
        return out | {"word": "not measured", "text": f"Not computable: {reasons[0]}." if reasons else ""}
    judge = {"detection": _judge_detection, "privacy": _judge_privacy}.get(picked.question, _judge_distance)
    grade, word, text = judge(picked, report)
    if picked.question != question:  # the words of the other question do not answer this one
        word = _WORDS[grade]
    return out | {"grade": grade, "word": word, "text": text}


def _first(report: "Report", names: tuple[str, ...]) -> "Score | None":
    """The first of these scores that is measured."""
    found = (report.get(name) for name in names)
    return next((s for s in found if s is not None and s.value is not None), None)


def _weakest(report: "Report") -> "Score | None":
    """What speaks most against that the data look real: columns, how they hang together, or a classifier.

    Columns that are right one by one, and even in pairs, do not look real if a classifier finds them out easily.
    """
    sides = [_first(report, names) for names in (*_SIDES, _ANSWERS["detection"])]
    judged = [
        (_GRADES.index((_judge_detection if s.question == "detection" else _judge_distance)(s, report)[0]), s)
        for s in sides
        if s is not None
    ]
    return min(judged, key=lambda pair: pair[0])[1] if any(s.question == "fidelity" for _, s in judged) else None


def _figures(score: "Score | None", report: "Report") -> list[tuple[str, str, str]]:
    """The score and its anchors as (mark, name, number), for the first screen."""
    if score is None:
        return []
    short = {"synthetic": "synthetic", "real": "real", "naive": report.naive, "copy": "copies"}
    values = {"synthetic": score.value, **score.anchors}
    return [(m, short[m], _number(values[m])) for m in _MARKS if values.get(m) is not None]


def _percent(share: float) -> str:
    """A share in percent: two digits that count, but neither 1e+02 % nor 0 % for a few."""
    percent = 100 * share
    if percent >= 10 or percent == 0:
        return f"{percent:.0f} %"
    return f"{percent:.2g} %" if percent >= 0.01 else "under 0.01 %"


def _judge_distance(score: "Score", report: "Report") -> tuple[str, str, str]:
    place = score.normalised
    if place is None:
        return _judge_by_real(score)
    text = f"{_PLAIN[score.name]} {_place(place, report.naive)}"
    if place >= 0.9:
        return "good", "close to real", text
    return ("fair", "partly", text) if place >= 0.6 else ("poor", "far from real", text)


def _judge_by_real(score: "Score") -> tuple[str, str, str]:
    """Where the naive generator is as good as real data, those alone are the measure: how far each is from ideal."""
    real = score.anchors.get("real")
    if score.value is None or real is None or score.ideal is None:
        return "none", "no verdict", "There are too few real samples to say what real data would get."
    off, usual = abs(score.ideal - score.value), abs(score.ideal - real)
    if off <= 1.25 * usual + 0.005:
        return "good", "close to real", f"{_PLAIN[score.name]} as good as real data."
    text = f"{_PLAIN[score.name]} {_number(off)} from perfect, where real data are {_number(usual)}."
    return ("fair", "partly", text) if off <= 3 * usual + 0.02 else ("poor", "far from real", text)


def _place(place: float, naive: str) -> str:
    """Where a score stands between the naive generator (0) and real data (1), in words."""
    if place <= 0:
        return f"no better than {naive}, which keep nothing of it."
    if place >= 0.995:
        return "as good as real data."
    return f"{place * 100:.0f} % of the way from {naive} to real data."


def _judge_detection(score: "Score", report: "Report") -> tuple[str, str, str]:
    assert score.value is not None
    highest = score.interval[1] if score.interval is not None else score.value
    if highest < 0.45:
        return (
            "poor",
            "odd: worse than guessing",
            "That happens when equal samples stand on both sides: the generator has returned the real samples that it "
            "is compared with.",
        )
    right = _percent(max(score.value, 0.5))
    text = f"Shown one synthetic and one real sample, a classifier picks the right one {right} of the time."
    if score.value <= 0.6:
        return "good", "hardly", text
    return ("fair", "often", text) if score.value <= 0.8 else ("poor", "easily", text)


def _judge_privacy(score: "Score", report: "Report") -> tuple[str, str, str]:
    found = verdict(report)
    grade = {"low": "good", "moderate": "fair", "high": "poor", "unknown": "none"}[found.risk]
    words = {"low": "no sign of it", "moderate": "somewhat", "high": "yes", "unknown": "not known"}
    text = "; ".join(found.because)
    text = text[0].upper() + text[1:] + "."
    return grade, words[found.risk], text + (" Evidence, not a guarantee." if found.risk == "low" else "")


def _rows(scores: list["Score"], report: "Report") -> list[dict[str, Any]]:
    """The scores of one question; those that lack the same thing are shown as one."""
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        key = score.name if score.reason is None else score.reason
        if key in rows:
            rows[key]["title"] += f" · {score.title.split(': ')[-1]}"
        else:
            rows[key] = _row(score, report)
    return list(rows.values())


def _row(score: "Score", report: "Report") -> dict[str, Any]:
    """One score with the positions of its marks on a bar, in percent."""
    marks = {"synthetic": score.value, **{a: score.anchors.get(a) for a in _MARKS[1:]}}
    present = {k: v for k, v in marks.items() if v is not None}
    low, high = _domain(score, list(present.values()))
    at = {k: round(100 * (v - low) / (high - low), 2) for k, v in present.items()}
    interval = None
    if score.interval is not None:
        ends = [min(max(100 * (v - low) / (high - low), 0), 100) for v in score.interval]
        interval = [round(ends[0], 2), round(ends[1] - ends[0], 2)]
    ideal = None
    if score.ideal is not None and low <= score.ideal <= high:
        ideal = round(100 * (score.ideal - low) / (high - low), 2)
    shown = {k: v for k, v in score.details.items() if isinstance(v, (int, float, str)) and not isinstance(v, bool)}
    return {
        "score": score,
        "title": score.title,
        "marks": [(k, at[k], present[k]) for k in _MARKS if k in at],
        "low": low,
        "high": high,
        "interval": interval,
        "ideal": ideal,
        "details": shown,
        "best": _best(score),
    }


def _best(score: "Score") -> str:
    if score.direction == "ideal":
        return f"best near {score.ideal:g}"
    if score.direction == "lower":
        return "lower is better" + (f", {score.ideal:g} is best" if score.ideal else "")
    return "higher is better"


def _domain(score: "Score", values: list[float]) -> tuple[float, float]:
    """Ends of the bar: around the marks and the ideal, within the span of the metric."""
    reach = [*values, *([score.ideal] if score.ideal is not None else [])]
    low, high = min(reach, default=0.0), max(reach, default=1.0)
    floor, roof = score.span
    # a bar of tiny width would make noise look like a difference
    least = 0.15 * (roof - floor) if floor is not None and roof is not None else 1e-9
    pad = max(0.08 * (high - low), (least - (high - low)) / 2)
    low, high = low - pad, high + pad
    low = low if floor is None else max(low, floor)
    high = high if roof is None else min(high, roof)
    return (low, high) if high > low else (low, low + 1)


def _marginal(column: dict[str, Any]) -> dict[str, Any]:
    """Geometry of one column's picture."""
    top = max(*column["real"], *column["synthetic"], 1e-9)
    out = {**column, "missing": [round(100 * m, 1) for m in column["missing"]]}
    if column["shape"] == "bars":
        rows = zip(column["labels"], column["real"], column["synthetic"])
        out["bars"] = [
            {
                "label": _short(n, 15),
                "full": n,
                "real": r,
                "synthetic": s,
                "r": 118 * r / top,
                "s": 118 * s / top,
            }
            for n, r, s in rows
        ]
        out["height"] = 18 * len(out["bars"]) + 4
        return out
    out["paths"] = {side: _steps(column[side], top) for side in ("real", "synthetic")}
    out["ends"] = (column["labels"][0], column["labels"][-1])
    return out


def _steps(shares: list[float], top: float, height: float = 74.0) -> str:
    """A step curve as an SVG path, closed along the bottom."""
    width = _WIDTH / max(len(shares), 1)
    points = [f"M0 {height:g}"]
    for i, share in enumerate(shares):
        y = height - (height - 4) * share / top
        points.append(f"L{i * width:.1f} {y:.1f}L{(i + 1) * width:.1f} {y:.1f}")
    return "".join(points) + f"L{_WIDTH:g} {height:g}Z"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _heat(report: "Report") -> dict[str, Any] | None:
    """Cells of the pair heat map: columns of the worst pairs when there are too many."""
    if "fidelity.trends_all" not in report:
        return None
    pairs = report["fidelity.trends_all"].details.get("pairs", [])
    if not pairs:
        return None
    order = list(dict.fromkeys(n for c in report.views.get("columns", ()) for n in [c["name"]]))
    order += [n for p in pairs for n in p[:2] if n not in order]
    order = list(dict.fromkeys(n for n in order if any(n in p[:2] for p in pairs)))
    total = len(order)
    if total > _MAX_HEAT:
        worst = dict.fromkeys(n for p in sorted(pairs, key=lambda p: p[3]) for n in p[:2])
        kept = set(list(worst)[:_MAX_HEAT])
        order = [n for n in order if n in kept]
    place = {n: i for i, n in enumerate(order)}
    cells = []
    for first, second, measure, score, strength, strong in pairs:
        if first in place and second in place:
            x, y = sorted((place[first], place[second]))
            shade = round(min(1.0, max(0.03, (1 - score) / 0.4)), 3)
            told = "" if strength is None else f", real dependence {strength:.2f}"
            title = f"{first} – {second}: {measure} {score:.3f}{told}"
            cells.append({"x": x, "y": y, "shade": shade, "strong": strong, "title": title})
    worst_strong = sorted((p for p in pairs if p[5]), key=lambda p: p[3])[:6]
    return {
        "names": [_short(n, 18) for n in order],
        "cells": cells,
        "n": len(order),
        "total": total,
        "worst": worst_strong,
    }


def _lines(lines: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Polylines of a few series, each channel on one scale for real and synthetic."""
    out = []
    for c, channel in enumerate(lines["channels"] if lines else ()):
        sides = {side: lines[side][c] for side in ("real", "synthetic") if lines and lines[side] is not None}
        values = [v for series in sides.values() for one in series for v in one if v is not None]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        longest = max((len(one) for series in sides.values() for one in series), default=1)
        drawn = {side: [_polyline(one, low, high, longest) for one in series] for side, series in sides.items()}
        out.append({"channel": channel, "low": low, "high": high, "sides": drawn})
    return out


def _polyline(values: list[float | None], low: float, high: float, longest: int) -> str:
    """An SVG path through the observed steps, broken at gaps."""
    scale = 80 / (high - low) if high > low else 0.0
    path, pen = [], "M"
    for t, v in enumerate(values):
        if v is None:
            pen = "M"
            continue
        path.append(f"{pen}{_WIDTH * t / max(longest - 1, 1):.1f} {86 - (v - low) * scale:.1f}")
        pen = "L"
    return "".join(path)


def _overlay(points: dict[str, Any] | None) -> dict[str, Any] | None:
    """Dots of two clouds on one square of 240 by 240, scaled by the real ones."""
    if not points or not points.get("real"):
        return None
    xs, ys = zip(*points["real"])
    spans = [(min(v), max(v)) for v in (xs, ys)]

    def place(value: float, span: tuple[float, float]) -> float:
        low, high = span
        at = (value - low) / (high - low) if high > low else 0.5
        return round(8 + 224 * min(max(at, -0.03), 1.03), 1)

    return {k: [(place(x, spans[0]), place(y, spans[1])) for x, y in points[k]] for k in ("real", "synthetic")}


def _attack(report: "Report") -> dict[str, Any] | None:
    """Paths of the membership attack's curve and of guessing, both axes in powers of ten."""
    score = report.get("privacy.membership_auc")
    if score is None or score.value is None or not score.details.get("curve"):
        return None
    curve = [(f, t) for f, t in score.details["curve"] if f > 0]
    lowest = min(f for f, _ in curve)

    def at(share: float) -> float:
        return 220 * (math.log10(max(share, lowest)) / -math.log10(lowest) + 1) if lowest < 1 else 220.0

    def path(points: list[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{at(f):.1f} {220 - at(t):.1f}" for f, t in points)

    ticks = [10.0**-k for k in range(0, 1 + math.floor(-math.log10(lowest) + 1e-9))]
    return {
        "curve": path(curve),
        "guess": path([(f, f) for f, _ in curve]),
        "ticks": [(round(at(t), 1), f"{100 * t:g} %") for t in ticks],
        "area": score.value,
    }
