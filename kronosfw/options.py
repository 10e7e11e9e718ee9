"""Types for options: paths, URLs, bar lengths, cutoffs, models and devices as a configuration file means them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from . import freq as _freq


def _folder(info: ValidationInfo) -> Path:
    """Return the folder of the configuration file, or the current one where there is no file."""
    context: dict[str, Any] = info.context or {}
    return Path(context.get("folder", "."))


def locate(path: Path, info: ValidationInfo) -> Path:
    """Return where a path of a configuration file is: a relative one is meant from the folder of the file."""
    if not str(path).isprintable():
        raise ValueError("expected a path without control characters")
    try:
        return _folder(info).absolute() / path.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder {path.parts[0]}; write the path in full") from None


_SQLITE = "sqlite:///"


def _locate_url(url: SecretStr, info: ValidationInfo) -> SecretStr:
    text = url.get_secret_value()
    if "://" not in text:
        raise ValueError("expected a SQLAlchemy URL such as sqlite:///kronosfw.db or postgresql+psycopg://…")
    if not text.isprintable():
        raise ValueError("expected a URL without control characters")
    path = text.removeprefix(_SQLITE)
    if path == text or not path or path.startswith((":", "/", "file:")):
        return url
    return SecretStr(_SQLITE + str(_folder(info).absolute() / path))


def as_of(value: str | datetime) -> str | datetime:
    """Return ``latest``, ``now`` or an aware moment in UTC; raises ValueError for anything else."""
    if value in ("latest", "now"):
        return value
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("expected latest, now, a date (2025-06-30) or a moment (2025-06-30T20:00Z)") from None
    try:
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a moment between the years 1 and 9999") from None


AsOf = Annotated[Literal["latest", "now"] | datetime, BeforeValidator(as_of)]
"""A cutoff: ``latest``, ``now`` or a moment; UTC unless it says otherwise."""

LocalPath = Annotated[Path, AfterValidator(locate)]
"""A path; a relative one is meant from the folder of the configuration file."""

DatabaseUrl = Annotated[SecretStr, AfterValidator(_locate_url)]
"""A SQLAlchemy URL, never shown; the file of a relative SQLite URL is meant as LocalPath is."""

Freq = Annotated[str, AfterValidator(_freq.normalise)]
"""A bar length: ``1d``, or minutes or hours that divide a day."""


def _source(name: str, info: ValidationInfo) -> str:
    path = locate(Path(name), info)
    return str(path) if name.startswith((".", "~", "/")) or path.is_dir() else name


ModelSource = Annotated[str, Field(min_length=1), AfterValidator(_source)]
"""Where a model's weights are: a hub id, or a folder, of which a relative one is meant as LocalPath is."""


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("expected auto, cpu, cuda or cuda:1")
    return name


Device = Annotated[str, AfterValidator(_device)]
"""Where a model computes: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
