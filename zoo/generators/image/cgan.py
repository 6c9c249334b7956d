"""Conditional GAN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.image import LABEL, ImageBatch, image_shape
from zoo.errors import ConfigError
from zoo.generator import Option
from zoo.nn.neural_generator import NeuralGenerator
from zoo.random import torch_rng

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_COARSEST = 7  # sides are halved until none is larger; 28 gives 7, 14, 28 and 8 gives 4, 8
_PENALTY_EVERY = 4  # steps between two gradient penalties ("lazy", Karras et al. 2020), which cost as much as a step
_FEATURES = 128  # width of the discriminator's last layer, in which classes are compared


@dataclass(kw_only=True, eq=False)
class CGAN(NeuralGenerator):
    """A class-conditional GAN of small convolutional networks.

    Parameters
    ----------
    latent
        Size of the noise vector from which an image is made.
    width
        Channels at the image's own resolution; each coarser level has twice as many, eight times at most.
    penalty
        Weight of the gradient penalties. Higher is steadier and slower.
    augment
        Shift and cut the images that the discriminator sees, real and made alike (DiffAugment): a few thousand
        images are then not learned by heart. Turn it off where there are hundreds of thousands.
    """

    latent: Annotated[int, Range(1, 4096)] = 64
    width: Annotated[int, Range(4, 1024)] = 24
    penalty: Annotated[float, Range(0, 1000)] = 1.0
    augment: bool = True

    default_block_size: ClassVar[int] = 256
    options: ClassVar[Mapping[str, Option]] = {
        "truncation": Option(
            None,
            Annotated[float | None, Range(0, 10, open_low=True)],
            "keep the noise within this many standard deviations: lower is cleaner and less varied",
        ),
    }

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """The label, where the images have one."""
        return (LABEL,) if LABEL in self.schema else ()

    # Learning

    def _fit(self, data: ImageBatch, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        if train.patience is not None:
            raise ConfigError(
                f"{self.name}: patience has nothing to watch, as the losses of a GAN do not fall when it gets better; "
                "use epochs, max_steps or max_minutes"
            )
        labels = np.zeros(len(data), dtype=np.int64) if data.labels is None else data.labels
        self._counts = np.bincount(labels, minlength=max(1, len(data.classes)))  # (K,)
        train = train.with_defaults(epochs=100, batch_size=64, learning_rate=5e-4, ema_decay=0.998)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        pixels = torch.from_numpy(np.ascontiguousarray(data.pixels.transpose(0, 3, 1, 2)))  # (N, C, H, W) uint8
        batches = TensorDataModule.from_config((pixels, torch.from_numpy(labels)), train, seed=seed, drop_last=True)
        judge = _Discriminator(pixels.shape[1:], len(data.classes), self.width)
        module = _lightning_module(self._build(), judge, train, self)
        result = fit(module, batches, train, seed=seed)
        self._publish(module.generator)
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _build(self) -> "_Generator":
        height, width, channels = image_shape(self.schema)
        classes = len(self.schema[LABEL].categories) if LABEL in self.schema else 0
        return _Generator((channels, height, width), classes, self.latent, self.width)

    # Sampling

    @torch.inference_mode()
    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> ImageBatch:
        labels = conditions.draw_codes(LABEL, self._counts, rng, n)  # (n,)
        latent = _draw_latent(n, self.latent, options["truncation"], torch_rng(rng))  # (n, latent)
        made = self._network(latent.to(self._device), torch.from_numpy(labels).to(self._device))  # (n, C, H, W)
        pixels = ((made + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()  # (n, H, W, C)
        if LABEL not in self.schema:
            return ImageBatch(pixels)
        return ImageBatch(pixels, labels, self.schema[LABEL].names)

    # State

    def _state(self) -> dict[str, Any]:
        return {"counts": self._counts.tolist()}

    def _set_state(self, state: dict[str, Any]) -> None:
        counts = np.array(state["counts"], dtype=np.int64)
        classes = len(self.schema[LABEL].categories) if LABEL in self.schema else 1
        if counts.shape != (classes,) or counts.min() < 0 or counts.sum() == 0:
            raise ValueError(f"counts must be {classes} numbers, one a class")
        self._counts = counts


def _draw_latent(n: int, size: int, truncation: float | None, random: torch.Generator) -> Tensor:
    """Standard normal noise, ``(n, size)``; cut to +-``truncation`` by inverting its distribution function."""
    if truncation is None:
        return torch.randn(n, size, generator=random)
    tail = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64))
    mass = tail + (1 - 2 * tail) * torch.rand(n, size, generator=random, dtype=torch.float64)
    return torch.special.ndtri(mass).float()


# The networks


def _levels(height: int, width: int, channels: int) -> list[tuple[int, int, int]]:
    """(height, width, channels) of each level, coarsest first; a side is half of the next finer, rounded up."""
    levels = [(height, width, channels)]
    while max(levels[0][:2]) > _COARSEST:
        h, w, _ = levels[0]
        levels.insert(0, (-(-h // 2), -(-w // 2), channels * min(8, 2 ** len(levels))))
    return levels if len(levels) > 1 else [(height, width, 2 * channels)]


class _Film(nn.Module):
    """Group norm whose scale and shift are linear in the style (Perez et al. 2018)."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.3 / style**0.5)  # scales begin within some 0.3 of 1
        nn.init.zeros_(self.affine.bias)
        self.groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.affine(style)[:, :, None, None].chunk(2, dim=1)  # (B, D, 1, 1) each
        return torch.addcmul(shift, F.group_norm(x, self.groups), 1 + scale)  # (B, D, h, w)


