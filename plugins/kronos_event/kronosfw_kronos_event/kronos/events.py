"""Event conditioning: what the model is told of events beside its candles.

Shapes: B sequences, T positions, E channels, I inputs made of them, D model width, V1 tokens. A row of channels
belongs to the bar at its position, and the state there predicts the next bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .tokenizer import KronosTokenizer

Floats32 = NDArray[np.float32]
VALUES = 4
AVERAGED = 32


@dataclass(frozen=True)
class Channels:
    """The channels a model is conditioned on, and where its adapters are open."""

    names: tuple[str, ...]
    known_ahead: tuple[bool, ...]
    """For each channel, whether its future rows hold values."""
    marks: tuple[str, ...] = ()
    """Channels that are not 0 on the bar of an event."""
    announces: tuple[str, ...] = ()
    """Channels that are not 0 on the bar before one."""
    output: int = 0
    """Bars before a target whose channels reach its logits by a path of their own; 0 where there is none."""
    gate: int | None = None
    """Event embedding and adapters are open from the bar before an event until so many bars after it; always where
    None. A gate that looked further ahead would know of events that nobody had scheduled."""

    def __post_init__(self) -> None:
        unknown = sorted({*self.marks, *self.announces} - set(self.names))
        if unknown:
            raise ValueError(f"there is no channel {', '.join(unknown)}; there are {', '.join(self.names)}")
        if len(self.known_ahead) != len(self.names):
            raise ValueError("known_ahead must have one entry for each channel")

    def columns(self, names: Sequence[str]) -> list[int]:
        """Return the columns of channels."""
        return [self.names.index(name) for name in names]

    @property
    def ahead(self) -> list[int]:
        """The columns of the channels that are known ahead."""
        return [i for i, known in enumerate(self.known_ahead) if known]

    def marked(self, events: Floats32) -> NDArray[np.bool_]:
        """Return on which bars an event falls ``[..., T]``, for channels ``[..., T, E]``."""
        found: NDArray[np.bool_] = (events[..., self.columns(self.marks)] != 0).any(axis=-1)
        return found

    def open(self, events: Floats32) -> Floats32:
        """Return 1 where event embedding and adapters are open and 0 elsewhere, ``[..., T]``."""
        if self.gate is None:
            return np.ones(events.shape[:-1], np.float32)
        marked = self.marked(events)
        opened = marked | (events[..., self.columns(self.announces)] != 0).any(axis=-1)
        for bars in range(1, min(self.gate, marked.shape[-1] - 1) + 1):
            opened[..., bars:] |= marked[..., :-bars]
        return opened.astype(np.float32)

    def inputs(self, events: Floats32, context: int) -> Floats32:
        """Return what the modules below take, ``[..., T, I]``, for channels ``[..., T, E]``.

        Of each bar: its channels, what may bear on it as a target, and the gate. The last of these is ``output``
        rows before it, and its own channels that are known ahead. Those it has from position ``context`` on, where
        rows show what was known at the cutoff; before, they may show what was known only when the bar was complete.
        """
        parts = [events]
        for bars in range(1, self.output + 1):
            parts.append(np.zeros_like(events))
            parts[-1][..., bars:, :] = events[..., :-bars, :]
        if self.output:
            ahead = events[..., self.ahead].copy()
            ahead[..., :context, :] = 0
            parts.append(ahead)
        return np.concatenate([*parts, self.open(events)[..., None]], axis=-1, dtype=np.float32)

    @property
    def told(self) -> int:
        """How many columns of the inputs bear on a bar as a target."""
        return self.output * len(self.names) + len(self.ahead) if self.output else 0


class EventEmbedding(nn.Module):
    """Adds what the channels say to the model's input, as the time embedding is added, and to its s1 logits.

    Starts at 0, where the model is the base model, and still learns: a linear layer gets its gradient from its
    input. ``xavier`` starts with noise instead.
    """

    def __init__(self, channels: Channels, width: int, vocabulary: int, *, xavier: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.embed = nn.Linear(len(channels.names), width)
        self.tilt = Tilt(channels.told, vocabulary) if channels.output else None
        nn.init.zeros_(self.embed.bias)
        (nn.init.xavier_normal_ if xavier else nn.init.zeros_)(self.embed.weight)

    def forward(self, events: Tensor) -> Tensor:
        """Return what is added to the model's input ``[..., T, D]``, for the channels' inputs ``[..., T, I]``."""
        dtype = self.embed.weight.dtype
        return self.embed(events[..., : self.embed.in_features].to(dtype)) * gate(events, dtype)

    def logits(self, target: Tensor) -> Tensor:
        """Return what is added to the s1 logits ``[..., V1]``, for the target bar's inputs ``[..., I]``."""
        assert self.tilt is not None
        dtype = self.tilt.weight.dtype
        return self.tilt(target[..., self.embed.in_features : -1].to(dtype)) * gate(target, dtype)


class Tilt(nn.Module):
    """Makes tokens likelier by the candles they stand for: an exponential tilt of what the model expects.

    The channels say how much a high close, a wide range, a rise and a large volume are to be favoured; ``values``
    say how much of these each s1 has. A handful of weights can so move a distribution up or down, or widen it, and
    learn it from few events; starts at 0.
    """

    values: Tensor

    def __init__(self, told: int, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(VALUES, told))
        self.register_buffer("values", torch.zeros(vocabulary, VALUES))

    def forward(self, told: Tensor) -> Tensor:
        """Return logits ``[..., V1]`` for what bears on a target ``[..., told]``."""
        return F.linear(F.linear(told, self.weight), self.values)


@torch.no_grad()
def candle_values(tokenizer: KronosTokenizer) -> Tensor:
    """Return close, range, rise and volume of what each s1 stands for, ``[V1, VALUES]``.

    By itself, without a context, and on average over some s2.
    """
    s1 = torch.arange(2**tokenizer.config.s1_bits, device=tokenizer.head.weight.device)[:, None]
    every = max(2**tokenizer.config.s2_bits // AVERAGED, 1)
    seconds = range(0, 2**tokenizer.config.s2_bits, every)
    z = torch.stack([tokenizer.decode(s1, torch.full_like(s1, s2))[:, 0] for s2 in seconds]).mean(dim=0)
    opened, high, low, close, volume = z[:, :5].unbind(-1)
    return torch.stack([close, high - low, close - opened, volume], dim=-1)


def gate(events: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the gate ``[..., T, 1]`` of inputs ``[..., T, I]``."""
    return events[..., -1:].to(dtype)
