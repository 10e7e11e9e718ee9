"""One Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
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
    def _schema(self) -> Any:
        try:
            with pa.parquet.ParquetFile(self.path) as file:
                return file.schema_arrow
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise _unreadable(error) from None

    def names(self) -> list[str]:
        """Return the column names; raises Fault or OSError."""
        return list(self._schema.names)

    def read(self, columns: Sequence[int]) -> list[Any]:
        """Return some columns as Arrow arrays ``[N]``; raises Fault or OSError."""
        names = [self._schema.names[i] for i in columns]
        try:
            with pa.parquet.ParquetFile(self.path, page_checksum_verification=True) as file:
                rows = file.metadata.num_rows
                if not rows:
                    raise Fault("the file has no row")
                if rows * len(names) * 8 > self._max_bytes:
                    raise Fault(f"{rows} rows need more than `max_bytes` ({self._max_bytes})")
                table = file.read(columns=names, use_threads=False)
            table.validate(full=True)
            return [table.column(name).combine_chunks() for name in names]
        except pa.ArrowException as error:
            raise _unreadable(error) from None

    def place(self, row: int | None) -> str:
        """Return file and row (counted from 1), as messages begin."""
        return str(self.path) if row is None else f"{self.path}, row {row + 1}"


def _unreadable(error: Exception) -> Fault:
    return Fault(f"not a readable Parquet file: {(str(error) or type(error).__name__).splitlines()[0]}")
