"""What a run has finished: written with its rows as it goes, so that a run that died goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import StoreError
from .store import Row, Store, spool

log = logging.getLogger(__name__)
RUNNING = "running"


class Journal:
    """Writes a run's results batch by batch. Once the store cannot be used they are spooled for replay."""

    def __init__(self, store: Store | None, trouble: str, folder: Path, run: Row) -> None:
        """``run`` is the run's row but for what becomes of it; ``trouble`` says why there is no store."""
        self._store, self._folder, self._run = store, folder, run
        self.trouble = trouble
        """Why the store cannot be used; empty as long as it can."""
        self.spooled: Path | None = None
        """Where the results are that the store did not take."""
        self.spooled_rows = 0
        self.stored = 0
        """Rows added or changed in the store."""

    def give_up(self, trouble: str) -> None:
        """Do without the store from here on."""
        self.trouble = trouble
        log.warning("%s; results are spooled from here on", trouble)

    def write(
        self, rows: Sequence[Row], work: Sequence[Row], learned: Sequence[Row], report: Mapping[str, Any]
    ) -> None:
        """Write what came of a batch, and what that finishes; raises StoreError where it can be written nowhere."""
        self._write({"state": RUNNING, "finished_at": None, "report": report}, rows, work, learned)

    def close(self, state: str, report: Mapping[str, Any]) -> None:
        """Write what became of the run; raises StoreError as ``write`` does."""
        self._write({"state": state, "finished_at": datetime.now(UTC), "report": report}, (), (), ())

    def _write(self, became: Row, rows: Sequence[Row], work: Sequence[Row], learned: Sequence[Row]) -> None:
        run = {**self._run, **became}
        if self._store is not None and not self.trouble:
            try:
                self.stored += self._store.record(run, rows, work=work, learned=learned)
                return
            except StoreError as error:
                self.give_up(str(error))
        try:
            self.spooled = spool(self._folder, run, rows, work)
        except StoreError as error:
            raise StoreError(f"{self.trouble}; and the results could not be spooled: {error}") from None
        self.spooled_rows += len(rows)
