"""Small modules, loaders and runs for the trainer's tests; imported by their child processes too."""

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from zoo.training import TensorLoader, TrainConfig, fit

ROWS, FEATURES, BATCH = 90, 5, 12  # eight batches an epoch, the last of six rows


def tensors(rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Features (rows, 5) and their noisy sum (rows, 1); always the same."""
    rng = torch.Generator().manual_seed(99)
    x = torch.randn(rows, FEATURES, generator=rng)
    return x, x.sum(1, keepdim=True) + 0.1 * torch.randn(rows, 1, generator=rng)


class Regressor(pl.LightningModule):
    """One optimizer, dropout (draws from the global generator), batch norm (buffers), a schedule."""

    def __init__(self, *, learning_rate: float = 0.01, dropout: float = 0.2, stop_at: tuple[int, int] | None = None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.net = nn.Sequential(
                nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1)
            )
        self.learning_rate = learning_rate
        self.stop_at = stop_at  # (step, signal that this process sends itself as the step begins)
        self.seen: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        _send(self, self.stop_at)
        x, y = batch  # (B, 5), (B, 1)
        self.seen.append(x[:, 0].detach().clone())
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x), y), batch_size=len(x))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class Gan(pl.LightningModule):
    """Two optimizers stepped by hand, noise from the global generator."""

    def __init__(self, *, stop_at: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.generator = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, FEATURES))
            self.critic = nn.Sequential(nn.Linear(FEATURES, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        self.stop_at = stop_at
        self.seen: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        steps = self.global_step // 2  # Lightning counts each optimizer's
        if self.stop_at is not None and steps >= self.stop_at[0]:
            os.kill(os.getpid(), self.stop_at[1])
        real = batch[0]  # (B, 5)
        self.seen.append(real[:, 0].detach().clone())
        first, second = self.optimizers()  # type: ignore[misc]
        fake = self.generator(torch.randn(len(real), 3, device=real.device))  # (B, 5)
        loss = F.softplus(self.critic(fake.detach())).mean() + F.softplus(-self.critic(real)).mean()
        self._step(first, loss, self.critic)
        self._step(second, F.softplus(-self.critic(fake)).mean(), self.generator)

    def _step(self, optimizer: Any, loss: Tensor, network: nn.Module) -> None:
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.untoggle_optimizer(optimizer)

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.critic.parameters(), 0.01, betas=(0.5, 0.9)),
            torch.optim.Adam(self.generator.parameters(), 0.01, betas=(0.5, 0.9)),
        ]


def _send(module: Regressor, stop_at: tuple[int, int] | None) -> None:
    if stop_at is not None and module.global_step >= stop_at[0]:
        module.stop_at = None
        os.kill(os.getpid(), stop_at[1])


class Stream(IterableDataset):
    """Rows of unknown number, each shifted by a draw from the global generator."""

    def __iter__(self) -> Any:
        for x, y in zip(*tensors(), strict=True):
            yield x + 0.01 * torch.randn(FEATURES), y


class Stateful:
    """Batches of unknown number that keep their own position, each shifted by a draw from the global generator."""

    def __init__(self) -> None:
        self.position = 0
        self.next_position = 0

    def __iter__(self) -> Any:
        x, y = tensors()
        self.position, self.next_position = self.next_position, 0
        while self.position * BATCH < ROWS:
            rows = slice(self.position * BATCH, (self.position + 1) * BATCH)
            self.position += 1
            yield x[rows] + 0.01 * torch.randn(FEATURES), y[rows]

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position % -(-ROWS // BATCH)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next_position = state["position"]


def loader(kind: str) -> Any:
    """Training batches in one of the forms that the trainer takes."""
    match kind:
        case "DataLoader":
            return DataLoader(TensorDataset(*tensors()), BATCH, shuffle=True)
        case "DataLoader with a generator":
            return DataLoader(
                TensorDataset(*tensors()), BATCH, shuffle=True, generator=torch.Generator().manual_seed(5)
            )
        case "DataLoader with workers":
            return DataLoader(TensorDataset(*tensors()), BATCH, shuffle=True, num_workers=1)
        case "IterableDataset":
            return DataLoader(Stream(), BATCH)
        case "stateful":
            return Stateful()
        case "TensorLoader":
            return TensorLoader(tensors(), BATCH, seed=3)
    raise AssertionError(kind)


class Data:
    """Training and validation loaders together."""

    def __init__(self, kind: str = "TensorLoader") -> None:
        self.kind = kind

    def train_dataloader(self) -> Any:
        return loader(self.kind)

    def val_dataloader(self) -> Any:
        return TensorLoader(tensors(20), 10, shuffle=False)


MODULES: dict[str, Any] = {"regressor": Regressor, "gan": Gan}


def stock(module: pl.LightningModule, data: Any, *, seed: int, epochs: int, **options: Any) -> None:
    """Train with Lightning alone, as its documentation shows; leaves no trace in the environment."""
    before = dict(os.environ)
    options = {"accelerator": "cpu", "devices": 1, **options}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pl.seed_everything(seed, verbose=False)
            pl.Trainer(
                max_epochs=epochs,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                **options,
            ).fit(module, data)
    finally:
        os.environ.clear()
        os.environ.update(before)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in module.state_dict().items()}


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not equal bit for bit."""
    assert a.keys() == b.keys()
    return [n for n in a if not torch.equal(a[n], b[n])]


def child_fit(
    module: str, kind: str, stop_at: tuple[int, int] | None, config: dict[str, Any], tty: str | None, out: str
) -> None:
    """What a child process does: train, with standard error in a file (or on a terminal), and keep the weights."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    target = os.open(tty or f"{out}/stderr", os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, 0o600)
    os.dup2(target, 2)
    os.dup2(target, 1)
    torch.set_num_threads(1)
    made = MODULES[module](stop_at=stop_at)
    fit(made, Data(kind) if config.get("patience") else loader(kind), TrainConfig(**config), seed=7)
    torch.save(weights(made), Path(out) / "weights.pt")
