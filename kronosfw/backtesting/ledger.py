"""How far a backtest is, what failed so far, and how long each model took: kept with what it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from ..reading import Failure, as_moment
from ..rows import as_datetime
from ..store import Row
from ..types import Moment


@dataclass
class Ledger:
    """The row of a backtest in ``runs``, as it grows."""

    run_id: str
    manifest: Mapping[str, Any]
    started_at: datetime
    done_until: Moment | None = None
    """The last origin whose results are stored."""
    finished: bool = False
    failures: dict[tuple[str, str, str, str], tuple[str, int]] = field(default_factory=dict)
    """By symbol, stage, model and kind of reason: the first reason, and at how many origins; 0 for throughout."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By model, how long forecasting took, or learning and combining."""
    seen: dict[str, str] = field(default_factory=dict)
    """By model, why its scores may be no evidence."""

    @classmethod
    def resumed(cls, row: Mapping[str, Any]) -> Self:
        """Return the ledger that was stored."""
        told = row["report"]
        return cls(
            run_id=row["id"],
            manifest=row["manifest"],
            started_at=row["started_at"],
            done_until=told["done_until"] and as_moment(datetime.fromisoformat(told["done_until"])),
            finished=row["state"] != "running",
            failures={_kind(_failure(f)): (f["reason"], f["origins"]) for f in told["failures"]},
            seconds=dict(told["seconds"]),
            seen=dict(told["seen"]),
        )

    def throughout(self, failures: Iterable[Failure]) -> None:
        """Note what fails at every origin."""
        self.failures |= {_kind(f): (f.reason, 0) for f in failures}

    def failed(self, failures: Iterable[Failure]) -> None:
        """Count what failed at one origin."""
        for f in failures:
            first, n = self.failures.get(_kind(f), (f.reason, 0))
            self.failures[_kind(f)] = first, n + 1

    def took(self, model: str, seconds: float) -> None:
        """Add to how long a model took."""
        self.seconds[model] = self.seconds.get(model, 0.0) + seconds

    @property
    def all_failures(self) -> list[Failure]:
        """What failed, each with the number of origins at which it did."""
        return [
            Failure(symbol, stage, f"{reason} (at {n} origin{'s' * (n > 1)})" if n else reason, model)
            for (symbol, stage, model, _), (reason, n) in sorted(self.failures.items())
        ]

    def row(self) -> Row:
        """Return the row as it is to be stored."""
        state = ("partial" if self.failures else "done") if self.finished else "running"
        return {
            "id": self.run_id,
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC) if self.finished else None,
            "state": state,
            "manifest": self.manifest,
            "report": {
                "done_until": None if self.done_until is None else as_datetime(self.done_until).isoformat(),
                "failures": [
                    {"symbol": symbol, "stage": stage, "reason": reason, "model": model, "origins": n}
                    for (symbol, stage, model, _), (reason, n) in sorted(self.failures.items())
                ],
                "seconds": self.seconds,
                "seen": self.seen,
                "data": [],
            },
        }


def _failure(told: Mapping[str, Any]) -> Failure:
    return Failure(told["symbol"], told["stage"], told["reason"], told["model"])


def _kind(failure: Failure) -> tuple[str, str, str, str]:
    """Return what failures have in common whose reasons differ in figures alone."""
    return failure.symbol, failure.stage, failure.model, re.sub(r"\d[\d.,:-]*", "0", failure.reason)
