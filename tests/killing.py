"""Processes that change checkpoints and are killed, while another loads what serves all the time.

The worker tells of every change before and after it in a file of its own, so that whoever killed it knows what may
be there: what was reported as done, or what was about to be.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kronosfw.builtin.policies import Rolling
from kronosfw.checkpoints import Shelf, choose, discover, serve, verify
from kronosfw.types import Checkpoint, Entry
from tests.crash_scenarios import BAD, GOOD, WHY
from tests.shelves import NOW

WEIGHTS = ("a.safetensors", "b.safetensors", "deep/c.safetensors")
SIZE = 40_000
KEPT = 8
CHANGES, MEAN = 6, 0.01
"""A worker lives for fewer changes than this, and then for some seconds, in the mean."""


@dataclass
class Killed:
    """What came of a campaign."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what was under way."""
    changes: int = 0
    reads: int = 0
    violations: list[str] = field(default_factory=list)


class Slate:
    """A line of JSON that is replaced by a single call, so that a kill leaves the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tally = path.with_suffix(".tally")

    def write(self, **content: Any) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(handle, json.dumps(content).encode().ljust(4000), 0)
        os.close(handle)

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path.read_bytes())
        return content

    @property
    def changes(self) -> int:
        """How many changes were made; can be asked at any time."""
        return self._tally.stat().st_size if self._tally.exists() else 0

    def count(self) -> None:
        """Take note of a change that was made."""
        with self._tally.open("ab") as file:
            file.write(b".")


def campaign(folder: Path, kills: int, seed: int, report: Callable[[int], object] = lambda n: None) -> Killed:
    """Kill so many workers, and look at what each left behind."""
    found, rng = Killed(), random.Random(seed)
    root, slate, reads, stop = folder / "store", Slate(folder / "slate"), Slate(folder / "reads"), folder / "stop"
    slate.write(doing="start", names=[], active=["", 0])
    reader = _fork(lambda: read_on(root, reads, stop), folder / "reader.log")
    try:
        for n in range(kills):
            until = slate.changes + rng.randrange(CHANGES)
            worker = _fork(lambda n=n: work_on(root, slate, random.Random(f"{seed} {n}")), folder / "worker.log")
            try:
                _wait(worker, slate, until)
                time.sleep(rng.expovariate(1 / MEAN))
            finally:
                os.kill(worker, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
            if status != -signal.SIGKILL:
                found.violations.append(f"kill {n}: the worker failed: {(folder / 'worker.log').read_text()}")
            told = slate.read()
            found.kills[told["doing"]] += 1
            found.violations += [f"kill {n}, in {told['doing']}: {text}" for text in strange(root, told)]
            report(n)
    finally:
        stop.touch()
        status = os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])
    if status:
        found.violations.append(f"the reader failed: {(folder / 'reader.log').read_text()}")
    found.changes = slate.changes
    found.reads = reads.read()["reads"]
    return found


def _fork(run: Callable[[], object], log: Path) -> int:
    """Run something in a child that ends with 0 or, having told why, with 1; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        run()
        os._exit(0)
    except BaseException:
        log.write_text(traceback.format_exc())
    os._exit(1)


def _wait(worker: int, slate: Slate, changes: int) -> None:
    """Wait until so many changes were made, or the worker has failed."""
    while slate.changes < changes:
        if os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def strange(root: Path, told: dict[str, Any]) -> list[str]:
    """Return what is not as it was reported as done or about to be."""
    shelf, found = Shelf(root, "crypto"), list[str]()
    try:
        pointer = shelf.active
        active = [pointer.version, pointer.seq] if pointer else ["", 0]
        if active not in (told["active"], told.get("next", told["active"])):
            found.append(f"{active} is active")
        names = set(shelf.names())
        if not set(told["names"]) - set(told.get("doomed", ())) <= names:
            found.append("a version is lost")
        if any(not name.endswith(told.get("new", "?")) for name in names - set(told["names"])):
            found.append("a version came from nowhere")
        for name in names:
            verify(shelf.versions / name)
        if {c.version for c in discover(root)} != names:
            found.append("a version is half there")
        chosen, damage = choose(Rolling().build(), root, "crypto", "fickle")
        if damage or (chosen.version if chosen else "") != active[0]:
            found.append(f"{chosen} serves: {damage}")
        if pointer and pointer.version:
            verify(shelf.versions / pointer.version, pointer.manifest)
        if max((e.seq or 0 for e in shelf.history()), default=0) > active[1]:
            found.append("the history is ahead of what is active")
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def read_on(root: Path, reads: Slate, stop: Path) -> None:
    """Load what serves until told to stop; raises AssertionError where that is not one checkpoint."""
    policy, parent, seq, count = Rolling().build(), os.getppid(), 0, 0
    reads.write(reads=0)
    while not stop.exists() and os.getppid() == parent:
        served = serve(policy, root, "crypto", "fickle", _load)
        assert not served.told, served.told
        if served.checkpoint is not None:
            identity = served.checkpoint.version[-12:]
            assert served.weights == {identity}, f"{served.weights} was loaded from {served.checkpoint.version}"
        pointer = Shelf(root, "crypto").active
        now = pointer.seq if pointer else 0
        assert now >= seq, f"change {now} came after change {seq}"
        seq, count = now, count + 1
        reads.write(reads=count)


