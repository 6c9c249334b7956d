"""Numbers that people read are those that were stored: leaderboard, README, frontier, model cards, index."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import zoo
from zoo.evaluation.report import Report

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "model_cards"
ARTIFACTS = sorted(p.parent.relative_to(CARDS).as_posix() for p in CARDS.glob("*/*/*/manifest.json"))


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_leaderboard_and_the_readme_hold_the_stored_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    board = script("leaderboard", monkeypatch)
    stored = json.loads((ROOT / "leaderboard.json").read_text(encoding="utf-8"))
    results, budget = stored["results"], stored["budget"]
    assert {r["family"] for r in results} <= set(zoo.list_generators())
    assert (ROOT / "LEADERBOARD.md").read_text(encoding="utf-8") == board.table(results, budget)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert board.with_block(readme, board.readme_block(results, budget)) == readme


def test_the_frontier_holds_the_stored_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    points = json.loads((ROOT / "docs" / "frontier.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "frontier.md").read_text(encoding="utf-8")
    assert page == script("frontier", monkeypatch).table(points)
    assert all(p["status"] == "measured" for p in points)


@pytest.mark.parametrize("name", ARTIFACTS)
def test_a_card_holds_the_stored_numbers(name: str) -> None:
    metrics = json.loads((CARDS / name / "metrics.json").read_text(encoding="utf-8"))
    card = (CARDS / name / "README.md").read_text(encoding="utf-8")
    measured = card.split("## Measured\n", 1)[1].split("## Data\n", 1)[0]
    report = Report.from_dict(metrics)
    assert report.to_markdown() in measured
    index = json.loads((CARDS / "index.json").read_text(encoding="utf-8"))["artifacts"][name]
    for shown in index["headline"].split(", "):
        score, value = shown.split(" ")
        assert value == f"{report[score].value:.3f}"
