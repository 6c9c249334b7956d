"""Write the pages of the documentation that have another source: README and its companions, the metrics, the API."""

import os
import re
import shutil
from pathlib import Path

import zoo
from zoo.evaluation.metric import all_metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = DOCS / "generated"
COPIES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "generated/contributing.md",
    "ARCHITECTURE.md": "generated/architecture.md",
    "CHANGELOG.md": "generated/changelog.md",
}
ROOMS = {
    "The contract": ["zoo.generator", "zoo.conditions", "zoo.capabilities", "zoo.schema", "zoo.testing"],
    "Control": ["zoo.constraints", "zoo.balance", "zoo.occurred", "zoo.imputing"],
    "Registry and artifacts": ["zoo.registry", "zoo.artifact", "zoo.hub"],
    "Data": ["zoo.data.catalog", "zoo.data.form", "zoo.data.timeseries", "zoo.data.image"],
    "Training": ["zoo.training.config", "zoo.training.loader", "zoo.training.result"],
    "Evaluation": ["zoo.evaluation", "zoo.evaluation.report"],
    "Recipes": ["zoo.recipe"],
    "Errors": ["zoo.errors"],
}


def copy(source: str, target: str) -> None:
    """Copy a page from the top of the repository; links to what is no page of the documentation become plain text."""
    here = (DOCS / target).parent

    def relink(match: re.Match[str]) -> str:
        text, address = match[1], match[2]
        if "://" in address or address.startswith("#"):
            return match[0]
        page = DOCS / COPIES[address] if address in COPIES else ROOT / address
        if page.is_relative_to(DOCS):
            return f"{text}({os.path.relpath(page, here)})"
        return text[1:-1]

    text = re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", relink, (ROOT / source).read_text(encoding="utf-8"))
    (DOCS / target).write_text(text, encoding="utf-8")


def reference() -> None:
    """One page a family, found by the registry, and one a room."""
    (PAGES / "families").mkdir()
    lines = ["# Reference\n", "## Families\n"]
    for name in zoo.list_generators():
        page = name.replace("/", "-") + ".md"
        module = "zoo.generators." + name.replace("/", ".")
        (PAGES / "families" / page).write_text(f"# `{name}`\n\n::: {module}\n")
        lines.append(f"- [`{name}`](families/{page})")
    lines.append("\n## Rooms\n")
    for title, modules in ROOMS.items():
        page = title.lower().replace(" ", "-") + ".md"
        (PAGES / page).write_text(f"# {title}\n\n" + "\n".join(f"::: {m}\n" for m in modules))
        lines.append(f"- [{title}]({page})")
    (PAGES / "index.md").write_text("\n".join(lines) + "\n")


def glossary() -> None:
    """What each metric says, in which range, and where it is defined; read from the metrics themselves."""
    lines = [
        "# Metrics\n",
        "What `zoo.evaluate` measures. Each score is shown beside the same score of real data in the place of the "
        "synthetic ones, and of a naive generator: without these two a number says little.\n",
    ]
    question = ""
    for metric in all_metrics().values():
        if metric.question != question:
            question = metric.question
            lines.append(f"## {question.capitalize()}\n")
        low, high = ("open" if end is None else f"{end:g}" for end in metric.span)
        better = f"nearer to {metric.ideal:g}" if metric.direction == "ideal" else metric.direction
        lines.append(f"### {metric.title}\n\n{metric.plain}\n")
        lines.append(f"- Name: `{metric.name}`; for {', '.join(metric.modalities)}")
        lines.append(f"- Range: {low} to {high}; better: {better}")
        lines.append(f"- Reference: {metric.reference}\n")
    (PAGES / "metrics.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for source, target in COPIES.items():
        copy(source, target)
    reference()
    glossary()


if __name__ == "__main__":
    main()
