"""What this distribution registers with kronosfw."""

from __future__ import annotations

from collections.abc import Sequence

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import FeedConfig

from .options import SupabaseFeed


@hookimpl
def register_feeds() -> Sequence[type[FeedConfig]]:
    return (SupabaseFeed,)
