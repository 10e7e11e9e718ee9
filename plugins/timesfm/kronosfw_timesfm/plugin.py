"""What this distribution registers with kronosfw."""

from __future__ import annotations

from collections.abc import Sequence

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig

from .options import TimesFm


@hookimpl
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    return (TimesFm,)
