"""``ACTIVE``: which version of a home was told to serve."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DamagedCheckpoint
from ..types import Entry, Happening
from .layout import is_version
from .verdicts import plain


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a home was told to serve, since when and why. Its line in the history is a copy of it."""

    version: str
    """Empty where none is active: the pooled checkpoint serves, or the forecaster's own weights."""
    manifest: str
    """SHA-256 of the version's manifest."""
    previous: str
    """What was active before, and what a rollback goes back to."""
    seq: int
    """Number of the change; each is one more than the last."""
    at: datetime
    event: Happening
    reason: str = ""
    slot: datetime | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    forecaster: str = ""

    @property
    def entry(self) -> Entry:
        """Its line in the history."""
        return Entry(
            self.at, self.event, self.version, self.reason, self.slot, self.previous, self.seq, self.numbers
        )


def as_line(change: Pointer | Entry) -> bytes:
    """Return a pointer or an entry as a line of JSON."""
    content = {key: value for key, value in asdict(change).items() if value is not None}
    for key in ("at", "slot"):
        if key in content:
            content[key] = content[key].astimezone(UTC).isoformat()
    return json.dumps(plain(content), allow_nan=False).encode() + b"\n"


def parse(content: Mapping[str, Any]) -> Entry:
    """Return an entry; raises ValueError, KeyError, TypeError or AttributeError where there is none."""
    slot, seq = content.get("slot"), content.get("seq")
    return Entry(
        at=datetime.fromisoformat(content["at"]),
        event=content["event"],
        version=_version(content["version"]),
        reason=str(content.get("reason", "")),
        slot=None if slot is None else datetime.fromisoformat(slot),
        previous=_version(content.get("previous", "")),
        seq=None if seq is None else int(seq),
        numbers={name: math.nan if value is None else value for name, value in content["numbers"].items()},
    )


def parse_pointer(line: bytes) -> Pointer:
    """Return the pointer that ``ACTIVE`` or a line of the history holds; raises as ``parse`` does."""
    content = json.loads(line)
    e = parse(content)
    return Pointer(
        version=e.version,
        manifest=str(content["manifest"]),
        previous=e.previous,
        seq=int(content["seq"]),
        at=e.at,
        event=e.event,
        reason=e.reason,
        slot=e.slot,
        numbers=e.numbers,
        forecaster=str(content["forecaster"]),
    )


def read_pointer(path: Path) -> Pointer | None:
    """Return what the file says, None where there is none; raises DamagedCheckpoint or OSError."""
    try:
        return parse_pointer(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedCheckpoint(f"{path} cannot be understood") from None


def _version(name: str) -> str:
    if name and not is_version(name):
        raise ValueError(f"{name!r} is no name of a version")
    return name
