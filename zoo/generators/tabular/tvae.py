"""TVAE: a variational autoencoder for tables of mixed types.

References: L. Xu, M. Skoularidou, A. Cuesta-Infante, K. Veeramachaneni, "Modeling Tabular Data Using Conditional GAN",
NeurIPS 2019, arXiv 1907.00503 (TVAE); P. Ghosh, M. Sajjadi, A. Vergari, M. Black, B. Schölkopf, "From Variational to
Deterministic Autoencoders", ICLR 2020, arXiv 1903.12436 (a density of the latent codes, fitted after training).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.binned_columns import BinnedColumns
from zoo.generator import Option
from zoo.nn.neural_generator import NeuralGenerator
from zoo.random import torch_rng

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_CAP = 20.0  # logits are bounded softly, so that their exponentials are finite without a search for the largest
_MIXTURE_ROWS = 20_000
_POOL = 16  # candidates a sample under conditions that are the same for all
_ROW_POOL = 4096  # candidates that all rows of a table of conditions share
_NUMBERS = 2**23  # probabilities that are held at once, 32 MB
_TINY = 1e-30


@dataclass(kw_only=True, eq=False)
class TVAE(NeuralGenerator):
    """A variational autoencoder on discretised columns, with a Gaussian mixture fitted to its latent codes.

    Parameters
    ----------
    width
        Width of the hidden layers.
    latent
        Dimensions of the latent code.
    bins
        Bins of a numeric column; a value that many rows share has one of its own.
    beta
        Weight of the Kullback-Leibler term.
    components
        Components of the latent mixture.
    """

    width: Annotated[int, Range(4, 8192)] = 256
    latent: Annotated[int, Range(1, 1024)] = 24
    bins: Annotated[int, Range(2, 1000)] = 50
    beta: Annotated[float, Range(0, 100)] = 0.3
    components: Annotated[int, Range(1, 1000)] = 30

    default_block_size: ClassVar[int] = 16_384
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(1.0, Annotated[float, Range(0.01, 10)], "below 1 likelier values, above 1 rarer ones")
    }

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """All columns that are learned."""
        return self._columns.names

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        self._columns = BinnedColumns(self.schema, self.bins)
        encoded = self._columns.codec.encode(data)
        self._columns.fit(encoded)
        codes = torch.from_numpy(self._columns.encode(encoded))  # (N, C)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = self._build()
        if not len(self._columns.names):  # nothing but constants and identifiers
            self._publish(network)
            self._mixture = _unit_mixture(self.latent)
            return {"epochs": 0, "steps": 0}
        train = train.with_defaults(epochs=60, batch_size=500, learning_rate=2e-3)
        module = _lightning_module(network, self.beta, train.learning_rate or 2e-3)
        result = fit(module, TensorDataModule.from_config((codes,), train, seed=seed), train, seed=seed)
        self._publish(module.network)
        self._mixture = self._fit_mixture(codes, rng)
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    @torch.inference_mode()
    def _fit_mixture(self, codes: Tensor, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A Gaussian mixture of the latent codes of training rows, drawn from their posteriors."""
        from sklearn.mixture import GaussianMixture

        if len(codes) > _MIXTURE_ROWS:
            codes = codes[np.sort(rng.choice(len(codes), _MIXTURE_ROWS, replace=False))]
        mean, log_variance = self._network.encode(codes.to(self._device))  # (N, L) each
        noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32)).to(mean.device)
        drawn = (mean + noise * (0.5 * log_variance).exp()).cpu().numpy().astype(np.float64)
        # A component speaks for a hundred rows at least, so that none of them stands for a person.
        components = int(np.clip(len(drawn) // 100, 1, self.components))
        if len(drawn) < 2 * self.latent:
            return _unit_mixture(self.latent)
        fitted = GaussianMixture(
            components, reg_covar=1e-3, max_iter=60, tol=1e-2, random_state=int(rng.integers(2**31))
        )
        fitted.fit(drawn)
        order = np.argsort(-fitted.weights_, kind="stable")
        return {
            "weights": fitted.weights_[order],
            "means": fitted.means_[order].astype(np.float32),
            "factors": np.linalg.cholesky(fitted.covariances_[order]).astype(np.float32),
        }

    def _build(self) -> "_Network":
        return _Network(self._columns.widths, self.width, self.latent)

    # Sampling

    def _latents(self, n: int, rng: np.random.Generator) -> Tensor:
        """Draws of the latent mixture, ``(n, L)``."""
        m = self._mixture
        component = rng.choice(len(m["weights"]), size=n, p=m["weights"] / m["weights"].sum())
        order = np.argsort(component, kind="stable")  # components in turn: one product each instead of one a row
        noise = rng.standard_normal((n, self.latent), dtype=np.float32)
        out = np.empty_like(noise)
        start = 0
        for k, count in enumerate(np.bincount(component, minlength=len(m["weights"]))):
            rows = order[start : start + count]
            out[rows] = noise[rows] @ m["factors"][k].T + m["means"][k]
            start += count
        return torch.from_numpy(out).to(self._device)

    @torch.inference_mode()
    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        random = torch_rng(rng, self._device)
        if not self._columns.names:
            return self._columns.decode(np.zeros((n, 0), dtype=np.int64), rng)
        if conditions:
            codes, limits = self._draw_conditioned(n, conditions, rng, random, options["temperature"])
            return self._columns.decode(codes, rng, limits)
        latents = self._latents(n, rng)  # (n, L)
        parts = []
        for some in latents.split(self._at_once()):
            parts.append(self._network.draw(self._network.decode(some, options["temperature"]), random))  # (b, C)
        return self._columns.decode(torch.cat(parts).cpu().numpy(), rng)

    def _at_once(self, other: int = 0) -> int:
        """Rows whose probabilities, or as many numbers as ``other``, are held at once."""
        return max(1, _NUMBERS // max(sum(self._network.widths), other))

    def _draw_conditioned(
        self, n: int, conditions: Conditions, rng: np.random.Generator, random: torch.Generator, temperature: float
    ) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Codes ``(n, C)`` under conditions, and the ranges that asked numbers have to lie in.

        Latent codes are resampled by the probability of what is asked (importance resampling); then the asked columns
        are drawn among what is admitted, the others as they come.
        """
        per_row = conditions.per_row
        pool = self._latents(_ROW_POOL if per_row else _POOL * n, rng)  # (M, L)
        if per_row:
            chosen = self._choose_by_row(pool, conditions, random, temperature)  # (n,)
        else:
            admitted = {name: self._columns.admitted(condition) for name, condition in conditions.items()}
            chosen = self._choose(n, pool, {k: w for k, (w, _) in admitted.items()}, random, temperature)  # (n,)
        network, parts = self._network, []
        limits: dict[str, list[np.ndarray]] = {}
        for rows in torch.arange(n).split(self._at_once()):
            probability = network.decode(pool[chosen[rows]], temperature)  # (b, W)
            for name, condition in conditions.items():
                if condition.rows is not None:
                    weights, ends = self._of_rows(name, condition.rows[rows.numpy()])
                    among = self._tensor(weights)  # (b, K)
                else:
                    weights, ends = admitted[name]
                    index = self._alternative(self._part(probability, name), self._tensor(weights), random)  # (b,)
                    among = self._tensor(weights)[index]  # (b, K)
                    ends = None if ends is None else ends[index.cpu().numpy()]
                _restrict(self._part(probability, name), among)
                if ends is not None:
                    limits.setdefault(name, []).append(ends)
            parts.append(network.draw(probability, random))  # (b, C)
        joined = {name: np.concatenate(ends).T for name, ends in limits.items()}
        return torch.cat(parts).cpu().numpy(), {name: (low, high) for name, (low, high) in joined.items()}

    def _choose(
        self, n: int, pool: Tensor, asked: Mapping[str, np.ndarray], random: torch.Generator, temperature: float
    ) -> Tensor:
        """Candidates of the pool ``(M, L)``, drawn by the probability of what all rows ask: ``(n,)``."""
        among = {name: self._tensor(w.sum(axis=0).clip(max=1.0)) for name, w in asked.items()}  # (K,)
        parts = []
        for some in pool.split(self._at_once()):
            probability = self._network.decode(some, temperature)  # (b, W)
            weights = [(self._part(probability, name) @ w).clamp_min(_TINY).log() for name, w in among.items()]
            parts.append(torch.stack(weights).sum(0))  # (b,)
        log_weight = torch.cat(parts).double()  # (M,)
        mass = (log_weight - log_weight.max()).exp().cumsum(0)  # (M,)
        point = torch.rand(n, generator=random, device=mass.device).double() * mass[-1]  # (n,)
        return torch.searchsorted(mass, point, right=True).clamp(max=len(mass) - 1)

    def _choose_by_row(
        self, pool: Tensor, conditions: Conditions, random: torch.Generator, temperature: float
    ) -> Tensor:
        """The same where each row asks for values of its own: ``(n,)``."""
        names, kept = list(conditions), []
        for some in pool.split(self._at_once()):
            probability = self._network.decode(some, temperature)  # (b, W)
            kept.append([self._part(probability, name).clone() for name in names])
        parts = [torch.cat([k[i] for k in kept]) for i in range(len(names))]  # (M, K) each
        chosen = []
        rows_of = {name: condition.rows for name, condition in conditions.items()}
        n = max(len(r) for r in rows_of.values() if r is not None)
        for rows in torch.arange(n).split(self._at_once(len(pool))):
            log_weight = torch.zeros(len(rows), len(pool), device=pool.device)  # (b, M)
            for name, part in zip(names, parts, strict=True):
                values = rows_of[name]
                assert values is not None  # a table of conditions gives them all
                weights, _ = self._of_rows(name, values[rows.numpy()])
                log_weight += (self._tensor(weights) @ part.T).clamp_min(_TINY).log()
            mass = (log_weight - log_weight.max(dim=1, keepdim=True).values).exp_().cumsum(1)  # (b, M)
            point = torch.rand(len(rows), 1, generator=random, device=mass.device) * mass[:, -1:]  # (b, 1)
            chosen.append(torch.searchsorted(mass, point, right=True)[:, 0].clamp(max=len(pool) - 1))
        return torch.cat(chosen)

    def _of_rows(self, name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Weights ``(b, K)`` and, for numbers, ends ``(b, 2)`` of one given value a row."""
        ends = np.stack([values] * 2, axis=1) if name in self._columns.edges else None
        return self._columns.row_weights(name, values), ends

    def _alternative(self, part: Tensor, options: Tensor, random: torch.Generator) -> Tensor:
        """Which of the alternatives ``(m, K)`` each row takes, by its probabilities ``part (b, K)``: ``(b,)``."""
        each = (part @ options.T).clamp_min(_TINY).cumsum(1)  # (b, m)
        draw = torch.rand(len(part), 1, generator=random, device=part.device) * each[:, -1:]  # (b, 1)
        return torch.searchsorted(each, draw, right=True)[:, 0].clamp(max=len(options) - 1)

    def _part(self, probability: Tensor, name: str) -> Tensor:
        return self._network.part(probability, self._columns.names.index(name))  # (b, K), a view

    def _tensor(self, weights: np.ndarray) -> Tensor:
        return torch.from_numpy(weights).float().to(self._device)

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        mixture = {f"mixture.{k}": v for k, v in self._mixture.items()}
        return super()._arrays() | {f"columns.{k}": v for k, v in self._columns.arrays().items()} | mixture

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._columns = BinnedColumns(self.schema, self.bins)
        self._columns.set_arrays({k[8:]: v for k, v in arrays.items() if k.startswith("columns.")})
        self._mixture = {k[8:]: v for k, v in arrays.items() if k.startswith("mixture.")}
        weights, means, factors = (self._mixture[k] for k in ("weights", "means", "factors"))
        k = len(weights)
        if (
            means.shape != (k, self.latent)
            or factors.shape != (k, self.latent, self.latent)
            or not (weights >= 0).all()
        ):
            raise ValueError("the latent mixture does not fit the configuration")
        super()._set_arrays({k: v for k, v in arrays.items() if not k.startswith(("columns.", "mixture."))})


def _unit_mixture(size: int) -> dict[str, np.ndarray]:
    """A standard normal."""
    return {
        "weights": np.ones(1),
        "means": np.zeros((1, size), dtype=np.float32),
        "factors": np.eye(size, dtype=np.float32)[None],
    }


def _restrict(part: Tensor, among: Tensor) -> None:
    """Leave probabilities ``part (b, K)`` only where ``among (b, K)`` admits them, summing to 1; in place."""
    kept = part * among
    kept = torch.where(kept.sum(1, keepdim=True) > _TINY, kept, among)
    part.copy_(kept / kept.sum(1, keepdim=True))


class _Network(nn.Module):
    """Encoder and decoder over C columns of codes, W = sum of their widths.

    The encoder's first layer is a sum of embeddings, which is a linear layer on one-hot vectors without the vectors.
    """

    first: Tensor  # (C,): where each column's codes begin
    member: Tensor  # (W, C): which column a code is of

    def __init__(self, widths: list[int], hidden: int, latent: int) -> None:
        super().__init__()
        widths = widths or [1]  # a table of constants: one code that is always drawn
        self.widths = widths
        starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        self.bounds = starts.tolist()
        total = int(starts[-1])
        narrow = (hidden + 1) // 2  # the widest layer is the one to all codes: half the input halves the time
        self.embed = nn.EmbeddingBag(total, hidden, mode="sum")
        self.encoder = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, narrow), nn.ReLU(), nn.Linear(narrow, total)
        )
        with torch.device("cpu"):
            member = torch.zeros(total, len(widths))
            for j, (a, b) in enumerate(zip(self.bounds[:-1], self.bounds[1:])):
                member[a:b, j] = 1.0
            first = torch.from_numpy(starts[:-1])
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("member", member, persistent=False)

    def encode(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent code, ``(B, L)`` each, of codes ``(B, C)``."""
        hidden = self.embed(codes + self.first) / len(self.widths) ** 0.5  # (B, H)
        mean, log_variance = self.encoder(hidden).chunk(2, dim=1)  # (B, L) each
        return mean, log_variance.clamp(-12, 6)

    def logits(self, latent: Tensor) -> Tensor:
        """Logits of all codes of all columns, within ±20: ``(B, W)``."""
        return _CAP * torch.tanh(self.decoder(latent) / _CAP)  # (B, W)

    def nll(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Negative log likelihood of codes ``(B, C)``, summed over the columns: ``(B,)``."""
        logits = self.logits(latent)  # (B, W)
        normaliser = (logits.exp() @ self.member).log()  # (B, C)
        return (normaliser - logits.gather(1, codes + self.first)).sum(1)  # (B,)

    def decode(self, latent: Tensor, temperature: float) -> Tensor:
        """Probabilities of all codes, each column's summing to 1: ``(B, W)``."""
        logits = self.logits(latent) / temperature  # (B, W)
        if _CAP / temperature > 80:  # their exponentials would overflow
            for j in range(len(self.widths)):
                part = self.part(logits, j)  # (B, K_j), a view
                part -= part.max(dim=1, keepdim=True).values
        weight = logits.exp_()  # (B, W)
        return weight.mul_((1 / (weight @ self.member)) @ self.member.T)  # (B, W)

    def part(self, probability: Tensor, j: int) -> Tensor:
        """A view of the codes of column j: ``(B, K_j)``."""
        return probability[:, self.bounds[j] : self.bounds[j + 1]]

    def draw(self, probability: Tensor, random: torch.Generator) -> Tensor:
        """One code a column, ``(B, C)``: a point between the column's ends in the cumulative sum over all columns."""
        mass = probability.cumsum(1)  # (B, W)
        end = mass[:, torch.tensor(self.bounds[1:], device=mass.device) - 1]  # (B, C)
        start = torch.cat([torch.zeros_like(end[:, :1]), end[:, :-1]], dim=1)  # (B, C)
        point = start + torch.rand(end.shape, generator=random, device=mass.device) * (end - start)  # (B, C)
        # Strictly below its end, so that rounding draws no code of probability 0, which conditions rule out.
        point = point.minimum(torch.nextafter(end, start))
        return torch.searchsorted(mass, point, right=True) - self.first  # (B, C)


def _lightning_module(network: "_Network", beta: float, rate: float) -> Any:
    """The thin wrapper that says what the loss is; made here so that sampling does not import Lightning."""
    import pytorch_lightning as pl

    from zoo.training.schedule import warmup_cosine

    class Autoencoder(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def loss(self, codes: Tensor) -> Tensor:
            mean, log_variance = self.network.encode(codes)  # (B, L) each
            latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()  # (B, L)
            nll = self.network.nll(latent, codes)  # (B,)
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)  # (B,)
            return (nll + beta * divergence).mean()

        def training_step(self, batch: tuple[Tensor], index: int) -> Tensor:
            loss = self.loss(batch[0])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: tuple[Tensor], index: int) -> None:
            self.log("val_loss", self.loss(batch[0]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=rate, weight_decay=1e-5)
            return warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, final=0.01)

    return Autoencoder()
