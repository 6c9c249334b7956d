"""A generator as an endless stream of training batches: no file, no more than a block in memory.

    python examples/dataloader.py

Two workers of a ``DataLoader`` share the stream; no row repeats. A small network learns from it to tell incomes apart
and is tested on real rows.
"""

import argparse
import itertools

import torch
from torch import nn
from torch.utils.data import DataLoader

import zoo


def main(name: str = "tabular/tvae/adult_sample", steps: int = 300, workers: int = 2) -> dict[str, float]:
    """Train on the stream; returns the accuracy on real rows and that of always saying the commonest class."""
    torch.manual_seed(0)
    generator = zoo.load(name)
    columns = ["age", "education_num", "hours_per_week", "capital_gain", "marital_status", "sex"]
    # Columns with missing values stay out: a batch of tensors cannot hold None.
    stream = generator.to_iterable_dataset(seed=0).select_columns([*columns, "income"]).with_format("torch")
    loader = DataLoader(stream, batch_size=256, num_workers=workers)

    def inputs(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([batch[c].float() for c in columns], dim=1)  # (B, 6)

    model = nn.Sequential(nn.BatchNorm1d(len(columns)), nn.Linear(len(columns), 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for batch in itertools.islice(loader, steps):
        loss = nn.functional.cross_entropy(model(inputs(batch)), batch["income"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    # Real rows in the same form: the generator's schema turns categories into the same codes.
    test = zoo.load_dataset("adult_sample", "test")
    features = generator.form.features(generator.schema)
    real = {c: torch.tensor(_codes(test[c], features[c])) for c in [*columns, "income"]}
    with torch.inference_mode():
        accuracy = (model.eval()(inputs(real)).argmax(1) == real["income"]).float().mean().item()
    commonest = real["income"].bincount().max().item() / len(test)
    print(f"accuracy on real rows: {accuracy:.3f} (always the commonest class: {commonest:.3f})")
    return {"accuracy": accuracy, "commonest": commonest}


def _codes(values, feature):  # type: ignore[no-untyped-def]
    return feature.str2int(values.tolist()) if hasattr(feature, "str2int") else values.to_numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    main(steps=parser.parse_args().steps)
