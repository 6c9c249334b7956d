"""``zoo evaluate`` and ``zoo compare``: measure synthetic data, check requirements, set several side by side."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

_Modality = Annotated[str, typer.Option(help="tabular, timeseries, image or text.")]
_Holdout = Annotated[Path | None, typer.Option(help="Real data that no generator saw.")]
_Target = Annotated[str | None, typer.Option(help="Column for the utility scores.")]
_Depth = Annotated[str, typer.Option(help="quick (fewer rows), standard, or full (more attacks, models, subgroups).")]
_Seed = Annotated[int, typer.Option(help="Seed of subsamples and models.")]
_Requirements = Annotated[
    list[str] | None, typer.Option("--require", help="As 'privacy.membership_auc<=0.55'; exit 1 if not met; repeat.")
]
_Quasi = Annotated[list[str] | None, typer.Option(help="Of a released table, for k-anonymity; repeat.")]


def evaluate(
    train: Annotated[Path, typer.Argument(help="Real data that the generator learned from.")],
    synthetic: Annotated[Path, typer.Argument(help="Synthetic data.")],
    holdout: _Holdout = None,
    target: _Target = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="A file .html, .json or .md.")] = Path("report.html"),
    modality: _Modality = "tabular",
    quick: Annotated[bool, typer.Option("--quick", help="The same as --depth quick.")] = False,
    depth: _Depth = "standard",
    require: _Requirements = None,
    quasi_identifier: _Quasi = None,
    sensitive: Annotated[list[str] | None, typer.Option(help="Column for fairness and l-diversity; repeat.")] = None,
    generator: Annotated[str | None, typer.Option(help="Its family is refitted by attacks of --depth full.")] = None,
    seed: _Seed = 0,
) -> None:
    """Measure synthetic data against real data, write a report, and check requirements."""
    from zoo.evaluation.files import evaluate_files

    report, unmet = evaluate_files(
        train,
        synthetic,
        holdout,
        output,
        target=target,
        modality=modality,
        depth="quick" if quick else depth,
        require=require or (),
        quasi_identifiers=quasi_identifier or (),
        sensitive=sensitive or (),
        generator=generator,
        seed=seed,
    )
    print(report)
    print(f"wrote {output}")
    for sentence in unmet:
        print(f"zoo: requirement not met: {sentence}", file=sys.stderr)
    if unmet:
        raise typer.Exit(1)


def compare(
    train: Annotated[Path, typer.Argument(help="Real data that the generators learned from.")],
    synthetic: Annotated[list[Path], typer.Argument(help="Synthetic data of each generator.")],
    holdout: _Holdout = None,
    target: _Target = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file .md, or a folder of reports.")] = None,
    modality: _Modality = "tabular",
    depth: _Depth = "standard",
    seed: _Seed = 0,
) -> None:
    """Measure several generators' synthetic data against the same real data, side by side."""
    from zoo.evaluation.files import compare_files

    options: dict[str, Any] = {"target": target, "modality": modality, "depth": depth, "seed": seed}
    print(compare_files(train, synthetic, holdout, output, **options), end="")
