"""The common trainer in two ``gloo`` processes: equal to stock Lightning's DDP, together to the end."""

import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_modules import BATCH, ROWS, differing, tensors
from training_ranks import rank

from zoo import say

pytestmark = [pytest.mark.distributed, pytest.mark.xdist_group("distributed")]  # one torchrun for all

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training_modules", "zoo.training.trainer"])
SHARE = ROWS // 2
BATCHES = math.ceil(SHARE / BATCH)  # an epoch, in each process


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """What the two processes of one torchrun recorded, and where."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("training_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(script), str(folder)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return [torch.load(folder / f"{r}.pt") for r in (0, 1)], folder


@pytest.mark.parametrize("name", ["regressor", "gan"])
def test_two_processes_are_stock_ddp(name: str, ranks: Any) -> None:
    for out in ranks[0]:
        assert differing(out[name]["ours"]["weights"], out[name]["stock"]["weights"]) == []
        assert torch.equal(out[name]["ours"]["rows"], out[name]["stock"]["rows"])
        assert out[name]["result"]["world_size"] == 2
        assert (out[name]["result"]["steps"], out[name]["result"]["epochs"]) == (2 * BATCHES, 2)


@pytest.mark.parametrize("name", ["regressor", "gan"])
def test_each_process_sees_half_and_both_end_alike(name: str, ranks: Any) -> None:
    first, second = (out[name]["ours"] for out in ranks[0])
    assert differing(_parameters(first["weights"]), _parameters(second["weights"])) == []
    assert first["batches"] == second["batches"] == 2 * BATCHES
    for epoch in (0, 1):
        rows = [r["rows"][epoch * SHARE : (epoch + 1) * SHARE] for r in (first, second)]
        assert torch.equal(torch.cat(rows).sort().values, tensors()[0][:, 0].sort().values)


def _parameters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: t for n, t in state.items() if "running" not in n}  # statistics of each process's own batches


def test_tensors_in_memory_are_shared_out(ranks: Any) -> None:
    first, second = (out["TensorLoader"] for out in ranks[0])
    assert torch.equal(torch.cat([first["rows"], second["rows"]]).sort().values, tensors()[0][:, 0].sort().values)
    assert differing(_parameters(first["weights"]), _parameters(second["weights"])) == []


def test_averages_and_decisions_are_common(ranks: Any) -> None:
    first, second = (out["average and patience"]["weights"] for out in ranks[0])
    assert differing(_parameters(first), _parameters(second)) == []
    first, second = (out["timed"] for out in ranks[0])
    assert first["stopped_by"] == second["stopped_by"] == "max_minutes"
    assert first["steps"] == second["steps"] > 1
    assert differing(*(_parameters(out["timed weights"]) for out in ranks[0])) == []


def test_an_interrupt_of_one_process_stops_both_and_is_resumed(ranks: Any) -> None:
    outs, folder = ranks
    path = str(folder / "interrupted" / "last.ckpt")
    assert [out["interrupted"] for out in outs] == [(4, path), (4, path)]
    for out in outs:
        assert differing(out["resumed"]["weights"], out["gan"]["ours"]["weights"]) == []
        assert out["resumed"]["batches"] == 2 * BATCHES - 4


def test_rank_zero_alone_writes(ranks: Any) -> None:
    _, folder = ranks
    assert [p.name for p in (folder / "interrupted").iterdir()] == ["last.ckpt"]
    events = [p.name.split(".") for p in (folder / "log").glob("events*")]
    assert len({e[-2] for e in events}) == 1  # the process id in the name


def pair(folder: Path, kind: str) -> list[int | None]:
    """Run two processes to their end; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [CONTEXT.Process(target=rank, args=(number, port, str(folder), kind)) for number in (0, 1)]
    for process in both:
        process.start()
    deadline = time.monotonic() + 60
    for process in both:
        process.join(max(0, deadline - time.monotonic()))
    hung = [process for process in both if process.is_alive()]
    for process in hung:
        process.kill()
        process.join()
    assert not hung, f"{kind}: a process did not end"
    return [process.exitcode for process in both]


def test_killed_and_resumed_ends_with_the_weights_of_the_unbroken_run(tmp_path: Path) -> None:
    assert pair(tmp_path, "killed") == [-signal.SIGKILL] * 2
    assert (tmp_path / "last.ckpt").exists()
    assert pair(tmp_path, "resumed") == [0, 0]
    assert pair(tmp_path, "unbroken") == [0, 0]
    for number in (0, 1):
        resumed, unbroken = (torch.load(tmp_path / f"{kind}.{number}.pt") for kind in ("resumed", "unbroken"))
        assert differing(resumed["weights"], unbroken["weights"]) == []
        assert resumed["batches"] < unbroken["batches"]
        # Where there is no terminal nobody says a word; torch itself remarks on the GAN's turns.
        lines = (tmp_path / f"stderr.{number}").read_text().splitlines()
        assert [line for line in lines if "reducer.cpp" not in line] == []


def test_a_loss_that_is_not_finite_in_one_process_ends_both(tmp_path: Path) -> None:
    assert pair(tmp_path, "broken") == [1, 1]
    errors = [(tmp_path / f"stderr.{number}").read_text() for number in (0, 1)]
    assert "the loss is nan at step 2 with learning rate 0.01" in errors[1]


@pytest.mark.parametrize(("number", "heard"), [("0", "a line\n"), ("1", "")])
def test_the_first_process_alone_speaks(
    number: str, heard: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", number)
    monkeypatch.setattr(say.logger, "handlers", [])
    monkeypatch.setattr(say.logger, "propagate", False)
    level = say.logger.level
    say.speak()
    say.say("a line")
    say.logger.setLevel(level)
    assert capsys.readouterr() == ("", heard)


def test_environment_is_clean() -> None:
    assert "RANK" not in os.environ and not torch.distributed.is_initialized()
