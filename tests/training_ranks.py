"""What each process of the several-process tests does; under torchrun this file is the script."""

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from training_modules import MODULES, Data, Gan, Regressor, loader, stock, weights

from zoo.training import TrainConfig, TrainingInterrupted, fit

STOCK = {"regressor": "ddp", "gan": "ddp_find_unused_parameters_true"}


def record(module: Any) -> dict[str, Any]:
    return {"weights": weights(module), "batches": len(module.seen), "rows": torch.cat(module.seen)}


def compare(folder: Path) -> dict[str, Any]:
    """Train in every way that the test looks at; ours and stock Lightning's on the same processes."""
    out: dict[str, Any] = {}
    for name, made in MODULES.items():
        ours, theirs = made(), made()
        result = fit(ours, loader("DataLoader"), TrainConfig(epochs=2), seed=5)
        stock(theirs, loader("DataLoader"), seed=5, epochs=2, devices=2, strategy=STOCK[name])
        out[name] = {"ours": record(ours), "stock": record(theirs), "result": result.as_dict()}

    tensors = Regressor()
    fit(tensors, loader("TensorLoader"), TrainConfig(epochs=1), seed=5)
    out["TensorLoader"] = record(tensors)

    whole, averaged = Regressor(), TrainConfig(epochs=2, ema_decay=0.9, patience=1, accumulate=2)
    fit(whole, Data("DataLoader"), averaged, seed=5)
    out["average and patience"] = record(whole)

    timed = Regressor()
    out["timed"] = fit(timed, loader("DataLoader"), TrainConfig(max_minutes=0.2 / 60), seed=5).as_dict()
    out["timed weights"] = weights(timed)

    # Ctrl-C that reaches one process alone, the one that does not save.
    config = {"epochs": 2, "checkpoint_dir": str(folder / "interrupted"), "log_dir": str(folder / "log")}
    last = int(os.environ["RANK"]) == 1
    try:
        fit(Gan(stop_at=(3, signal.SIGINT) if last else None), loader("DataLoader"), TrainConfig(**config), seed=5)
    except TrainingInterrupted as stopped:
        out["interrupted"] = (stopped.result.steps, stopped.result.checkpoint)
    resumed = Gan()
    fit(resumed, loader("DataLoader"), TrainConfig(**config, resume=True), seed=5)
    out["resumed"] = record(resumed)
    return out


class Broken(Regressor):
    """One process alone meets a loss that is not finite."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if self.global_step == 1 and os.environ["RANK"] == "1" else loss


def rank(number: int, port: int, folder: str, kind: str) -> None:
    """One of two processes started without a launcher's program: its environment is what torchrun sets."""
    os.environ.update(
        RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    log = os.open(f"{folder}/stderr.{number}", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    config = {"epochs": 2, "checkpoint_dir": folder, "checkpoint_steps": 2, "resume": True, "ema_decay": 0.9}
    try:
        if kind == "broken":
            fit(Broken(), loader("DataLoader"), TrainConfig(**config), seed=5)
        module = Gan(stop_at=(5, signal.SIGKILL) if kind == "killed" else None)
        if kind == "unbroken":
            config["checkpoint_dir"] = f"{folder}/unbroken"
        fit(module, loader("DataLoader"), TrainConfig(**config), seed=5)
        torch.save(record(module), f"{folder}/{kind}.{number}.pt")
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # as a launcher does: no waiting for a process that is in a collective


if __name__ == "__main__":
    target = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.save(compare(target), target / f"{os.environ['RANK']}.pt")
