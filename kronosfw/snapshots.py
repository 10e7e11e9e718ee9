"""The journal of a training: its snapshots, which is the best, and whether to go on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ConfigError
from .files import write_atomically
from .types import Snapshot

JOURNAL = "metrics.jsonl"
LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Record:
    """One snapshot as the journal has it."""

    step: int
    path: str
    """Its folder, from that of the training."""
    metrics: Mapping[str, float | None]
    """None where a figure was not finite."""

    @property
    def loss(self) -> float:
        """The validation loss, infinite where there is no finite one."""
        loss = self.metrics.get(LOSS)
        return math.inf if loss is None else loss

    @property
    def usable(self) -> bool:
        """Whether its loss is finite, or it has none."""
        return LOSS not in self.metrics or math.isfinite(self.loss)


class Journal:
    """The snapshots of one training, kept in its folder as JSON lines, one for each step.

    A training that goes on after it was killed adds to it; a step that comes again takes the place of the first.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there; raises ConfigError where it cannot be understood."""
        self.folder = folder
        self._records = {record.step: record for record in read(folder)}

    @property
    def records(self) -> list[Record]:
        """The snapshots by step."""
        return [self._records[step] for step in sorted(self._records)]

    def add(self, snapshot: Snapshot, path: Path) -> None:
        """Note a snapshot in ``path``, and delete those that are neither the best nor the newest.

        Raises ValueError where it does not lie in a folder of its own below that of the training.
        """
        place = self._place(path)
        if any(record.path == place and record.step != snapshot.step for record in self._records.values()):
            raise ValueError(f"step {snapshot.step} was written over another snapshot, in {place}")
        metrics = {str(k): float(v) if math.isfinite(v) else None for k, v in snapshot.metrics.items()}
        self._records[snapshot.step] = Record(snapshot.step, place, metrics)
        lines = "".join(f"{json.dumps(asdict(record))}\n" for record in self.records)
        write_atomically(self.folder / JOURNAL, lambda file: file.write(lines.encode()))
        kept = {self.best.path, self.records[-1].path}
        for record in self.records:
            if record.path not in kept:
                shutil.rmtree(self.folder / record.path, ignore_errors=True)

    @property
    def best(self) -> Record:
        """The snapshot with the lowest loss, the first of equals; the last one where there are no losses."""
        records = self.records
        if all(LOSS not in record.metrics for record in records):
            return records[-1]
        return min(records, key=lambda record: record.loss)

    def exhausted(self, patience: int | None) -> bool:
        """Tell whether so many snapshots in a row were no better than the best before them."""
        return exhausted(self.losses, patience)

    @property
    def losses(self) -> dict[int, float]:
        """The validation losses by step, where there are any."""
        return {record.step: record.loss for record in self.records if LOSS in record.metrics}

    def _place(self, path: Path) -> str:
        folder = self.folder.resolve()
        place = path.resolve()
        if place == folder or not place.is_relative_to(folder) or not place.is_dir() or not any(place.iterdir()):
            raise ValueError(f"a snapshot must be a folder with files below the one given, not {path}")
        return place.relative_to(folder).as_posix()


def exhausted(losses: Mapping[int, float], patience: int | None) -> bool:
    """Tell whether so many snapshots in a row were no better than the best before them, by step."""
    if patience is None or not losses:
        return False
    best = min(losses, key=lambda step: (losses[step], step))
    return sum(step > best for step in losses) >= patience


def read(folder: Path) -> list[Record]:
    """Return the snapshots that the journal in a folder tells of, none where there is none; raises ConfigError."""
    path = folder / JOURNAL
    try:
        return [Record(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be understood ({error}); delete {folder} to train anew") from None
