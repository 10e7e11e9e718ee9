"""What a plugin provides: seven kinds of component, each a protocol and the options that build it.

A component is chosen in the configuration by its ``type``; its options are a pydantic model, and ``build()``
turns them into the working object. Import what is heavy inside ``build()``, never at the top of the module
that holds the options: listing plugins must stay cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from .errors import SymbolError
    from .types import (
        Alert,
        Bars,
        Checkpoint,
        Entry,
        Example,
        Fact,
        Finding,
        Forecast,
        Moment,
        Moments,
        Snapshot,
        Span,
        Times,
        Trial,
        Verdict,
        Window,
    )


class Feed(Protocol):
    """A source of bars and dated facts."""

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, pd.DataFrame | SymbolError]]:
        """Yield ``(symbol, frame)`` once for each symbol asked for, or its SymbolError where it cannot be read.

        A frame has a column ``time`` (``datetime64[us, UTC]``, the bar's open; for daily bars midnight UTC of
        the session's date will do), float64 columns ``open, high, low, close``, and where the source has them
        ``volume`` and ``amount``. Rows stand as the source has them: the host sorts, checks and repairs.
        ``frame.attrs`` may say ``stamp = "close"`` where ``time`` is the moment each bar was complete, and list
        in ``offsets`` the UTC offsets that the source mixed.

        Raise ConfigError if no symbol can ever be read, FeedDown if none can be at present. Whatever else is
        raised, the host asks again for fewer symbols until the one at fault stands alone.
        """
        ...

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact | Finding]:
        """Yield the facts scheduled within the span that concern the symbols, in any order.

        A Finding among them tells what was odd about the source; the run's report shows it.
        """
        ...


class EventEncoder(Protocol):
    """Turns facts and leaders into covariate channels."""

    @property
    def names(self) -> tuple[str, ...]:
        """The channels, in the order of their columns."""
        ...

    @property
    def known_ahead(self) -> tuple[bool, ...]:
        """For each channel, whether the future is known at the cutoff. The host masks the others' future rows."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """For each channel, the group that it is explained and left out with, such as ``schedule``."""
        ...

    @property
    def leaders(self) -> tuple[str, ...]:
        """Symbols whose bars the encoder wants to see."""
        ...

    @property
    def lookback(self) -> int:
        """Bars of a leader that its rows need from before a window begins."""
        ...

    def encode(
        self, facts: Sequence[Fact], leaders: Mapping[str, Bars], times: Times, known_at: Moments
    ) -> NDArray[np.float32]:
        """Return ``[N, E]`` for the bars in ``times``, NaN where nothing is known.

        ``times`` are consecutive bars of the symbol's trading calendar. The first and the last one are there so
        that every other has its neighbours; the host drops what is returned for them. What falls between two bars,
        such as an event at a weekend, belongs to the later one: it bears on the first bar complete after it.

        ``known_at [N]`` says as of when each row is to be encoded: nothing known later may enter it. It never
        decreases and is never later than the bar's own completion. For a forecast it is that of the bars of the
        context, and the cutoff for those to come; a training asks for all bars as of one of the bars before each.
        A row does not depend on where the window begins or ends.
        The host passes facts sorted by ``known_at`` and leaders' bars, both cut at the last moment asked for.
        """
        ...


class Forecaster(Protocol):
    """A model that forecasts windows.

    A forecaster whose weights can be switched also has
    ``with_checkpoint(path: Path | None) -> Forecaster``: cheap, sharing the base weights; None is the base. When it
    returns it has read all it needs: the folder may be deleted at any time after.
    """

    max_context: int | None
    """Most bars of context it can use; the host hands it no more. None means any number."""

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        """Return one forecast for each window, in order. A window's forecast depends on that window alone.

        If the call raises, the host halves the batch until the failing window stands alone.
        """
        ...


class Trainer(Protocol):
    """Makes checkpoints. A generator: the host owns the loop and may stop after any snapshot.

    A trainer whose weights can be moved part of the way also has
    ``blend(start: Path | None, end: Path, share: float, out: Path) -> None``, which writes into the empty folder
    ``out`` the weights that lie ``share`` of the way from ``start`` (None for the base) to ``end``: 0 forecasts as
    the one does, 1 as the other, and 1.5 goes half as far again.
    """

    def train(
        self, train: Sequence[Example], validation: Sequence[Example], start: Path | None, out: Path
    ) -> Iterator[Snapshot]:
        """Train from the weights in ``start`` (None for the base), writing each snapshot below ``out``.

        Started again with the same data and the same ``out`` after it was killed, it goes on and ends with the
        same weights. A snapshot without a path may be yielded at any time, so that the host can show progress.
        What it writes below ``out/logs`` is kept with the version that comes of it.
        """
        ...


class Ensembler(Protocol):
    """Combines the members' forecasts of one symbol.

    One that learns at length also has ``state() -> Mapping[str, Any] | None``, all it has learned, as JSON can hold
    it, and ``restore(state) -> None``. The host keeps the state in the store and hands it to the next run before
    ``fit`` is called, so that ``fit`` can leave what is recent enough as it is. ``restore`` raises ValueError for a
    state that it cannot use. ``summary``, where there is one, has lines that tell a person what was learned.
    """

    learns: bool
    """Whether ``fit`` does anything; the host gathers the past only for those that learn."""

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        """Return the quantile levels it needs from the members to give ``levels``, a superset of them."""
        ...

    def fit(self, past: pd.DataFrame, cutoff: Moment) -> None:
        """Learn from scored predictions realised by the cutoff: the columns of both result tables, joined.

        They are the members' and its own, one for each symbol, cutoff, model and step. Called before the forecasts
        of each cutoff are combined, cutoffs in order of time.
        """
        ...

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        """Return one forecast at ``levels`` from at least one member; members that failed are missing."""
        ...


class CheckpointPolicy(Protocol):
    """Decides when to train, what is admitted and served, when to go back, and what is kept."""

    @property
    def shares(self) -> Sequence[float]:
        """Shares of the way from a training's start to its end among which ``share`` chooses; empty for the end."""
        ...

    def due(self, history: Sequence[Entry], now: datetime) -> datetime | None:
        """Return the moment, not after ``now``, at which a training was due that has not ended since.

        None where none is due. Moments are UTC; the history is in order of time. What is due stays due.
        """
        ...

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        """Return what to serve for the asset class; None for the forecaster's own weights.

        The host offers those of the class and the pooled ones that are ready.
        """
        ...

    def share(self, scores: pd.DataFrame) -> float:
        """Choose one of ``shares`` by the scores of the validation: as in ``Trial``, with ``share`` as the arm."""
        ...

    def admit(self, trial: Trial) -> Verdict:
        """Judge a candidate."""
        ...

    def watch(self, scores: pd.DataFrame) -> Verdict | None:
        """Judge a promotion by what came after it; None to go on watching, a verdict ends it.

        ``scores`` are as in ``Trial``, of the arms ``serving`` and ``previous``, for the origins since the
        promotion whose targets are all known. A verdict that does not accept rolls back.
        """
        ...

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Return those of one asset class to delete. The host keeps what is active and what was so before."""
        ...


class Notifier(Protocol):
    """Tells somebody that something about the checkpoints needs a look."""

    def notify(self, alert: Alert) -> None:
        """Pass the alert on; what it raises is logged, and harms nobody."""
        ...


def _printable(name: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise ValueError("expected printable characters without blanks around them")
    return name


Name = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_printable)]
"""What a model is called."""


class Weights(BaseModel):
    """What a user has to know about a model's weights before trusting a score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str
    trained_until: str = "undisclosed"
    """Last date of the training data; a score before it is no evidence."""
    max_context: int | None = None
    max_horizon: int | None = None

    @property
    def terms(self) -> str:
        """Licence and end of the training data, for a person."""
        return f"{self.licence}, trained until {self.trained_until}"


class Component(BaseModel):
    """Options of a component. Subclasses name themselves: ``type: Literal["name"] = "name"``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: str

    def build(self) -> Any:
        """Return the working component; the only place for a heavy import."""
        raise NotImplementedError


class FeedConfig(Component):
    """Options of a feed.

    One that reads tables of its own may have a class method ``ddl() -> str``: the SQL that makes them.
    """

    def build(self) -> Feed:
        raise NotImplementedError


class EncoderConfig(Component):
    """Options of an event encoder."""

    def build(self) -> EventEncoder:
        raise NotImplementedError


class ForecasterConfig(Component):
    """Options of a forecaster."""

    weights: ClassVar[Weights | None] = None
    """Licence and training cut-off, for models that come with weights."""

    name: Name | None = Field(
        None,
        description="Name in tables and reports; the type unless given. Needed where a type is used twice.",
    )
    context: int | None = Field(
        None, ge=2, description="Bars of context for this model; the file's `context` unless given."
    )
    timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds that a batch of windows may take, loading the model included; unlimited unless given. "
        "One that takes longer is tried again, then by halves, so that a window that hangs is left out alone.",
    )

    @property
    def weights_used(self) -> Weights | None:
        """What holds for the weights that these options load: that of the class, unless it depends on them."""
        return self.weights

    def build(self) -> Forecaster:
        raise NotImplementedError


class TrainerConfig(Component):
    """Options of a trainer."""

    forecaster: ClassVar[str] = ""
    """Type name of the forecaster whose weights it makes."""

    context: int | None = Field(
        None, ge=2, description="Bars of context in each example; the file's `context` unless given."
    )
    horizon: int | None = Field(
        None, ge=1, description="Bars to learn from after each cutoff; the file's `horizon` unless given."
    )

    def inputs(self) -> Mapping[str, str]:
        """Return fingerprints of the files that the options name: other content makes another training."""
        return {}

    def build(self) -> Trainer:
        raise NotImplementedError


class EnsemblerConfig(Component):
    """Options of an ensembler."""

    name: Name = Field("ensemble", description="Name in tables and reports.")
    history_days: int | None = Field(
        None,
        ge=1,
        description="Days before the cutoff whose outcomes it learns from, if it learns; all unless given. Give it "
        "where there are many symbols: what is learned from is held in memory.",
    )

    def build(self) -> Ensembler:
        raise NotImplementedError


class CheckpointPolicyConfig(Component):
    """Options of a checkpoint policy."""

    def build(self) -> CheckpointPolicy:
        raise NotImplementedError


Concern = Literal["promoted", "rejected", "rolled_back", "failed", "damaged", "drifted"]
"""What a person is told of: what became of a candidate or a promotion, damaged weights, and members that part."""


class NotifierConfig(Component):
    """Options of a notifier."""

    on: tuple[Concern, ...] = Field(
        ("rejected", "rolled_back", "failed", "damaged", "drifted"),
        min_length=1,
        description="What it tells of: promoted, rejected, rolled_back, failed, damaged or drifted.",
    )

    def build(self) -> Notifier:
        raise NotImplementedError


KINDS: Mapping[str, type[Component]] = {
    "feed": FeedConfig,
    "encoder": EncoderConfig,
    "forecaster": ForecasterConfig,
    "trainer": TrainerConfig,
    "ensembler": EnsemblerConfig,
    "checkpoint_policy": CheckpointPolicyConfig,
    "notifier": NotifierConfig,
}
"""The seven kinds of component and the base class of their options."""


def type_name(config: type[Component]) -> str:
    """Return the name by which the configuration chooses a component class."""
    return str(config.model_fields["type"].default)
