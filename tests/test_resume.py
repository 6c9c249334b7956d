"""What outlives a process: checkpoints, resuming after a kill, Ctrl-C, a full disk; each in a real child process.

The children are forked from a server that has imported the trainer once, so that each costs milliseconds.
"""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_modules import MODULES, Data, Gan, Regressor, child_fit, differing, loader, weights

from zoo.errors import TrainingError
from zoo.training import TrainConfig, TrainingInterrupted, fit
from zoo.training.resume import read_checkpoint

pytestmark = pytest.mark.xdist_group("resume")  # one server of children for all

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training_modules", "zoo.training.trainer"])
BATCHES = 8  # an epoch, see training_modules
SEED = 7  # child_fit's


def child(target: Callable[..., None], *args: Any, timeout: float = 60) -> int:
    """Run a function in a child process to its end; its exit code, negative for a signal."""
    process = CONTEXT.Process(target=target, args=args)
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        pytest.fail(f"{target.__name__} did not end within {timeout} s")
    assert process.exitcode is not None
    return process.exitcode


def run(folder: Path, module: str, kind: str, stop_at: tuple[int, int] | None, **config: Any) -> int:
    return child(child_fit, module, kind, stop_at, config, None, str(folder))


def unbroken(module: str, kind: str, **config: Any) -> dict[str, torch.Tensor]:
    made = MODULES[module]()
    fit(made, Data(kind) if config.get("patience") else loader(kind), TrainConfig(**config), seed=SEED)
    return weights(made)


