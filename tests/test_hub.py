"""The Hub path against a server that speaks its protocol; each user is a process of its own, as in life."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hub_server import Hub
from independent import Independent

from zoo.artifact import MANIFEST

REPO = "someone/table-model"
LOAD = (
    "import sys, zoo\n"
    "from independent import Independent\n"
    "try:\n"
    "    folder = zoo.registry.find(sys.argv[1], sys.argv[2] or None)[0]\n"
    "    print(folder, Independent.load(folder).sample(3, seed=0)['x'].tolist())\n"
    "except zoo.ZooError as error:\n"
    "    print(type(error).__name__, error); sys.exit(2)\n"
).replace("import sys, zoo\n", "import sys, zoo, zoo.registry\n")
PUSH = (
    "import sys, zoo\n"
    "from independent import Independent\n"
    "try:\n"
    "    print(Independent.load(sys.argv[1]).push_to_hub(sys.argv[2], revision=sys.argv[3] or None))\n"
    "except zoo.ZooError as error:\n"
    "    print(type(error).__name__, error); sys.exit(2)\n"
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Independent().fit(pd.DataFrame({"x": [1.0, 2.0, 3.0]})).save(tmp_path / "made", extra={"README.md": b"# card"})
    return tmp_path / "made"


def run(hub: Hub, home: Path, code: str, *arguments: str, token: str = "hf_good", **env: str) -> tuple[int, str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "ZOO_OFFLINE")}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "ZOO_HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": token,
        **env,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.strip()


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_push_then_load_from_another_place(hub: Hub, folder: Path, tmp_path: Path) -> None:
    code, commit = run(hub, tmp_path / "a", PUSH, str(folder), REPO, "")
    assert code == 0, commit
    pushed = hub.files[REPO][commit]
    assert set(pushed) == {MANIFEST, "config.json", "schema.json", "model.safetensors"}
    code, out = run(hub, tmp_path / "b", LOAD, REPO, "")
    assert code == 0, out
    assert commit in out
    # A second load of the pinned commit asks the network nothing.
    before = len(hub.requests)
    assert run(hub, tmp_path / "b", LOAD, REPO, commit)[0] == 0
    assert len(hub.requests) == before


def test_revisions(hub: Hub, folder: Path, tmp_path: Path) -> None:
    first = hub.commit(REPO, "main", files_of(folder))
    code, second = run(hub, tmp_path / "a", PUSH, str(folder), REPO, "trial")
    assert code == 0, second
    assert hub.branches[REPO] == {"main": first, "trial": second}
    assert second in run(hub, tmp_path / "a", LOAD, REPO, "trial")[1]
    assert first in run(hub, tmp_path / "a", LOAD, REPO, first)[1]
    code, out = run(hub, tmp_path / "a", LOAD, REPO, "no-such")
    assert code == 2
    assert "no revision 'no-such'" in out


def test_offline_says_what_it_would_fetch_and_uses_the_cache(hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.commit(REPO, "main", files_of(folder))
    for variable in ("ZOO_OFFLINE", "HF_HUB_OFFLINE"):
        code, out = run(hub, tmp_path / "a", LOAD, REPO, "", **{variable: "1"})
        assert code == 2
        assert "OfflineError" in out and REPO in out and variable in out
    assert hub.requests == []
    assert run(hub, tmp_path / "a", LOAD, REPO, "")[0] == 0
    before = len(hub.requests)
    assert run(hub, tmp_path / "a", LOAD, REPO, "", ZOO_OFFLINE="1")[0] == 0
    assert len(hub.requests) == before
    code, out = run(hub, tmp_path / "a", PUSH, str(folder), REPO, "", ZOO_OFFLINE="1")
    assert code == 2
    assert "would have pushed" in out


def test_errors_are_one_line(hub: Hub, folder: Path, tmp_path: Path) -> None:
    code, out = run(hub, tmp_path / "a", LOAD, "nobody/nothing", "")
    assert (code, "no repository 'nobody/nothing'" in out) == (2, True), out
    code, out = run(hub, tmp_path / "a", PUSH, str(folder), REPO, "", token="hf_wrong")
    assert (code, "cannot push" in out) == (2, True), out
    hub.broken = True
    code, out = run(hub, tmp_path / "a", LOAD, REPO, "")
    assert (code, "RemoteError" in out) == (2, True), out
    hub.close()
    code, out = run(hub, tmp_path / "a", LOAD, REPO, "")
    assert (code, "RemoteError" in out) == (2, True), out


@pytest.mark.parametrize("what", ["altered", "missing", "no artifact", "path", "cut"])
def test_nothing_bad_reaches_the_cache(hub: Hub, folder: Path, tmp_path: Path, what: str) -> None:
    files = files_of(folder)
    if what == "altered":
        files["config.json"] += b" "
    elif what == "missing":
        del files["model.safetensors"]
    elif what == "no artifact":
        files = {"README.md": b"# something else"}
    elif what == "path":
        manifest = json.loads(files[MANIFEST])
        manifest["files"]["../../evil.json"] = {"sha256": "0" * 64, "size": 1}
        files[MANIFEST] = json.dumps(manifest).encode()
    else:
        hub.cut = {"model.safetensors"}
    hub.commit(REPO, "main", files)
    code, out = run(hub, tmp_path / "a", LOAD, REPO, "", HF_HUB_DOWNLOAD_TIMEOUT="2")
    assert code == 2, out
    assert "\n" not in out
    left = [p for p in (tmp_path / "a" / "hub").rglob("*") if p.is_file()]
    assert left == []
