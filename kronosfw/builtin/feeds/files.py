"""The feeds ``csv`` and ``parquet``: find a symbol's files, read them, cut out the span."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, SymbolError, did_you_mean
from ...files import safe_name
from ...types import Fact, Finding, Span
from .calendar import read_calendar
from .columns import VALUES, has_symbols, match
from .options import FileOptions
from .plain import within
from .sources import Source, matching, raising
from .tables import Rows, Table, frame, joined, read_rows

if TYPE_CHECKING:
    import pandas as pd


class FileFeed:
    """Reads bars and facts from files.

    A file named after a symbol is read whenever that symbol is asked for; one with a symbol column is read
    once and kept, and so is what was wrong with a file.
    """

    def __init__(self, options: FileOptions, open_file: Callable[[Path], Source]) -> None:
        self._options = options
        self._open = open_file
        self._kept: dict[tuple[Path, str], Table | str] = {}

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, pd.DataFrame | SymbolError]]:
        """Yield the bars of each symbol; raises ConfigError where ``path`` matches no file."""
        for symbol in symbols:
            yield symbol, self._frame(symbol, freq, span)

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact | Finding]:
        """Yield the facts of the calendar and what was odd about it; raises DataError where it is malformed."""
        yield from within(self._facts, symbols, span)

    @cached_property
    def _facts(self) -> Sequence[Fact | Finding]:
        return [fact for path in self._options.calendars for fact in read_calendar(path, self._options)]

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """The files by their stems."""
        if self._options.path is None:
            raise ConfigError("the feed has a calendar and no bars; give its `path`")
        by_stem: dict[str, list[Path]] = {}
        for path in matching(self._options.path):
            by_stem.setdefault(path.stem, []).append(path)
        return by_stem

    @cached_property
    def _long(self) -> tuple[list[Path], list[str]]:
        """The files with a symbol column, and what is wrong with those that cannot tell."""
        long, unreadable = [], []
        for path in (path for paths in self._files.values() for path in paths):
            source = self._open(path)
            try:
                with raising(SymbolError, source):
                    names = source.names()
            except SymbolError as error:
                unreadable.append(str(error))
                continue
            if has_symbols(names, self._options.columns.given):
                long.append(path)
        return long, unreadable

    def _frame(self, symbol: str, freq: str, span: Span) -> pd.DataFrame | SymbolError:
        try:
            return frame(self._rows(symbol, freq), span, closes=self._options.closes(freq))
        except SymbolError as error:
            # The traceback would keep the file's contents in memory.
            return SymbolError(str(error))

    def _rows(self, symbol: str, freq: str) -> Rows:
        named = [p for stem in dict.fromkeys((symbol, safe_name(symbol))) for p in self._files.get(stem, ())]
        if len(named) > 1:
            raise SymbolError(
                f"{symbol}: several files are named after it: {', '.join(map(str, named))}; narrow `path`"
            )
        long, unreadable = ([], []) if named else self._long
        parts = [rows for path in named or long if (rows := self._table(path, freq).of(symbol)) is not None]
        if named and not parts:
            raise SymbolError(f"{symbol}: {named[0]} has it in no row of its symbol column")
        if not parts:
            also = f", nor is it in the {len(long)} with a symbol column" if long else ""
            also += f"; {len(unreadable)} cannot be read, first {unreadable[0]}" if unreadable else ""
            also += did_you_mean(symbol, self._files)
            raise SymbolError(f"{symbol}: no file of {self._options.path} is named after it{also}")
        if unreadable:
            raise SymbolError(f"{symbol}: more of it may be in a file that cannot be read: {unreadable[0]}")
        return joined(parts)

    def _table(self, path: Path, freq: str) -> Table:
        kept = self._kept.get((path, freq))
        if isinstance(kept, str):
            raise SymbolError(kept)
        return kept or self._read(path, freq)

    def _read(self, path: Path, freq: str) -> Table:
        source = self._open(path)
        try:
            with raising(SymbolError, source):
                found = match(source.names(), self._options.columns.given)
                numbers = [i for name, i in found.items() if name in VALUES]
                columns = dict(zip(found, source.read(list(found.values()), numbers), strict=True))
                rows = read_rows(columns, self._options, self._options.time_format, freq)
                table = Table(rows, columns.get("symbol"))
        except SymbolError as error:
            self._kept[path, freq] = str(error)
            raise
        if "symbol" in columns:
            self._kept[path, freq] = table
        return table
