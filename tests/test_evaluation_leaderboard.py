"""The leaderboard: it goes on after a kill, says what failed, and its table holds the stored numbers."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "leaderboard.py"


@pytest.fixture(scope="module")
def board() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaderboard", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaderboard(folder: Path, *arguments: str) -> str:
    few = ["--families", "tabular/gaussian_copula", "--datasets", "adult_sample", "--rows", "400", "--depth", "quick"]
    command = [sys.executable, str(SCRIPT), *few, "--out", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_goes_on_where_it_was(tmp_path: Path, board: ModuleType) -> None:
    leaderboard(tmp_path)
    stored = tmp_path / "leaderboard" / "tabular" / "gaussian_copula" / "adult_sample.json"
    first = stored.stat().st_mtime_ns
    (tmp_path / "LEADERBOARD.md").unlink()  # as though it had been killed before the end
    leaderboard(tmp_path)
    assert stored.stat().st_mtime_ns == first, "what is stored is not measured again"
    text = (tmp_path / "LEADERBOARD.md").read_text(encoding="utf-8")
    result = json.loads(stored.read_text(encoding="utf-8"))
    shapes = next(s for s in result["scores"] if s["name"] == "fidelity.shapes")
    assert f"| {shapes['value']:.3f} |" in text and f"{shapes['anchors']['real']:.3f}" in text
    assert json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))["results"] == [result]
    assert (tmp_path / "leaderboard.png").read_bytes()[:4] == b"\x89PNG"
    assert 0 < board.quality(result) <= 1


def test_what_fails_is_said(tmp_path: Path, board: ModuleType) -> None:
    budget = {"minutes": 0.1, "rows": 100, "seed": 0, "depth": "quick", "version": "0"}
    found = board.run("tabular/gaussian_copula", "no_such_set", budget, tmp_path, False)
    assert found["status"] == "failed" and "no_such_set" in found["why"]
    assert "was not measured: " in board.table([found], budget)
    assert board.run("tabular/gaussian_copula", "no_such_set", budget, tmp_path, False) == found
