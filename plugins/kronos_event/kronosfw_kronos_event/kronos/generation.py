"""One batch of series, drawn step by step.

Shapes: G series, n paths of each, T bars of context, H steps, V1 and V2 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .candles import CLOSE, Floats, Scale
from .draws import Filter, Method, invert, uniforms
from .engine import Engine
from .graph import replayed
from .model import STAMPS
from .stack import Place

Sliding = Literal["shorten", "exact", "chunked"]


@dataclass(frozen=True)
class Series:
    """What one series' paths are drawn from."""

    candles: Floats
    """The context ``[T, 6]``, in the instrument's units."""
    stamps: NDArray[np.int64]
    """Time stamps of the context and of the bars to come ``[T + H, 5]``."""
    seed: int
    events: NDArray[np.float32] | None = None
    """What a model with an adapter is told of events (``Channels.inputs``), ``[T + H, I]``."""

    def __post_init__(self) -> None:
        bars, steps = len(self.candles), len(self.stamps) - len(self.candles)
        if self.candles.shape != (bars, 6) or self.stamps.shape[1:] != (5,) or not bars or steps < 1:
            raise ValueError(
                f"candles [T, 6] and stamps [T + H, 5] are wanted, not {self.candles.shape} and {self.stamps.shape}"
            )
        if not np.isfinite(self.candles).all():
            raise ValueError("candles must be finite")
        if self.events is not None and (len(self.events) != len(self.stamps) or not np.isfinite(self.events).all()):
            raise ValueError(f"events [T + H, I] must be finite and as many as stamps, not {self.events.shape}")
        if (self.stamps < 0).any() or (self.stamps >= list(STAMPS.values())).any():
            raise ValueError(f"stamps are {', '.join(STAMPS)}, each below {', '.join(map(str, STAMPS.values()))}")

    @property
    def steps(self) -> int:
        """H, the number of bars to draw."""
        return len(self.stamps) - len(self.candles)

    def last(self, bars: int) -> Series:
        """Return the series with at most the last ``bars`` of its context."""
        drop = max(len(self.candles) - bars, 0)
        events = None if self.events is None else self.events[drop:]
        return Series(self.candles[drop:], self.stamps[drop:], self.seed, events)


@dataclass(frozen=True)
class Options:
    """How paths are drawn."""

    paths: int = 30
    method: Method = "rqmc"
    filter: Filter = field(default_factory=Filter)
    max_context: int = 512
    """Positions the model was trained for."""
    sliding: Sliding = "shorten"
    """What gives where context and horizon pass ``max_context``: ``shorten`` takes fewer bars of context, so that
    nothing slides; ``exact`` drops the oldest bar at each step and runs the rest anew, as the published code does;
    ``chunked`` drops several at once and goes on until it is full again."""
    chunk: int = 64
    """Bars that ``chunked`` drops at once."""
    memory: int = 2**29
    """Bytes that one batch may take."""

    def __post_init__(self) -> None:
        if self.paths < 1 or self.method not in get_args(Method) or self.sliding not in get_args(Sliding):
            raise ValueError(f"paths {self.paths}, method {self.method!r} and sliding {self.sliding!r} cannot be")


