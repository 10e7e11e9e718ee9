"""Examples to train with: windows cut from the past, each with what came after it.

They are what ``windows.Cutter`` cuts, bit for bit, but are not cut one by one: a symbol's covariates are encoded
for all its bars at once, as known when each was complete, and for each bar as known when the bar 1 … H places
before it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .calendars import calendar
from .config import Instrument, Training
from .errors import PluginError
from .reading import Progress
from .types import Bars, Covariates, Example, Moment, Moments, Window, moment
from .windows import Cutter, complete, covariates, encoded, framed, seed_for

_CHECKED = 3
"""Examples of each symbol that are compared with what the cutter cuts."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which origins examples are made of."""

    start: Moment | None = None
    """No cutoff is earlier."""
    until: Moment | None = None
    """By then the last target is complete."""
    stride: int = 1
    """Bars of the trading calendar from one origin to the next."""
    embargo: int = 0
    """Bars after ``start`` before the first origin."""


@dataclass(frozen=True, eq=False)
class Track:
    """One symbol's bars, the origins from which to learn and the covariates of them all."""

    cutter: Cutter
    bars: Bars
    instrument: Instrument
    origins: NDArray[np.int64]
    """Positions ``[O]`` of the last bar of each context."""
    context_rows: NDArray[np.float32]
    """``[T, E]``: each bar as known when it was complete."""
    future_rows: NDArray[np.float32]
    """``[O, H, E]``: the bars after each origin as known at the origin."""

    @classmethod
    def of(cls, cutter: Cutter, bars: Bars, instrument: Instrument, reach: Reach) -> Track:
        """Lay the examples of one symbol; raises ValueError where an encoder gives rows of the wrong shape."""
        origins = _origins(cutter, bars, instrument, reach)
        if not cutter.encoders or not len(origins):
            context = np.empty((len(bars), 0), dtype=np.float32)
            future = np.empty((len(origins), cutter.horizon, 0), dtype=np.float32)
            return cls(cutter, bars, instrument, origins, context, future)
        end = bars.times.available_at[-1]
        grid, rows = framed(bars.times, calendar(instrument.market), cutter.freq)
        facts = cutter.ledger.known(bars.symbol, end)
        leaders = {name: complete(leader, end) for name, leader in cutter.leaders.items()}
        passes = (
            encoded(cutter.encoders, facts, leaders, grid, _as_of(grid.available_at, k, end))
            for k in range(cutter.horizon + 1)
        )
        context = next(passes)[rows]
        future = np.stack([found[rows[origins] + k] for k, found in enumerate(passes, 1)], axis=1)
        return cls(cutter, bars, instrument, origins, context, future)

    @property
    def cutoffs(self) -> Moments:
        """The moment of each origin ``[O]``."""
        return self.bars.times.available_at[self.origins]

    @property
    def ends(self) -> Moments:
        """The moment at which the last target bar of each origin is complete ``[O]``."""
        return self.bars.times.available_at[self.origins + self.cutter.horizon]

    def example(self, i: int) -> Example:
        """Return the example of one origin. Its bars are views."""
        cutter, last = self.cutter, int(self.origins[i])
        target = self.bars[last + 1 : last + 1 + cutter.horizon]
        cutoff = self.bars.times.available_at[last]
        window = Window(
            bars=self.bars[last + 1 - cutter.context : last + 1],
            future=target.times,
            cutoff=cutoff,
            freq=cutter.freq,
            asset_class=self.instrument.asset_class,
            seed=seed_for(cutter.seed, self.bars.symbol, cutoff),
            covariates=self._covariates(i, last),
        )
        return Example(window, target)

    def _covariates(self, i: int, last: int) -> Covariates | None:
        if not self.cutter.encoders:
            return None
        past = self.context_rows[last + 1 - self.cutter.context : last + 1]
        return covariates(self.cutter.encoders, np.concatenate([past, self.future_rows[i]]), len(past))

    def check(self) -> None:
        """Compare some examples with what the cutter makes of what was known; raises PluginError."""
        for i in np.unique(np.linspace(0, len(self.origins) - 1, _CHECKED, dtype=np.int64)):
            found = self.example(int(i)).window
            cut = self.cutter.window(
                self.bars, found.cutoff, asset_class=found.asset_class, market=self.instrument.market
            )
            if found.covariates is None or cut.covariates is None:
                continue
            same = (found.covariates.values == cut.covariates.values) & (
                found.covariates.mask == cut.covariates.mask
            )
            if not same.all():
                row, channel = np.argwhere(~same)[0]
                raise PluginError(
                    f"encoder {_owner(self.cutter, channel)} lets later knowledge into earlier rows: "
                    f"{found.covariates.names[channel]} of {self.bars.symbol} in row {row} of {len(same)}, cut at "
                    f"{found.cutoff} UTC, is not what it is within a longer stretch of bars"
                )


@dataclass(frozen=True, slots=True)
class Extent:
    """How many examples of an asset class there are, and what they span."""

    asset_class: str
    symbols: int
    examples: int
    first: Moment
    """The first cutoff."""
    last: Moment
    """The moment at which the last target is complete."""


