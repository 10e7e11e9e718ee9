"""What a way of reading gives, and how patiently it is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from kronosfw.builtin.feeds.columns import VALUES
from kronosfw.builtin.feeds.query import TimeKey
from kronosfw.errors import FeedDown
from kronosfw.types import Span

T = TypeVar("T")

log = logging.getLogger(__name__)

_FIRST, _LONGEST = 0.2, 5.0
"""Seconds between tries, which grow."""


class Transient(Exception):
    """A read that failed and may do better soon; its text is for the user and holds no secret."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A table with bars: its name, our name → theirs, their types, and how times compare."""

    table: str
    columns: Mapping[str, str]
    types: Mapping[str, str]
    key: TimeKey

    @property
    def fields(self) -> tuple[str, ...]:
        """Our names of what is read of a bar."""
        return ("time", *(name for name in VALUES if name in self.columns))


class Transport(Protocol):
    """Reads from a project. All raise ConfigError, DataError, or FeedDown once patience has run out."""

    name: str
    """Where it reads, for messages."""

    def types(self, table: str) -> Mapping[str, str]:
        """Return the columns of a table or view with their types as Postgres calls them.

        Empty where that cannot be told because no row is there to be seen.
        """
        ...

    def bars(self, layout: Layout, symbols: Sequence[str], span: Span) -> Mapping[str, Mapping[str, Any]]:
        """Return symbol → the Arrow arrays ``[N]`` by our names, for those with rows in the span.

        There are some rows around it where times compare roughly (see TimeKey), and all without a time.
        """
        ...

    def seen(self, layout: Layout, symbols: Sequence[str]) -> set[str]:
        """Return those of the symbols that have a row to be seen."""
        ...

    def rows(self, table: str, types: Mapping[str, str], time: str, span: Span) -> list[dict[str, Any]]:
        """Return the rows of a table whose ``time`` may lie within the span, and those without."""
        ...


def patiently(read: Callable[[], T], name: str, patience: float) -> T:
    """Return what is read; where that is Transient, try again until ``patience`` seconds are over.

    The last try begins when they are over. Raises FeedDown.
    """
    growing = wait_exponential(_FIRST, max=_LONGEST)

    def wait(state: RetryCallState) -> float:
        return min(growing(state), max(patience - (state.seconds_since_start or 0.0), 0.0))

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            log.warning("%s: %s; trying again for up to %g s", name, state.outcome.exception(), patience)

    tries = Retrying(
        retry=retry_if_exception_type(Transient),
        wait=wait,
        stop=stop_after_delay(patience),
        before_sleep=tell,
        reraise=True,
    )
    try:
        return tries(read)
    except Transient as error:
        raise FeedDown(f"{name}: {error}; tried for {patience:g} s") from None
