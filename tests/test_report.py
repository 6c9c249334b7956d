"""The report as JSON, table, Markdown and page; the page in a real browser."""

import dataclasses
import html
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chromium import Chromium
from people import copies, independent, people

import zoo
from zoo._testing_data import tiny_data
from zoo.errors import DataError
from zoo.evaluation.page import _percent
from zoo.evaluation.report import Report, Score
from zoo.evaluation.schema import report_schema
from zoo.evaluation.verdict import verdict
from zoo.schema import Column, Schema

TRAIN, HOLDOUT = people(400), people(300, seed=1)
HOSTILE = "<script>document.title='caught'</script>\"'&"


@pytest.fixture(scope="module")
def report() -> Report:
    return zoo.evaluate(TRAIN, people(300, seed=2), holdout=HOLDOUT, target="rich", quick=True)


@pytest.fixture(scope="module")
def pages(report: Report, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of several kinds: each modality, a hostile table, a wide one, one with nothing to say."""
    folder = tmp_path_factory.mktemp("pages")
    text = Schema(
        modality="text",
        columns=(
            Column(name="text", kind="text", dtype="str", role="text"),
            Column(name="label", kind="category", dtype="str", role="label", categories=("ham", "spam")),
        ),
    )
    few = {"metrics": ["fidelity.*", "privacy.*"], "holdout": HOLDOUT}
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 50))).add_prefix("a_rather_long_column_name_")
    wide = wide.assign(**{HOSTILE: [HOSTILE, "b" * 200] * 30})
    overlapping = pd.concat([TRAIN.iloc[:100], HOLDOUT.iloc[:100]], ignore_index=True)
    images, series, texts = (tiny_data(m) for m in ("image", "timeseries", "text"))
    reports = {
        "table": report,
        "copies": zoo.evaluate(TRAIN, copies(TRAIN, 300), **few | {"holdout": overlapping}),
        "poor": zoo.evaluate(TRAIN, independent(TRAIN, 300), holdout=HOLDOUT, target="rich", quick=True),
        "wide": zoo.evaluate(wide, wide.iloc[::-1], metrics=["fidelity.*", "privacy.verbatim"]),
        "one_row": zoo.evaluate(TRAIN.iloc[:1], TRAIN.iloc[:1]),
        "image": zoo.evaluate(images[:24], images[24:]),
        "timeseries": zoo.evaluate(series[:20], series[20:]),
        "text": zoo.evaluate(texts.iloc[:30], texts.iloc[30:], schema=text, metrics=["utility.*", "privacy.*"]),
    }
    made = {}
    for name, one in reports.items():
        made[name] = folder / f"{name}.html"
        one.to_html(made[name])
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


# plain data


def test_json_is_strict_and_complete(report: Report, tmp_path: Path) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    path = tmp_path / "report.json"
    assert report.to_json(path) == path.read_text(encoding="utf-8")
    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert data["schema_version"] == 2
    assert {s["name"] for s in data["scores"]} == set(report.names)
    assert data["rows"] == {"train": 400, "synthetic": 300, "holdout": 300}
    again = Report.from_json(path)
    assert again.to_json() == report.to_json()
    assert again.to_html() == report.to_html()


def test_scores_are_values_or_reasons() -> None:
    fields: dict[str, Any] = {
        "name": "a.b", "title": "A", "question": "a", "span": (0, 1), "direction": "higher", "ideal": 1.0,
        "plain": "It.", "reference": "Here",
    }  # fmt: skip
    assert Score(**fields, value=0.5, anchors={"real": 1.0, "naive": 0.0}).normalised == 0.5
    assert Score(**fields, value=0.5, anchors={"real": 0.5, "naive": 0.5}).normalised is None
    assert Score(**fields, value=1.0, anchors={"real": 0.5, "naive": 0.7}).normalised is None
    lower = {**fields, "direction": "lower", "ideal": 0.5}
    assert Score(**lower, value=0.6, anchors={"real": 0.5, "naive": 1.0}).normalised == pytest.approx(0.8)
    near = {**lower, "direction": "ideal"}
    assert Score(**near, value=0.4, anchors={"real": 0.5, "naive": 1.0}).normalised == pytest.approx(0.8)
    assert Score(**near, value=0.4, anchors={"real": 0.5, "naive": 0.5}).normalised is None
    copy = {"real": 0.5, "naive": 0.5, "copy": 1.0}
    assert Score(**lower, floor="copy", value=0.75, anchors=copy).normalised == 0.5
    for wrong in ({"value": None}, {"value": 0.5, "reason": "none"}, {"value": float("nan")}, {"value": float("inf")}):
        with pytest.raises(DataError, match=r"a\.b"):
            Score(**fields, **wrong)


def test_table(report: Report) -> None:
    table = report.to_pandas()
    assert list(table.index) == report.names
    assert table.loc["utility.tstr_auc", "value"] == report["utility.tstr_auc"].value
    assert table.loc["privacy.closer_to_train", "copy"] == report["privacy.closer_to_train"].anchors["copy"]
    assert (table["low"].dropna() <= table["value"][table["low"].notna()] + 1e-9).all()


def test_markdown(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    text = report.to_markdown(path)
    assert path.read_text(encoding="utf-8") == text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(report.scores) + 2
    assert {line.count("|") for line in lines} == {8}
    assert "400 train, 300 synthetic, 300 holdout" in text


def test_looking_up(report: Report) -> None:
    assert "fidelity.shapes" in report
    assert report.get("fidelity.nothing") is None
    with pytest.raises(KeyError, match=r"did you mean 'fidelity\.shapes'"):
        report["fidelity.shape"]
    assert report.values["fidelity.shapes"] == report["fidelity.shapes"].value
    titles = [title for title, _ in report.headline()]
    assert len(titles) == len(set(titles)) == 3
    assert "fidelity.shapes" in repr(report)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "no JSON"),
        ("{}", "no schema_version"),
        ('{"schema_version": 99}', "update the zoo"),
        ('{"schema_version": 1}', "malformed"),
        ('{"schema_version": 1, "scores": [3]}', "malformed"),
    ],
)
def test_what_is_no_report_is_refused(text: str, word: str) -> None:
    with pytest.raises(DataError, match=word):
        Report.from_json(text)


def test_unreadable_and_unwritable(report: Report, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        Report.from_json(tmp_path / "none.json")
    for write in (report.to_html, report.to_json, report.to_markdown):
        with pytest.raises(DataError, match="cannot write"):
            write(tmp_path / "no folder" / "report")
    assert os.listdir(tmp_path) == []


def test_percent() -> None:
    shares = [1.0, 0.5, 0.0514, 0.0014, 0.00002, 0.0]
    assert [_percent(s) for s in shares] == ["100 %", "50 %", "5.1 %", "0.14 %", "under 0.01 %", "0 %"]


# the page as text


class Reader(HTMLParser):
    """Which elements are open, and what they point to."""

    VOID = frozenset({"meta", "link", "img", "path", "circle", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_pages_are_well_formed_and_ask_for_nothing(pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        reader = Reader()
        text = path.read_text(encoding="utf-8")
        reader.feed(text)
        assert reader.open == [], name
        assert "script" not in reader.tags
        assert all(a.startswith("data:") for a in reader.addresses), name
        assert not re.search(r"url\(|@import", text)
        assert len(text) < 1_500_000


def test_first_screen_says_what_the_numbers_mean(pages: dict[str, Path]) -> None:
    text = pages["table"].read_text(encoding="utf-8")
    first = re.sub(r"<style.*?</style>|<[^>]+>", " ", text[: text.index("<h2>Scores")], flags=re.S)
    for words in (
        "Does it look like the real data?",
        "Can a classifier tell it from real data?",
        "Can it stand in for real training data?",
        "Does it expose the people it learned from?",
        "Usable for",
        "Not for",
        "Privacy risk",
        "Shown one synthetic and one real sample, a classifier picks the right one",
        "A model that learned from it, tested on real cases:",
        "an attacker picks a training person from a stranger",
        "Evidence, not a guarantee",
    ):
        assert words in html.unescape(" ".join(first.split())), words


def test_verdicts(pages: dict[str, Path]) -> None:
    def words(name: str) -> list[str]:
        return re.findall(r'<div class="word">(.*?)</div>', pages[name].read_text(encoding="utf-8"))

    assert words("copies")[-1] == "Yes"
    assert words("poor")[0] == "Far from real"
    assert words("poor")[1] == "Easily"
    assert words("table")[1] == "Hardly"
    assert words("table")[3] == "No sign of it"
    assert "Not measured" in words("one_row")
    assert words("wide")[0] == "Close to real"  # though half of so few rows is less like the rest than shuffled ones
    assert "Read this first" in pages["copies"].read_text(encoding="utf-8")


def test_scores_that_lack_the_same_are_shown_once(report: Report) -> None:
    texts = tiny_data("image")
    page = zoo.evaluate(texts[:3], texts[3:6], metrics="utility.*").to_html()
    assert page.count("Not computable:</b>") == 1
    lacking = dataclasses.replace(report, scores=())
    assert "Synthetic data report" in lacking.to_html()


# the page in Chromium

VIEWS = [(1280, False), (1280, True), (390, False), (390, True)]


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_pages_fit_the_window_and_ask_for_nothing(
    pages: dict[str, Path], browser: Chromium, width: int, dark: bool
) -> None:
    for name, path in pages.items():
        browser.open(path, width=width, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") <= width, name
        outside = browser.run(
            """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
            && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
        )
        assert outside == [], name
        asked = [a for a in browser.requests() if not a.startswith("data:")]
        assert asked == [path.resolve().as_uri()], name
        assert browser.complaints() == [], name
        assert browser.run("document.title") == "Synthetic data report"


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` as WCAG 2 defines it."""
    channels = np.array([float(v) for v in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_can_be_read(pages: dict[str, Path], browser: Chromium, dark: bool) -> None:
    browser.open(pages["table"], dark=dark)
    look = "(() => { const s = getComputedStyle(document.querySelector(%r)); return [s.color, s.backgroundColor]; })()"
    _, ground = browser.run(look % "body")
    assert (luminance(ground) < 0.1) is dark
    _, panel = browser.run(look % ".card")
    for place in ("body", "h1", ".card p", ".card .q", ".card .word", ".score p", "summary", ".card li b"):
        ink = luminance(browser.run(look % place)[0])
        for paper in (luminance(ground), luminance(panel)):
            lighter, darker = max(ink, paper), min(ink, paper)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, place


def test_the_answers_are_on_the_first_screen(pages: dict[str, Path], browser: Chromium, tmp_path: Path) -> None:
    browser.open(pages["table"], width=1280, height=900)
    bottoms = browser.run("[...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect().bottom)")
    assert len(bottoms) == 4
    assert max(bottoms) < 900
    browser.open(pages["table"], width=390, height=844)
    assert browser.run("document.querySelector('.card').getBoundingClientRect().bottom") < 844
    browser.screenshot(tmp_path / "first.png", whole=False)
    assert (tmp_path / "first.png").read_bytes()[:4] == b"\x89PNG"


def test_plots_are_drawn(pages: dict[str, Path], browser: Chromium) -> None:
    browser.open(pages["table"])
    sizes = browser.run("[...document.querySelectorAll('figure > svg')].map(s => s.getBoundingClientRect().height)")
    assert len(sizes) == 7 and min(sizes) > 30
    assert browser.run("document.querySelectorAll('.track svg').length") > 15
    assert browser.run("document.querySelectorAll('.heat rect').length") == 20
    browser.open(pages["image"])
    assert browser.run("[...document.images].every(i => i.naturalWidth > 50)") is True
    assert browser.run("document.images.length") == 2
    browser.open(pages["timeseries"])
    assert browser.run("document.querySelectorAll('.lines path').length") > 12


def test_text_of_the_data_is_text(pages: dict[str, Path], browser: Chromium) -> None:
    browser.open(pages["wide"])
    assert browser.run("document.title") == "Synthetic data report"
    assert browser.run("document.scripts.length") == 0
    assert browser.run(f"document.body.innerText.includes({json.dumps(HOSTILE)})") is True


def test_the_first_question_is_answered_by_what_speaks_most_against(report: Report) -> None:
    from dataclasses import replace

    from zoo.evaluation.page import _card

    def word(shapes: float, trends: float, told_apart: float) -> str:
        said = {"fidelity.shapes": shapes, "fidelity.trends": trends, "detection.c2st_auc": told_apart}
        anchors = {"real": 0.99, "naive": 0.5}
        scores = [
            replace(s, value=said[s.name], anchors=anchors if s.question == "fidelity" else s.anchors, interval=None)
            for s in report.scores
            if s.name in said
        ]
        assert len(scores) == 3
        return _card(replace(report, scores=tuple(scores)), "fidelity")["word"]

    assert word(0.99, 0.99, 0.52) == "close to real"
    assert word(0.99, 0.99, 0.95) == "far from real"
    assert word(0.99, 0.85, 0.52) == "partly"
    assert word(0.55, 0.99, 0.52) == "far from real"


# the published form


def check(data: Any, schema: dict[str, Any], where: str = "report") -> None:
    """As much of JSON Schema as the published form uses."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "null": type(None)}
    if "anyOf" in schema:
        errors = []
        for one in schema["anyOf"]:
            try:
                return check(data, one, where)
            except AssertionError as error:
                errors.append(str(error))
        raise AssertionError(errors)
    if "const" in schema:
        assert data == schema["const"], where
    if "enum" in schema:
        assert data in schema["enum"], (where, data)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    fits = [isinstance(data, kinds[t]) if t in kinds else isinstance(data, (int, float)) for t in types]
    assert not types or any(fits), (where, data)
    if isinstance(data, dict) and "properties" in schema:
        assert set(schema.get("required", ())) <= set(data), where
    if isinstance(data, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, value in data.items():
            assert name in known or other is not False, (where, name)
            check(value, known.get(name, other if isinstance(other, dict) else {}), f"{where}.{name}")
    if isinstance(data, list):
        assert schema.get("minItems", 0) <= len(data) <= schema.get("maxItems", len(data)), where
        for i, value in enumerate(data):
            check(value, schema.get("items", {}), f"{where}[{i}]")
    if "pattern" in schema:
        assert re.search(schema["pattern"], data), (where, data)


def test_the_json_has_its_published_form(report: Report) -> None:
    published = json.loads((Path(__file__).parents[1] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(report_schema())), "write docs/report.schema.json anew"
    data = json.loads(report.to_json())
    check(data, published)
    for wrong in ({"modality": "sound"}, {"more": 1}, {"rows": {"train": "many"}}):
        with pytest.raises(AssertionError):
            check(data | wrong, published)


def test_reports_of_the_first_form_are_read(report: Report) -> None:
    old = json.loads(report.to_json()) | {"schema_version": 1}
    for score in old["scores"]:
        for name in ("floor", "modalities", "needs", "cost", "normalised"):
            del score[name]
    assert Report.from_dict(old).values == report.values


# the verdict


def test_the_verdict_follows_the_numbers() -> None:
    train, holdout = people(1_000), people(1_000, 1)
    few = ["fidelity.shapes", "fidelity.trends", "privacy.membership_*", "privacy.verbatim", "diversity.coverage"]
    made = {"good": people(1_000, 2), "copies": train, "naive": independent(train, 1_000)}
    found = {k: verdict(zoo.evaluate(train, m, holdout=holdout, metrics=few)) for k, m in made.items()}
    assert (found["good"].risk, found["copies"].risk, found["naive"].risk) == ("low", "high", "low")
    assert any("columns hang together" in u for u in found["good"].usable)
    assert any("columns hang together" in u for u in found["naive"].unfit)
    assert any("anyone who may not see the real data" in u for u in found["copies"].unfit)
    unknown = verdict(zoo.evaluate(train, made["good"], metrics=few))
    assert unknown.risk == "unknown" and "no holdout" in unknown.because[0]
