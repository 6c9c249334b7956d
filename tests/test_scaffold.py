"""``zoo new-family`` writes a family that keeps the whole contract, its recipe, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.scaffold import BUNDLED, scaffold
from zoo.schema import MODALITIES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree that can be written to."""
    for folder in ("zoo", "recipes", "model_cards"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def files_of(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def python(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_new_family_keeps_the_contract_and_its_recipe_runs(modality: str, checkout: Path) -> None:
    before = files_of(checkout)
    name = f"{modality}/first_try"
    written = scaffold(name, checkout)
    recipe = Path("recipes") / name / f"{BUNDLED[modality]}.py"
    assert [p.relative_to(checkout) for p in written] == [Path(f"zoo/generators/{name}.py"), recipe]
    after = files_of(checkout)
    assert {p: after[p] for p in before} == before
    assert set(after) - set(before) == {p.relative_to(checkout) for p in written}
    assert len(written[0].read_text().splitlines()) <= 115

    done = python(
        checkout,
        "-c",
        "import sys, zoo\n"
        "from zoo.recipe import load_recipe\n"
        "from zoo.testing import check_generator\n"
        "assert zoo.__file__.startswith(sys.argv[1]), zoo.__file__\n"
        "assert sys.argv[2] in zoo.list_generators()\n"
        "check_generator(sys.argv[2])\n"
        "load_recipe(sys.argv[3]).run_arguments(['--smoke', '--out', 'out/made'])\n",
        str(checkout),
        name,
        recipe.relative_to("recipes").with_suffix("").as_posix(),
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "out/made/report.html").is_file()


def test_what_is_written_is_clean(checkout: Path) -> None:
    # A name that is also a class which the module imports, and long names, change nothing.
    written = [
        str(p) for m in MODALITIES for n in ("generator", "my_new_family_2") for p in scaffold(f"{m}/{n}", checkout)
    ]
    shutil.copy(ROOT / "pyproject.toml", checkout)
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = subprocess.run([sys.executable, "-m", *command, *written], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("histogram", "modality/name"),
        ("tabular/a/b", "modality/name"),
        ("tabluar/x", "did you mean 'tabular'"),
        ("../x", "unknown modality"),
        ("tabular/", "snake_case"),
        ("tabular/Histogram", "snake_case"),
        ("tabular/_hidden", "snake_case"),
        ("tabular/two__lines", "snake_case"),
        ("tabular/..", "snake_case"),
        ("tabular/class", "snake_case"),
        ("tabular/2d", "snake_case"),
        ("tabular/x\n", "snake_case"),
    ],
)
def test_bad_names_are_refused(name: str, words: str, tmp_path: Path) -> None:
    for folder in ("zoo/generators/tabular", "recipes"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(ZooError, match=words) as caught:
        scaffold(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert files_of(tmp_path) == {}


def test_existing_files_and_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no checkout"):
        scaffold("tabular/x", tmp_path)
    for folder in ("zoo/generators/tabular", "recipes"):
        (tmp_path / folder).mkdir(parents=True)
    module, recipe = scaffold("tabular/x", tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(ZooError, match=r"x\.py exists"):
        scaffold("tabular/x", tmp_path)
    assert files_of(tmp_path) == before
    module.unlink()
    with pytest.raises(ZooError, match=r"adult_sample\.py exists"):
        scaffold("tabular/x", tmp_path)
    assert set(files_of(tmp_path)) == {recipe.relative_to(tmp_path)}


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "zoo/generators/tabular").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/tabular").write_text("a file where a folder should be")
    with pytest.raises(ZooError, match="cannot write"):
        scaffold("tabular/x", tmp_path)
    assert set(files_of(tmp_path)) == {Path("recipes/tabular")}
