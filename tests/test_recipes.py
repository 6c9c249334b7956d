"""Recipes: what ``--help`` shows, what is refused, and that each one runs end to end by its smoke setting."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import zoo
from zoo.data.catalog import dataset_info
from zoo.errors import ConfigError, DataError, UnknownNameError, ZooError
from zoo.recipe import find_recipe, list_recipes, load_recipe
from zoo.registry import list_generators
from zoo.scaffold import BUNDLED as RIDING

ROOT = Path(__file__).parents[1]
RECIPES = list_recipes()
# Data that is in reach wherever the tests run: what rides in the package.
BUNDLED = [n for n in RECIPES if n.split("/")[2] in RIDING.values()]
QUICK = "tabular/gaussian_copula/adult_sample"


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def check_output(folder: Path, name: str, *, measured: bool = True) -> None:
    """Artifact, card, picture and report are there, and the artifact samples."""
    files = {p.name for p in folder.iterdir()}
    wanted = {"manifest.json", "config.json", "schema.json", "README.md", "picture.png"}
    assert wanted | ({"metrics.json", "report.html"} if measured else set()) <= files
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n") and f"# {name}" in card
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    generator = zoo.load(folder)
    assert generator.form.length(generator.sample(3, seed=0)) == 3
    if measured:
        scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["scores"]
        assert len(scores) >= 2
        assert "<html" in (folder / "report.html").read_text(encoding="utf-8")[:1000]


def test_every_family_has_a_recipe_and_every_recipe_a_family_and_data() -> None:
    assert {n.rsplit("/", 1)[0] for n in RECIPES} == set(list_generators())
    for name in RECIPES:
        recipe = load_recipe(name)
        assert recipe.name == name, "a recipe's place is its name"
        assert dataset_info(str(recipe.data.name)).modality == name.split("/")[0]
        assert recipe.smoke, f"{name} needs a smoke setting"


@pytest.mark.parametrize("name", RECIPES)
def test_help_shows_every_field_with_default_and_doc(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(name)
    with pytest.raises(SystemExit) as stopped:
        recipe.parse(["--help"])
    assert not stopped.value.code
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    choices = recipe.choices()
    fields = [f.name for f in dataclasses.fields(choices) if not dataclasses.is_dataclass(getattr(choices, f.name))]
    for part in ("data", "generator", "train", "evaluate"):
        fields += [f"{part}.{f.name}" for f in dataclasses.fields(getattr(choices, part)) if f.init]
    for field in fields:
        option = "--" + field.replace("_", "-")
        entry = re.search(rf"{re.escape(option)}[ ,](.*?)\(default: [^)]*\)", shown)
        assert entry, f"{option} is not shown with its default"
        assert entry[1].rstrip().endswith("."), f"{option} has no documentation: {entry[0]}"


@pytest.mark.parametrize("name", RECIPES)
def test_mistyped_fields_and_values_are_refused(name: str) -> None:
    recipe = load_recipe(name)
    for arguments, words in (
        (["--trian.epochs", "3"], "did you mean '--train.epochs'"),
        (["--train.epcohs=3"], "did you mean '--train.epochs'"),
        (["--generator.no-such-field", "3"], "--generator.no-such-field"),
        (["--train.epochs", "0"], "epochs=0 is out of range"),
        (["--train.epochs", "many"], "--train.epochs"),
        (["--train.precision", "64"], "--train.precision"),
        (["--train.epochs"], "--train.epochs"),
        (["--data.rows", "-1"], "rows=-1"),
        (["--seed", "-1"], "seed=-1"),
        (["surplus"], "surplus"),
        (["-x"], "-x"),
    ):
        with pytest.raises(ConfigError) as caught:
            recipe.parse(arguments)
        assert words in str(caught.value)
        assert not set("\n│─╭╰") & set(str(caught.value)), f"not one plain line: {caught.value}"


def test_fields_are_changed_from_the_command_line() -> None:
    recipe = load_recipe("text/gpt/sms_spam")
    chosen = recipe.parse(["--train.max-steps", "7", "--train.batch_size=9", "--generator.width", "64", "--seed", "5"])
    assert (chosen.train.max_steps, chosen.train.batch_size, chosen.generator.width, chosen.seed) == (7, 9, 64, 5)
    assert not chosen.evaluate.quick
    smoke = recipe.parse(["--smoke", "--train.max-steps", "2"])
    assert (smoke.train.max_steps, smoke.data.rows, smoke.evaluate.quick) == (2, 100, True), "arguments win over smoke"


@pytest.mark.parametrize("name", BUNDLED)
def test_smoke_runs_end_to_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = load_recipe(name).run_arguments(["--smoke"])
    assert result.folder == Path("out") / name
    assert result.report is not None
    check_output(tmp_path / "out" / name, name)
    assert {p.name for p in tmp_path.iterdir()} == {"out"}, "a run leaves nothing else"


def test_as_a_script_by_name_and_as_a_copy_from_elsewhere(tmp_path: Path) -> None:
    script = python(str(find_recipe(QUICK)), "--smoke", "--out", "script", cwd=tmp_path)
    assert script.returncode == 0, script.stderr
    assert "report.html" in script.stderr
    quick = ("--smoke", "--evaluate.no-enabled")  # measured once is enough
    by_name = python("-m", "zoo.cli", "train", QUICK, *quick, "--out", "by_name", cwd=tmp_path)
    assert by_name.returncode == 0, by_name.stderr
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    assert python("-m", "zoo.cli", "cp", QUICK, "else where/mine.py", cwd=tmp_path).returncode == 0
    copy = python("mine.py", *quick, "--out", "../copy", cwd=elsewhere)
    assert copy.returncode == 0, copy.stderr
    for folder in ("script", "by_name", "copy"):
        check_output(tmp_path / folder, QUICK, measured=folder == "script")
    for file in ("config.json", "schema.json", "state.json", "model.safetensors"):
        contents = {(tmp_path / f / file).read_bytes() for f in ("script", "by_name", "copy")}
        assert len(contents) == 1, f"{file} depends on how the recipe was started"

    wrong = python(str(find_recipe(QUICK)), "--smoke", "--trian.epochs", "3", "--out", "wrong", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("zoo: error: no field --trian.epochs; did you mean '--train.epochs'")
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "wrong").exists()


def test_a_recipe_on_your_own_table(tmp_path: Path) -> None:
    table = zoo.load_dataset("adult_sample").head(300)[["age", "education", "income"]]
    table.to_csv(tmp_path / "people.csv", index=False)
    recipe = load_recipe(QUICK)
    arguments = ["--data.name", "None", "--data.path", str(tmp_path / "people.csv"), "--evaluate.target", "income"]
    result = recipe.run_arguments([*arguments, "--evaluate.quick", "--out", str(tmp_path / "made")])
    check_output(result.folder, "tabular/gaussian_copula/people")
    assert result.generator.schema.names == ["age", "education", "income"]


def test_without_evaluation_nothing_is_claimed(tmp_path: Path) -> None:
    result = load_recipe(QUICK).run_arguments(["--smoke", "--evaluate.no-enabled", "--out", str(tmp_path / "made")])
    assert result.report is None
    check_output(result.folder, QUICK, measured=False)
    assert "Not measured." in (result.folder / "README.md").read_text(encoding="utf-8")
    assert not (result.folder / "metrics.json").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("dear to me")
    for folder, words in (("mine", "no artifact"), ("mine/work.txt/below", "cannot write")):
        with pytest.raises(ZooError, match=words):
            load_recipe(QUICK).run_arguments(["--smoke", "--out", str(tmp_path / folder)])
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["work.txt"]


def test_broken_recipes_are_named(tmp_path: Path) -> None:
    for content, words in (("recipe = 3", "defines no recipe"), ("import no_such_module", "no_such_module")):
        (tmp_path / "mine.py").write_text(content)
        with pytest.raises(ConfigError, match=words):
            load_recipe(str(tmp_path / "mine.py"))
    with pytest.raises(UnknownNameError, match=re.escape(f"did you mean '{QUICK}'")):
        load_recipe(QUICK[:-1])


@pytest.mark.distributed
def test_two_processes_train_one_generator_and_one_writes(tmp_path: Path) -> None:
    shutil.copy(find_recipe("text/gpt/sms_spam"), tmp_path / "mine.py")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--tee", "3", "mine.py"]
    ran = python(*launch, "--smoke", "--train.accelerator", "cpu", "--out", "made", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    check_output(tmp_path / "made", "text/gpt/sms_spam")
    assert len(re.findall("saved made", ran.stdout + ran.stderr)) == 1, "rank 0 alone saves"
    assert {p.name for p in tmp_path.iterdir()} == {"made", "mine.py"}


def test_a_table_of_ones_own_has_no_target_of_the_recipes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The recipe's target is a column of its own data: others are told so before training, and measured without."""
    file = tmp_path / "own.csv"
    pd.DataFrame({"a": [0, 1, 2, 3, 4] * 200, "b": ["x", "y"] * 500}).to_csv(file, index=False)
    recipe = load_recipe("tabular/cart/adult_sample")
    own = ["--smoke", "--data.path", str(file), "--data.name", "None", "--out", str(tmp_path / "out")]
    with caplog.at_level("INFO", logger="zoo"):
        made = recipe.run_arguments(own)
    assert made.report is not None and made.report.get("utility.tstr_auc").value is None
    assert "own.csv has no column 'income'" in caplog.text
    with pytest.raises(DataError, match=r"--evaluate\.target bb is no column of the data"):
        recipe.run_arguments([*own, "--overwrite", "--evaluate.target", "bb"])
    assert recipe.run_arguments([*own, "--overwrite", "--evaluate.target", "b"]).report.get("utility.tstr_auc").value


@pytest.mark.parametrize(
    ("option", "wanted"),
    [("--train.epochs", "a whole number or None"), ("--generator.beta", "a number"), ("--seed", "a whole number")],
)
def test_a_word_where_a_number_belongs_is_one_plain_line(option: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_recipe("tabular/tvae/adult_sample").parse([option, "many"])
    assert str(refused.value) == f"{option}: 'many' is no value for it; give {wanted}"
