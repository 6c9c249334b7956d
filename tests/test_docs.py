"""The pages that people read first name only what there is."""

import re
from pathlib import Path

import pytest

import zoo
from zoo.recipe import list_recipes

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")
NAMES = (*ROOT_PAGES, "docs/artifacts.md", "docs/control.md", "docs/tables.md")
PAGES = [ROOT / n for n in NAMES]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [a for a in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in a and not a.startswith("#")]
    assert [a for a in links if not (page.parent / a).exists()] == []
    paths = re.findall(r"(?<![\w/])(?:scripts|examples|recipes)/[\w/]+\.(?:py|sh)", text)
    here = [p for p in paths if "histogram" not in p]  # the family that the reader is about to write
    assert [p for p in here if not (ROOT / p).is_file()] == []


def test_the_readme_lists_every_family_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z]+/[a-z_]+)` \|.*\| ([^|]+) \|$", readme, flags=re.MULTILINE))
    assert sorted(rows) == zoo.list_generators()
    for family, data in rows.items():
        for name in re.findall(r"`(\w+)`", data):
            assert f"{family}/{name}" in list_recipes()


def test_commands_and_names_of_the_readme_exist() -> None:
    from typer.main import get_command

    from zoo.cli import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:bash|python)\n(.*?)```", readme, flags=re.DOTALL))
    used = set(re.findall(r"^zoo ([a-z-]+)|&& zoo ([a-z-]+)", blocks, flags=re.MULTILINE))
    assert {c for pair in used for c in pair if c} <= set(get_command(app).commands)  # type: ignore[attr-defined]
    families = set(re.findall(r"\b((?:tabular|timeseries|image|text)/[a-z_]+)", blocks)) - {"tabular/histogram"}
    assert families <= set(zoo.list_generators())
    assert all(hasattr(zoo, name) for name in re.findall(r"\bzoo\.([a-z_]+)\(", blocks))
