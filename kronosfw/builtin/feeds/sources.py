"""What the readers of files have in common, and how their faults become errors for the user."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ...errors import ConfigError, DataError
from .faults import Fault


class Source(Protocol):
    """A file with columns."""

    path: Path

    def names(self) -> list[str]:
        """Return the column names as they stand; raises Fault or OSError."""
        ...

    def read(self, columns: Sequence[int], numbers: Collection[int] = ()) -> list[Any]:
        """Return some columns as Arrow arrays ``[N]``; raises Fault or OSError.

        ``numbers`` are those of them that should hold numbers; text that cannot be taken for one stays text.
        """
        ...

    def place(self, row: int | None) -> str:
        """Return file and place of a row (counted from 0), as messages begin."""
        ...


@contextmanager
def raising(kind: type[DataError], source: Source) -> Iterator[None]:
    """Turn what goes wrong with a source into an error of this kind that names the place."""
    try:
        yield
    except Fault as fault:
        raise kind(f"{source.place(fault.row)}: {fault}") from None
    except OSError as error:
        raise kind(f"{source.path}: cannot be read: {error.strerror or type(error).__name__}") from None
    except (pa.ArrowException, MemoryError) as error:
        raise kind(f"{source.path}: cannot be read: {type(error).__name__}") from None


def matching(pattern: Path) -> list[Path]:
    """Return the files that a path with ``*``, ``?``, ``[…]`` and ``**`` matches, hidden ones left out.

    Raises ConfigError where there is none.
    """
    if pattern.is_file():
        return [pattern]
    # What exists is meant literally, even if a folder's name holds brackets.
    root = next(folder for folder in pattern.parents if folder.exists())
    try:
        found = root.glob(str(pattern.relative_to(root)))
        files = sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"path {pattern} is no pattern for files: {error}") from None
    if not files:
        hint = f"; did you mean {pattern}/*?" if pattern.is_dir() else ""
        raise ConfigError(f"path {pattern} matches no file{hint}")
    return files
