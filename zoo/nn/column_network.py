"""A network over discrete columns that predicts each from any others: trained here, sampled from in NumPy.

References: M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation",
ICML 2015, arXiv 1502.03509; B. Uria, I. Murray, H. Larochelle, "A Deep and Tractable Density Estimator", ICML 2014,
arXiv 1310.1757 (any order by one network). The hidden layer is a sum over the columns that are given, as in the latter,
so that sampling adds one row of a table a column and never multiplies by one-hot vectors.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from zoo.nn.dense import publishable
from zoo.training.schedule import warmup_cosine

_ORDERS = 16  # in a batch
_WAVES = 16  # smooth functions of an ordered column
_FEW = 5  # values that are not worth smooth functions
_OWN = 0.1  # weight of what an ordered value has to itself


class DigitNetwork(nn.Module):
    """What networks over D digits, of sizes K_1 to K_D (T in all), share: a layer and logits of each digit's own.

    Parameters
    ----------
    sizes
        Number of values of each digit.
    hidden
        H, width of what comes before.
    inner
        M, width of the layer that each digit has to itself.
    dropout
        Share of the numbers in each digit's own layers that is dropped in training.
    shared
        Makes the weights of the layers before, by name.
    """

    kept: Tensor  # (D, 1, 1): share of each digit's own layers that is not dropped
    first: Tensor  # (D,): where each digit's values begin among all T

    def __init__(
        self,
        sizes: list[int],
        hidden: int,
        inner: int,
        dropout: list[float],
        shared: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        super().__init__()
        columns, total = len(sizes), sum(sizes)
        self.sizes = sizes
        self.embed = nn.Parameter(torch.randn(total, hidden) / columns**0.5)
        for name, weight in shared().items():
            self.register_parameter(name, nn.Parameter(weight))
        self.inner = nn.Parameter(torch.randn(columns, hidden, inner) * (2 / hidden) ** 0.5)
        self.inner_bias = nn.Parameter(torch.zeros(columns, inner))
        self.head = nn.Parameter(torch.randn(total, inner) * 0.5 / inner**0.5)
        self.head_bias = nn.Parameter(torch.zeros(total))
        starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
        self.register_buffer("kept", 1 - torch.tensor(dropout)[:, None, None], persistent=False)
        self.register_buffer("first", torch.from_numpy(starts), persistent=False)

    @torch.no_grad()
    def start_at(self, codes: Tensor) -> None:
        """Set the last biases so that training begins at the marginals of ``codes (n, D)``."""
        for bias, column in zip(self.head_bias.split(self.sizes), codes.T, strict=True):
            counts = torch.bincount(column, minlength=len(bias)) + 1.0  # (K,)
            bias.copy_((counts / counts.sum()).log())

    def published(self) -> dict[str, np.ndarray]:
        """The weights by name, in half precision where it can hold them."""
        return {name: publishable(p.detach().cpu().numpy()) for name, p in self.named_parameters()}

    @torch.no_grad()
    def set_published(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`published` gave."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})

    def _drop(self, layer: Tensor) -> Tensor:
        """Numbers of a layer ``(D, B, W)``, some of them dropped while it is trained."""
        return layer * ((torch.rand_like(layer) < self.kept) / self.kept) if self.training else layer

    def _losses(self, inner: Tensor, codes: Tensor, heads: Tensor) -> Tensor:
        """Negative log likelihood ``(D, B)`` of codes ``(B, D)``, given the inner layers ``(D, B, M)``.

        ``heads (T, M)`` stands for the values that are predicted.
        """
        losses = []
        parts = zip(inner, codes.T.contiguous(), heads.split(self.sizes), self.head_bias.split(self.sizes), strict=True)
        for mine, target, head, bias in parts:
            logits = torch.addmm(bias, mine, head.T)  # (B, K_j)
            losses.append(nn.functional.cross_entropy(logits, target, reduction="none"))
        return torch.stack(losses)  # (D, B)


class ColumnNetwork(DigitNetwork):
    """Logits of each of D columns given any of the others, by a layer on the sum of what is given.

    Parameters
    ----------
    sizes, hidden, inner
        As of :class:`DigitNetwork`.
    ordered
        Whether a column's values are in the order of numbers. What stands for such a value is learned as a smooth
        function of its place and a little of its own: neighbours learn from each other. The sums are published.
    dropout
        Share of the numbers in both layers that is dropped in training, for each digit to predict.
    """

    bias: Tensor  # (D, H)
    embed_waves: Tensor  # (R, H)
    head_waves: Tensor  # (R, M)
    waves: Tensor  # (T, R): R smooth functions of the values
    own: Tensor  # (T, 1): the weight of what each value has to itself

    def __init__(self, sizes: list[int], ordered: list[bool], hidden: int, inner: int, dropout: list[float]) -> None:
        waves, own = _smooth_functions(sizes, ordered)
        super().__init__(
            sizes,
            hidden,
            inner,
            dropout,
            lambda: {
                "embed_waves": torch.randn(waves.shape[1], hidden) / len(sizes) ** 0.5,
                "head_waves": torch.zeros(waves.shape[1], inner),
                "bias": 0.1 * torch.randn(len(sizes), hidden),
            },
        )
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("own", own, persistent=False)

    def tables(self) -> tuple[Tensor, Tensor]:
        """What stands for each value where it is given, ``(T, H)``, and where it is predicted, ``(T, M)``."""
        embed = self.own * self.embed + self.waves @ self.embed_waves  # (T, H)
        return embed, self.own * self.head + self.waves @ self.head_waves

    def published(self) -> dict[str, np.ndarray]:
        """The weights by name, in half precision where it can hold them."""
        out: dict[str, Tensor] = {n: p for n, p in self.named_parameters() if not n.endswith("_waves")}
        out["embed"], out["head"] = self.tables()
        return {name: publishable(p.detach().cpu().numpy()) for name, p in out.items()}

    @torch.no_grad()
    def set_published(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`published` gave."""
        for name, parameter in self.named_parameters():
            parameter.zero_()  # the smooth functions are in the sums already
            if name in arrays:
                parameter.copy_(torch.from_numpy(np.asarray(arrays[name], dtype=np.float32)))
        self.embed.div_(self.own)
        self.head.div_(self.own)

    def nll(self, codes: Tensor, given: Tensor) -> Tensor:
        """Negative log likelihood ``(D, B)`` of codes ``(B, D)`` under G orders, each for a G-th of the rows.

        ``given[g, j, k]``, ``(G, D, D)``, says whether column k is seen when column j is predicted.
        """
        groups, columns, _ = given.shape
        index = (codes + self.first).reshape(groups, -1, columns).transpose(1, 2)  # (G, D, b), G * b = B
        embed, heads = self.tables()
        values = nn.functional.embedding(index, embed)  # (G, D, b, H)
        seen = torch.bmm(given.to(values.dtype), values.flatten(2)).view_as(values)  # (G, D, b, H)
        hidden = torch.relu(seen + self.bias[:, None])  # (G, D, b, H)
        hidden = hidden.transpose(0, 1).flatten(1, 2)  # (D, B, H)
        hidden = self._drop(hidden)
        inner = torch.relu(torch.baddbmm(self.inner_bias[:, None], hidden, self.inner))  # (D, B, M)
        return self._losses(self._drop(inner), codes, heads)


