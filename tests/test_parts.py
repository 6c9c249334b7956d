"""Samples in folders of parts: the same rows whatever their size, nothing lost or repeated after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import zoo
from zoo.cli import main
from zoo.data.export import export
from zoo.data.parts import MANIFEST, export_parts, plain_request, state_digest
from zoo.data.table_check import equal_tables
from zoo.data.table_io import read_table
from zoo.errors import DataError, OptionError


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "key": [f"K-{i:05d}" for i in range(200)],
            "x": rng.normal(size=200),
            "c": pd.Categorical(rng.choice(["a", "b"], 200), categories=["b", "a"], ordered=True),
            "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, 200), "D"),
            "n": pd.array([None, *range(199)], dtype="Int16"),
        }
    )


@pytest.fixture(scope="module")
def generator() -> Any:
    made = zoo.create("tabular/gaussian_copula").fit(table())
    made._block_size = 1000  # parts and blocks overlap in every way
    return made


@pytest.mark.parametrize("rows", [1, 3, 999, 1000, 1001, 2500, 10_000])
def test_parts_join_to_the_sample_whatever_their_size(generator: Any, rows: int, tmp_path: Path) -> None:
    n = 4321 if rows > 3 else 7
    expected = generator.sample(n, seed=5)
    assert export_parts(generator, n, tmp_path / "out", rows=rows, seed=5) == 0
    made = read_table(tmp_path / "out")
    assert equal_tables(made, expected)
    assert made["key"].is_unique
    names = sorted(p.name for p in (tmp_path / "out").glob("part-*"))
    assert len(names) == -(-n // rows) and all(
        pq.read_metadata(tmp_path / "out" / name).num_rows == min(rows, n - i * rows) for i, name in enumerate(names)
    )


def test_an_empty_sample_is_an_empty_part(generator: Any, tmp_path: Path) -> None:
    export_parts(generator, 0, tmp_path, seed=5)
    assert len(read_table(tmp_path)) == 0


def test_the_same_request_goes_on_and_another_is_refused(generator: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export_parts(generator, 2500, folder, rows=400, conditions={"c": "a"})
    seed = json.loads((folder / MANIFEST).read_text())["seed"]
    expected = generator.sample(2500, seed=seed, conditions={"c": "a"})
    kept = (folder / "part-00002.parquet").stat().st_mtime_ns
    (folder / "part-00001.parquet").unlink()
    cut = (folder / "part-00005.parquet").read_bytes()
    (folder / "part-00005.parquet").write_bytes(cut[: len(cut) // 2])
    (folder / ".part-00003.parquet.abc.parquet").write_bytes(b"left by a kill")
    assert export_parts(generator, 2500, folder, rows=400, conditions={"c": "a"}) == 2500 - 800
    assert (folder / "part-00002.parquet").stat().st_mtime_ns == kept
    assert not list(folder.glob(".part*"))
    assert equal_tables(read_table(folder), expected)
    assert export_parts(generator, 2500, folder, rows=400, conditions={"c": "a"}, seed=seed) == 2500
    other = zoo.create("tabular/gaussian_copula").fit(table(), seed=1)
    for asked, words in (
        ((generator, 2600, 400, {"c": "a"}, None), "its n is 2500, not 2600"),
        ((generator, 2500, 500, {"c": "a"}, None), "its rows is 400, not 500"),
        ((generator, 2500, 400, {"c": "b"}, None), "its conditions is"),
        ((generator, 2500, 400, {"c": ["a"]}, None), "its conditions is"),
        ((generator, 2500, 400, {"c": "a"}, (seed + 1) % 2**63), "its seed is"),
        ((other, 2500, 400, {"c": "a"}, None), "another generator"),
    ):
        made, n, rows, conditions, number = asked
        with pytest.raises(DataError, match=words):
            export_parts(made, n, folder, rows=rows, conditions=conditions, seed=number)
    assert equal_tables(read_table(folder), expected)


def test_other_folders_are_left_alone(generator: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match=r"is not empty and holds no _manifest\.json"):
        export_parts(generator, 10, tmp_path)
    with pytest.raises(DataError, match="is a file"):
        export_parts(generator, 10, tmp_path / "mine.txt")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        export_parts(generator, 10, tmp_path / "sub")
    for rows in (0, -1, 1.5, True):
        with pytest.raises(OptionError, match="rows of a part"):
            export_parts(generator, 10, tmp_path / "new", rows=rows)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="n=-1"):
        export_parts(generator, -1, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_requests_that_differ_have_different_forms() -> None:
    asked = [{"a": (1, 2)}, {"a": [1, 2]}, {"a": 1}, {"a": "1"}, {"a": (1, None)}, None, {}, {"a": True}]
    assert len({json.dumps(plain_request(v)) for v in asked}) == len(asked)
    assert plain_request({"a": {"y", "x"}}) == {"a": ["x", "y"]}


def test_the_digest_is_that_of_the_state(generator: Any, tmp_path: Path) -> None:
    generator.save(tmp_path / "a")
    assert state_digest(zoo.load(str(tmp_path / "a"))) == state_digest(generator)


def test_killed_and_started_again(generator: Any, tmp_path: Path) -> None:
    artifact, folder = tmp_path / "artifact", tmp_path / "out"
    generator.save(artifact)
    command = [sys.executable, "-m", "zoo.cli", "sample", str(artifact), "-n", "300000", "--seed", "3",
               "-o", f"{folder}/", "--partition-rows", "10000"]  # fmt: skip
    kills = 0
    for _ in range(3):
        before = len(list(folder.glob("part-*")))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(folder.glob("part-*"))) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 1 and len(list(folder.glob("part-*"))) < 30
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "were there already" in done.stdout
    assert equal_tables(read_table(folder), generator.sample(300_000, seed=3))


def test_what_no_disk_and_no_memory_can_hold(generator: Any, tmp_path: Path) -> None:
    for name in ("x.parquet", "x.csv", "parts/"):
        with pytest.raises(DataError, match=r"samples need about .* PB, and .* free; ask for fewer"):
            export(generator, 10**15, f"{tmp_path}/{name}")
    with pytest.raises(DataError, match=r"of memory in this format.*write \.parquet"):
        export(generator, 3 * 10**9, str(tmp_path / "x.arrow"))
    with pytest.raises(OptionError, match="1,000,000 files"):
        export_parts(generator, 10**6, tmp_path / "parts", rows=1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_parts(generator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator.save(tmp_path / "artifact")
    arguments = ["sample", str(tmp_path / "artifact"), "-n", "2500", "--seed", "3", "-o", str(tmp_path / "out") + "/"]
    for options, said in ((["--partition-rows", "1000"], "wrote 2,500"), (["--partition-rows", "1000"], "2,500 were")):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *options])
        assert not ended.value.code
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(arguments)  # a million rows a part is another request
    assert "its rows is 1000, not 1000000" in capsys.readouterr().err
