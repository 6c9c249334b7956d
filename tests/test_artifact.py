"""Artifacts: written atomically, verified before they are parsed, harmless when hostile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from independent import Independent

from zoo.artifact import FORMAT_VERSION, MANIFEST, dump_json, open_artifact, parse_json, sha256, write_folder
from zoo.errors import ArtifactError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = pd.DataFrame({"age": np.arange(30), "job": pd.Series(["a", "b", "c"] * 10, dtype="str")})
    Independent().fit(table).save(tmp_path / "artifact", extra={"README.md": b"# card\n"})
    return tmp_path / "artifact"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and pin the new content, as a forger would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": sha256(data), "size": len(data)}
    (folder / MANIFEST).write_bytes(dump_json(manifest))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def change_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / name).read_bytes())
    change(content)
    rewrite(folder, name, json.dumps(content).encode())


def refuse(folder: Path, words: str, **options: Any) -> None:
    with pytest.raises(ArtifactError) as caught:
        Independent.load(folder, **options)
    assert words in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_layout_and_pins(folder: Path) -> None:
    assert set(contents(folder)) == {MANIFEST, "README.md", "config.json", "schema.json", "model.safetensors"}
    manifest = json.loads((folder / MANIFEST).read_bytes())
    assert manifest["format_version"] == FORMAT_VERSION
    assert "README.md" not in manifest["files"]
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert entry == {"sha256": sha256(data), "size": len(data)}


def test_the_card_may_be_edited(folder: Path) -> None:
    (folder / "README.md").write_text("my own words")
    Independent.load(folder)


@pytest.mark.parametrize("name", ["config.json", "schema.json", "model.safetensors"])
def test_altered_cut_and_missing_files(folder: Path, name: str) -> None:
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refuse(folder, "altered or cut")
    (folder / name).write_bytes(good[: len(good) // 2])
    refuse(folder, "altered or cut")
    (folder / name).write_bytes(good + b"\0" * 1000)
    refuse(folder, "altered or cut")
    (folder / name).unlink()
    refuse(folder, "missing")


def test_a_manifest_that_the_index_does_not_pin(folder: Path) -> None:
    refuse(folder, "not what the index pins", manifest_sha256="0" * 64)
    Independent.load(folder, manifest_sha256=sha256((folder / MANIFEST).read_bytes()))


def test_a_newer_format_says_upgrade(folder: Path) -> None:
    change_manifest(folder, lambda m: m.update(format_version=FORMAT_VERSION + 1))
    refuse(folder, "pip install -U generative-zoo")


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "..", "", "a\\b", "C:evil", "a" * 500, ".x"]
)
def test_names_cannot_leave_the_folder(folder: Path, name: str) -> None:
    change_manifest(folder, lambda m: m["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    refuse(folder, "no valid file name")


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "config.json", tmp_path / "elsewhere")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "elsewhere")
    refuse(folder, "symbolic link")
    (folder / MANIFEST).rename(tmp_path / "manifest")
    (folder / MANIFEST).symlink_to(tmp_path / "manifest")
    refuse(folder, "symbolic link")


def test_a_pipe_does_not_hang(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refuse(folder, "no regular file")


def test_unknown_family_and_class(folder: Path) -> None:
    import zoo

    change_manifest(folder, lambda m: m.update(family="os/system"))
    refuse(folder, "holds a os/system")
    with pytest.raises(ArtifactError, match="not installed"):
        zoo.load(folder)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "no valid JSON"),
        (b'{"a": NaN}', "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "no valid JSON"),
        (b"[]", "malformed"),
        (b"{}", "malformed"),
        (b'{"config": 3}', "malformed"),
    ],
)
def test_json_bombs_and_nonsense(folder: Path, data: bytes, words: str) -> None:
    rewrite(folder, "config.json", data)
    refuse(folder, words)


def test_too_much_json(folder: Path) -> None:
    rewrite(folder, "config.json", b" " * (33 * 2**20))
    refuse(folder, "more than JSON here may have")


def test_hostile_configurations(folder: Path) -> None:
    change_json(folder, "config.json", lambda c: c["config"].update(quantiles=10**9))
    refuse(folder, "out of range")
    change_json(folder, "config.json", lambda c: c.update(config={"__class__": "os.system"}))
    refuse(folder, "no field")
    change_json(folder, "config.json", lambda c: c.update(config={}, block_size=10**12))
    refuse(folder, "block_size")


def test_hostile_schemas(folder: Path) -> None:
    change_json(folder, "schema.json", lambda s: s.update(modality="image"))
    refuse(folder, "modality")
    change_json(folder, "schema.json", lambda s: s.update(modality="tabular", columns=s["columns"] * 2))
    refuse(folder, "twice")
    change_json(folder, "schema.json", lambda s: s["columns"][0].update(dtype="__import__('os')"))
    refuse(folder, "schema")


def test_hostile_tensors(folder: Path) -> None:
    header = json.dumps({"age": {"dtype": "F64", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}).encode()
    rewrite(folder, "model.safetensors", len(header).to_bytes(8, "little") + header + b"\0" * 8)
    refuse(folder, "no valid safetensors")
    rewrite(folder, "model.safetensors", (2**62).to_bytes(8, "little") + b"{}")
    refuse(folder, "no valid safetensors")
    from safetensors.numpy import save

    rewrite(folder, "model.safetensors", save({"other": np.zeros(3)}))
    refuse(folder, f"{folder}: the artifact has no array")


def test_hostile_states_of_networks(tmp_path: Path) -> None:
    """Of the bundled artifacts: a tokenizer that is none, and weights that are not finite."""
    from safetensors.numpy import load, save

    import zoo
    from zoo.registry import bundled

    for name in ("text/gpt/sms_spam", "image/cgan/digits"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(bundled("model_cards") / name, copy)
        arrays = load((copy / "model.safetensors").read_bytes())
        first = max((k for k, v in arrays.items() if v.dtype.kind == "f" and "." in k), key=lambda k: arrays[k].size)
        rewrite(copy, "model.safetensors", save({**arrays, first: np.full_like(arrays[first], np.nan)}))
        with pytest.raises(ArtifactError, match="not finite"):
            zoo.load(copy)
    rewrite(tmp_path / "text-gpt-sms_spam", "state.json", b'{"tokenizer": "x"}')
    with pytest.raises(ArtifactError, match="does not describe a valid text/gpt"):
        zoo.load(tmp_path / "text-gpt-sms_spam")


def test_a_pickle_is_never_opened(folder: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(folder / "boom"),))

    rewrite(folder, "model.safetensors", pickle.dumps(Bomb()))
    refuse(folder, "no valid safetensors")
    assert not (folder / "boom").exists()


def test_saving_over_something_else_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="no artifact"):
        Independent.load(folder).save(tmp_path / "home")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="no artifact"):
        Independent.load(folder).save(tmp_path / "file")
    with pytest.raises(DataError, match="cannot write"):
        Independent.load(folder).save("/proc/nowhere/artifact")
    assert contents(tmp_path / "home") == {"thesis.txt": b"years of work"}


def test_a_failed_write_leaves_nothing_behind(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(ArtifactError):
        write_folder(folder, "tabular/x", {"ok.json": b"{}", "../bad": b""})
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.skipif(not os.path.exists("/dev/shm"), reason="needs a small file system to fill")
def test_a_full_disk_is_said_and_leaves_the_old(folder: Path) -> None:
    before = contents(folder)
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"  # longer files fail, as on a full disk
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from zoo.artifact import write_folder\n"
        "from zoo.errors import DataError\n"
        "try:\n"
        "    write_folder(sys.argv[1], 'tabular/x', {'model.safetensors': b'0' * 10_000})\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_kill_leaves_the_old_or_the_new(folder: Path, tmp_path: Path) -> None:
    """A process that saves without end is killed at random moments; a whole artifact is there each time."""
    code = (
        "import sys\n"
        "from zoo.artifact import write_folder\n"
        "i = 0\n"
        "while True:\n"
        "    i += 1\n"
        "    body = (str(i) * 20000).encode()\n"
        "    write_folder(sys.argv[1], 'tabular/x', {'a.json': body, 'b.json': body})\n"
        "    print(i, flush=True)\n"
    )
    target = tmp_path / "target"
    for wait in (0.0, 0.003, 0.011, 0.02):
        worker = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(wait)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        opened = open_artifact(target)
        assert opened.read("a.json") == opened.read("b.json")


def test_json_round_trip() -> None:
    value = {"b": [1, 2.5, None, "é"], "a": {"x": True}}
    assert parse_json(dump_json(value), "x") == value
    with pytest.raises(ValueError, match="Out of range float"):
        dump_json({"x": float("nan")})