class Examples(Sequence[Example]):
    """The examples of one split, symbol by symbol and in order of time; each is made when it is asked for."""

    def __init__(self, parts: Sequence[tuple[Track, NDArray[np.bool_]]]) -> None:
        self._parts = [(track, np.flatnonzero(chosen)) for track, chosen in parts if chosen.any()]
        self._starts = np.cumsum([0, *(len(chosen) for _, chosen in self._parts)])

    @classmethod
    def all(cls, tracks: Sequence[Track]) -> Examples:
        """Return every example of the tracks."""
        return cls([(track, np.ones(len(track.origins), dtype=np.bool_)) for track in tracks])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        track, chosen = self._parts[part]
        return track.example(int(chosen[place - self._starts[part]]))

    def extents(self) -> list[Extent]:
        """Return how many examples there are of each asset class, and what they span."""
        spans: dict[str, list[tuple[int, Moment, Moment]]] = {}
        for track, chosen in self._parts:
            span = len(chosen), track.cutoffs[chosen[0]], track.ends[chosen[-1]]
            spans.setdefault(track.instrument.asset_class, []).append(span)
        extents = []
        for name, found in sorted(spans.items()):
            counts, first, last = zip(*found, strict=True)
            extents.append(Extent(name, len(found), sum(counts), min(first), max(last)))
        return extents

    @property
    def symbols(self) -> list[str]:
        """The symbols that there are examples of."""
        return [track.bars.symbol for track, _ in self._parts]

    def fingerprint(self) -> str:
        """Return a digest of everything that can be learned from the examples."""
        hasher = hashlib.sha256()
        for track, chosen in self._parts:
            names = [name for encoder in track.cutter.encoders for name in encoder.names]
            head = track.bars.symbol, track.bars.columns, track.instrument.asset_class, names
            hasher.update(repr(head).encode())
            for array in self._learned(track, chosen):
                hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()

    @staticmethod
    def _learned(track: Track, chosen: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """Yield what the examples of one symbol are made of, and nothing before or after it."""
        origins = track.origins[chosen]
        first, last = origins[0] + 1 - track.cutter.context, origins[-1] + 1
        through = last + track.cutter.horizon
        times = track.bars.times
        yield from (origins - first, times.time[first:through], times.available_at[first:through])
        yield from (track.bars.values[first:through], track.context_rows[first:last], track.future_rows[chosen])


def split(
    cutter: Cutter,
    bars: Mapping[str, Bars],
    universe: Mapping[str, Instrument],
    training: Training,
    progress: Progress,
) -> tuple[Examples, Examples]:
    """Return the examples to train and to validate with, of the symbols in ``bars``.

    No example that trains has a target that is complete only after ``validate_from``. Raises what ``lay`` does.
    """
    start, until = (None if day is None else at_midnight(day) for day in (training.start, training.until))
    tracks = lay(cutter, bars, universe, Reach(start, until, training.stride), progress)
    border = at_midnight(training.validate_from)
    return (
        Examples([(track, track.ends <= border) for track in tracks]),
        Examples([(track, track.cutoffs >= border) for track in tracks]),
    )


def lay(
    cutter: Cutter,
    bars: Mapping[str, Bars],
    universe: Mapping[str, Instrument],
    reach: Reach,
    progress: Progress,
) -> list[Track]:
    """Return the track of each symbol in ``bars``.

    Raises PluginError where an encoder's rows depend on what came later, ValueError where their shape is wrong.
    """
    tracks = []
    for symbol, mine in bars.items():
        track = Track.of(cutter, mine, universe[symbol], reach)
        if cutter.encoders and len(track.origins):
            track.check()
        tracks.append(track)
        progress("cutting", len(tracks), len(bars))
    return tracks


def at_midnight(day: date) -> Moment:
    """Return the moment at which a day begins, UTC."""
    return moment(day.isoformat())


def _origins(cutter: Cutter, bars: Bars, instrument: Instrument, reach: Reach) -> NDArray[np.int64]:
    """Return the positions that have a full context, all bars to come and the closes that a model needs.

    Every ``stride``-th bar of the trading calendar counts, from the symbol's first bar on: neither a bar that is
    missing nor one that comes later moves an origin.
    """
    steps, times = cutter.horizon, bars.times
    positions = np.arange(cutter.context - 1, len(bars) - steps)
    due = calendar(instrument.market).grid(times.time[0], times.time[-1], cutter.freq)
    on_grid = np.searchsorted(due.time, times.time)
    faults = np.cumsum(np.append(0, ~np.isfinite(bars.close) | (bars.close == 0)))
    usable = on_grid[positions] % reach.stride == 0
    usable &= on_grid[positions + steps] - on_grid[positions] == steps
    usable &= faults[positions + steps + 1] == faults[positions]
    if reach.start is not None:
        first = int(np.searchsorted(times.available_at, reach.start)) + reach.embargo
        usable &= positions >= first
    if reach.until is not None:
        usable &= times.available_at[positions + steps] <= reach.until
    origins: NDArray[np.int64] = positions[usable]
    return origins


def _as_of(available_at: Moments, k: int, end: Moment) -> Moments:
    """Return for each bar the moment at which the bar k places before it was complete."""
    earlier = np.concatenate([np.repeat(available_at[:1], k), available_at[: len(available_at) - k]])
    known_at: Moments = np.minimum(earlier, end)
    return known_at


def _owner(cutter: Cutter, channel: int) -> str:
    """Return the class of the encoder that a channel belongs to."""
    owners = [type(encoder).__name__ for encoder in cutter.encoders for _ in encoder.names]
    return owners[channel]