class _Generator(nn.Module):
    """Noise and label to an image: a coarse grid, one residual block on it, then doubled level by level."""

    def __init__(self, shape: Sequence[int], classes: int, latent: int, width: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.levels = _levels(sides[0], sides[1], width)
        style, (h, w, coarse) = 2 * latent, self.levels[0]
        depths = [d for _, _, d in self.levels]
        self.embed = nn.Embedding(max(1, classes), latent)
        self.start = nn.Linear(style, coarse * h * w)
        self.block = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(depths))
        self.films = nn.ModuleList(_Film(d, style) for d in [coarse, *depths])
        self.out = nn.Conv2d(depths[-1], channels, 3, padding=1)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        h, w, _ = self.levels[0]
        style = torch.cat([latent, self.embed(labels)], dim=1)  # (B, 2 latent)
        x = self.start(style).unflatten(1, (-1, h, w))  # (B, D, h, w)
        x = x + self.block(F.leaky_relu(self.films[0](x, style), 0.2))  # (B, D, h, w)
        x = F.leaky_relu(self.films[1](x, style), 0.2)
        for up, film, (h, w, _) in zip(self.ups, self.films[2:], self.levels[1:]):
            x = up(x)[:, :, :h, :w]  # (B, D / 2, h, w): twice as large, an odd side cut by one
            x = F.leaky_relu(film(x, style), 0.2)
        return torch.tanh(self.out(x))  # (B, C, H, W) in -1 to 1


class _Discriminator(nn.Module):
    """Image and label to a score: how real it looks, plus how well it fits the label (projection)."""

    def __init__(self, shape: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        channels, *sides = shape
        levels = _levels(sides[0], sides[1], width)[::-1]
        depths = [d for _, _, d in levels]
        self.first = nn.Conv2d(channels, depths[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(depths))
        self.block = nn.Conv2d(depths[-1] + 1, depths[-1], 3, padding=1)
        self.flat = nn.Linear(depths[-1] * levels[-1][0] * levels[-1][1], _FEATURES)
        self.score = nn.Linear(_FEATURES, 1)
        self.embed = nn.Embedding(classes, _FEATURES) if classes else None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(images), 0.2)  # (B, D, H, W)
        for down in self.downs:
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))  # odd sides are rounded up
            x = F.leaky_relu(down(x), 0.2)  # (B, 2 D, h, w)
        # How much the batch varies, as one more channel: a generator that repeats itself gives itself away.
        spread = (x.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])  # (B, 1, h, w)
        x = F.leaky_relu(self.block(torch.cat([x, spread], dim=1)), 0.2)  # (B, D, h, w)
        x = F.leaky_relu(self.flat(x.flatten(1)), 0.2)  # (B, F)
        score = self.score(x)[:, 0]  # (B,)
        return score if self.embed is None else score + (x * self.embed(labels)).sum(1) / _FEATURES**0.5


