"""Shared fixtures: a clean home, no network, few threads."""

import os
import sys
from pathlib import Path

import pytest

# Before anything imports torch: tests run beside each other, and two cores are soon taken.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# The modules of tests/ import each other and the example family by name, in subprocesses too.
_PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
sys.path[:0] = [p for p in _PATHS if p not in sys.path]
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (*_PATHS, os.environ.get("PYTHONPATH", "")) if p)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
