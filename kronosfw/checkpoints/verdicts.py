"""The verdict on a version, beside its weights: for programs and for a person."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..types import Check, Verdict
from .layout import VERDICT, VERDICT_TEXT, own_bytes


def standing(folder: Path) -> bool | None:
    """Tell whether a version was accepted, or activated in spite of its verdict; None where it was not judged.

    Raises OSError, ValueError, KeyError or TypeError where the verdict cannot be understood.
    """
    content = _content(folder)
    return None if content is None else bool(content["accepted"]) or bool(content.get("overruled"))


def read_verdict(folder: Path) -> tuple[Verdict | None, str]:
    """Return the verdict on a version, and why a person activated it all the same, if one did.

    Raises OSError, ValueError, KeyError or TypeError where it cannot be understood.
    """
    content = _content(folder)
    if content is None:
        return None, ""
    verdict = Verdict(
        accepted=bool(content["accepted"]),
        reasons=tuple(map(str, content["reasons"])),
        checks=tuple(Check(**check) for check in content["checks"]),
        numbers={name: math.nan if value is None else value for name, value in content["numbers"].items()},
    )
    return verdict, str(content.get("overruled", ""))


def write_verdict(folder: Path, verdict: Verdict, aside: Path, *, overruled: str = "") -> None:
    """Put the verdict into the folder of a version; ``aside`` is where files are made. Raises OSError."""
    content = plain({**asdict(verdict), **({"overruled": overruled} if overruled else {})})
    text = as_text(folder.name, verdict, overruled)
    encoded = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / VERDICT_TEXT, lambda file: file.write(text.encode()), aside)
    write_atomically(folder / VERDICT, lambda file: file.write(encoded.encode()), aside)


def as_text(version: str, verdict: Verdict, overruled: str = "") -> str:
    """Return a verdict as Markdown: the decision, its reasons, and every check with its figures."""
    lines = [f"# {version}: {'accepted' if verdict.accepted else 'rejected'}", ""]
    lines += [f"- {_line(reason)}" for reason in verdict.reasons]
    if overruled:
        lines += ["", f"A person overruled this verdict: {_line(overruled)}"]
    if verdict.checks:
        lines += ["", "| check | passed | value | interval | limit | what was found |", "|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(_cell, _row(check)))} |" for check in verdict.checks]
    if verdict.numbers:
        lines += ["", *(f"- {_line(name)}: {figure(value)}" for name, value in verdict.numbers.items())]
    return "\n".join(lines) + "\n"


def _row(check: Check) -> tuple[str, ...]:
    return (check.name, *figures(check), check.text)


def figures(check: Check) -> tuple[str, str, str, str]:
    """Return how a check is shown: whether it was passed, value, interval and limit."""
    ends = "" if check.low is None or check.high is None else f"{figure(check.low)} … {figure(check.high)}"
    return "yes" if check.passed else "no", figure(check.value), ends, figure(check.limit)


def figure(value: float | None) -> str:
    """Return a figure with four significant digits; nothing where there is none."""
    return "" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def _content(folder: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(own_bytes(folder / VERDICT))
    except FileNotFoundError:
        return None
    return content


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: figures that are not finite are None."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
