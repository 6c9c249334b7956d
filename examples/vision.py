"""A torchvision classifier short of real images: real only, beside real and synthetic mixed.

    python examples/vision.py --real 5

With a handful of real digits a class, a pretrained generator adds as many as are wanted.
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, TensorDataset
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms import v2

import zoo


class Generated(Dataset):
    """A Hugging Face dataset of samples, as torchvision's models want it."""

    def __init__(self, samples) -> None:  # type: ignore[no-untyped-def]
        to_tensor = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
        self.images = torch.stack([to_tensor(row["image"].convert("L")) for row in samples])  # (N, 1, H, W)
        self.labels = torch.tensor(samples["label"])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[i], self.labels[i]


def fit(data: Dataset, test: TensorDataset, steps: int) -> float:
    """Train a small ShuffleNet on images that are moved a little, as one does with few; accuracy on the test images."""
    torch.manual_seed(0)
    move = v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1))
    model = nn.Sequential(
        v2.Resize(32), v2.Lambda(lambda x: x.expand(-1, 3, -1, -1)), shufflenet_v2_x0_5(num_classes=10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    done = 0
    while done < steps:
        for images, labels in DataLoader(data, batch_size=min(64, len(data)), shuffle=True, drop_last=True):  # type: ignore[arg-type]
            loss = nn.functional.cross_entropy(model.train()(move(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == steps:
                break
    with torch.inference_mode():
        predicted = torch.cat([model.eval()(x).argmax(1) for x, _ in DataLoader(test, batch_size=256)])
    return (predicted == test.tensors[1]).float().mean().item()


def main(real_a_class: int = 5, synthetic: int = 2000, steps: int = 250) -> dict[str, float]:
    """Accuracy of real only and of real and synthetic mixed."""
    train, test = zoo.load_dataset("digits"), zoo.load_dataset("digits", "test")
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:real_a_class] for c in range(10)])

    def tensors(images: zoo.ImageBatch) -> TensorDataset:
        pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float() / 255  # (N, C, H, W)
        return TensorDataset(pixels, torch.from_numpy(images.labels))

    real, held_out = tensors(train[chosen]), tensors(test)
    generated = Generated(zoo.load("image/cgan/digits").to_dataset(synthetic, seed=0))
    alone = fit(real, held_out, steps)
    mixed = fit(ConcatDataset([*[real] * 10, generated]), held_out, steps)  # real images weigh more
    print(f"{len(real)} real images: accuracy {alone:.3f}; with {synthetic} synthetic ones: {mixed:.3f}")
    return {"real": alone, "mixed": mixed}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=5, help="real images a class")
    parser.add_argument("--synthetic", type=int, default=2000)
    options = parser.parse_args()
    main(options.real, options.synthetic)
