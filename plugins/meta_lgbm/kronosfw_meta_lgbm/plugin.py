"""What this distribution registers with kronosfw."""

from __future__ import annotations

from collections.abc import Sequence

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EnsemblerConfig

from .options import DirectionLgbm, MetaLgbm


@hookimpl
def register_ensemblers() -> Sequence[type[EnsemblerConfig]]:
    return (MetaLgbm, DirectionLgbm)
