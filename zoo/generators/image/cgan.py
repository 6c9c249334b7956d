"""Conditional GAN: noise and a class to an image, learned by one network that makes and one that judges.

Reference: M. Mirza, S. Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv 1411.1784. The recipe is a
modern one in small: relativistic pairing with gradient penalties on real and made images (N. Huang, A. Gokaslan,
V. Kuleshov, J. Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", NeurIPS 2024, arXiv 2501.05441),
each image against a real one of its own class; the label by projection (T. Miyato, M. Koyama, "cGANs with Projection
Discriminator", ICLR 2018, arXiv 1802.05637) in the discriminator and by FiLM (E. Perez et al., AAAI 2018, arXiv
1709.07871) in the generator; penalties every fourth step (T. Karras et al., StyleGAN2, CVPR 2020, arXiv 1912.04958);
the spread of the batch shown to the discriminator (T. Karras et al., ICLR 2018, arXiv 1710.10196); a faster
discriminator (M. Heusel et al., TTUR, NeurIPS 2017, arXiv 1706.08500); the generator's moving average (Y. Yazici et
al., ICLR 2019, arXiv 1806.04498); truncation of the noise (A. Brock et al., BigGAN, ICLR 2019, arXiv 1809.11096).

Chosen on scikit-learn's digits (1,437 to learn from, 360 held out) by few and short runs, so differences of a few
hundredths mean nothing. C2ST is the AUC with which a classifier tells made from real (0.5 is best), spread the mean
distance within a class over that of real images (1 is best):

- loss, after 1,000 steps: hinge with spectral norm (the SNGAN recipe) 0.99, spread 0.46; relativistic with penalties
  0.92, spread 0.72. Hence the latter. A fifth of the penalty: 0.94, 0.64.
- DiffAugment (S. Zhao et al., NeurIPS 2020, arXiv 2006.10738), after 2,000 steps: translation and cutout 0.89, spread
  0.75; translation alone 0.86, 0.83; none 0.63, 0.93. Hence none, as no image came out verbatim and the share of
  samples nearer to training than to held-out images (0.54) stayed near that of independent pixels (0.52).
- by the zoo's harness then: a classifier trained on samples has accuracy 0.93 on held-out digits (on real ones 0.97),
  C2ST AUC 0.60 (independent pixels 0.99).
- Fashion-MNIST (28x28): three minutes of one core, 1,306 steps, give images whose class is plain to see.

Best at: small images of one kind with few classes; samples are made in one pass, thousands a second on a CPU.
Worst at: large or varied scenes, and full coverage: rare looks within a class are made more rarely than they occur.
"""

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
_FULL_SIZE = 16  # larger images have no features at their own size: these would cost more than all others together
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
        Shift the images that the discriminator sees, real and made alike (the translation of DiffAugment), so that it
        cannot learn a small set by heart. Off by default: training is then faster, see the head of this file.
    """

    latent: Annotated[int, Range(1, 4096)] = 64
    width: Annotated[int, Range(4, 1024)] = 32
    penalty: Annotated[float, Range(0, 1000)] = 1.0
    augment: bool = False

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
        pixels = torch.from_numpy(data.pixels.transpose(0, 3, 1, 2).copy())  # (N, C, H, W) uint8
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
    """(height, width, channels) of each level of features, coarsest first; each is half of the next, rounded up.

    The finest is the image's own size, or half of it where the image is larger than 16 on a side.
    """
    if max(height, width) > _FULL_SIZE:
        height, width = _half(height), _half(width)
    levels = [(height, width, channels)]
    while max(levels[0][:2]) > _COARSEST:
        h, w, _ = levels[0]
        levels.insert(0, (_half(h), _half(w), channels * min(8, 2 ** len(levels))))
    return levels if len(levels) > 1 else [(height, width, 2 * channels)]


def _half(side: int) -> int:
    return (side + 1) // 2


def _even(x: Tensor) -> Tensor:
    """With a row or column of zeros more where a side is odd, so that a halving rounds up."""
    return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))


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
        self.sides = (sides[0], sides[1])
        halved = max(sides) > _FULL_SIZE
        self.out = (
            nn.ConvTranspose2d(depths[-1], channels, 4, 2, 1) if halved else nn.Conv2d(depths[-1], channels, 3, 1, 1)
        )

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        h, w, _ = self.levels[0]
        style = torch.cat([latent, self.embed(labels)], dim=1)  # (B, 2 latent)
        x = self.start(style).unflatten(1, (-1, h, w))  # (B, D, h, w)
        x = x + self.block(F.leaky_relu(self.films[0](x, style), 0.2))  # (B, D, h, w)
        x = F.leaky_relu(self.films[1](x, style), 0.2)
        for up, film, (h, w, _) in zip(self.ups, self.films[2:], self.levels[1:]):
            x = up(x)[:, :, :h, :w]  # (B, D / 2, h, w): twice as large, an odd side cut by one
            x = F.leaky_relu(film(x, style), 0.2)
        x = self.out(x)[:, :, : self.sides[0], : self.sides[1]]  # (B, C, H, W)
        return (1.05 * torch.tanh(x)).clamp(-1, 1)  # black and white are reached, not only approached


class _Discriminator(nn.Module):
    """Image and label to a score: how real it looks, plus how well it fits the label (projection)."""

    def __init__(self, shape: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        channels, *sides = shape
        levels = _levels(sides[0], sides[1], width)[::-1]
        depths = [d for _, _, d in levels]
        halved = max(sides) > _FULL_SIZE
        self.first = nn.Conv2d(channels, depths[0], 4, 2, 1) if halved else nn.Conv2d(channels, depths[0], 3, 1, 1)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(depths))
        self.block = nn.Conv2d(depths[-1] + 1, depths[-1], 3, padding=1)
        self.flat = nn.Linear(depths[-1] * levels[-1][0] * levels[-1][1], _FEATURES)
        self.score = nn.Linear(_FEATURES, 1)
        self.embed = nn.Embedding(classes, _FEATURES) if classes else None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        halved = self.first.stride[0] == 2
        x = F.leaky_relu(self.first(_even(images) if halved else images), 0.2)  # (B, D, h, w)
        for down in self.downs:
            x = F.leaky_relu(down(_even(x)), 0.2)  # (B, 2 D, h, w)
        # How much the batch varies, as one more channel: a generator that repeats itself gives itself away.
        spread = (x.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])  # (B, 1, h, w)
        x = F.leaky_relu(self.block(torch.cat([x, spread], dim=1)), 0.2)  # (B, D, h, w)
        x = F.leaky_relu(self.flat(x.flatten(1)), 0.2)  # (B, F)
        score = self.score(x)[:, 0]  # (B,)
        return score if self.embed is None else score + (x * self.embed(labels)).sum(1) / _FEATURES**0.5


def _augment(images: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, another draw each image; edges are repeated where a shift uncovers them.

    Differentiable, so that the generator learns through it.
    """
    n, c, h, w = images.shape
    device = images.device
    row, column = torch.arange(h, device=device), torch.arange(w, device=device)  # (H,), (W,)
    down, right = round(h / 8), round(w / 8)
    rows = row + torch.randint(-down, down + 1, (n, 1), device=device)  # (B, H) where each row is taken from
    columns = column + torch.randint(-right, right + 1, (n, 1), device=device)  # (B, W)
    return images[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(c, device=device)[None, :, None, None],
        rows.clamp(0, h - 1)[:, None, :, None],
        columns.clamp(0, w - 1)[:, None, None, :],
    ]  # (B, C, H, W)


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
