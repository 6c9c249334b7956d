"""The command ``zoo``: what each command prints; bad input is one line, exit code 2 and nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import zoo
from zoo.cli import app, main

COMMANDS = (
    "list",
    "info",
    "datasets",
    "recipes",
    "cp",
    "train",
    "fit",
    "sample",
    "evaluate",
    "compare",
    "push",
    "new-family",
)
FAMILY = "tabular/gaussian_copula"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("list", "tabular/*")`` gives the exit code, standard output and standard error of the command."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


@pytest.fixture
def refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run in an empty folder what has to be refused; gives the one line, after a look that nothing was written."""

    def call(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        before = {p: p.read_bytes() if p.is_file() else None for p in tmp_path.rglob("*")}
        code, out, err = run(*arguments)
        assert code == 2, (code, out, err)
        assert out == ""
        assert err.startswith("zoo: error: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert {p: p.read_bytes() if p.is_file() else None for p in tmp_path.rglob("*")} == before
        return err

    return call


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    from zoo._testing_data import tiny_data

    return tiny_data("tabular").drop(columns="number")


@pytest.fixture(scope="module")
def artifact(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "made"
    zoo.create(FAMILY).fit(table).save(folder)
    return folder


# Help and lists


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"zoo {command}" in done.output or f"root {command}" in done.output
    assert len(done.output.splitlines()) >= 3


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert {c for c in COMMANDS if c in out} == set(COMMANDS)
    assert run()[0] == 2  # ``zoo`` alone shows the same, and is no success
    assert run("--version")[:2] == (0, f"zoo {zoo.__version__}\n")


@pytest.mark.parametrize("command", [["list"], ["list", "--pretrained"], ["recipes"], ["--help"]])
def test_listing_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\n"
        "from zoo.cli import main\n"
        "try:\n"
        f"    main({command!r})\n"
        "except SystemExit as stopped:\n"
        "    assert not stopped.code, stopped.code\n"
        "heavy = 'torch pandas numpy scipy sklearn pyarrow transformers datasets pytorch_lightning matplotlib tyro'\n"
        "loaded = [m for m in heavy.split() if m in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["family", "pretrained", "on", "what"]
    assert [line.split()[0] for line in lines[1:]] == zoo.list_generators()
    assert all(len(line.split()) > 4 for line in lines[1:]), "each family says what it is"
    assert [line.split()[0] for line in run("list", "tabular/*")[1].splitlines()[1:]] == zoo.list_generators(
        "tabular/*"
    )
    assert json.loads(run("list", "--json", "--modality", "text")[1])["families"] == zoo.list_generators(
        modality="text"
    )


def test_pretrained_are_listed_beside_their_family(run: Run, artifact: Path) -> None:
    home = Path(os.environ["ZOO_HOME"])
    shutil.copytree(artifact, home / FAMILY / "mine")
    line = next(line for line in run("list")[1].splitlines() if line.startswith(FAMILY))
    assert "mine" in line
    assert f"{FAMILY}/mine" in run("list", "--pretrained", f"{FAMILY}/*")[1]
    code, out, _ = run("info", f"{FAMILY}/mine")
    assert code == 0
    assert str(home / FAMILY / "mine") in out


def test_info_of_a_family(run: Run) -> None:
    code, out, _ = run("info", "text/gpt")
    assert code == 0
    out = " ".join(out.split())
    for words in (
        "text/gpt",
        "Language Models are Unsupervised Multitask Learners",
        "temperature",
        "width = 128",
        "extend",
    ):
        assert words in out


def test_datasets_and_recipes(run: Run) -> None:
    from zoo.recipe import list_recipes

    code, out, _ = run("recipes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(list_recipes())
    assert all('"' not in line for line in out.splitlines())
    code, out, _ = run("datasets")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(zoo.list_datasets())
    assert {"adult_sample", "occupancy", "digits", "sms_spam"} <= set(zoo.list_datasets())


# The way from a table to a report


def test_fit_sample_evaluate(run: Run, table: pd.DataFrame, tmp_path: Path) -> None:
    table.iloc[:100].to_parquet(tmp_path / "train.parquet")
    table.iloc[100:].to_csv(tmp_path / "rest.csv", index=False)
    made, out = str(tmp_path / "made"), str(tmp_path / "s.parquet")
    assert run("fit", FAMILY, str(tmp_path / "train.parquet"), "-o", made)[0] == 0
    code, said, _ = run(
        "sample", made, "-n", "70", "-o", out, "--seed", "3", "-c", "age=40..60", "-c", "place=north,south"
    )
    assert code == 0 and "70 samples" in said
    sampled = pd.read_parquet(out)
    assert len(sampled) == 70
    assert sampled["age"].between(40, 60).all() and sampled["place"].isin(["north", "south"]).all()
    assert list(sampled.dtypes) == list(zoo.load(made).schema.names and zoo.load(made).sample(1).dtypes)
    before = Path(out).read_bytes()
    run("sample", made, "-n", "70", "-o", out, "--seed", "3", "-c", "age=40..60", "-c", "place=north,south")
    assert Path(out).read_bytes() == before, "the same seed gives the same file"

    arguments = ("--holdout", str(tmp_path / "rest.csv"), "--target", "member", "--quick")
    code, said, err = run("evaluate", str(tmp_path / "train.parquet"), out, *arguments, "-o", str(tmp_path / "r.html"))
    assert code == 0, err
    assert "<html" in (tmp_path / "r.html").read_text(encoding="utf-8")[:1000]
    assert "fidelity" in said


def test_a_category_that_looks_like_a_number_is_a_category(run: Run, tmp_path: Path) -> None:
    codes = pd.Series(["1010", "8000", "a,b", "x..y"] * 10, dtype="str")
    zoo.create(FAMILY).fit(pd.DataFrame({"zip": codes, "v": range(40)})).save(tmp_path / "made")
    for asked, expected in (("8000", {"8000"}), ("a,b", {"a,b"}), ("x..y", {"x..y"}), ("1010,8000", {"1010", "8000"})):
        out = tmp_path / "s.csv"
        code, _, err = run(
            "sample", str(tmp_path / "made"), "-n", "9", "--seed", "1", "-o", str(out), "-c", f"zip={asked}"
        )
        assert code == 0, err
        assert set(pd.read_csv(out, dtype=str)["zip"]) == expected


def test_a_million_rows_are_written_block_by_block(table: pd.DataFrame, tmp_path: Path) -> None:
    """Peak memory grows by less than a million rows of three columns need at once."""
    zoo.create(FAMILY).fit(table[["age", "income", "place"]]).save(tmp_path / "made")
    code = (
        "import resource, sys\n"
        "from zoo.cli import main\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "def run(n):\n"
        "    try:\n"
        "        main(['sample', sys.argv[1], '-n', n, '-o', sys.argv[2], '--seed', '0'])\n"
        "    except SystemExit as stopped:\n"
        "        assert not stopped.code\n"
        "run('20000'); before = peak(); run('1000000'); print('grew', peak() - before)\n"
    )
    out = tmp_path / "million.parquet"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "made"), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    file = pq.ParquetFile(out)
    assert file.metadata.num_rows == 1_000_000
    assert file.metadata.num_row_groups > 10
    assert float(done.stdout.split()[-1]) < 30, "MB"


def test_cp_copies_and_never_overwrites(run: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    from zoo.recipe import find_recipe

    source = find_recipe("text/gpt/sms_spam").read_bytes()
    assert run("cp", "text/gpt/sms_spam", str(tmp_path / "mine.py"))[0] == 0
    assert (tmp_path / "mine.py").read_bytes() == source
    assert run("cp", "text/gpt/sms_spam", str(tmp_path))[0] == 0
    assert (tmp_path / "sms_spam.py").read_bytes() == source
    assert "exists" in refused("cp", "text/gpt/sms_spam", str(tmp_path / "mine.py"))
    assert ".py" in refused("cp", "text/gpt/sms_spam", str(tmp_path / "mine.txt"))
    assert "did you mean 'text/gpt/sms_spam'" in refused("cp", "text/gpt/sms_spa", str(tmp_path / "b.py"))


def test_new_family(run: Run, tmp_path: Path) -> None:
    for folder in ("zoo/generators/text", "recipes"):
        (tmp_path / folder).mkdir(parents=True)
    code, out, _ = run("new-family", "text/mine", "--root", str(tmp_path))
    assert code == 0
    assert out.count("wrote ") == 2
    assert sum(p.is_file() for p in tmp_path.rglob("*")) == 2


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lsit"], "lsit"),
        (["list", "--no-such"], "--no-such"),
        (["list", "tabluar/*"], "no family matches"),
        (["list", "--modality", "tabluar"], "did you mean 'tabular'"),
        (["list", "--pretrained", "nope/*"], "no pretrained generator matches"),
        (["datasets", "nope"], "no data set matches"),
        (["recipes", "nope"], "no recipe matches"),
        (["info", "text/gtp"], "did you mean 'text/gpt'"),
        (["info"], "name"),
        (["train", "text/gpt/sms_spma"], "did you mean 'text/gpt/sms_spam'"),
        (["train", "mine.py"], "no recipe file mine.py"),
        (["train", "text/gpt/sms_spam", "--trian.epochs", "3"], "did you mean '--train.epochs'"),
        (["fit", "tabular/gausian_copula", "x.csv", "-o", "out"], "did you mean 'tabular/gaussian_copula'"),
        (["fit", FAMILY, "missing.csv", "-o", "out"], "missing.csv"),
        (["fit", FAMILY, "missing.csv"], "--output"),
        (["fit", FAMILY, "missing.csv", "-o", "out", "--set", "nope=1"], "no field 'nope'"),
        (["fit", FAMILY, "missing.csv", "-o", "out", "--set", "nope"], "field=value"),
        (["fit", FAMILY, "missing.csv", "-o", "out", "--epochs", "0"], "epochs=0"),
        (["fit", FAMILY, "missing.csv", "-o", "out", "--epochs", "x"], "--epochs"),
        (["sample", "tabular/gaussian_copula", "-o", "x.csv"], "is a family"),
        (["sample", "./nothing", "-o", "x.csv"], "./nothing"),
        (["evaluate", "a.csv", "b.csv"], "a.csv"),
        (["evaluate", "a.csv", "b.csv", "-o", "r.txt"], ".html"),
        (["push", "./nothing", "me/mine"], "./nothing"),
        (["new-family", "tabluar/x"], "did you mean 'tabular'"),
        (["new-family", "tabular/x"], "no checkout"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_arguments_are_one_line(arguments: list[str], words: str, refused: Callable[..., str]) -> None:
    assert words in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "-1"], "n=-1"),
        (["-n", "many"], "-n"),
        (["--seed", "-1"], "seed=-1"),
        (["-c", "ago=3"], "did you mean 'age'"),
        (["-c", "age"], "column=value"),
        (["-c", "age=900"], "'age'"),
        (["-c", "age=60..40"], "'age'"),
        (["-c", "age=old"], "'age'"),
        (["-c", "place=west"], "'place'"),
        (["--option", "temprature=1"], "temprature"),
        (["--option", "temperature"], "name=value"),
        (["--revision", "v2"], "no revisions"),
        (["-o", "samples.docx"], "docx"),
        (["-o", "file/samples.csv"], "file"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_samples_are_one_line(
    arguments: list[str], words: str, refused: Callable[..., str], artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    (tmp_path / "samples.csv").write_text("what was there before")
    output = [] if "-o" in arguments else ["-o", "samples.csv"]
    assert words in refused("sample", str(artifact), *output, *arguments)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.parquet", b"PAR1 and nothing more", "bad.parquet"),
        ("empty.parquet", b"", "empty.parquet"),
        ("empty.csv", b"", "empty.csv"),
        ("head.csv", b"a,b\n", "rows"),
        ("twice.csv", b"a,a\n1,2\n", "'a'"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "ragged.csv"),
        ("binary.csv", bytes(range(256)), "binary.csv"),
        ("table.docx", b"PK", "table.docx"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_unreadable_tables_are_one_line(
    name: str, content: bytes, words: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refused("fit", FAMILY, name, "-o", "out")


def test_other_folders_and_columns_are_refused(
    refused: Callable[..., str], table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("dear to me")
    assert "no artifact" in refused("fit", FAMILY, "t.csv", "-o", "mine")
    assert "t.csv" in refused("fit", FAMILY, "t.csv", "-o", "t.csv/below")
    assert "did you mean 'member'" in refused("evaluate", "t.csv", "t.csv", "--target", "membr")
    assert "cannot write" in refused("evaluate", "t.csv", "t.csv", "--quick", "-o", "t.csv/r.html")


def test_a_trained_artifact_is_replaced_on_request_only(
    run: Run, refused: Callable[..., str], table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "t.csv", index=False)
    assert run("fit", FAMILY, str(tmp_path / "t.csv"), "-o", str(tmp_path / "made"))[0] == 0
    before = (tmp_path / "made" / "manifest.json").read_bytes()
    assert "add --overwrite" in refused("fit", FAMILY, "t.csv", "-o", "made", "--set", "quantiles=5")
    assert "add --overwrite" in refused("train", "tabular/gaussian_copula/adult_sample", "--smoke", "--out", "made")
    again = ("fit", FAMILY, "t.csv", "-o", "made", "--set", "quantiles=5", "--overwrite")
    assert run(*again)[0] == 0
    assert (tmp_path / "made" / "manifest.json").read_bytes() != before
    (tmp_path / "s.csv").write_text("samples cost seconds, and are replaced")
    assert run("sample", "made", "-n", "3", "-o", "s.csv")[0] == 0
    assert len(pd.read_csv(tmp_path / "s.csv")) == 3


def test_a_device_that_cannot_be_had_is_said(
    run: Run, refused: Callable[..., str], artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    gan = ("sample", "image/cgan/digits", "-n", "2", "-o", "x/y.npz", "--device")
    number = torch.cuda.device_count()
    assert f"'cuda:{number}' cannot be had" in refused(*gan, f"cuda:{number}")
    if number == 0:
        assert "this machine has none that torch can use" in refused(*gan, "cuda")
    assert "is no device" in refused(*gan, "coda")
    assert "is no device" in refused("sample", str(artifact), "-o", "x.csv", "--device", "coda")
    code, out, err = run("sample", str(artifact), "-n", "3", "-o", str(tmp_path / "x.csv"), "--device", "cuda")
    assert code == 0 and "wrote 3" in out
    assert "tabular/gaussian_copula has no tensors: it runs on the CPU" in err


def test_folders_are_made_only_for_what_is_written(refused: Callable[..., str], artifact: Path, tmp_path: Path) -> None:
    for name in ("deep/er/x.csv", "deep/er/x.parquet", "deep/er/x.docx", "deep/er/x.xlsx"):
        assert "'age'" in refused("sample", str(artifact), "-o", name, "-c", "age=900")
    assert "docx" in refused("sample", str(artifact), "-o", "deep/er/x.docx")


def test_a_full_disk_is_one_line_and_leaves_what_was_there(artifact: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: writing fails in the midst of it, as there."""
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "s.csv").write_text("what was there before")
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # the write then fails with an error instead
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from zoo.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for arguments in (
        ["sample", str(artifact), "-n", "2000", "-o", "s.csv"],
        ["sample", str(artifact), "-n", "2000", "-o", "s.parquet"],
        ["fit", FAMILY, "t.csv", "-o", "made"],
    ):
        done = subprocess.run(
            [sys.executable, "-B", "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("zoo: error: ") and done.stderr.count("\n") == 1, done.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "t.csv"]
        assert (tmp_path / "s.csv").read_text() == "what was there before"


def test_push_is_refused_offline(refused: Callable[..., str], artifact: Path) -> None:
    assert "would have pushed" in refused("push", str(artifact), "me/mine")


def test_conditions_as_they_are_written() -> None:
    from zoo.cli_arguments import conditions_of
    from zoo.errors import OptionError
    from zoo.schema import Column, Schema

    columns = (
        Column(name="flag", kind="boolean", dtype="bool", categories=(False, True)),
        Column(name="price", kind="float", dtype="float64", nullable=True),
    )
    schema = Schema(modality="tabular", columns=columns)
    assert conditions_of(["flag=True", "price="], schema) == {"flag": True, "price": None}
    with pytest.raises(OptionError, match="given twice; use price=a,b"):
        conditions_of(["price=1", "price=2"], schema)
