"""Write the pages of the API documentation: one a family, found by the registry, and one a room."""

import shutil
from pathlib import Path

import zoo

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "generated"
ROOMS = {
    "The contract": ["zoo.generator", "zoo.conditions", "zoo.capabilities", "zoo.schema", "zoo.testing"],
    "Registry and artifacts": ["zoo.registry", "zoo.artifact", "zoo.hub"],
    "Data": ["zoo.data.catalog", "zoo.data.form", "zoo.data.timeseries", "zoo.data.image"],
    "Training": ["zoo.training.config", "zoo.training.loader", "zoo.training.result"],
    "Evaluation": ["zoo.evaluation", "zoo.evaluation.report"],
    "Recipes": ["zoo.recipe"],
    "Errors": ["zoo.errors"],
}


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    (PAGES / "families").mkdir(parents=True)
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


if __name__ == "__main__":
    main()
