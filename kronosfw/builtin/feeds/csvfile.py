"""One CSV file, read strictly.

Arrow does the work; what it would let pass (NUL bytes, quotation marks in the middle of a field or never
closed) is looked for first, and what it refuses is put into words with the line it stands in.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from .faults import Fault, shown

_LONGEST_LINE = 1 << 20
_MOST_COLUMNS = 4096
_BOM = b"\xef\xbb\xbf"
_BREAKS = b"\r\n"


class CsvFile:
    """A file with a header; every field is text until someone knows better, an empty one is null."""

    def __init__(self, path: Path, *, max_bytes: int, separator: str = ",", multiline: bool = False) -> None:
        """``multiline``: whether a quoted field may hold line breaks."""
        self.path = path
        self._separator = separator
        self._max_bytes = max_bytes
        self._multiline = multiline

    def names(self) -> list[str]:
        """Return the column names as they stand; raises Fault or OSError."""
        return self._names

    @cached_property
    def _names(self) -> list[str]:
        head = self._head.removeprefix(_BOM)
        if not head.strip(_BREAKS):
            raise Fault("the file is empty")
        start, end = _first_line(head)
        _check_text(head[:end])
        line = head[start:end].decode()
        try:
            names = next(csv.reader([line], delimiter=self._separator, strict=True))
        except csv.Error as error:
            raise Fault(f"the header {shown(line)} cannot be read: {error}") from None
        if len(names) > _MOST_COLUMNS:
            raise Fault(f"the header has {len(names)} columns; at most {_MOST_COLUMNS} are read")
        return names

    def read(self, columns: Sequence[int], numbers: Collection[int] = ()) -> list[Any]:
        """Return some columns as Arrow arrays ``[N]``; raises Fault or OSError.

        They hold strings, but for those among ``numbers`` if no text in them needs a closer look.
        """
        data = self._data
        _check_text(data)
        _, start = _first_line(data)
        if not data[start:].strip(_BREAKS):
            raise Fault("there is a header and no row")
        if data.find(b'"', start) >= 0:
            self._check_quotes()
        rows = memoryview(data)[start:]
        with suppress(pa.ArrowInvalid):
            found = self._parse(rows, columns, numbers, [])
            # What is infinite now may have been a number too large for a float64.
            figures = (found[i].to_numpy(zero_copy_only=False) for i, n in enumerate(columns) if n in numbers)
            if not any(np.isinf(figure).any() for figure in figures):
                return found
        ragged: list[Any] = []
        try:
            return self._parse(rows, columns, (), ragged)
        except pa.ArrowInvalid as error:
            if ragged:
                bad = ragged[0]
                text = f"the row has {bad.actual_columns} fields; the header has {bad.expected_columns}"
                raise Fault(text, bad.number - 1) from None
            if "straddling" in str(error):
                raise Fault("a line is longer than 1 MiB") from None
            raise Fault(f"not a CSV file: {str(error).splitlines()[0]}") from None

    def _parse(
        self, rows: memoryview, columns: Sequence[int], numbers: Collection[int], ragged: list[Any]
    ) -> list[Any]:
        """Let Arrow read the rows; a row of another length is left in ``ragged``. Raises ArrowInvalid."""

        def note(row: Any) -> str:
            ragged.append(row)
            return "error"

        names = [str(i) for i in range(len(self._names))]
        table = pa.csv.read_csv(
            pa.py_buffer(rows),
            pa.csv.ReadOptions(use_threads=False, column_names=names, block_size=_LONGEST_LINE),
            pa.csv.ParseOptions(
                delimiter=self._separator, newlines_in_values=self._multiline, invalid_row_handler=note
            ),
            pa.csv.ConvertOptions(
                column_types={n: pa.float64() if i in numbers else pa.string() for i, n in enumerate(names)},
                include_columns=[str(i) for i in columns],
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        return [column.combine_chunks() for column in table.columns]

    def place(self, row: int | None) -> str:
        """Return file and line of a row, as messages begin."""
        if row is None:
            return str(self.path)
        reader = csv.reader(self._lines(), delimiter=self._separator)
        header_and_rows = (reader.line_num for fields in reader if fields)
        try:
            line = next(number for i, number in enumerate(header_and_rows) if i == row + 1)
        except (csv.Error, StopIteration):
            return str(self.path)
        return f"{self.path}, line {line}"

    @cached_property
    def _head(self) -> bytes:
        """The beginning of the file; all of it where it is shorter than the longest line."""
        return self._bytes(_LONGEST_LINE)

    @cached_property
    def _data(self) -> bytes:
        # A file that says that it is too large is not even read.
        if self.path.stat().st_size <= self._max_bytes:
            data = self._head if len(self._head) < _LONGEST_LINE else self._bytes(self._max_bytes + 1)
            if len(data) <= self._max_bytes:
                return data.removeprefix(_BOM)
        raise Fault(f"the file is larger than `max_bytes` ({self._max_bytes})")

    def _bytes(self, most: int) -> bytes:
        with self.path.open("rb") as file:
            # To ask for no more than there is saves the memory for it.
            return file.read(min(os.fstat(file.fileno()).st_size + 1, most))

    def _lines(self) -> io.StringIO:
        return io.StringIO(self._data.decode(), newline="")

    def _check_quotes(self) -> None:
        reader = csv.reader(self._lines(), delimiter=self._separator, strict=True)
        line = 0
        try:
            for _ in reader:
                if reader.line_num > line + 1 and not self._multiline:
                    raise Fault(f"line {line + 1}: a quotation mark is not closed on its line")
                line = reader.line_num
        except csv.Error as error:
            raise Fault(f"line {line + 1}: {error}") from None


def _first_line(data: bytes) -> tuple[int, int]:
    """Return where the first line that is not blank begins and ends."""
    start = len(data) - len(data.lstrip(_BREAKS))
    ends = [end for mark in (b"\n", b"\r") if (end := data.find(mark, start)) >= 0]
    return start, min(ends, default=len(data))


def _check_text(data: bytes) -> None:
    """Raise Fault unless the bytes are UTF-8 without NUL."""
    nul = data.find(b"\0")
    if nul >= 0:
        raise Fault(f"line {_line_of(data, nul)}: a NUL byte; expected text in UTF-8")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            where = f"line {_line_of(data, error.start)}: the byte 0x{data[error.start]:02x}"
            raise Fault(f"{where} is no text in UTF-8; save the file as UTF-8") from None


def _line_of(data: bytes, position: int) -> int:
    return len(data[: position + 1].splitlines())
