"""A disk that is full or may not be written to: what serves is left as it was."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

import pytest

from kronosfw.builtin.policies import Rolling
from kronosfw.checkpoints import Shelf, choose, verify
from tests.shelves import NOW, activate, put

WHY = {"at": NOW, "reason": "it is better"}


def mount(*arguments: object) -> bool:
    try:
        return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=2m", "kronosfw-test", folder):
        pytest.skip("a small file system can only be mounted as root of a machine that allows it")
    yield folder
    subprocess.run(["umount", folder], check=True)


def state(shelf):
    return (shelf.folder / "ACTIVE").read_bytes(), (shelf.folder / "history.jsonl").read_bytes(), shelf.names()


def fill(folder):
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


def test_nothing_is_begun_that_has_no_room(disk):
    activate(put(disk))
    shelf = Shelf(disk, "crypto")
    before = state(shelf)
    with pytest.raises(OSError, match=r"No space left on device: \d\.\d MB are free, 2\.4 MB are needed"):
        put(disk, files={"weights.txt": os.urandom(800_000)})
    assert state(shelf) == before
    assert list((shelf.folder / "staging").iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_harms_nothing(disk, monkeypatch):
    folder = put(disk)
    activate(folder)
    shelf = Shelf(disk, "crypto")
    before = state(shelf)
    monkeypatch.setattr("kronosfw.checkpoints.publishing._ROOM", 0)
    with pytest.raises(OSError, match="No space left on device"):
        put(disk, files={"a.txt": b"1", "weights.txt": os.urandom(3_000_000)})
    assert state(shelf) == before
    assert list((shelf.folder / "staging").iterdir()) == [], "the room is given back"
    assert verify(folder)


def test_a_full_disk_changes_nothing_of_what_serves(disk):
    old, new = put(disk), put(disk, files={"weights.txt": b"2"})
    activate(old)
    shelf = Shelf(disk, "crypto")
    before = state(shelf)
    fill(disk)
    for change in (lambda: activate(new), lambda: shelf.rollback(**WHY)):
        with pytest.raises(OSError, match="No space left on device"):
            change()
    assert state(shelf) == before
    (disk / "filler").unlink()
    activate(new)
    assert shelf.active.version == new.name


def test_a_disk_that_may_not_be_written_to_still_serves(disk):
    folder = put(disk)
    activate(folder)
    shelf = Shelf(disk, "crypto")
    before = state(shelf)
    assert mount("-o", "remount,ro", disk)
    for change in (lambda: put(disk, files={"weights.txt": b"2"}), lambda: activate(folder), shelf.recover):
        with pytest.raises(OSError, match="Read-only file system"):
            change()
    assert state(shelf) == before
    chosen, told = choose(Rolling().build(), disk, "crypto", "fickle")
    assert (chosen.path, told) == (folder, [])


def test_a_version_that_may_not_be_read_is_not_set_aside(tmp_path):
    """Who lacks the right to read weights learns nothing of whether they are damaged."""
    folder, other = put(tmp_path), put(tmp_path, files={"weights.txt": b"2"})
    activate(other)
    real = os.scandir

    def refuse(path):
        if str(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        assert Shelf(tmp_path, "crypto").recover() == []
    assert folder.is_dir()
