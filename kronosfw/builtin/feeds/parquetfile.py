"""One Parquet file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from .faults import Fault


class ParquetFile:
    """A file whose columns are read by their place."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes

    @cached_property
    def _file(self) -> Any:
        """The file, open for as long as this object is in use."""
        try:
            return pa.parquet.ParquetFile(self.path, pre_buffer=False, page_checksum_verification=True)
        except pa.ArrowException as error:
            raise _unreadable(error) from None

    def names(self) -> list[str]:
        """Return the column names; raises Fault or OSError."""
        try:
            return list(self._file.schema_arrow.names)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise _unreadable(error) from None

    def read(self, columns: Sequence[int], numbers: Collection[int] = ()) -> list[Any]:
        """Return some columns as Arrow arrays ``[N]``, of their own types; raises Fault or OSError."""
        all_names = self.names()
        names = [all_names[i] for i in columns]
        rows = self._file.metadata.num_rows
        if not rows:
            raise Fault("the file has no row")
        if rows * len(names) * 8 > self._max_bytes:
            raise Fault(f"{rows} rows need more than `max_bytes` ({self._max_bytes})")
        try:
            table = self._file.read(columns=names, use_threads=False)
            table.validate(full=True)
            return [table.column(name).combine_chunks() for name in names]
        except pa.ArrowException as error:
            raise _unreadable(error) from None

    def place(self, row: int | None) -> str:
        """Return file and row (counted from 1), as messages begin."""
        return str(self.path) if row is None else f"{self.path}, row {row + 1}"


def _unreadable(error: Exception) -> Fault:
    return Fault(f"not a readable Parquet file: {(str(error) or type(error).__name__).splitlines()[0]}")
