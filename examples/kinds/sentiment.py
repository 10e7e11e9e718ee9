"""An encoder: sentiment scores of a symbol, as they were published."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig, EventEncoder
from kronosfw.types import Bars, Fact, Moments, Times

DAY = np.timedelta64(1, "D")


class Sentiment(EncoderConfig):
    """The last published sentiment score, fading with its age, and what a new one changed."""

    type: Literal["sentiment"] = "sentiment"
    kind: str = Field(
        "sentiment", pattern="^[a-z][a-z0-9_]*$", description="Kind of the facts; channels and group are called so."
    )
    figure: str = Field("score", min_length=1, description="Figure of the facts that holds the score.")
    half_life_days: float = Field(5.0, gt=0, description="Days after which half of a score is left.")
    stale_after_days: float = Field(30.0, gt=0, description="Days after which a score counts as unknown.")

    def build(self) -> EventEncoder:
        return SentimentEncoder(self)


class SentimentEncoder:
    known_ahead = (False, False)
    leaders = ()
    lookback = 0

    def __init__(self, options: Sentiment) -> None:
        self._options = options
        self.names = (options.kind, f"{options.kind}_change")
        self.groups = (options.kind, options.kind)

    def encode(self, facts: Sequence[Fact], leaders: Mapping[str, Bars], times: Times, known_at: Moments) -> Any:
        options = self._options
        told = [f for f in facts if f.kind == options.kind and options.figure in f.values]
        about = np.array([f.scheduled_at for f in told], dtype="datetime64[us]")
        # A correction of what is no longer the newest score changes nothing.
        newest = about == np.maximum.accumulate(about)
        published = np.array([f.known_at for f in told], dtype="datetime64[us]")[newest]
        # Position −1 stands for no score.
        about = np.append(about[newest], np.datetime64("NaT"))
        score = np.append(np.array([f.values[options.figure] for f in told])[newest], np.nan)

        ends = times.available_at

        def fresh(place: Any) -> Any:
            return np.where((ends - about[place]) / DAY <= options.stale_after_days, score[place], np.nan)

        last = np.searchsorted(published, known_at, side="right") - 1
        before = np.append(-1, np.searchsorted(published, ends[:-1], side="right") - 1)
        now = fresh(last)
        age = np.maximum((ends - about[last]) / DAY, 0)
        change = np.where(last > before, now - fresh(before), np.where(np.isnan(now), np.nan, 0))
        return np.column_stack([now * 0.5 ** (age / options.half_life_days), change])


@hookimpl
def register_encoders() -> Sequence[type[EncoderConfig]]:
    return [Sentiment]
