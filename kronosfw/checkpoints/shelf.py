"""The checkpoints of one asset class, or the pooled ones: published, judged, promoted, rolled back, pruned.

What serves changes at one moment, when ``ACTIVE`` takes the place of the one before, and all that is written comes
to the disk before what points to it. So whatever is killed, and whenever, leaves what serves as it was or as it is
to be, and the next change tidies up. Readers need no lock.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DamagedCheckpoint
from ..files import sync_folder, write_atomically
from ..types import Checkpoint, Entry, Happening, Verdict
from . import layout
from .history import append
from .holding import changing, retraining
from .layout import next_version, titled
from .manifest import verify
from .pointer import Pointer, as_line
from .publishing import write_version
from .reading import Home
from .recovery import made, reconcile, recover, settle
from .verdicts import read_verdict, write_verdict

log = logging.getLogger(__name__)
_UNJUDGED = Verdict(False, ("it was not judged",))


class Shelf(Home):
    """The checkpoints of an asset class; None stands for the pooled ones.

    Every change takes the lock for as long as it lasts and raises Interrupted where another holds it for long,
    OSError where the disk does not do as asked, and ConfigError where a folder of ours is a link.
    """

    def publish(self, snapshot: Path, manifest: Mapping[str, Any], *beside: Path, day: str, identity: str) -> Path:
        """Copy a snapshot, and what is there of ``beside``, to a new version and return its folder.

        The version is ``<day>-<number>-<identity>``; where there is one of this identity, it is returned instead.
        Raises PluginError where the snapshot has a file that may not be there.
        """
        with self._changing():
            recover(self)
            there = [path for path in self.folders() if path.name.endswith(f"-{identity}")]
            if there:
                return there[-1]
            target = next_version(made(self, layout.VERSIONS), day, identity)
            write_version(snapshot, beside, manifest, made(self, layout.STAGING) / target.name, target)
            return target

    def judge(self, version: str, verdict: Verdict) -> None:
        """Put the verdict beside the weights, for programs and for a person."""
        with self._changing():
            write_verdict(self.version(version), verdict, made(self, layout.STAGING))

    def promote(
        self,
        version: str,
        *,
        event: Happening,
        at: datetime,
        reason: str,
        slot: datetime | None = None,
        numbers: Mapping[str, float] | None = None,
        expected: int | None = None,
        force: bool = False,
    ) -> Pointer:
        """Make a version the one that serves, having read it whole.

        ``expected`` is the number of the change that must still be the last, 0 for none. ``force`` takes one that
        was rejected or not judged, and notes beside its verdict that a person overruled it. Raises
        DamagedCheckpoint, and ConfigError where the version is not there, not ready or another was activated
        meanwhile.
        """
        with self._changing():
            recover(self)
            before = self._expected(expected)
            folder = self.version(version)
            manifest = verify(folder)
            found = self.sound(folder)
            if found.state != "ready" and not force:
                what = "was rejected" if found.state == "rejected" else "has not been judged"
                raise ConfigError(f"checkpoint {titled(folder)} {what}; `kronosfw checkpoints show` tells more")
            if found.state != "ready":
                verdict = read_verdict(folder)[0] or _UNJUDGED
                write_verdict(folder, verdict, made(self, layout.STAGING), overruled=reason or "no reason given")
            again = before is not None and before.version == version
            previous = (before.previous if again else before.version) if before else ""
            pointer = Pointer(
                version, manifest, previous, _next(before), at, event, reason, slot, numbers or {}, found.forecaster
            )
            self._flip(pointer)
            return pointer

    def rollback(
        self,
        *,
        at: datetime,
        reason: str,
        slot: datetime | None = None,
        numbers: Mapping[str, float] | None = None,
        expected: int | None = None,
    ) -> Pointer:
        """Go back to what was active before, or to nothing where nothing was.

        What cannot be used any more is skipped, and what was left by a rollback is not returned to by the next.
        Raises ConfigError where nothing is active.
        """
        with self._changing():
            recover(self)
            before = self._expected(expected)
            if before is None or not before.version:
                raise ConfigError(f"nothing of {self.name} is active: there is nothing to go back from")
            past = self.behind(before)
            pointer = Pointer(
                "", "", "", _next(before), at, "rolled_back", reason, slot, numbers or {}, before.forecaster
            )
            for n, version in enumerate(past):
                folder = self.versions / version
                try:
                    manifest, found = verify(folder), self.sound(folder)
                except DamagedCheckpoint as error:
                    log.warning("skipped: %s", error)
                    continue
                if found.state == "ready":
                    previous = next(iter(past[n + 1 :]), "")
                    pointer = replace(
                        pointer, version=version, manifest=manifest, previous=previous, forecaster=found.forecaster
                    )
                    break
            self._flip(pointer)
            return pointer

    def note(self, entry: Entry) -> None:
        """Add to the history what changes nothing; raises ValueError for an entry that has a ``seq``."""
        if entry.seq is not None:
            raise ValueError("a change of what is active is noted by making it")
        with self._changing():
            reconcile(self)
            append(self.history_file, entry)

    def prune(self, expired: Sequence[Checkpoint]) -> list[str]:
        """Delete versions, and return which: all but those that must stay. None of the pooled base ever goes."""
        with self._changing():
            recover(self)
            doomed = self.prunable(expired)
            trash = made(self, layout.TRASH) if doomed else self.folder
            for name in doomed:
                (self.versions / name).rename(trash / name)
            if doomed:
                sync_folder(self.versions)
            for name in doomed:
                shutil.rmtree(trash / name)
            return doomed

    def recover(self) -> list[str]:
        """Tidy up after a crash, set damaged versions aside and return what was found damaged, in sentences."""
        with self._changing():
            return recover(self)

    @contextmanager
    def retraining(self) -> Iterator[None]:
        """Hold the right to retrain, for hours; raises Interrupted where another process has it."""
        made(self)
        with retraining(self.folder / layout.RETRAIN_LOCK, self.name):
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        made(self)
        with changing(self.folder / layout.LOCK, self.name):
            settle(self)
            yield

    def _expected(self, seq: int | None) -> Pointer | None:
        """Return the pointer; raises ConfigError where its number is another than expected."""
        pointer = self.active
        now = pointer.seq if pointer else 0
        if seq is not None and seq != now:
            what = pointer.version if pointer and pointer.version else "nothing"
            raise ConfigError(f"{what} of {self.name} was activated meanwhile; nothing was changed")
        return pointer

    def _flip(self, pointer: Pointer) -> None:
        """Change what serves. The history follows, here or, after a crash in between, at the next change."""
        write_atomically(self.pointer_file, lambda file: file.write(as_line(pointer)))
        append(self.history_file, pointer)


def _next(before: Pointer | None) -> int:
    return before.seq + 1 if before else 1