# What trains, on which loader, how; at which step the checkpoint is made; at which step the process is killed.
CASES = {
    "plain": ("regressor", "DataLoader", {"epochs": 3}, 11, 13),
    "at the end of an epoch": ("regressor", "DataLoader", {"epochs": 3}, 8, 13),
    "average": ("regressor", "TensorLoader", {"epochs": 3, "ema_decay": 0.9}, 11, 13),
    "two optimizers": ("gan", "DataLoader", {"epochs": 3}, 11, 14),
    "two optimizers, average, clipped": (
        "gan",
        "TensorLoader",
        {"epochs": 3, "ema_decay": 0.9, "gradient_clip": 0.1},
        11,
        13,
    ),
    "early stopping": ("regressor", "TensorLoader", {"epochs": 3, "patience": 1, "ema_decay": 0.9}, 11, 13),
    "accumulated": ("regressor", "DataLoader", {"epochs": 3, "accumulate": 3}, 4, 5),
    "bf16": ("regressor", "DataLoader", {"epochs": 3, "precision": "bf16"}, 11, 13),
    "a generator of its own": ("regressor", "DataLoader with a generator", {"epochs": 3}, 11, 13),
    "workers": ("regressor", "DataLoader with workers", {"epochs": 2}, 3, 5),
    "unknown length": ("regressor", "IterableDataset", {"epochs": 3}, 11, 13),
    "own state, unknown length": ("regressor", "stateful", {"epochs": 3}, 11, 13),
    "own state, unknown length, at the end of an epoch": ("regressor", "stateful", {"epochs": 3}, 8, 13),
    "unknown length, at the end of an epoch": ("regressor", "IterableDataset", {"epochs": 3}, 8, 13),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_ends_with_the_weights_of_the_unbroken_run(case: str, tmp_path: Path) -> None:
    module, kind, config, saved, killed = CASES[case]
    kept = {**config, "checkpoint_dir": str(tmp_path), "checkpoint_steps": saved}
    assert run(tmp_path, module, kind, (killed, signal.SIGKILL), **kept) == -signal.SIGKILL
    assert not (tmp_path / "weights.pt").exists()
    steps = read_checkpoint(tmp_path / "last.ckpt")["callbacks"]["Steps"]["steps"]
    assert steps == saved
    resumed = MODULES[module]()
    data = Data(kind) if config.get("patience") else loader(kind)
    result = fit(resumed, data, TrainConfig(**kept, resume=True), seed=SEED)
    assert differing(weights(resumed), unbroken(module, kind, **config)) == []
    assert result.epochs == config["epochs"]
    each = config.get("accumulate", 1)
    epochs, steps = divmod(saved, -(-BATCHES // each))
    trained = epochs * BATCHES + steps * each
    assert len(resumed.seen) == config["epochs"] * BATCHES - trained  # nothing is trained on twice


def test_killed_twice_and_resumed(tmp_path: Path) -> None:
    config = {"epochs": 3, "checkpoint_dir": str(tmp_path), "checkpoint_steps": 5, "resume": True}
    assert run(tmp_path, "regressor", "DataLoader", (7, signal.SIGKILL), **config) == -signal.SIGKILL
    assert run(tmp_path, "regressor", "DataLoader", (18, signal.SIGKILL), **config) == -signal.SIGKILL
    assert run(tmp_path, "regressor", "DataLoader", None, **config) == 0
    made = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert differing(made, unbroken("regressor", "DataLoader", epochs=3)) == []


def test_a_finished_run_is_resumed_to_more_epochs(tmp_path: Path) -> None:
    config = {"checkpoint_dir": str(tmp_path), "resume": True}
    fit(Regressor(), loader("DataLoader"), TrainConfig(epochs=1, **config), seed=SEED)
    module = Regressor()
    result = fit(module, loader("DataLoader"), TrainConfig(epochs=3, **config), seed=SEED)
    assert (result.steps, len(module.seen)) == (3 * BATCHES, 2 * BATCHES)
    assert differing(weights(module), unbroken("regressor", "DataLoader", epochs=3)) == []
    for limit in ({"epochs": 3}, {"epochs": 9, "max_steps": 3 * BATCHES}):  # there is nothing left to do
        again = Regressor()
        result = fit(again, loader("DataLoader"), TrainConfig(**limit, **config), seed=SEED)
        assert (result.steps, result.stopped_by, again.seen) == (3 * BATCHES, list(limit)[-1], [])
        assert differing(weights(module), weights(again)) == []


def test_cut_by_time_and_resumed(tmp_path: Path) -> None:
    config = {"epochs": 2, "checkpoint_dir": str(tmp_path), "resume": True}
    first = fit(Gan(), loader("DataLoader"), TrainConfig(**config, max_minutes=1e-9), seed=SEED)
    assert first.stopped_by == "max_minutes"
    module = Gan()
    result = fit(module, loader("DataLoader"), TrainConfig(**config), seed=SEED)
    assert result.seconds > first.seconds and result.steps == 2 * BATCHES
    assert differing(weights(module), unbroken("gan", "DataLoader", epochs=2)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_interrupted_in_mid_training_leaves_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    config = {"max_minutes": 5, "epochs": 100_000, "checkpoint_dir": str(tmp_path)}
    process = CONTEXT.Process(target=child_fit, args=("regressor", "DataLoader", None, config, None, str(tmp_path)))
    process.start()
    assert process.pid is not None
    # A run that is under way has this signal's handler in place; the curve tells that it is.
    deadline = time.monotonic() + 60
    while not _trains(process.pid, number) and time.monotonic() < deadline:
        time.sleep(0.02)
    sent = time.monotonic()
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 1, "it did not end"
    assert time.monotonic() - sent < 10
    message = (tmp_path / "stderr").read_text()
    assert "training was interrupted after step" in message and "resume=True" in message
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    steps = checkpoint["callbacks"]["Steps"]["steps"]
    assert steps >= 1
    config = {"max_steps": steps + 3, "checkpoint_dir": str(tmp_path), "resume": True}
    module = Regressor()
    assert fit(module, loader("DataLoader"), TrainConfig(**config), seed=SEED).steps == steps + 3
    assert len(module.seen) == 3


def _trains(pid: int, number: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1) and _cpu(pid) > 0.3


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("module", ["regressor", "gan"])
def test_interrupt_says_what_was_learned(module: str, tmp_path: Path) -> None:
    config = {"epochs": 3, "checkpoint_dir": str(tmp_path)}
    made = MODULES[module](stop_at=(10, signal.SIGINT))
    with pytest.raises(TrainingInterrupted, match="interrupted after step 11; go on with checkpoint_dir=") as caught:
        fit(made, loader("DataLoader"), TrainConfig(**config), seed=SEED)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (caught.value.result.steps, caught.value.result.stopped_by) == (11, "interrupt")
    resumed = MODULES[module]()
    fit(resumed, loader("DataLoader"), TrainConfig(**config, resume=True), seed=SEED)
    assert differing(weights(resumed), unbroken(module, "DataLoader", epochs=3)) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_interrupt_without_a_folder_leaves_a_rescue_checkpoint() -> None:
    with pytest.raises(TrainingInterrupted) as caught:
        fit(Regressor(stop_at=(3, signal.SIGINT)), loader("DataLoader"), TrainConfig(epochs=2), seed=SEED)
    path = Path(str(caught.value.result.checkpoint))
    assert read_checkpoint(path)["callbacks"]["Steps"]["steps"] == 4
    path.unlink()
    path.parent.rmdir()


class Twice(Regressor):
    """Sends itself a second Ctrl-C before the step that the first one waits for has ended."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(Twice(), loader("DataLoader"), TrainConfig(epochs=2, checkpoint_dir=str(tmp_path)))
    assert not isinstance(caught.value, TrainingInterrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_tensors_and_plain_data(tmp_path: Path) -> None:
    class Parameters(Regressor):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"path": Path("x")})  # of a class that no safe reader admits

    config = TrainConfig(epochs=2, checkpoint_dir=str(tmp_path), ema_decay=0.9, patience=2, precision="bf16")
    fit(Parameters(), Data(), config)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)

    def check(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                assert isinstance(key, (str, int))
                check(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                check(item)
        else:
            assert value is None or isinstance(value, (bool, int, float, str, torch.Tensor)), type(value)

    check(checkpoint)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_an_old_checkpoint_that_is_not_resumed_is_kept(tmp_path: Path) -> None:
    fit(Regressor(), loader("DataLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path)), seed=1)
    old = (tmp_path / "last.ckpt").read_bytes()
    result = fit(Regressor(), loader("DataLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path)), seed=2)
    assert (tmp_path / "previous.ckpt").read_bytes() == old != (tmp_path / "last.ckpt").read_bytes()
    assert (result.checkpoint, result.steps) == (str(tmp_path / "last.ckpt"), BATCHES)


class Descending(Regressor):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def _resume(folder: Path, module: Any, data: Any, seed: int = SEED, **config: Any) -> None:
    fit(module, data, TrainConfig(**{"epochs": 2, "checkpoint_dir": str(folder), "resume": True, **config}), seed=seed)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    fit(Regressor(), loader("TensorLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path)), seed=SEED)
    with pytest.raises(TrainingError, match="seed 7 and this run has 8; resume with the same"):
        _resume(tmp_path, Regressor(), loader("TensorLoader"), seed=8)
    with pytest.raises(TrainingError, match="accumulate 1 and this run has 2"):
        _resume(tmp_path, Regressor(), loader("TensorLoader"), accumulate=2)
    with pytest.raises(TrainingError, match="num_rows=90 and this run has num_rows=20"):
        _resume(tmp_path, Regressor(), Data().val_dataloader())
    with pytest.raises(TrainingError, match=r"last\.ckpt does not fit this model: it has no tensor 'generator"):
        _resume(tmp_path, Gan(), loader("TensorLoader"))
    wider = Regressor()
    wider.net[4] = torch.nn.Linear(16, 2)
    with pytest.raises(TrainingError, match=r"does not fit .*'net.4.weight' is \(1, 16\) there and \(2, 16\) here"):
        _resume(tmp_path, wider, loader("TensorLoader"))
    with pytest.raises(TrainingError, match=r"ema_decay None and this run has 0\.9"):
        _resume(tmp_path, Regressor(), loader("TensorLoader"), ema_decay=0.9)
    with pytest.raises(TrainingError, match=r"does not fit the 1 optimizer\(s\) of this run \(options of another"):
        _resume(tmp_path, Descending(), loader("TensorLoader"))


@pytest.mark.parametrize("damage", ["truncated", "text", "other"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    fit(Regressor(), loader("TensorLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path)), seed=SEED)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({"a": 1}, path)
    with pytest.raises(TrainingError, match=r"last\.ckpt.*delete it, or train with resume=False"):
        _resume(tmp_path, Regressor(), loader("TensorLoader"))


def _on_a_full_disk(folder: str) -> None:
    """No file may grow beyond what is left: every write of a checkpoint fails in the middle."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        fit(Regressor(), loader("TensorLoader"), TrainConfig(epochs=3, checkpoint_dir=folder, resume=True), seed=SEED)
    except TrainingError as error:
        sys.exit(0 if f"cannot write the checkpoint {folder}/last.ckpt" in str(error) else f"wrong message: {error}")
    sys.exit("no error")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    fit(Regressor(), loader("TensorLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path)), seed=SEED)
    old = (tmp_path / "last.ckpt").read_bytes()
    assert len(old) > 5000
    assert child(_on_a_full_disk, str(tmp_path)) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == old


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    module = Regressor()
    with pytest.raises(TrainingError, match=r"cannot write checkpoints to .*sub: .*; choose another checkpoint_dir"):
        fit(module, loader("TensorLoader"), TrainConfig(epochs=1, checkpoint_dir=str(tmp_path / "file" / "sub")))
    assert module.seen == []  # said at the start


def test_the_bar_shows_on_a_terminal_alone(tmp_path: Path) -> None:
    main, terminal = os.openpty()
    config = {"epochs": 2}
    code = child(child_fit, "regressor", "TensorLoader", None, config, os.ttyname(terminal), str(tmp_path))
    os.set_blocking(main, False)
    shown = os.read(main, 1_000_000).decode()
    os.close(main)
    os.close(terminal)
    assert code == 0
    for part in ("epoch 2/2", "16/16", "steps/s", "left", "loss"):
        assert part in shown
    assert run(tmp_path, "regressor", "TensorLoader", None, **config) == 0
    assert (tmp_path / "stderr").read_text() == ""


def _without_tensorboard(links: str, folder: str) -> None:
    assert not any(m.split(".")[0] == "tensorboard" for m in sys.modules)
    sys.path[:] = [links if p.endswith("site-packages") else p for p in sys.path]
    sys.path_importer_cache.clear()
    fit(Regressor(), Data(), TrainConfig(epochs=7, log_dir=folder))


def test_curves_are_csv_where_tensorboard_is_not_installed(tmp_path: Path) -> None:
    # The same packages through links, without one of them: it is not installed there.
    links = tmp_path / "site-packages"
    links.mkdir()
    for entry in Path(torch.__file__).parents[1].iterdir():
        if not entry.name.startswith("tensorboard"):
            (links / entry.name).symlink_to(entry)
    assert child(_without_tensorboard, str(links), str(tmp_path / "log")) == 0
    rows = (tmp_path / "log" / "metrics.csv").read_text().splitlines()
    assert set(rows[0].split(",")) >= {"loss", "learning_rate", "epoch_loss", "val_loss", "step"}
    assert len(rows) > 8
    assert not list((tmp_path / "log").glob("events*"))
