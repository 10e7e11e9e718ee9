"""What makes options for a project of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kronosfw_feeds_supabase.options import SupabaseFeed

from tests.postgrest import Api

PRICES = "open float8, high float8, low float8, close float8, volume float8"
BARS = f"symbol text, timestamp timestamptz, {PRICES}"

Options = Callable[..., SupabaseFeed]


def made(project: Api, transport: str) -> Options:
    """Return what makes the options of a feed of the project."""
    where: dict[str, Any] = {"url": project.database_url}
    if transport == "rest":
        where = {"url": project.url, "rest_path": "", "key": project.token("service_role")}

    def make(**given: Any) -> SupabaseFeed:
        return SupabaseFeed(**{"transport": transport, **where, **given})

    return make
