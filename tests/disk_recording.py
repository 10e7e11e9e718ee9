"""Recording what a piece of code asks of the file system below a folder.

Every way of changing files that Python has is either recorded or refused while a recording runs, and the record is
compared with what really is in the folder, so that none can be overlooked.
"""

from __future__ import annotations

import builtins
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kronosfw
from tests.disk_model import ROOT, Call, Disk, Name, Rename, Sync, Tree, Truncate, Write

_UNKNOWN = (
    "link",
    "symlink",
    "truncate",
    "ftruncate",
    "pwrite",
    "writev",
    "pwritev",
    "sendfile",
    "copy_file_range",
)
_UNKNOWN += ("splice", "mkfifo", "mknod", "fdatasync", "sync", "posix_fallocate")
_VERSION = re.compile(r"\d{4}-\d\d-\d\d-\d{4}-[0-9a-f]{12}")
_OURS = str(Path(kronosfw.__file__).parent)
_TOOLS = ("sync_folder", "write_atomically", "_settle")


def read_tree(folder: Path) -> Tree:
    """Return what is in a folder."""
    paths = sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes() for path in paths}


def write_tree(tree: Tree, folder: Path) -> None:
    """Put all of it into a folder that is not there yet."""
    folder.mkdir()
    for name, content in sorted(tree.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


class Recording:
    """The calls of all pieces of code that ran under ``recording``, and the disk on which they began.

    The folder holds what ``disk`` shows to a process; without one, all that is in the folder is certain.
    """

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self.calls: list[Call] = []
        self._known: dict[tuple[int, int], int] = {}
        self._disk = disk or Disk.of(read_tree(folder))
        self._contents = self._disk.contents
        self._learn(ROOT, folder, self._disk.live()[0])

    def _learn(self, inode: int, path: Path, names: dict[Name, int]) -> None:
        self._known[_identity(path.stat())] = inode
        for (folder, name), inner in names.items():
            if folder == inode:
                self._learn(inner, path / name, names)

    def start(self) -> Disk:
        """Return the disk before the first call."""
        return self._disk.copy()

    def check(self) -> None:
        """Raise AssertionError unless the calls lead to exactly what is in the folder."""
        disk = self.start()
        for call in self.calls:
            disk.apply(call)
        assert disk.live()[1] == read_tree(self.folder), "the record is not what happened"

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is done by this process; only one thread of it may change files."""
        with ExitStack() as stack:
            for name in ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir"):
                stack.enter_context(patch.object(os, name, self._recorder(name)))
            for name in _UNKNOWN:
                if hasattr(os, name):
                    stack.enter_context(patch.object(os, name, _refuse(name)))
            for module in (io, builtins):
                stack.enter_context(patch.object(module, "open", self._open_file))
            yield

    def _recorder(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)
        note = getattr(
            self, f"_{'rename' if name == 'replace' else 'unlink' if name in ('remove', 'rmdir') else name}"
        )

        def call(*given: Any, **more: Any) -> Any:
            return note(real, *given, **more)

        return call

    def _open(self, real: Any, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = self._name(path, dir_fd)
        new = where is not None and flags & os.O_CREAT and not os.path.lexists(self._path(path, dir_fd))
        handle: int = real(path, flags, mode, dir_fd=dir_fd)
        if where is not None and new:
            self._make(where, os.fstat(handle), b"")
        elif where is not None and flags & os.O_TRUNC:
            self.calls.append(Truncate(self._known[_identity(os.fstat(handle))], 0))
        return handle

    def _open_file(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, *more: Any, **named: Any
    ) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int) or self._name(file) is None:
            return _REAL_OPEN(file, mode, buffering, encoding, *more, **named)
        assert "+" not in mode, "files that are read and written are not recorded"
        assert buffering == -1 or buffering == 0, "nor are those with a buffer of another size"
        raw = _RecordedFile(self, file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", *more, **named)

    def _write(self, real: Any, handle: int, data: Any) -> int:
        inode = self._known.get(_identity(os.fstat(handle)))
        at = os.lseek(handle, 0, os.SEEK_CUR)
        written: int = real(handle, data)
        if inode is not None:
            self.calls.append(Write(inode, at, bytes(data)[:written]))
        return written

    def _fsync(self, real: Any, handle: int) -> None:
        """Take note of it, which is all that there is to do on a disk that is simulated."""
        inode = self._known.get(_identity(os.fstat(handle)))
        if inode is not None:
            path = Path(os.readlink(f"/proc/self/fd/{handle}")).relative_to(self.folder.resolve())
            self.calls.append(Sync(inode, f"{_caller()}: {_plain(path)}"))

    def _rename(self, real: Any, source: Any, target: Any) -> None:
        old, new = self._name(source), self._name(target)
        assert (old is None) == (new is None), "a rename out of the folder or into it cannot be recorded"
        inode = self._known.get(_identity(os.stat(source, follow_symlinks=False)))
        real(source, target)
        if old is not None and new is not None and old != new:
            self.calls.append(Rename(((new, inode), (old, None))))

    def _mkdir(self, real: Any, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        where = self._name(path, dir_fd)
        real(path, mode, dir_fd=dir_fd)
        if where is not None:
            self._make(where, os.stat(path, dir_fd=dir_fd), None)

    def _unlink(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        where = self._name(path, dir_fd)
        real(path, dir_fd=dir_fd)
        if where is not None:
            self.calls.append(Rename(((where, None),)))

    def _make(self, where: Name, stat: os.stat_result, content: bytes | None) -> None:
        inode = self._known[_identity(stat)] = max(self._contents) + 1
        self._contents[inode] = content
        self.calls.append(Rename(((where, inode),)))

    def _path(self, path: Any, dir_fd: int | None) -> Path:
        start = Path.cwd() if dir_fd is None else Path(os.readlink(f"/proc/self/fd/{dir_fd}"))
        return start / os.fsdecode(path)

    def _name(self, path: Any, dir_fd: int | None = None) -> Name | None:
        """Return folder and name of a path, None where it is not below the folder."""
        full = self._path(path, dir_fd)
        if self.folder not in full.parents or not full.parent.is_dir():
            return None
        return self._known[_identity(full.parent.stat())], full.name


class _RecordedFile(io.FileIO):
    def __init__(self, recording: Recording, path: Any, mode: str) -> None:
        super().__init__(path, mode, opener=lambda path, flags: os.open(path, flags, 0o666))
        self._recording = recording

    def write(self, data: Any) -> int:
        if "a" in self.mode:
            self.seek(0, os.SEEK_END)
        return self._recording._write(_REAL_WRITE, self.fileno(), data)

    def truncate(self, size: int | None = None) -> int:
        raise AssertionError("truncating is not recorded")


_REAL_OPEN, _REAL_WRITE = io.open, os.write


def _refuse(name: str) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        raise AssertionError(f"os.{name} is not recorded")

    return call


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _caller() -> str:
    """Return the function of kronosfw that wants something durable."""
    frame = sys._getframe(2)
    while not frame.f_code.co_filename.startswith(_OURS) or frame.f_code.co_name in _TOOLS:
        if frame.f_back is None:
            return "something else"
        frame = frame.f_back
    return frame.f_code.co_name


def _plain(path: Path) -> str:
    plain = _VERSION.sub("V", path.as_posix())
    return re.sub(r"\.[0-9a-f]{16}\.tmp", "*.tmp", plain)
