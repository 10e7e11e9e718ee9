"""The manifest: all that a run's numbers depend on. The same manifest gives the same numbers."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from . import __version__
from .config import Config
from .plugins import Plugins
from .types import Bars, Fact, Moment, Window

_LIBRARIES = ("arch", "exchange_calendars", "numpy", "pandas", "pyarrow", "scipy", "statsforecast", "tzdata")
_IRRELEVANT: dict[str, Any] = {
    **dict.fromkeys(("alerts", "backtest", "batch", "drift", "executor", "metrics", "min_symbols"), True),
    **dict.fromkeys(("plugins", "retraining", "spool", "store", "store_patience"), True),
    "forecasters": {"__all__": {"timeout"}},
}
"""Settings that no number depends on."""


def manifest(
    config: Config,
    plugins: Plugins,
    cutoff: Moment,
    *,
    symbols: Sequence[str],
    data: str,
    models: Mapping[str, Any],
    learned: Mapping[str, str],
) -> dict[str, Any]:
    """Return the manifest as plain values; secrets are masked.

    ``data`` is a digest of all that the models see, and ``learned`` has one by model of what it has learned from.
    """
    return {
        "config": relevant(config),
        "symbols": list(symbols),
        "cutoff": f"{cutoff}Z",
        "data": data,
        "models": dict(models),
        "learned": dict(learned),
        "versions": {
            "kronosfw": __version__,
            "python": platform.python_version(),
            **_libraries(),
            **plugins.versions(),
        },
    }


def relevant(config: Config) -> dict[str, Any]:
    """Return the settings that numbers depend on, as plain values; secrets are masked."""
    return config.model_dump(mode="json", exclude=_IRRELEVANT)


def _libraries() -> dict[str, str]:
    """Return the versions of what is installed and can change a number."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def run_id(content: Mapping[str, Any]) -> str:
    """Return the identity of a run: a digest of its manifest."""
    return digest(content, 16)


def digest(content: Any, length: int = 8) -> str:
    """Return the first hexadecimal digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:length]


def fingerprint(window: Window) -> str:
    """Return a digest of everything that forecasters see of one symbol."""
    covariates = window.covariates
    head = (window.symbol, window.bars.columns, window.asset_class, window.seed, covariates and covariates.names)
    hasher = hashlib.sha256(repr(head).encode())
    for array in (
        *(window.bars.times.time, window.bars.times.available_at, window.bars.values, window.future.time),
        *((covariates.values, covariates.mask) if covariates else ()),
    ):
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def market_fingerprint(bars: Iterable[Bars], facts: Iterable[Fact]) -> str:
    """Return a digest of whole histories and of all facts, whatever order they come in."""
    hasher = hashlib.sha256()
    for its in sorted(bars, key=lambda b: b.symbol):
        hasher.update(repr((its.symbol, its.columns)).encode())
        for array in (its.times.time, its.times.available_at, its.values):
            hasher.update(array.tobytes())
    told = (
        repr((f.kind, str(f.scheduled_at), str(f.known_at), sorted(f.symbols), sorted(f.values.items()), f.event))
        for f in facts
    )
    hasher.update("\n".join(sorted(told)).encode())
    return hasher.hexdigest()
