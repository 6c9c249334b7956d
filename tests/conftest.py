"""Shared fixtures: a clean home, no network, few threads; and which tests share a worker."""

import os
import re
import sys
from pathlib import Path
from typing import Any

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


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their number: by themselves they may hold the time of day (gzip does), and then the workers
    of one run collect different tests."""
    return f"{argname}-of-{len(val)}" if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one ``xdist_group`` on one worker, because they share a costly fixture.

    xdist 3.8 passes the group on in the test's id, which pytest 9.2 no longer lets it change, so the groups are read
    here: a family's promises, and modules whose ``pytestmark`` names a group.
    """
    from xdist.scheduler import LoadScopeScheduling

    root = Path(__file__).parents[1]
    grouped = {
        path.relative_to(root).as_posix(): found[1]
        for path in (root / "tests").glob("test_*.py")
        if (
            found := re.search(
                r"^pytestmark = .*xdist_group\(\"(\w+)\"", path.read_text(encoding="utf-8"), re.MULTILINE
            )
        )
    }

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module, _, test = nodeid.partition("::")
            family = re.match(r"test_promise\[\w+-(.+)\]", test)
            return grouped.get(module) or (family[1] if family else nodeid)

    return ByGroup(config, log)
