"""What a way of reading gives, and how patiently it is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from kronosfw.builtin.feeds.columns import VALUES
from kronosfw.builtin.feeds.query import TimeKey
from kronosfw.errors import FeedDown
from kronosfw.types import Span

T = TypeVar("T")


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
    """Return what is read; raises FeedDown where it goes on being Transient for ``patience`` seconds."""
    tries = Retrying(
        retry=retry_if_exception_type(Transient),
        wait=wait_exponential(0.2, max=5),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    try:
        return tries(read)
    except Transient as error:
        raise FeedDown(f"{name}: {error}; tried for {patience:g} s") from None