def _load(folder: Path) -> set[str]:
    """Return the identities of the weights in a folder, of which there should be one."""
    return {(folder / name).read_bytes()[16:28].decode() for name in WEIGHTS}


def work_on(root: Path, slate: Slate, rng: random.Random) -> None:
    """Recover, and change checkpoints until killed."""
    worker, parent = Worker(Shelf(root, "crypto"), slate, rng), os.getppid()
    worker.change("recover", worker.recover)
    while os.getppid() == parent:
        worker.step()


class Worker:
    def __init__(self, shelf: Shelf, slate: Slate, rng: random.Random) -> None:
        self.shelf, self.slate, self.rng = shelf, slate, rng

    def step(self) -> None:
        """Make one change of those that can be made."""
        every = self.shelf.checkpoints()
        candidates = [c for c in every if c.state == "candidate"]
        ready = [c for c in every if c.state == "ready"]
        possible: list[Callable[[], None]] = [lambda: self.publish()]
        if candidates:
            possible.append(lambda: self.judge(candidates[-1]))
        if ready:
            possible.append(lambda: self.promote(self.rng.choice(ready)))
        if self.shelf.active and self.shelf.active.version:
            possible.append(self.rollback)
        if len(every) > KEPT:
            possible = [lambda: self.prune(self.rng.sample(every, len(every) // 2))]
        possible.append(lambda: self.change("note", lambda: self.shelf.note(Entry(NOW, "failed", reason="why"))))
        self.rng.choice(possible)()

    def change(self, doing: str, run: Callable[[], object], **about: Any) -> None:
        """Tell of a change, make it and tell that it was made."""
        self.slate.write(doing=doing, **self._now(), **about)
        run()
        self.slate.count()
        self.slate.write(doing="between", **self._now())

    def _now(self) -> dict[str, Any]:
        pointer = self.shelf.active
        active = [pointer.version, pointer.seq] if pointer else ["", 0]
        return {"names": self.shelf.names(), "active": active}

    @property
    def _next(self) -> int:
        return self.shelf.active.seq + 1 if self.shelf.active else 1

    def recover(self) -> None:
        assert self.shelf.recover() == []
        numbers = [entry.seq for entry in self.shelf.history() if entry.seq is not None]
        assert numbers == list(range(1, self._next)), "the history is not complete"
        assert not [*self.shelf.folder.glob("staging/*"), *self.shelf.folder.glob("trash/*")]

    def publish(self) -> None:
        identity = f"{self.rng.getrandbits(48):012x}"
        with tempfile.TemporaryDirectory(dir=self.slate.path.parent) as name:
            for path in WEIGHTS:
                (Path(name) / path).parent.mkdir(exist_ok=True)
                (Path(name) / path).write_bytes(b"\x10" + bytes(7) + b'{"a": 1}' + identity.encode() * (SIZE // 12))
            manifest = {"forecaster": "fickle", "guarded": True}
            day = "2026-11-01"
            self.change(
                "publish",
                lambda: self.shelf.publish(Path(name), manifest, day=day, identity=identity),
                new=identity,
            )

    def judge(self, candidate: Checkpoint) -> None:
        verdict = GOOD if self.rng.random() < 0.8 else BAD
        self.change("judge", lambda: self.shelf.judge(candidate.version, verdict))

    def promote(self, chosen: Checkpoint) -> None:
        self.change(
            "promote",
            lambda: self.shelf.promote(chosen.version, event="promoted", **WHY),
            next=[chosen.version, self._next],
        )

    def rollback(self) -> None:
        pointer = self.shelf.active
        assert pointer is not None
        ready = {c.version for c in self.shelf.checkpoints() if c.state == "ready"}
        behind = [version for version in self.shelf.behind(pointer) if version in ready]
        self.change("rollback", lambda: self.shelf.rollback(**WHY), next=[(behind or [""])[0], self._next])

    def prune(self, expired: list[Checkpoint]) -> None:
        self.change("prune", lambda: self.shelf.prune(expired), doomed=self.shelf.prunable(expired))
