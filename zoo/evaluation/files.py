"""Evaluation of files, as the command line has it: read, measure, write, check requirements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.atomic import atomic_file
from zoo.data.form import NativeForm, native_form
from zoo.errors import OptionError
from zoo.evaluation import evaluate
from zoo.evaluation.metric import select
from zoo.evaluation.report import Report
from zoo.evaluation.requirements import compare, failures, parse_requirement


def evaluate_files(
    train: Path,
    synthetic: Path,
    holdout: Path | None,
    output: Path,
    *,
    modality: str = "tabular",
    depth: Any = "standard",
    require: Sequence[str] = (),
    generator: str | None = None,
    **options: Any,
) -> tuple[Report, list[str]]:
    """Measure files, write the report to ``output`` by its suffix, and say which requirements are not met.

    Raises
    ------
    OptionError
        Of a suffix that is no report's, or a requirement that cannot be read.
    """
    if output.suffix not in (".html", ".json", ".md"):
        raise OptionError(f"{output} must end in .html, .json or .md")
    wanted = [parse_requirement(text) for text in require]
    form = _form(modality, train)
    real, made, unseen = (None if path is None else form.read(str(path)) for path in (train, synthetic, holdout))
    names = None  # of related tables, always all
    if not isinstance(real, dict):
        usual = [m.name for m in select(modality, full=depth == "full")]
        names = list(dict.fromkeys([*usual, *(r.name for r in wanted)]))
    schema = form.infer(real)
    if generator is not None:
        from zoo.registry import load

        options["generator"] = load(generator)
    report = evaluate(real, made, unseen, schema=schema, depth=depth, metrics=names, **options)
    write = {".html": report.to_html, ".json": report.to_json, ".md": report.to_markdown}[output.suffix]
    with atomic_file(str(output)) as temporary:
        Path(temporary).write_text(write(), encoding="utf-8")
    return report, failures(report, wanted)


def _form(modality: str, path: Path) -> NativeForm:
    """The native form of the modality; a folder of several tables holds related ones."""
    from zoo.data.database_io import holds_database

    return native_form("related" if modality == "tabular" and holds_database(path) else modality)


def compare_files(
    train: Path,
    synthetic: Sequence[Path],
    holdout: Path | None,
    output: Path | None,
    *,
    modality: str = "tabular",
    **options: Any,
) -> str:
    """Measure several files of synthetic data against the same real ones; a Markdown table of all.

    ``output`` ends in ``.md``, or is a folder for the table and all reports.
    """
    form = _form(modality, train)
    real, unseen = form.read(str(train)), None if holdout is None else form.read(str(holdout))
    names = [path.stem for path in synthetic]
    if len(set(names)) < len(names):  # a/synthetic.csv and b/synthetic.csv
        names = ["_".join(path.with_suffix("").parts) for path in synthetic]
    schema = form.infer(real)
    reports = {
        name: evaluate(real, form.read(str(path)), unseen, schema=schema, **options)
        for name, path in zip(names, synthetic)
    }
    table = compare(reports)
    if output is not None and output.suffix != ".md":
        output.mkdir(parents=True, exist_ok=True)
        for name, report in reports.items():
            report.to_html(output / f"{name}.html")
            report.to_json(output / f"{name}.json")
        output = output / "comparison.md"
    if output is not None:
        with atomic_file(str(output)) as temporary:
            Path(temporary).write_text(table, encoding="utf-8")
    return table
