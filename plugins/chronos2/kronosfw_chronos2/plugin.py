"""What this distribution registers with kronosfw."""

from __future__ import annotations

from collections.abc import Sequence

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig, TrainerConfig

from .lora_options import Chronos2Lora
from .options import Chronos2


@hookimpl
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    return (Chronos2,)


@hookimpl
def register_trainers() -> Sequence[type[TrainerConfig]]:
    return (Chronos2Lora,)