class Generation:
    """Draws the paths of one batch.

    Contexts of different lengths are padded behind, where nothing that counts looks; where they slide, lengths and
    horizons must be the same.
    """

    def __init__(self, engine: Engine, options: Options, series: Sequence[Series]) -> None:
        self.engine, self.options = engine, options
        self.ordered = options.method == "rqmc"
        lengths = np.array([len(one.candles) for one in series])
        self.longest, self.steps = int(lengths.max()), max(one.steps for one in series)
        slides = options.sliding != "shorten"
        self.surplus = max(self.longest + self.steps - options.max_context, 0) if slides else 0
        contexts = np.stack([_padded(Scale.of(s.candles).normalise(s.candles), self.longest) for s in series])
        self.s1, self.s2 = engine.tokenizer.encode(self._put(contexts).to(engine.candle_dtype))
        self.stamps = self._put(np.stack([_padded(s.stamps[: -s.steps], self.longest) for s in series]))
        self.ahead = self._put(np.stack([_padded(s.stamps[-s.steps :], self.steps) for s in series]))[:, None]
        self.events, self.events_ahead = self._events(series)
        self.lengths = self._put(lengths)
        self.padding = None
        if lengths.min() < self.longest:
            padding = np.arange(self.longest) >= lengths[:, None]
            self.padding = self._put(np.where(padding, -np.inf, 0.0)).to(engine.dtype)[:, None, None, None]
        self.uniforms = self._put(uniforms([s.seed for s in series], self.steps, options.paths, options.method))
        shape = len(series), options.paths, self.steps
        self.tokens = self.uniforms.new_zeros(2, *shape, dtype=torch.long)
        self.candles = self.uniforms.new_zeros(*shape, 6, dtype=engine.candle_dtype)
        self.dropped = 0

    def run(self) -> tuple[Tensor, Tensor]:
        """Return the paths ``[G, n, H, 6]`` and the last bar of each context ``[G, 6]``, decoded, normalised."""
        start = self._read_candles(0)
        if self.ordered:
            self.order = self.engine.by_close(self.decoder, self._place(0))[:, None]
        self._draw(self._restart(0), self._place(-1))
        for step in range(self._replay(), self.steps):
            full = self.longest - self.dropped + step > self.options.max_context
            states = self._restart(step) if full else self._advance(self._place(step - 1))
            self._draw(states, self._place(step - 1))
        if self.surplus:
            # The published code decodes no more than the last max_context tokens.
            start = self._read_candles(self.surplus)
        if self.surplus or not self.ordered:
            s1, s2 = self.tokens
            self.candles = self.engine.decode(s1, s2, self.decoder, self._place(0, self.steps, self.surplus))
        return self.candles, start

    def _replay(self) -> int:
        """Do the steps that a GPU can replay; return the first that is left."""
        replays = self.engine.device.type == "cuda" and self.surplus <= 1
        return replayed(self._step, self.steps, self.engine.device) if replays else 1

    def _step(self, slots: Tensor) -> None:
        """Do the step after ``slots [1]``, a tensor on the device: the same operations whatever its value."""
        place = self._place_of(slots, self.steps, self.lengths)
        self._draw(self._advance(place), place)

    def _restart(self, step: int) -> Tensor:
        """Run the context and the first steps of the paths anew, without the bars that no longer fit.

        Returns the states ``[G, n or 1, D]`` from which the next step is drawn.
        """
        over = self.longest + step - self.options.max_context
        if over > 0:
            more = self.options.chunk - 1 if self.options.sliding == "chunked" else 0
            self.dropped = min(over + more, self.longest - 1)
        kept = slice(self.dropped, None)
        events = None if self.events is None else self.events[:, kept]
        context = self.s1[:, kept], self.s2[:, kept], self.stamps[:, kept], events
        states, self.tape = self.engine.read(*context, self.options.paths, self.steps)
        if not step:
            return self._last(states, self.lengths - self.dropped)[:, None]
        place = self._place(0, step, self.dropped)
        return self._go_on(place)[:, :, -1]

    def _advance(self, place: Place) -> Tensor:
        """Run the last token of each path; return the states ``[G, n, D]`` from which the next is drawn."""
        return self._go_on(place)[:, :, 0]

    def _go_on(self, place: Place) -> Tensor:
        s1, s2 = self.tokens.index_select(-1, place.slots)
        stamps = self.ahead.index_select(2, place.slots)
        return self.engine.go_on(s1, s2, stamps, self._rows(place.slots), self.tape, place)

    def _rows(self, slots: Tensor) -> Tensor | None:
        """Return the event channels of bars to come, ``[G, 1, L, I]``."""
        return None if self.events_ahead is None else self.events_ahead.index_select(2, slots)

    def _events(self, series: Sequence[Series]) -> tuple[Tensor | None, Tensor | None]:
        """Return the event channels of the contexts ``[G, T, I]`` and of the bars to come, if there are any."""
        given = [(one.events, one.steps) for one in series if one.events is not None]
        if self.engine.adapter is None or not given:
            return None, None
        if len(given) < len(series):
            raise ValueError("either all series of a batch have event channels, or none")
        context = np.stack([_padded(events[:-steps], self.longest) for events, steps in given])
        ahead = np.stack([_padded(events[-steps:], self.steps) for events, steps in given])
        return self._put(context), self._put(ahead)[:, None]

    def _draw(self, states: Tensor, place: Place) -> None:
        """Draw the tokens of the step after ``place``, and decode them where the next draws need it."""
        step = place.slots + 1
        u1, u2 = self.uniforms.index_select(1, step)[:, 0]
        target = self._rows(step)
        weights = self.options.filter(self.engine.s1_logits(states, None if target is None else target[:, :, 0]))
        if self.ordered:
            weights = weights.gather(-1, self.order.expand_as(weights))
            close = self.candles.index_select(2, place.slots.clamp_min(0))[:, :, 0, CLOSE]
            u1 = u1.gather(-1, close.argsort(dim=-1, stable=True).argsort(dim=-1))
        s1 = invert(weights, u1)
        if self.ordered:
            s1 = self.order[:, 0].gather(-1, s1)
        s2 = invert(self.options.filter(self.engine.s2_logits(states, s1, self.tape, place)), u2)
        s1, s2 = s1[..., None], s2[..., None]
        self.tokens.index_copy_(-1, step, torch.stack([s1, s2]))
        if self.ordered:
            decoding = self._place_of(step, min(place.end + 1, self.steps), self.lengths)
            self.candles.index_copy_(2, step, self.engine.decode(s1, s2, self.decoder, decoding))

    def _read_candles(self, drop: int) -> Tensor:
        """Decode the contexts without their oldest bars; return the last bar of each, ``[G, 6]``."""
        z, self.decoder = self.engine.read_candles(
            self.s1[:, drop:], self.s2[:, drop:], self.options.paths, self.steps
        )
        return self._last(z, self.lengths - drop)

    def _last(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Return the row ``[G, D]`` at the end of each context, for rows ``[G, T, D]``."""
        return rows[torch.arange(len(rows), device=rows.device), lengths - 1]

    def _place(self, at: int, count: int = 1, drop: int | None = None) -> Place:
        """Return where slots from ``at`` on stand after contexts without their ``drop`` oldest bars."""
        lengths = self.lengths - (self.dropped if drop is None else drop)
        return self._place_of(torch.arange(at, at + count, device=self.engine.device), at + count, lengths)

    def _place_of(self, slots: Tensor, end: int, lengths: Tensor) -> Place:
        ahead = torch.arange(end, device=slots.device) > slots[:, None]
        bias = torch.zeros_like(ahead, dtype=self.engine.dtype).masked_fill_(ahead, -torch.inf)
        return Place(lengths, slots, end, self.padding, bias)

    def _put(self, array: NDArray[Any]) -> Tensor:
        """Return an array on the engine's device."""
        tensor = torch.from_numpy(array)
        if self.engine.device.type == "cuda":
            return tensor.pin_memory().to(self.engine.device, non_blocking=True)
        return tensor


def _padded(rows: NDArray[Any], length: int) -> NDArray[Any]:
    """Repeat the last row up to a length."""
    return np.concatenate([rows, np.repeat(rows[-1:], length - len(rows), axis=0)])