def _augment(images: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, and blank out a square of half the sides; another draw each image.

    Differentiable, so that the generator learns through it. Edges are repeated where a shift uncovers them.
    """
    n, c, h, w = images.shape
    device = images.device
    row, column = torch.arange(h, device=device), torch.arange(w, device=device)  # (H,), (W,)
    down, right = round(h / 8), round(w / 8)
    rows = row + torch.randint(-down, down + 1, (n, 1), device=device)  # (B, H) where each row is taken from
    columns = column + torch.randint(-right, right + 1, (n, 1), device=device)  # (B, W)
    moved = images[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(c, device=device)[None, :, None, None],
        rows.clamp(0, h - 1)[:, None, :, None],
        columns.clamp(0, w - 1)[:, None, None, :],
    ]  # (B, C, H, W)
    top = torch.randint(0, h + 1, (n, 1), device=device) - h // 4
    left = torch.randint(0, w + 1, (n, 1), device=device) - w // 4
    in_rows = (row >= top) & (row < top + h // 2)  # (B, H)
    in_columns = (column >= left) & (column < left + w // 2)  # (B, W)
    return moved.masked_fill(in_rows[:, None, :, None] & in_columns[:, None, None, :], 0.0)


def _lightning_module(generator: _Generator, judge: _Discriminator, train: "TrainConfig", family: CGAN) -> Any:
    """The thin wrapper that says what the losses are; made here so that sampling does not import Lightning."""
    import pytorch_lightning as pl

    class Adversaries(pl.LightningModule):
        automatic_optimization = False

        def __init__(self) -> None:
            super().__init__()
            self.generator, self.judge = generator, judge

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            pixels, labels = batch  # (B, C, H, W) uint8, (B,)
            real = pixels.float() / 127.5 - 1  # (B, C, H, W)
            made = self.generator(torch.randn(len(real), family.latent, device=self.device), labels)  # (B, C, H, W)
            see = _augment if family.augment else nn.Identity()
            of_generator, of_judge = self.optimizers()  # type: ignore[attr-defined]

            judge.requires_grad_(True)
            shown_real, shown_made = see(real), see(made.detach())
            on_real, on_made = judge(shown_real, labels), judge(shown_made, labels)  # (B,) each
            judge_loss = F.softplus(on_made - on_real).mean()
            if family.penalty and self.global_step // 2 % _PENALTY_EVERY == 0:  # two optimizers step a batch
                steep = self.steepness(shown_real, labels) + self.steepness(shown_made, labels)
                judge_loss = judge_loss + _PENALTY_EVERY * family.penalty / 2 * steep
            of_judge.zero_grad()
            self.manual_backward(judge_loss)
            of_judge.step()

            judge.requires_grad_(False)  # the images that were made serve both turns, which saves making others
            generator_loss = F.softplus(on_real.detach() - judge(see(made), labels)).mean()
            of_generator.zero_grad()
            self.manual_backward(generator_loss)
            of_generator.step()
            self.log_dict({"judge_loss": judge_loss.detach(), "generator_loss": generator_loss.detach()})

        def steepness(self, images: Tensor, labels: Tensor) -> Tensor:
            """Mean squared norm of the score's gradient by the image, in full precision."""
            with torch.autocast(images.device.type, enabled=False):
                images = images.float().requires_grad_(True)
                (gradient,) = torch.autograd.grad(judge(images, labels).sum(), images, create_graph=True)
            return gradient.square().sum((1, 2, 3)).mean()

        def configure_optimizers(self) -> Any:
            rate, betas = train.learning_rate, (0.0, 0.99)  # no momentum: what it remembers is of an older opponent
            assert rate is not None
            return [
                torch.optim.Adam(generator.parameters(), lr=rate, betas=betas, foreach=True),
                torch.optim.Adam(judge.parameters(), lr=2 * rate, betas=betas, foreach=True),
            ]

    return Adversaries()
