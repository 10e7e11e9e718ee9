"""Options of the built-in event encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ...interfaces import EncoderConfig

if TYPE_CHECKING:
    from ...interfaces import EventEncoder

__all__ = ["Leaders", "Macro20"]

Symbol = Annotated[str, Field(min_length=1)]


class Macro20(EncoderConfig):
    """The calendar of releases, their surprises and four leading markets in 20 channels."""

    model_config = ConfigDict(allow_inf_nan=False)

    type: Literal["macro20"] = "macro20"
    btc: Symbol | None = Field("BTCUSDT", description="Symbol of Bitcoin; null leaves its channel unknown.")
    spy: Symbol | None = Field("SPY", description="Symbol of the S&P 500; null leaves its channel unknown.")
    dxy: Symbol | None = Field("DXY", description="Symbol of the dollar index; null leaves its channel unknown.")
    vix: Symbol | None = Field("VIX", description="Symbol of the VIX; null leaves its channel unknown.")
    surprises: int = Field(
        20, ge=2, le=30, description="Earlier surprises of a kind whose spread is the unit of the next one."
    )
    fewest: int = Field(8, ge=2, description="With fewer earlier surprises than that a surprise is unknown.")
    clip: float = Field(3.0, gt=0, description="Bound on a surprise, in those units.")
    vix_window: int = Field(60, ge=2, le=10_000, description="Bars against which the level of the VIX is measured.")
    high_impact: tuple[str, ...] = Field(
        ("fomc", "cpi", "nfp", "gdp", "pce", "earnings"),
        description="Kinds of event that `next_bar_event` announces.",
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.fewest > self.surprises:
            raise ValueError(f"`fewest` ({self.fewest}) is more than `surprises` ({self.surprises})")
        return self

    def build(self) -> EventEncoder:
        from .macro20 import MacroEncoder

        return MacroEncoder(self)


class Leaders(EncoderConfig):
    """The last returns of other markets, each a channel, and how many of them were shut."""

    type: Literal["leaders"] = "leaders"
    symbols: tuple[Symbol, ...] = Field(min_length=1, description="Symbols whose returns are shown.")
    bars: int = Field(1, ge=1, le=10_000, description="Bars of the leader over which a return is taken.")
    prefix: str = Field(
        "", max_length=20, description="What the channels' names begin with, where encoders would share a name."
    )

    @field_validator("symbols", mode="after")
    @classmethod
    def _once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(symbols)) < len(symbols):
            raise ValueError("a symbol stands there twice")
        return symbols

    def build(self) -> EventEncoder:
        from .leaders import LeadersEncoder

        return LeadersEncoder(self)