def _smooth_functions(sizes: list[int], ordered: list[bool]) -> tuple[Tensor, Tensor]:
    """Cosines of the places of ordered values, ``(T, R)``; the weight of what each value has to itself, ``(T, 1)``."""
    parts, own = [], []
    for size, smooth in zip(sizes, ordered, strict=True):
        count = min(_WAVES, size - 1) if smooth and size >= _FEW else 0
        place = (torch.arange(size) + 0.5) / size  # (K,)
        frequency = torch.arange(1, count + 1)
        parts.append(torch.cos(torch.pi * frequency * place[:, None]) / frequency**0.5)  # (K, R_j)
        own += [_OWN if count else 1.0] * size
    return torch.block_diag(*parts), torch.tensor(own)[:, None]


def draw_orders(count: int, owner: Tensor, fixed: float) -> Tensor:
    """Which columns are seen when each is predicted, ``bool (count, D, D)``, under random orders.

    A share ``fixed`` of them is the order of the columns itself. In the others each column falls into one of three
    groups: those of the first come first, then those of the second, then the rest, each in the order of the columns.
    These are the orders that sampling needs (what is given, what is asked for otherwise, the rest), and far fewer than
    all. Columns with one ``owner (D,)``, the digits of one column, stay together.
    """
    columns = int(owner[-1]) + 1
    cuts = torch.rand(count, 2, 1, device=owner.device)
    place = torch.rand(count, 1, columns, device=owner.device)
    group = (place > cuts).sum(1)[:, owner]  # (count, D): 0, 1 or 2
    group[: round(fixed * count)] = 0
    rank = group * len(owner) + torch.arange(len(owner), device=owner.device)
    return rank[:, None, :] < rank[:, :, None]


class Training(pl.LightningModule):
    """What is minimised: the negative log likelihood under random orders; validated under the fixed one.

    Parameters
    ----------
    network
        Trained in place.
    owner
        The column that each digit belongs to.
    rate
        Learning rate of Adam.
    fixed
        Share of the rows that are learned in the order of the columns.
    decay
        Weight decay (decoupled).
    """

    owner: Tensor  # (D,)

    def __init__(self, network: ColumnNetwork, owner: list[int], rate: float, fixed: float, decay: float) -> None:
        super().__init__()
        self.network = network
        self.rate = rate
        self.fixed = fixed
        self.decay = decay
        self.register_buffer("owner", torch.tensor(owner), persistent=False)

    def training_step(self, batch: tuple[Tensor], index: int) -> Tensor:
        codes = batch[0].long()  # (B, D)
        orders = math.gcd(len(codes), _ORDERS)
        # A last batch that no two divide has one order, fixed or not by chance.
        fixed = self.fixed if orders > 1 else float(torch.rand(()) < self.fixed)
        given = draw_orders(orders, self.owner, fixed)  # (G, D, D)
        loss = self.network.nll(codes, given).sum(0).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor], index: int) -> None:
        codes = batch[0].long()  # (B, D)
        given = draw_orders(1, self.owner, 1.0)
        self.log("val_loss", self.network.nll(codes, given).sum(0).mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.decay, fused=True)
        return warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, final=0.01)
