"""Requirements for a pipeline, reports side by side, and the command line of both."""

from pathlib import Path

import pytest
from people import copies, independent, people

import zoo
from zoo.cli import main
from zoo.errors import OptionError
from zoo.evaluation.report import Report
from zoo.evaluation.requirements import compare, failures, parse_requirement

TRAIN, HOLDOUT, FRESH = (people(300, s) for s in (0, 1, 2))
FEW = ["fidelity.shapes", "fidelity.trends", "privacy.membership_auc", "privacy.verbatim"]


@pytest.fixture(scope="module")
def report() -> Report:
    return zoo.evaluate(TRAIN, FRESH, holdout=HOLDOUT, metrics=FEW)


def test_requirements_are_read() -> None:
    one = parse_requirement(" privacy.membership_tpr_0.1 <= 5e-3 ")
    assert (one.name, one.part, one.sign, one.limit) == ("privacy.membership_tpr_0.1", "value", "<=", 0.005)
    assert str(parse_requirement("fidelity.trends.normalised>=0.9")) == "fidelity.trends.normalised>=0.9"
    assert parse_requirement("fidelity.c2st_auc<=0.7").name == "detection.c2st_auc", "both names are known"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("fidelity.shapes", "must be a score"),
        ("fidelity.shapes<=high", "must be a score"),
        ("fidelity.shapes<=1e", "no number"),
        ("fidelity.shape>=0.9", "did you mean 'fidelity.shapes'"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        parse_requirement(text)


def test_what_is_not_met_is_said(report: Report) -> None:
    wanted = ["privacy.membership_auc<=0.6", "fidelity.shapes>=0.99", "privacy.verbatim.high<0.5", "fidelity.shapes>2"]
    wanted += ["utility.tstr_auc>=0.5", "fidelity.trends.normalised>=0.5"]
    unmet = failures(report, [parse_requirement(w) for w in wanted])
    assert [u.split(":")[0] for u in unmet] == ["fidelity.shapes>=0.99", "fidelity.shapes>2", "utility.tstr_auc>=0.5"]
    assert "it is 0.9" in unmet[0] and "not measured" in unmet[2]


def test_what_cannot_be_computed_is_not_met() -> None:
    report = zoo.evaluate(TRAIN, FRESH, metrics=FEW)
    (unmet,) = failures(report, [parse_requirement("privacy.membership_auc<=0.9")])
    assert "not computable because there is no holdout" in unmet


def test_side_by_side(report: Report) -> None:
    other = zoo.evaluate(TRAIN, independent(TRAIN, 300), holdout=HOLDOUT, metrics=FEW)
    lines = compare({"good": report, "naive": other}).splitlines()
    assert lines[0].startswith("| score | good | naive | real against real | independent columns | copy |")
    (trends,) = [line for line in lines if "fidelity.trends" in line]
    assert f"**{report['fidelity.trends'].value:.3f}**" in trends
    assert len({line.count("|") for line in lines}) == 1


# The command line


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, table in (("train", TRAIN), ("holdout", HOLDOUT), ("fresh", FRESH), ("copies", copies(TRAIN, 300))):
        table.to_parquet(folder / f"{name}.parquet")
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_a_pipeline_stops_at_what_is_not_met(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = [str(files / "train.parquet"), "--holdout", str(files / "holdout.parquet"), "--quick"]
    real += ["--require", "privacy.membership_auc<=0.62", "--require", "fidelity.c2st_auc<=0.7"]
    out = str(files / "report.md")
    assert run("evaluate", *real, str(files / "fresh.parquet"), "-o", out) == 0
    assert "not met" not in capsys.readouterr().err
    assert run("evaluate", *real, str(files / "copies.parquet"), "-o", out) == 1
    said = capsys.readouterr()
    assert "requirement not met: privacy.membership_auc<=0.62: it is 0." in said.err
    assert "c2st" not in said.err
    assert "membership_auc" in Path(out).read_text(encoding="utf-8"), "the report is written all the same"
    assert run("evaluate", *real, "--require", "privacy.membership", str(files / "fresh.parquet"), "-o", out) == 2


def test_generators_are_compared(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(files / f"{n}.parquet") for n in ("train", "fresh", "copies")]
    options = ["--holdout", str(files / "holdout.parquet"), "--depth", "quick", "-o", str(files / "all")]
    assert run("compare", *paths, *options) == 0
    table = capsys.readouterr().out
    assert "| score | fresh | copies |" in table
    assert (files / "all" / "comparison.md").read_text(encoding="utf-8") == table
    assert {p.name for p in (files / "all").iterdir()} >= {"fresh.html", "fresh.json", "copies.html"}
    assert run("compare", *paths, "--depth", "deep") == 2
    assert "depth='deep' is not known" in capsys.readouterr().err


def test_tensorboard(report: Report, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report.to_tensorboard(tmp_path, step=7)
    read = EventAccumulator(str(tmp_path)).Reload()
    (event,) = read.Scalars("fidelity/shapes")
    assert (event.step, event.value) == (7, pytest.approx(report["fidelity.shapes"].value))
