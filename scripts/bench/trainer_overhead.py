"""What the common trainer adds to a step: ``zoo.training.fit`` against a bare torch loop of the same model.

    python scripts/bench/trainer_overhead.py [rounds]

The model is a variational autoencoder of the size that tables get (three layers of 128), the data has the shape of the
encoded Adult table, 32,561 × 100 floats, the batch is 500 rows. Both train on one thread from the same weights; both
index whole batches from one tensor. A step costs the processor time from the beginning of one epoch to the beginning
of another, divided by the steps between, so that what happens between epochs counts and what happens before the
first does not. The bare loop runs as in a process that never imported Lightning, whose import makes each step of an
optimizer dearer on a machine without a GPU (an environment variable). Processor time and not the clock, because
others may use the machine; the two sides take turns, and the ratio is the median over the rounds.
"""

import os
import statistics
import sys
import time
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.training import TensorLoader, TrainConfig, fit

ROWS, WIDTH, BATCH, HIDDEN, LATENT = 32_561, 100, 500, 128, 128
STEPS = -(-ROWS // BATCH)  # an epoch
EPOCHS = 2  # those that are timed; one more comes before them
ROUNDS = 15


class Autoencoder(nn.Module):
    """Two hidden layers on each side; the loss is the reconstruction's plus the divergence's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)
        )

    def loss(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)  # (B, LATENT) each
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()  # (B, LATENT)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum() / len(x)
        return F.mse_loss(self.decoder(z), x, reduction="sum") / len(x) + divergence

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3, weight_decay=1e-5)


class Module(pl.LightningModule):
    """The same loss under Lightning, and the time at which each epoch begins."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network
        self.begins: list[float] = []

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self.begins.append(time.process_time())
        return self.network.loss(batch[0])

    def configure_optimizers(self) -> Any:
        return self.network.optimizer()


def bare(network: Autoencoder, x: Tensor) -> float:
    """Seconds a step of a plain loop."""
    optimizer, begins = network.optimizer(), []
    for _ in range(EPOCHS + 2):
        for k, rows in enumerate(torch.randperm(len(x)).split(BATCH)):
            batch = x.index_select(0, rows)  # (B, WIDTH)
            if k == 0:
                begins.append(time.process_time())
                if len(begins) == EPOCHS + 2:
                    return (begins[-1] - begins[1]) / (EPOCHS * STEPS)
            loss = network.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    raise AssertionError("the last epoch did not begin")


def trained(network: Autoencoder, x: Tensor) -> float:
    """Seconds a step of the common trainer."""
    module = Module(network)
    config = TrainConfig(max_steps=(EPOCHS + 1) * STEPS + 1, accelerator="cpu", num_threads=1, progress=False)
    fit(module, TensorLoader([x], BATCH), config)
    return (module.begins[-1] - module.begins[1]) / (EPOCHS * STEPS)


def benchmark_trainer(rounds: int = ROUNDS) -> dict[str, float]:
    """Measure both sides in turn.

    Returns
    -------
    dict
        ``ratio``, the median over the rounds of the trainer's time a step by the bare loop's; ``bare_ms`` and
        ``fit_ms``, the medians of the two in milliseconds of processor time; ``spread``, the interquartile range of
        the ratios.
    """
    threads, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(1)
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    try:
        torch.manual_seed(0)
        x, network = torch.randn(ROWS, WIDTH), Autoencoder()
        start = {n: t.clone() for n, t in network.state_dict().items()}
        times: dict[Any, list[float]] = {bare: [], trained: []}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(rounds):
                for side in (bare, trained) if number % 2 else (trained, bare):
                    network.load_state_dict(start)
                    times[side].append(side(network, x))
    finally:
        torch.set_num_threads(threads)
        os.environ.update(environment)
    ratios = [b / a for a, b in zip(times[bare], times[trained], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "ratio": statistics.median(ratios),
        "bare_ms": 1000 * statistics.median(times[bare]),
        "fit_ms": 1000 * statistics.median(times[trained]),
        "spread": high - low,
    }


if __name__ == "__main__":
    print({k: round(v, 3) for k, v in benchmark_trainer(*map(int, sys.argv[1:2])).items()})
