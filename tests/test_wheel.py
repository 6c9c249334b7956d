"""The wheel, away from the checkout: it lists, trains by a recipe that rides in it, and loads what is pretrained."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = "tabular/gaussian_copula/adult_sample"

pytestmark = pytest.mark.xdist_group("wheel")


def command(arguments: list[str], cwd: Path, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ZOO_DATA")} | environment
    done = subprocess.run(arguments, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout and nothing of it that is ignored rides along."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = command(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    command([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)], source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own, beside the environment that is there."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command([*pip, "--no-deps", "--target", str(target), str(wheel)], target)
    return target


def zoo(installed: Path, cwd: Path, *arguments: str) -> str:
    """Run ``zoo`` of the installed wheel; an editable install of the checkout must not come first."""
    code = (
        "import sys, zoo\n"
        "assert zoo.__file__.startswith(sys.argv[1]), zoo.__file__\n"
        "from zoo.cli import main\n"
        "main(sys.argv[2:])\n"
    )
    home = str(cwd / "home")
    return command(
        [sys.executable, "-c", code, str(installed), *arguments], cwd, PYTHONPATH=str(installed), ZOO_HOME=home
    )


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    assert wheel.name.startswith("generative_zoo-")
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"zoo/_bundled/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "recipes").glob("*/*/*.py")}
    templates = {p.relative_to(ROOT).as_posix() for p in (ROOT / "zoo/templates").iterdir()}
    data = {p.relative_to(ROOT).as_posix() for p in (ROOT / "zoo/data/bundled").rglob("*") if p.is_file()}
    wanted = recipes | templates | data | {"zoo/_bundled/model_cards/index.json", "zoo/evaluation/report.html.j2"}
    assert wanted <= names
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert not {n for n in names if n.startswith(("tests/", "scripts/", "recipes/")) or n.endswith(".pyc")}
    pinned = json.loads((ROOT / "model_cards/index.json").read_text(encoding="utf-8"))["artifacts"]
    for name in pinned:
        assert f"zoo/_bundled/model_cards/{name}/manifest.json" in names


def test_away_from_the_checkout_it_lists_and_copies(installed: Path, tmp_path: Path) -> None:
    families = [line.split()[0] for line in zoo(installed, tmp_path, "list").splitlines()[1:]]
    assert families == sorted(
        f"{p.parent.name}/{p.stem}" for p in (ROOT / "zoo/generators").glob("*/*.py") if not p.stem.startswith("_")
    )
    recipes = [line.split()[0] for line in zoo(installed, tmp_path, "recipes").splitlines()[1:]]
    assert len(recipes) == len(list((ROOT / "recipes").glob("*/*/*.py")))
    zoo(installed, tmp_path, "cp", QUICK, "mine.py")
    assert (tmp_path / "mine.py").read_bytes() == (ROOT / "recipes" / f"{QUICK}.py").read_bytes()


def test_away_from_the_checkout_it_trains_and_samples(installed: Path, tmp_path: Path) -> None:
    zoo(installed, tmp_path, "train", QUICK, "--smoke", "--out", "made")
    assert (tmp_path / "made" / "report.html").is_file()
    zoo(installed, tmp_path, "sample", "made", "-n", "20", "-o", "rows.csv", "--seed", "0")
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 21


def test_away_from_the_checkout_it_loads_what_rides_in_it(installed: Path, tmp_path: Path) -> None:
    pinned = json.loads((ROOT / "model_cards/index.json").read_text(encoding="utf-8"))["artifacts"]
    listed = zoo(installed, tmp_path, "list", "--pretrained").splitlines()[1:]
    assert [line.split()[0] for line in listed] == sorted(pinned)
    for modality in sorted({name.split("/")[0] for name in pinned}):
        name = next(n for n in sorted(pinned) if n.startswith(modality))
        zoo(installed, tmp_path, "sample", name, "-n", "3", "-o", f"{modality}.parquet", "--seed", "0")
        assert (tmp_path / f"{modality}.parquet").stat().st_size > 0
