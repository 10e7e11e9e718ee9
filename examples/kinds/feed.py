"""A feed: bars from one JSON file for each symbol."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kronosfw.errors import SymbolError
from kronosfw.files import safe_name
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import Feed, FeedConfig
from kronosfw.options import LocalPath
from kronosfw.types import Fact, Span

if TYPE_CHECKING:
    import pandas as pd


class JsonFeed(FeedConfig):
    """Bars from one JSON file for each symbol: a list of rows with time, open, high, low and close."""

    type: Literal["json"] = "json"
    folder: LocalPath = Field(description="Folder with the files, SYMBOL.json each.")

    def build(self) -> Feed:
        return JsonFiles(self)


class JsonFiles:
    def __init__(self, options: JsonFeed) -> None:
        self._folder = options.folder

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, "pd.DataFrame | SymbolError"]]:
        for symbol in symbols:
            try:
                frame = self._read(symbol)
            except SymbolError as error:
                yield symbol, error
                continue
            stamps = frame["time"].to_numpy("datetime64[us]")
            inside = stamps <= span.end
            if span.start is not None:
                inside &= stamps >= span.start
            rows = frame[inside].sort_values("time", ignore_index=True)
            yield symbol, rows if span.last is None else rows.tail(span.last)

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact]:
        return iter(())

    def _read(self, symbol: str) -> "pd.DataFrame":
        import pandas as pd

        path = self._folder / f"{safe_name(symbol)}.json"
        try:
            frame = pd.DataFrame(json.loads(path.read_text("utf-8")))
            frame["time"] = pd.to_datetime(frame["time"], utc=True).astype("datetime64[us, UTC]")
            return frame.astype(dict.fromkeys(("open", "high", "low", "close"), "float64"))
        except (OSError, ValueError, KeyError) as error:
            raise SymbolError(f"{symbol}: {path} cannot be read: {error}") from error


@hookimpl
def register_feeds() -> Sequence[type[FeedConfig]]:
    return [JsonFeed]
