"""An encoder: one channel that marks the bars into which a kind of event falls."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig, EventEncoder
from kronosfw.types import Bars, Fact, Moment, Moments, Times


class EventFlag(EncoderConfig):
    """1 for a bar into which an event falls, as far as the schedule was known, else 0."""

    type: Literal["event_flag"] = "event_flag"
    event: str = Field("cpi", description="Kind of event, such as cpi or fomc.")

    def build(self) -> EventEncoder:
        return EventFlags(self.event)


class EventFlags:
    known_ahead = (True,)
    groups = ("schedule",)
    leaders = ()
    lookback = 0

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.names = (f"is_{kind}",)

    def encode(self, facts: Sequence[Fact], leaders: Mapping[str, Bars], times: Times, known_at: Moments) -> Any:
        encoded = np.zeros((len(times), 1), np.float32)
        waiting = deque(fact for fact in facts if fact.kind == self._kind)
        schedule: dict[object, Moment] = {}
        begin = times.time[0]
        for row, end in enumerate(times.available_at):
            while waiting and waiting[0].known_at <= known_at[row]:
                fact = waiting.popleft()
                schedule[fact.event or fact.scheduled_at] = fact.scheduled_at
            encoded[row] = any(begin <= at < end for at in schedule.values())
            begin = end
        return encoded


@hookimpl
def register_encoders() -> Sequence[type[EncoderConfig]]:
    return [EventFlag]
