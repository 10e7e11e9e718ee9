"""The encoders of a configuration, built and checked together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .config import Config
from .errors import ConfigError
from .interfaces import EncoderConfig, EventEncoder
from .isolation import required

_NEEDED = ("names", "known_ahead", "groups", "leaders", "lookback")


def build_encoders(config: Config) -> list[EventEncoder]:
    """Build the configuration's encoders.

    Raises ConfigError where two of them give the same channel or the universe lacks a leader, PluginError where one
    cannot be built or is none.
    """
    encoders = [required(partial(_encoder, options), f"encoder {options.type}") for options in config.encoders]
    owner: dict[str, str] = {}
    for options, encoder in zip(config.encoders, encoders, strict=True):
        for name in encoder.names:
            if name in owner:
                raise ConfigError(
                    f"encoders: {owner[name]} and {options.type} both give the channel {name}; leave one of them "
                    "out, or give it options that name its channels otherwise, such as a `prefix`"
                )
            owner[name] = options.type
    absent = [name for name in leaders_of(encoders) if name not in config.universe]
    if absent:
        raise ConfigError(
            f"the encoders need {', '.join(absent)}: add it to the universe, "
            "with `forecast: false` where it is only read"
        )
    return encoders


def leaders_of(encoders: Sequence[EventEncoder]) -> list[str]:
    """Return the symbols whose bars the encoders want to see."""
    return sorted({name for encoder in encoders for name in encoder.leaders})


def lookback_of(encoders: Sequence[EventEncoder]) -> int:
    """Return the bars of a leader that are needed from before a window begins."""
    return max((encoder.lookback for encoder in encoders), default=0)


def _encoder(options: EncoderConfig) -> EventEncoder:
    encoder = options.build()
    lacking = [name for name in _NEEDED if not hasattr(encoder, name)]
    if lacking:
        raise TypeError(f"{type(encoder).__name__} has no {', '.join(lacking)}")
    if not len(encoder.names) == len(encoder.known_ahead) == len(encoder.groups):
        raise TypeError(f"{type(encoder).__name__} needs one known_ahead and one group for each of its names")
    return encoder
