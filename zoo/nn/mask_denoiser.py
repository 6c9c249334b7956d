"""A network that unmasks digits: the distribution of every one that is masked, given the others, in one evaluation.

References: J. Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces", NeurIPS 2021, arXiv
2107.03006 (the absorbing state); E. Hoogeboom et al., "Autoregressive Diffusion Models", ICLR 2022, arXiv 2110.02037
(the bound as an expectation over orders and places). What is not masked is summed, one learned vector a value; residual
layers that all digits share look at the sum, and each digit has a small layer and its logits of its own. Trained here,
sampled from in NumPy by :mod:`zoo.nn.denoiser_sampler`.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.column_network import DigitNetwork
from zoo.training.schedule import warmup_cosine


class MaskDenoiser(DigitNetwork):
    """Logits of each of D digits given those that are not masked.

    Parameters
    ----------
    sizes, hidden, inner
        As of :class:`~zoo.nn.column_network.DigitNetwork`; the shared layers are of width H too.
    blocks
        L residual blocks of two layers.
    dropout
        Share of the numbers within blocks that is dropped in training.
    inner_dropout
        The same for the layer that each digit has to itself.
    """

    bias: Tensor  # (H,)
    enter: Tensor  # (L, H, H)
    enter_bias: Tensor  # (L, H)
    leave: Tensor  # (L, H, H)
    leave_bias: Tensor  # (L, H)

    def __init__(
        self, sizes: list[int], hidden: int, inner: int, blocks: int, dropout: float, inner_dropout: list[float]
    ) -> None:
        super().__init__(
            sizes,
            hidden,
            inner,
            inner_dropout,
            lambda: {
                "bias": torch.zeros(hidden),
                "enter": torch.randn(blocks, hidden, hidden) * (2 / hidden) ** 0.5,
                "enter_bias": torch.zeros(blocks, hidden),
                "leave": torch.zeros(blocks, hidden, hidden),  # training begins with no block at all
                "leave_bias": torch.zeros(blocks, hidden),
            },
        )
        self.dropout = dropout

    def nll(self, codes: Tensor, seen: Tensor) -> Tensor:
        """Negative log likelihood ``(D, B)`` of each digit of codes ``(B, D)`` given those that are ``seen (B, D)``."""
        hidden = F.embedding_bag(  # (B, H)
            codes + self.first, self.embed, mode="sum", per_sample_weights=seen.to(self.embed.dtype)
        )
        hidden = hidden + self.bias
        layers = (self.enter, self.enter_bias, self.leave, self.leave_bias)
        for enter, enter_bias, leave, leave_bias in zip(*layers, strict=True):
            within = torch.relu(torch.addmm(enter_bias, torch.relu(hidden), enter))  # (B, H)
            within = F.dropout(within, self.dropout, self.training)
            hidden = hidden + torch.addmm(leave_bias, within, leave)  # (B, H)
        top = torch.relu(hidden).expand(len(self.sizes), -1, -1)  # (D, B, H)
        inner = torch.relu(torch.baddbmm(self.inner_bias[:, None], top, self.inner))  # (D, B, M)
        return self._losses(self._drop(inner), codes, self.head)


def draw_masks(rows: int, owner: Tensor, place: Tensor, fixed: float) -> Tensor:
    """Which digits each row shows, ``bool (rows, D)``: a beginning, of even length, of an order of the digits.

    A share ``fixed`` of the rows has the order ``place (D,)`` in which rows are sampled; the others have an order of
    the columns of their own each. Digits with one ``owner (D,)``, those of one column, show up most significant first:
    what they leave open is how exactly a number is known.
    """
    digits, columns, device = len(owner), int(owner[-1]) + 1, owner.device
    rank = torch.rand(rows, columns, device=device).argsort(1).argsort(1)  # (rows, C)
    order = rank[:, owner] * digits + torch.arange(digits, device=device)  # (rows, D), distinct
    order[: round(fixed * rows)] = place
    order = order.argsort(1).argsort(1)
    spread = (torch.arange(rows, device=device) + torch.rand(rows, device=device)) / rows  # even over the batch
    length = (spread[torch.randperm(rows, device=device)] * digits).long().clamp(max=digits - 1)
    return order < length[:, None]


class Training(pl.LightningModule):
    """What is minimised: the bound of the negative log likelihood, over random masks; validated in the fixed order.

    Parameters
    ----------
    network
        Trained in place.
    owner
        The column that each digit belongs to.
    place
        The place of each digit in the order of sampling.
    rate
        Learning rate of Adam.
    fixed
        Share of the rows that show a beginning of the order of sampling.
    decay
        Weight decay (decoupled).
    """

    owner: Tensor  # (D,)
    place: Tensor  # (D,)

    def __init__(
        self, network: MaskDenoiser, owner: list[int], place: list[int], rate: float, fixed: float, decay: float
    ) -> None:
        super().__init__()
        self.network = network
        self.rate = rate
        self.fixed = fixed
        self.decay = decay
        self.register_buffer("owner", torch.tensor(owner), persistent=False)
        self.register_buffer("place", torch.tensor(place), persistent=False)

    def _loss(self, codes: Tensor, seen: Tensor) -> Tensor:
        hidden = (~seen).to(torch.float32)  # (B, D)
        nll = (self.network.nll(codes, seen).T * hidden).sum(1) / hidden.sum(1)  # (B,)
        return nll.mean() * len(self.owner)  # a mean over what is masked stands for all digits

    def training_step(self, batch: tuple[Tensor], index: int) -> Tensor:
        codes = batch[0].long()  # (B, D)
        loss = self._loss(codes, draw_masks(len(codes), self.owner, self.place, self.fixed))
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor], index: int) -> None:
        codes, digits = batch[0].long(), len(self.owner)  # (B, D)
        # The same beginnings in every epoch, so that losses differ by the weights alone.
        length = torch.arange(len(codes), device=codes.device) % digits  # (B,)
        self.log("val_loss", self._loss(codes, self.place < length[:, None]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.decay, fused=True)
        return warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, final=0.01)
