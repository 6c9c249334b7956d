"""The common trainer in one process: equal to stock Lightning, and each of its promises beyond that."""

import copy
import math
import os
import random
import re
import signal
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training_modules import BATCH, MODULES, Data, Gan, Regressor, differing, loader, stock, tensors, weights

from zoo.errors import ConfigError, TrainingError
from zoo.training import TensorDataModule, TensorLoader, TrainConfig, fit, is_main_process

BATCHES = 8  # an epoch, see training_modules


@pytest.mark.parametrize("name", ["regressor", "gan"])
@pytest.mark.parametrize("kind", ["DataLoader", "TensorLoader"])
def test_one_process_is_stock_lightning_bit_for_bit(name: str, kind: str) -> None:
    ours, theirs = MODULES[name](), MODULES[name]()
    start = weights(ours)
    result = fit(ours, loader(kind), TrainConfig(epochs=3, accelerator="cpu"), seed=11)
    stock(theirs, loader(kind), seed=11, epochs=3)
    assert differing(weights(ours), weights(theirs)) == []
    assert differing(start, weights(ours)) != []
    assert (result.steps, result.epochs, result.stopped_by) == (3 * BATCHES, 3, "epochs")
    assert (result.world_size, result.device, result.precision) == (1, "cpu", "32")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"gradient_clip": 0.05}, {"gradient_clip_val": 0.05}),
        ({"accumulate": 3}, {"accumulate_grad_batches": 3}),
        ({"precision": "bf16"}, {"precision": "bf16-mixed"}),
    ],
    ids=str,
)
def test_options_are_stock_lightnings(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    module, reference = Regressor(), Regressor()
    result = fit(module, loader("DataLoader"), TrainConfig(epochs=2, **ours), seed=5)
    stock(reference, loader("DataLoader"), seed=5, epochs=2, **theirs)
    assert differing(weights(module), weights(reference)) == []
    plain = Regressor()
    fit(plain, loader("DataLoader"), TrainConfig(epochs=2), seed=5)
    assert differing(weights(module), weights(plain)) != []  # the option acts
    assert result.precision == ours.get("precision", "32")


def test_validation_changes_nothing_and_is_recorded() -> None:
    with_validation, without = Regressor(), Regressor()
    result = fit(with_validation, Data(), TrainConfig(epochs=2), seed=3)
    fit(without, loader("TensorLoader"), TrainConfig(epochs=2), seed=3)
    assert differing(weights(with_validation), weights(without)) == []
    assert set(result.metrics) >= {"loss", "val_loss"}
    assert all(math.isfinite(v) for v in result.metrics.values())


class Line(pl.LightningModule):
    """One weight, plain gradient descent: everything can be computed by hand."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.rate = rate
        self.trace: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.trace.append(self.weight.item())
        return (self.weight - batch[0]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", (self.weight - batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.rate)


def column(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(values)[:, None]]


def test_ema_against_hand_computation() -> None:
    module = Line()
    fit(module, TensorDataModule(column(1.0, 1.0), 1), TrainConfig(epochs=3, ema_decay=0.7))
    weight, average = 0.0, 0.0
    for _ in range(6):
        weight -= 0.1 * 2 * (weight - 1.0)
        average = 0.7 * average + 0.3 * weight
    assert module.weight.item() == pytest.approx(average, abs=1e-6)


def test_clipping_limits_each_step_of_both_kinds_of_module() -> None:
    module = Line()
    fit(module, TensorDataModule(column(100.0), 1), TrainConfig(epochs=3, gradient_clip=0.5))
    assert module.weight.item() == pytest.approx(3 * 0.1 * 0.5, abs=1e-6)
    module = LineByHand()
    fit(module, TensorDataModule(column(100.0), 1), TrainConfig(epochs=3, gradient_clip=0.5))
    assert module.weight.item() == pytest.approx(3 * 0.1 * 0.5, abs=1e-6)


class LineByHand(Line):
    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward((self.weight - batch[0]).square().mean())
        optimizer.step()


def test_accumulation_equals_a_larger_batch() -> None:
    few, many = Regressor(dropout=0.0), Regressor(dropout=0.0)
    for module in (few, many):
        module.net[1] = nn.Identity()  # batch norm is of a batch; the mean over a larger one is another
    x, y = tensors(80)
    small = fit(few, TensorLoader([x, y], 10, seed=1), TrainConfig(epochs=2, accumulate=4))
    large = fit(many, TensorLoader([x, y], 40, seed=1), TrainConfig(epochs=2))
    assert small.steps == large.steps == 4
    for name, tensor in weights(few).items():
        torch.testing.assert_close(tensor, weights(many)[name], atol=1e-5, rtol=1e-4)
    assert small.metrics["loss"] == pytest.approx(large.metrics["loss"], rel=1e-4)  # not divided by 4


def test_accumulation_with_optimizers_by_hand_is_refused() -> None:
    with pytest.raises(ConfigError, match="accumulate=2 does not work with Gan"):
        fit(Gan(), loader("DataLoader"), TrainConfig(epochs=1, accumulate=2))


def test_early_stopping_restores_the_best_weights() -> None:
    # Trains towards 1 and is validated at 0.5: the loss falls, then rises for ever.
    module = Line(rate=0.05)
    data = TensorDataModule(column(1.0), 1, validation=column(0.5))
    result = fit(module, data, TrainConfig(epochs=100, patience=3))
    weight, scores = 0.0, []
    for _ in range(result.epochs):
        weight -= 0.05 * 2 * (weight - 1.0)
        scores.append((abs(weight - 0.5), weight))
    best = scores.index(min(scores))
    assert result.stopped_by == "early_stopping"
    assert result.epochs == best + 1 + 3
    assert module.weight.item() == pytest.approx(scores[best][1], abs=1e-6)


def test_early_stopping_watches_the_average_where_there_is_one() -> None:
    module = Line(rate=0.05)
    data = TensorDataModule(column(1.0), 1, validation=column(0.5))
    fit(module, data, TrainConfig(epochs=100, patience=2, ema_decay=0.9))
    weight, average, scores = 0.0, 0.0, []
    for _ in range(40):
        weight -= 0.05 * 2 * (weight - 1.0)
        average = 0.9 * average + 0.1 * weight
        scores.append((abs(average - 0.5), average))
    assert module.weight.item() == pytest.approx(min(scores)[1], abs=1e-6)


def test_early_stopping_without_validation_watches_the_training_loss() -> None:
    result = fit(Line(rate=1.5), TensorDataModule(column(1.0), 1), TrainConfig(epochs=20, patience=2))
    assert (result.stopped_by, result.epochs) == ("early_stopping", 3)  # it diverges: the first epoch is the best


def test_monitor_that_nobody_logs_is_refused_with_the_nearest() -> None:
    data = TensorDataModule(column(1.0), 1, validation=column(0.5))
    with pytest.raises(TrainingError, match=r"watches 'val_los', which the module did not log; did you mean 'val_loss"):
        fit(Line(), data, TrainConfig(epochs=2, patience=1), monitor="val_los")


def test_max_steps_and_its_remainder_of_an_epoch() -> None:
    module = Regressor()
    result = fit(module, loader("TensorLoader"), TrainConfig(max_steps=BATCHES + 3))
    assert (result.steps, result.epochs, result.stopped_by) == (BATCHES + 3, 1, "max_steps")
    assert len(module.seen) == BATCHES + 3
    gan = Gan()
    result = fit(gan, loader("TensorLoader"), TrainConfig(max_steps=5, epochs=10))
    assert (result.steps, len(gan.seen)) == (5, 5)  # a turn of both optimizers is one step


class Scheduled(Regressor):
    """Asks how long the run will be, as warm-up and cosine schedules do."""

    asked: int | float

    def configure_optimizers(self) -> Any:
        self.asked = self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


def test_schedules_are_told_the_length_of_the_run() -> None:
    for config, steps in (
        ({"max_steps": 5}, 5),
        ({"epochs": 2, "accumulate": 3}, 6),
        ({"epochs": 2, "max_steps": 9}, 9),
    ):
        module = Scheduled()
        result = fit(module, loader("DataLoader"), TrainConfig(**config))
        assert (module.asked, result.steps) == (steps, steps)
        assert result.stopped_by == ("max_steps" if "max_steps" in config else "epochs")


def test_loss_is_the_mean_of_the_epoch_whatever_the_module_logs() -> None:
    class Logging(Line):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss)
            self.log("twice", 2 * loss)
            return loss

    module = Logging(rate=1e-6)
    result = fit(module, TensorDataModule(column(1.0, 2.0), 1, shuffle=False), TrainConfig(epochs=1))
    assert result.metrics == pytest.approx({"loss": 2.5, "twice": 8.0}, rel=1e-4)


def test_max_minutes_makes_one_step_at_least_and_is_recorded(tmp_path: Path) -> None:
    config = TrainConfig(epochs=50, max_minutes=1e-9, checkpoint_dir=str(tmp_path))
    result = fit(Regressor(), loader("TensorLoader"), config)
    assert (result.steps, result.epochs, result.stopped_by) == (1, 0, "max_minutes")
    assert result.as_dict()["stopped_by"] == "max_minutes" and result.as_dict()["steps"] == 1
    assert result.metrics["loss"] > 0
    assert (tmp_path / "last.ckpt").exists()


def test_max_minutes_is_kept() -> None:
    result = fit(Regressor(), loader("TensorLoader"), TrainConfig(max_minutes=0.3 / 60))
    assert result.stopped_by == "max_minutes"
    assert 0.3 <= result.seconds < 3
    assert result.steps > 1


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="give epochs, max_steps or max_minutes"):
        fit(Regressor(), loader("TensorLoader"), TrainConfig())


class Broken(Regressor):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss / 0 if self.global_step == 4 else loss


class BrokenGan(Gan):
    def manual_backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        super().manual_backward(loss * math.nan if len(self.seen) == 5 else loss, *args, **kwargs)


@pytest.mark.parametrize(("made", "value"), [(Broken, "inf"), (BrokenGan, "nan")])
def test_a_loss_that_is_not_finite_names_step_and_learning_rate(made: Any, value: str, tmp_path: Path) -> None:
    module = made()
    config = TrainConfig(epochs=3, checkpoint_dir=str(tmp_path), checkpoint_steps=2)
    expected = rf"the loss is {value} at step 5 with learning rate 0\.01; lower learning_rate"
    with pytest.raises(TrainingError, match=expected):
        fit(module, loader("TensorLoader"), config)
    assert all(bool(torch.isfinite(t).all()) for t in weights(module).values())  # stopped before the update
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]  # of step 4


def test_two_precisions_in_one_process_and_accelerates_state_is_put_back() -> None:
    mine = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=7)
    states = [AcceleratorState._shared_state, GradientState._shared_state, PartialState._shared_state]
    before = [dict(s) for s in states]
    for precision in ("bf16", "32"):
        result = fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=2, precision=precision))
        assert result.precision == precision
        assert [dict(s) for s in states] == before
    assert mine.mixed_precision == "no" and mine.gradient_accumulation_steps == 7
    with pytest.raises(TrainingError):
        fit(Broken(), loader("TensorLoader"), TrainConfig(epochs=1, precision="bf16"))
    assert [dict(s) for s in states] == before
    for state in states:
        state.clear()


def test_what_the_launcher_says_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1)).precision == "bf16"
    assert fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1, precision="32")).precision == "32"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ConfigError, match="mixed precision 'fp8' of accelerate launch is not supported"):
        fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(ConfigError, match="gradient_accumulation_steps=4 and train says accumulate=1"):
        fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1))


def test_what_the_machine_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision='16' needs a GPU"):
        fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1, precision="16", accelerator="cpu"))
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match="accelerator='mps' is not available here; use 'auto' or 'cpu'"):
            fit(Regressor(), loader("TensorLoader"), TrainConfig(max_steps=1, accelerator="mps"))


def test_the_process_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    environment, threads, batch = dict(os.environ), torch.get_num_threads(), tensors()
    fit(Regressor(), loader("DataLoader"), TrainConfig(epochs=1, num_threads=2), seed=4)
    drawn = (random.random(), np.random.random(), torch.rand(3))  # noqa: NPY002
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    fresh = (random.random(), np.random.random(), torch.rand(3))  # noqa: NPY002
    assert drawn[:2] == fresh[:2] and torch.equal(drawn[2], fresh[2])
    assert dict(os.environ) == environment
    assert torch.get_num_threads() == threads
    assert all(torch.equal(a, b) for a, b in zip(batch, tensors(), strict=True))
    assert capfd.readouterr() == ("", "")  # no terminal: not a word


def test_the_module_is_an_ordinary_one_afterwards() -> None:
    module = Regressor()
    fit(module, loader("TensorLoader"), TrainConfig(max_steps=3, precision="bf16"))
    twin = copy.deepcopy(module)
    assert differing(weights(module), weights(twin)) == []
    assert "forward" not in vars(module)
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in module.parameters())
    fit(module, loader("TensorLoader"), TrainConfig(max_steps=3))  # may be trained on
    assert differing(weights(module), weights(twin)) != []


def test_the_seed_decides_the_run() -> None:
    made = [Regressor() for _ in range(3)]
    for module, seed in zip(made, (1, 1, 2), strict=True):
        fit(module, DataLoader(TensorDataset(*tensors()), BATCH, shuffle=True), TrainConfig(epochs=1), seed=seed)
    assert differing(weights(made[0]), weights(made[1])) == []
    assert differing(weights(made[0]), weights(made[2])) != []


def test_training_curves_go_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(Regressor(), Data(), TrainConfig(epochs=7, log_dir=str(tmp_path)), seed=1)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) >= {"loss", "learning_rate", "epoch_loss", "val_loss"}
    assert [e.step for e in events.Scalars("loss")] == [50]
    losses = [e.value for e in events.Scalars("epoch_loss")]
    assert len(losses) == 7 and losses[-1] < losses[0]


def test_the_bar_shows_when_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    fit(Regressor(), loader("TensorLoader"), TrainConfig(epochs=2, progress=True))
    out, err = capfd.readouterr()
    assert out == "" and re.search(r"epoch 2/2 .* 16/16 .* steps/s .* left .* loss", err)


def test_rank_zero_is_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert is_main_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_main_process()


def test_a_run_that_fails_leaves_the_handlers_of_signals_as_they_were() -> None:
    class NoRows:
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            raise RuntimeError("no data today")

    class Broken(Data):
        def train_dataloader(self) -> Any:
            return NoRows()

    class Late(Regressor):
        def training_step(self, *arguments: Any) -> Any:
            raise RuntimeError("no step today")

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for module, data in ((Regressor(), Broken()), (Late(), Data())):
        with pytest.raises((RuntimeError, AttributeError)):  # Lightning's clean-up may raise one of its own
            fit(module, data, TrainConfig(epochs=1))
        assert {number: signal.getsignal(number) for number in before} == before
