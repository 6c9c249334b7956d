"""The output layer over the events of a channel (:mod:`zoo.data.series_events`)."""

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.series_events import MISSING

_SHARPEST = -6.5  # log scale of the narrowest bump; the lines are some units long, a bin a fiftieth
_RAREST = -30.0  # log share of what never occurred


class EventHead(nn.Module):
    """Logits of the events of one channel: free ones, and bumps that know which events are neighbours.

    On each of three lines, ``-(place - centre)**2 / (2 scale**2)`` is added, centre and scale given by the hidden
    state: the line of values, on which a change lies where it leads to from the last value; that of ranks; that of
    changes. So a smooth dependence (of a humidity ratio on humidity and temperature) or the return to a mean is
    learned from few steps and sharply, while the free logits say what no bell can.

    Parameters
    ----------
    width
        Width of the hidden state.
    places
        ``float (kinds, 3)``: where each event lies on the lines; NaN where it does not. Levels lie on the first two;
        changes on the third, and on the first by how far they move the value. They cannot be where none is known.
    nullable
        Whether the first event, *missing*, may occur.
    """

    def __init__(self, width: int, places: np.ndarray, nullable: bool) -> None:
        super().__init__()
        on = ~np.isnan(places)
        never = (np.arange(len(places)) == MISSING) & (not nullable) & (len(places) > 1)
        self.on: Tensor
        self.place: Tensor
        self.never: Tensor
        self.jump: Tensor
        self.register_buffer("never", torch.tensor(never), persistent=False)  # (kinds,)
        self.register_buffer("on", torch.tensor(on, dtype=torch.float32), persistent=False)  # (kinds, 3)
        self.register_buffer("place", torch.tensor(np.where(on, places, 0), dtype=torch.float32), persistent=False)
        self.register_buffer("jump", torch.zeros(1))  # log share of levels among the events after a known value
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU())
        self.free = nn.Linear(2 * width, len(places))
        self.bumps = nn.Linear(2 * width, 6)  # centres and log scales

    @torch.no_grad()
    def start_at(self, events: np.ndarray, levels: np.ndarray) -> None:
        """Let the untrained output be the share of each event, nearly: wide bumps and small weights.

        Parameters
        ----------
        events
            ``int64 (M,)``: events after a known value; all events of a categorical channel.
        levels
            ``int64 (M',)``: events where nothing is known.
        """
        kinds = len(self.place)
        change = (self.on[:, 2] > 0).numpy()  # (kinds,)
        level = (self.on[:, 1] > 0).numpy()  # (kinds,)
        first, after = (np.bincount(e, minlength=kinds) + 0.1 for e in (levels, events))
        share = np.where(change, after / after.sum(), first / first.sum())  # (kinds,)
        if change.any():
            jumps = np.isin(events, np.flatnonzero(level)).mean()
            self.jump.fill_(float(np.log(jumps)) if jumps else _RAREST)
        for layer in (self.free, self.bumps):
            layer.weight.mul_(0.1)
        self.free.bias.copy_(torch.from_numpy(np.log(share)))
        self.bumps.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.5, 1.5, 1.5]))

    def forward(self, hidden: Tensor, last: Tensor | None) -> Tensor:
        """Logits ``(M, kinds)`` from ``hidden (M, W)`` and the channel's features of the step before, ``last (M, 7)``
        (None for a categorical channel).

        They are -inf for what cannot be. Where a value is known, levels are as rare as they were in training, so that
        learning first steps does not teach the later ones to jump.
        """
        hidden = self.hidden(hidden)  # (M, 2 W)
        centre, scale = self.bumps(hidden).chunk(2, dim=-1)  # (M, 3) each
        place = self.place.expand(len(hidden), -1, -1)  # (M, kinds, 3)
        if last is not None:
            ahead = last[:, :1] * self.on[:, 2]  # (M, kinds) changes start from the last value
            place = torch.cat([place[:, :, :1] + ahead[:, :, None], place[:, :, 1:]], dim=2)
        near = (place - centre[:, None]) * torch.exp(-scale.clamp(_SHARPEST, 3))[:, None]  # (M, kinds, 3)
        logits = self.free(hidden) - 0.5 * (near.square() * self.on).sum(-1)  # (M, kinds)
        if last is None:
            return logits.masked_fill(self.never, -torch.inf)
        knows = last[:, -1:] > 0  # (M, 1)
        logits = logits + knows * self.jump * self.on[:, 1]
        return logits.masked_fill(self.never | (~knows & (self.on[:, 2] > 0)), -torch.inf)


def draw_event(logits: Tensor, rng: np.random.Generator) -> np.ndarray:
    """One event a row from softmax(logits), ``int64 (n,)``."""
    mass = torch.softmax(logits.double() if logits.device.type != "mps" else logits, dim=-1).cumsum(-1)  # (n, kinds)
    point = torch.from_numpy(rng.random((len(mass), 1))).to(mass) * mass[:, -1:]  # (n, 1)
    return torch.searchsorted(mass, point, right=True)[:, 0].clamp(max=mass.shape[1] - 1).cpu().numpy()
