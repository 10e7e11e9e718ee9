"""One Parquet file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from .faults import Fault

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


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
        for name in names:
            kind = self._file.schema_arrow.field(name).type
            if pa.types.is_nested(kind):
                raise Fault(f"{name} is of type {kind}; expected one value in each row")
        if max(rows * len(names) * 8, self._stated_bytes(names)) > self._max_bytes:
            raise Fault(f"{rows} rows need more than `max_bytes` ({self._max_bytes})")
        try:
            # A text that many rows share is read once, and spread out only where there is room for it.
            file = pa.parquet.ParquetFile(
                self.path, pre_buffer=False, page_checksum_verification=True, read_dictionary=names
            )
            with file:
                table = file.read(columns=names, use_threads=False)
            table.validate(full=True)
            if sum(map(_text_bytes, table.columns)) > self._max_bytes:
                raise Fault(f"the texts of {rows} rows need more than `max_bytes` ({self._max_bytes})")
            return [self._plain(table, name) for name in names]
        except pa.ArrowException as error:
            raise _unreadable(error) from None

    def _stated_bytes(self, names: Collection[str]) -> int:
        """Return how large the file says that some columns are before they are decoded."""
        groups = map(self._file.metadata.row_group, range(self._file.metadata.num_row_groups))
        columns = (group.column(i) for group in groups for i in range(group.num_columns))
        return sum(column.total_uncompressed_size for column in columns if column.path_in_schema in names)

    def _plain(self, table: Any, name: str) -> Any:
        """Return a column as an Arrow array of the type that it has in the file."""
        return table.column(name).cast(self._file.schema_arrow.field(name).type).combine_chunks()

    def place(self, row: int | None) -> str:
        """Return file and row (counted from 1), as messages begin."""
        return str(self.path) if row is None else f"{self.path}, row {row + 1}"


def _text_bytes(column: Any) -> int:
    """Return how much room the texts of a column take that holds them once for all rows; 0 for another one."""
    kind = column.type
    if not pa.types.is_dictionary(kind) or not any(of_texts(kind.value_type) for of_texts in _TEXTS):
        return 0
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(found).as_py() or 0 for found in lengths)


def _unreadable(error: Exception) -> Fault:
    return Fault(f"not a readable Parquet file: {(str(error) or type(error).__name__).splitlines()[0]}")
