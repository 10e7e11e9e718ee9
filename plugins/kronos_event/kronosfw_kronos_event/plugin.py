"""What this distribution registers with kronosfw."""

from __future__ import annotations

from collections.abc import Sequence

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig, TrainerConfig

from .lora_options import KronosLora
from .options import KronosEvent
from .pretrain_options import KronosPretrain


@hookimpl
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    return (KronosEvent,)


@hookimpl
def register_trainers() -> Sequence[type[TrainerConfig]]:
    return (KronosLora, KronosPretrain)
