"""RNN: a class-conditional autoregressive recurrent network that writes series step by step and channel by channel.

Reference: A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013, arXiv 1308.0850; for many series with
attributes and a likelihood a step: D. Salinas, V. Flunkert, J. Gasthaus, "DeepAR: Probabilistic Forecasting with
Autoregressive Recurrent Networks", 2017, arXiv 1704.04110. Instead of their densities, the output is a softmax over
events (:mod:`zoo.data.series_events`) as in A. van den Oord et al., "WaveNet", 2016, arXiv 1609.03499: a sensor that
holds its value, jumps to a frequent one or is not read has no density. In hours of room sensors, three quarters of the
temperatures a minute apart differ by one of seven changes exactly.

Choices were measured on every fifth stretch of four hours of those data, held out of training, in nats an event: 2.85
by the shares of events alone, 2.17 here. Numbers that enter as embeddings of their events, not as numbers, cost 0.5 in
the humidity ratio (a function of temperature and humidity); without the running mean 0.05 are lost on average.

Best at: a few hundred series and more of up to some hundred steps, regular in time, with missing values, labels, mixed
channels and different lengths. Worst at: a handful of series, and structure over thousands of steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.series_attributes import AttributeTable
from zoo.data.series_batch import SeriesBatch
from zoo.data.series_events import FEATURES, ChannelEvents, follow
from zoo.data.series_schema import category_channels, numeric_channels, statics
from zoo.errors import OptionError
from zoo.generator import Option
from zoo.nn.event_head import EventHead, draw_event
from zoo.nn.neural_generator import NeuralGenerator
from zoo.random import block_rng, check_seed

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig

_BATCH = 64
_STEPS, _EPOCHS = 400, (20, 100)  # few series are seen more often, but not so often that they are learned by heart
_COLD = 8  # cold starts a series and training step
_IGNORE = -100  # a target without loss: a step beyond the series' length


@dataclass(kw_only=True, eq=False)
class RNN(NeuralGenerator):
    """A GRU or LSTM over events, conditioned on static attributes, length and position.

    The attributes and the length are drawn together as they occurred, then the series under them; every channel of a
    step sees the channels before it. So conditions on attributes are exact, and series may differ in length.

    Parameters
    ----------
    width
        Width of the recurrent state and of all embeddings.
    layers
        Recurrent layers.
    cell
        Kind of recurrent cell.
    bins
        Quantile bins of a numeric channel's values, and as many of its changes; more are finer and need more data.
    dropout
        Dropout of what the recurrent layers give, while training.
    """

    width: Annotated[int, Range(4, 4096)] = 64
    layers: Annotated[int, Range(1, 16)] = 1
    cell: Literal["gru", "lstm"] = "gru"
    bins: Annotated[int, Range(2, 500)] = 64
    dropout: Annotated[float, Range(0, 0.9)] = 0.1

    default_block_size: ClassVar[int] = 256
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(
            1.0, Annotated[float, Range(0.01, 10)], "divides the logits: below 1 likelier series, above 1 odder ones"
        ),
        "length": Option(
            None, Annotated[int | None, Range(1)], "steps of every series, within the data's; as they occurred if None"
        ),
    }

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """The discrete static attributes."""
        return tuple(c.name for c in statics(self.schema) if c.is_discrete and c.kind != "constant")

    # Learning

    def _fit(self, data: SeriesBatch, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        self._table = AttributeTable(self.schema)
        self._table.fit(data.static, data.lengths)
        self._events = [
            ChannelEvents.fit(data.values[:, :, i], data.mask[:, :, i], column, self.bins)
            for i, column in enumerate(numeric_channels(self.schema))
        ]
        events, features = self._encode(data)  # (N, T, V), (N, T, F)
        attributes = self._table.codes(data.static)  # (N, S)
        targets = np.where(data.inside[:, :, None], events, _IGNORE)
        levels = events.copy()  # (N, T, V) each step as if it were the first
        for i, channel in enumerate(self._events):
            levels[:, :, i] = channel.encode_levels(data.values[:, :, i], data.mask[:, :, i])
        epochs = int(np.clip(_STEPS * _BATCH // len(data), *_EPOCHS))
        train = train.with_defaults(epochs=epochs, batch_size=_BATCH, learning_rate=4e-3, gradient_clip=1.0)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        network = self._build()
        network.start_at(features, targets, levels)
        module = _lightning_module(network, train)
        arrays = (features, events, targets, levels, attributes, data.lengths)
        batches = TensorDataModule.from_config([torch.from_numpy(a) for a in arrays], train, seed=seed)
        result = fit(module, batches, train, seed=seed)
        self._publish(module.network)
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _encode(self, data: SeriesBatch) -> tuple[np.ndarray, np.ndarray]:
        """Events ``int64 (N, T, V)`` and features ``float32 (N, T, 7 C)``; V counts both kinds of channels."""
        pairs = [e.encode(data.values[:, :, i], data.mask[:, :, i]) for i, e in enumerate(self._events)]
        events = [p[0] for p in pairs] + [data.categories[:, :, k] + 1 for k in range(data.categories.shape[2])]
        features = [p[1] for p in pairs] or [np.empty((*data.values.shape[:2], 0), dtype=np.float32)]
        return np.stack(events, axis=2), np.concatenate(features, axis=2)

    def _build(self) -> "SeriesNetwork":
        places = [e.places() for e in self._events]
        places += [np.full((1 + len(c.categories), 3), np.nan) for c in category_channels(self.schema)]
        nullable = [c.nullable for c in (*numeric_channels(self.schema), *category_channels(self.schema))]
        shape = (self.width, self.layers, self.cell, self.dropout, self._longest)
        return SeriesNetwork(places, nullable, len(self._events), self._table.sizes, *shape)

    @property
    def _longest(self) -> int:
        return self.schema.shape["max_length"]

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> SeriesBatch:
        attributes, static, lengths = self._table.draw(n, conditions, rng)
        lengths = self._asked_lengths(lengths, options)
        return self._write(attributes, lengths, static, None, rng, options["temperature"])

    def _asked_lengths(self, drawn: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        length, low, high = options["length"], self.schema.shape["min_length"], self._longest
        if length is None:
            return drawn
        if not low <= length <= high:
            raise OptionError(f"{self.name}: length={length} is not what was seen; give {low} to {high}")
        return np.full(len(drawn), length)

    def extend(self, prefix: Any, *, seed: int | None = None, **options: Any) -> SeriesBatch:
        """Continue series; each result begins with the steps that were given, its attributes unchanged.

        How long the results are is drawn among the lengths that series with such attributes had, of those that are
        no shorter than what was given.

        Parameters
        ----------
        prefix
            Series with their attributes, of the generator's schema; they may be shorter than its ``min_length``.
        seed
            The same seed gives the same continuations.
        **options
            Those of ``sample``.
        """
        self._require_ready()
        checked = self._check_options(options)
        data = self.form.coerce(prefix, self.schema)
        shape = {**self.schema.shape, "min_length": 1}
        self.form.check(data, self.schema.replace(shape=shape))
        seed, made = check_seed(seed), []
        for block, start in enumerate(range(0, len(data), self.block_size)):
            given, rng = data[start : start + self.block_size], block_rng(seed, block)
            attributes = self._table.codes(given.static)
            lengths = self._asked_lengths(self._table.draw_lengths(attributes, given.lengths, rng), checked)
            if (lengths < given.lengths).any():
                raise OptionError(f"{self.name}: length={checked['length']} is shorter than a given series; give more")
            made.append(self._write(attributes, lengths, given.static, given, rng, checked["temperature"]))
        return self.form.concat(made)

    @torch.inference_mode()
    def _write(
        self,
        attributes: np.ndarray,
        lengths: np.ndarray,
        static: pd.DataFrame,
        given: SeriesBatch | None,
        rng: np.random.Generator,
        temperature: float,
    ) -> SeriesBatch:
        """Write n series step by step, after the given ones where there are any."""
        network: Any = self._network  # a SeriesNetwork
        device = self._device
        n, steps, c = len(lengths), int(lengths.max(initial=1)), len(self._events)
        categorical = category_channels(self.schema)
        values = np.full((n, self._longest, c), np.nan, dtype=np.float32)
        codes = np.full((n, self._longest, len(categorical)), -1, dtype=np.int64)
        last, mean = np.full((n, c), np.nan), np.full((n, c), np.nan)  # last observed values, running means
        told = None if given is None else (self._encode(given)[0], given.lengths, given.values)
        events = torch.zeros(n, len(network.kinds), dtype=torch.long, device=device)  # (n, V) of the step before
        features = torch.zeros(n, FEATURES * c, device=device)  # (n, F)
        about = network.about(torch.from_numpy(attributes).to(device))  # (n, W)
        ends, state = torch.tensor(lengths, device=device), None
        for t in range(steps):
            hidden, state = network.step(events, features, about, t, ends, state)  # (n, W)
            forced = None if told is None else t < told[1]  # (n,)
            seen = features.clone()  # (n, F)
            for v in range(len(network.kinds)):
                drawn = draw_event(network.logits(v, hidden, seen) / temperature, rng)  # (n,)
                if told is not None and forced is not None:
                    drawn = np.where(forced, told[0][:, t, v], drawn)
                events[:, v] = torch.from_numpy(drawn).to(device)
                if v >= c:
                    codes[:, t, v - c] = drawn - 1
                    hidden = network.after(v, hidden, events[:, v], features)
                    continue
                made = self._events[v].decode(drawn, last[:, v], rng.random(n))
                if told is not None and forced is not None:
                    made = np.where(forced, told[2][:, t, v], made)
                known = ~np.isnan(made)
                now = torch.from_numpy(self._events[v].features(made, known, last[:, v], mean[:, v])).to(
                    device
                )  # (n, 7)
                features[:, FEATURES * v : FEATURES * (v + 1)] = now
                hidden = network.after(v, hidden, events[:, v], now)
                last[:, v], mean[:, v] = np.where(known, made, last[:, v]), follow(mean[:, v], made, known)
                values[:, t, v] = made
        beyond = np.arange(self._longest)[None, :, None] >= lengths[:, None, None]
        return SeriesBatch(
            values=np.where(beyond, np.float32(np.nan), values),
            channels=tuple(col.name for col in numeric_channels(self.schema)),
            lengths=lengths,
            categories=np.where(beyond, -1, codes),
            category_channels=tuple(col.name for col in categorical),
            category_values=tuple(col.categories for col in categorical),
            static=static,
        )

    # State

    def _arrays(self) -> dict[str, np.ndarray]:
        bins: dict[str, np.ndarray] = {}
        for i, events in enumerate(self._events):
            bins |= events.arrays(f"events.{i}")
        return super()._arrays() | self._table.arrays() | bins

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._table = AttributeTable(self.schema)
        self._table.set_arrays(arrays)
        self._events = [
            ChannelEvents.from_arrays(arrays, f"events.{i}", column)
            for i, column in enumerate(numeric_channels(self.schema))
        ]
        super()._set_arrays({k: v for k, v in arrays.items() if not k.startswith(("fields.", "events."))})


class SeriesNetwork(nn.Module):
    """From the events so far to the logits of the next ones.

    Parameters
    ----------
    places
        Of each of the V channels, numeric ones first: ``float (kinds, 3)``, where its events lie on up to three lines
        (NaN: not on it), see :class:`~zoo.nn.event_head.EventHead`.
    nullable
        Of each channel, whether its first event, *missing*, may occur.
    numeric
        Number C of numeric channels, each with seven features.
    sizes
        Number of values of each of the S static attributes.
    width, layers, cell, dropout
        As of :class:`RNN`.
    longest
        Steps of the longest series, the unit of positions.
    """

    def __init__(
        self,
        places: Sequence[np.ndarray],
        nullable: Sequence[bool],
        numeric: int,
        sizes: Sequence[int],
        width: int,
        layers: int,
        cell: str,
        dropout: float,
        longest: int,
    ) -> None:
        super().__init__()
        kinds = [len(p) for p in places]
        self.kinds, self.sizes, self.longest = tuple(kinds), tuple(sizes), longest
        self.static = nn.ModuleList(nn.Embedding(1 + size, width) for size in sizes)  # 0 is missing
        self.numeric = numeric
        self.before = nn.ModuleList(nn.Embedding(kind, width) for kind in kinds[numeric:])
        self.inputs = nn.Linear(FEATURES * numeric + 3, width)
        recurrent = nn.GRU if cell == "gru" else nn.LSTM
        self.recurrent = recurrent(width, width, layers, batch_first=True)
        self.skip = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        # Numbers enter as numbers: embeddings of their events were learned by heart and said nothing of other days.
        self.within = nn.ModuleList(
            nn.Linear(FEATURES, width) if v < numeric else nn.Embedding(kind, width)
            for v, kind in enumerate(kinds[:-1])
        )
        self.heads = nn.ModuleList(EventHead(width, p, may) for p, may in zip(places, nullable, strict=True))

    def start_at(self, features: np.ndarray, targets: np.ndarray, levels: np.ndarray) -> None:
        """Let the untrained outputs be the share of each event, so that rare ones need not be unlearned; arguments as
        of :meth:`forward`."""
        inside = targets[:, :, 0] != _IGNORE  # (N, T)
        for v, head in enumerate(self.heads):
            after = inside.copy()
            if v < self.numeric:  # steps that come when a value is known
                after[:, 1:] &= features[:, :-1, FEATURES * (v + 1) - 1] > 0
                after[:, 0] = False
            head.start_at(targets[:, :, v][after], levels[:, :, v][inside])  # type: ignore[operator]

    def about(self, attributes: Tensor) -> Tensor:
        """The static attributes ``(B, S)`` as one vector ``(B, W)``."""
        parts = [table(attributes[:, i]) for i, table in enumerate(self.static)]
        return torch.stack(parts).sum(0) if parts else self.inputs.bias.new_zeros(1, 1)

    def step(
        self, events: Tensor, features: Tensor, about: Tensor, t: int, lengths: Tensor, state: Any
    ) -> tuple[Tensor, Any]:
        """One step: events ``(n, V)`` and features ``(n, F)`` of the one before, to the hidden state ``(n, W)``."""
        position = self._position(torch.full_like(lengths, t)[:, None], lengths)  # (n, 1, 3)
        joined = self._input(events[:, None], features[:, None], position, about)  # (n, 1, W)
        out, state = self._recur(joined, state)
        return out[:, 0], state

    def _position(self, t: Tensor, lengths: Tensor) -> Tensor:
        """Where a step stands, ``(B, T, 3)``: from the beginning, from the end, whether it is the first."""
        left = lengths[:, None] - t
        return torch.stack([t / self.longest, left / self.longest, (t == 0).float()], dim=-1).to(
            self.inputs.weight.dtype
        )

    def _input(self, events: Tensor, features: Tensor, position: Tensor, about: Tensor) -> Tensor:
        joined = self.inputs(torch.cat([features, position], dim=-1)) + about[:, None]  # (B, T, W)
        for k, table in enumerate(self.before):
            joined = joined + table(events[:, :, self.numeric + k])
        return joined

    def _recur(self, joined: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """From inputs ``(B, T, W)`` to what the heads see of the past, ``(B, T, W)``, and the state.

        The last step's input goes round the recurrent layers too: how much of a change is noise that the next one takes
        back is seen at once."""
        hidden, state = self.recurrent(joined, state)
        return self.dropout(hidden) + self.skip(joined), state

    def after(self, v: int, hidden: Tensor, events: Tensor, features: Tensor) -> Tensor:
        """The hidden state ``(M, W)`` once channel v's event ``(M,)`` or features ``(M, 7)`` are known, for the
        channels behind it."""
        if v == len(self.kinds) - 1:
            return hidden
        return hidden + self.within[v](features if v < self.numeric else events)  # (M, W)

    def logits(self, v: int, hidden: Tensor, seen: Tensor) -> Tensor:
        """Logits of channel v's events, ``(M, kinds[v])``, from ``hidden (M, W)`` and the features of the step before,
        ``seen (M, F)``."""
        return self.heads[v](hidden, seen[:, FEATURES * v : FEATURES * (v + 1)] if v < self.numeric else None)

    def forward(
        self, features: Tensor, events: Tensor, targets: Tensor, levels: Tensor, attributes: Tensor, lengths: Tensor
    ) -> Tensor:
        """Mean negative log-likelihood of an event within length, in nats, and that of cold starts.

        A cold start is a random step that is predicted from its position alone, as if the series began there. First
        steps are few; so they are learned from all, and with them how the channels of a step depend on each other.

        Parameters
        ----------
        features, events, targets, levels
            ``float (B, T, F)``, ``int64 (B, T, V)`` thrice; targets are -100 beyond length, levels are the events
            without regard to the step before.
        attributes, lengths
            ``int64 (B, S)`` and ``int64 (B,)``.
        """
        about = self.about(attributes).expand(len(events), -1)  # (B, W)
        before = F.pad(events[:, :-1], (0, 0, 1, 0))  # (B, T, V) the first step sees nothing
        seen = F.pad(features[:, :-1], (0, 0, 1, 0))  # (B, T, F)
        t = torch.arange(events.shape[1], device=events.device).expand(len(events), -1)  # (B, T)
        hidden, _ = self._recur(self._input(before, seen, self._position(t, lengths), about))  # (B, T, W)
        inside = targets[:, :, 0] != _IGNORE  # (B, T)
        loss = self._nats(hidden[inside], events[inside], features[inside], seen[inside])

        row = torch.arange(len(events), device=events.device).repeat_interleave(_COLD)  # (B K,)
        start = (torch.rand(len(row), device=events.device) * lengths[row]).long()  # (B K,)
        nothing = torch.zeros_like(events[row, :1])  # (B K, 1, V)
        position = self._position(start[:, None], lengths[row])  # (B K, 1, 3)
        unseen = torch.zeros_like(features[row, :1])  # (B K, 1, F)
        joined = self._input(nothing, unseen, position, about[row])  # (B K, 1, W)
        hidden, _ = self._recur(joined)  # (B K, 1, W)
        first = self.unmoved(features[row, start])  # (B K, F)
        return loss + self._nats(hidden[:, 0], levels[row, start], first, unseen[:, 0])

    def unmoved(self, features: Tensor) -> Tensor:
        """Features ``(…, F)`` as they are where nothing was known before: without a change."""
        keep = features.new_ones(FEATURES)
        keep[3:6] = 0.0
        return features * keep.repeat(features.shape[-1] // FEATURES)

    def _nats(self, hidden: Tensor, events: Tensor, features: Tensor, seen: Tensor) -> Tensor:
        """Mean negative log-likelihood of ``events (M, V)``, channel by channel, from ``hidden (M, W)`` of before."""
        loss = hidden.new_zeros(())
        for v in range(len(self.kinds)):
            loss = loss + F.cross_entropy(self.logits(v, hidden, seen).float(), events[:, v])
            numbers = features[:, FEATURES * v : FEATURES * (v + 1)]  # (M, 7), none for a categorical channel
            hidden = self.after(v, hidden, events[:, v], numbers)
        return loss / len(self.kinds)


def _lightning_module(network: SeriesNetwork, train: "TrainConfig") -> Any:
    """The thin wrapper that says what the loss is; made here so that sampling does not import Lightning."""
    import pytorch_lightning as pl

    from zoo.training.schedule import warmup_cosine

    class EventModel(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
            return self.network(*batch)

        def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
            self.log("val_loss", self.network(*batch))

        def configure_optimizers(self) -> Any:
            rate: Any = train.learning_rate  # set by with_defaults
            optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.01)
            return warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, final=0.0)

    return EventModel()
