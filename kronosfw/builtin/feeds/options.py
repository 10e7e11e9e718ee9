"""Options of the feeds ``csv``, ``parquet`` and ``sql``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ...errors import did_you_mean
from ...freq import is_daily
from ...interfaces import Feed, FeedConfig
from ...options import DatabaseUrl, LocalPath


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        meant = did_you_mean(name, available_timezones())
        raise ValueError(f"expected a time zone such as UTC or America/New_York{meant}") from None
    return name


def _usable_format(pattern: str) -> str:
    if pattern in ("epoch_s", "epoch_ms"):
        return pattern
    try:
        datetime.strptime(datetime(2001, 2, 3, tzinfo=UTC).strftime(pattern), pattern)
    except (ValueError, re.error):
        pattern = ""
    if not re.search("%[djxc]", pattern):
        raise ValueError("expected epoch_s, epoch_ms or a date format such as %d.%m.%Y %H:%M")
    return pattern


TimeZone = Annotated[str, AfterValidator(_known_zone)]
TimeFormat = Annotated[str, AfterValidator(_usable_format)]


class Columns(BaseModel):
    """What the source calls the columns. Only unusual names are needed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    time: str | None = Field(
        None, description="The bar's time; else timestamp, timestamps, date, datetime, time or ds."
    )
    symbol: str | None = Field(
        None, description="The symbol; else symbol, ticker, unique_id, item_id, instrument or asset."
    )
    open: str | None = Field(None, description="Opening price; else open.")
    high: str | None = Field(None, description="Highest price; else high.")
    low: str | None = Field(None, description="Lowest price; else low.")
    close: str | None = Field(None, description="Closing price; else close.")
    volume: str | None = Field(None, description="Volume in units of the instrument; else volume.")
    amount: str | None = Field(None, description="Volume in money; else amount.")

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = list(self.given.values())
        if len(set(names)) < len(names):
            raise ValueError("two columns are mapped to the same name")
        return self

    @property
    def given(self) -> dict[str, str]:
        """Our name → theirs, for the columns that were mapped."""
        return {ours: theirs for ours, theirs in self.model_dump().items() if theirs is not None}


class BarOptions(FeedConfig):
    """Options that files and tables share."""

    columns: Columns = Field(default_factory=Columns, description="What the source calls the columns.")
    timezone: TimeZone = Field(
        "UTC",
        description="Zone of the times without an offset. A bar's mere date names its session in any zone.",
    )
    stamp: Literal["open", "close"] = Field(
        "open", description="Which end of an intraday bar its time labels. Daily bars are labelled by their date."
    )

    def closes(self, freq: str) -> bool:
        """Tell whether times label the bars' ends."""
        return self.stamp == "close" and not is_daily(freq)


class FileOptions(BarOptions):
    """Options that CSV and Parquet files share."""

    path: LocalPath | None = Field(
        None,
        description="Files with bars: one for each symbol, named after it, or files with a symbol column. "
        "May hold * and **.",
    )
    time_format: TimeFormat | None = Field(
        None,
        description="Format of the times unless they are ISO 8601: a date format such as %d.%m.%Y %H:%M, "
        "epoch_s or epoch_ms.",
    )
    max_bytes: int = Field(2 * 1024**3, ge=1, description="Largest size of a file that is read, in bytes.")
    calendar: LocalPath | tuple[LocalPath, ...] | None = Field(
        None, description="File with dated events (CSV or Parquet), recognised by its header, or several."
    )
    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="Kinds of events beyond the built-in ones: currency and name → kind, "
        "such as `USD CPI m/m: cpi`. Of several names for one kind the first one found on a day counts.",
    )
    schedule_lead: timedelta = Field(
        timedelta(days=365), ge=timedelta(0), description="How long ahead an event's date is known, such as 365d."
    )
    consensus_lead: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(0),
        description="How long ahead the consensus is known, such as 1d or 12:00.",
    )
    release_lag: timedelta = Field(
        timedelta(0), ge=timedelta(0), description="How long after its time a figure is known, such as 00:01."
    )

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.path is None and self.calendar is None:
            raise ValueError("give `path` for bars, `calendar` for events, or both")
        return self

    @property
    def calendars(self) -> tuple[Path, ...]:
        """The files with dated events."""
        given = self.calendar
        return given if isinstance(given, tuple) else () if given is None else (given,)


class CsvFeed(FileOptions):
    """Bars and dated events from CSV files, read strictly: nothing that looks wrong is guessed."""

    type: Literal["csv"] = "csv"
    separator: str = Field(
        ",", pattern=r'^[^"\r\n\w]$', description="Character between two fields, such as ; or a tab."
    )

    def build(self) -> Feed:
        from .csvfile import CsvFile
        from .files import FileFeed

        return FileFeed(self, partial(CsvFile, separator=self.separator, max_bytes=self.max_bytes))


class ParquetFeed(FileOptions):
    """Bars and dated events from Parquet files."""

    type: Literal["parquet"] = "parquet"

    def build(self) -> Feed:
        from .files import FileFeed
        from .parquetfile import ParquetFile

        return FileFeed(self, partial(ParquetFile, max_bytes=self.max_bytes))


class SqlFeed(BarOptions):
    """Bars and dated events from the tables of a database."""

    type: Literal["sql"] = "sql"
    url: DatabaseUrl = Field(description="SQLAlchemy URL of the database.")
    table: str = Field("bars", min_length=1, description="Table or view with the bars.")
    db_schema: str | None = Field(
        None, alias="schema", min_length=1, description="Schema of the tables; the connection's own unless given."
    )
    freq_column: str | None = Field(
        None, min_length=1, description="Column with the bar length (1d, 1h, 5min), where a table holds several."
    )
    time_format: Literal["epoch_s", "epoch_ms"] | None = Field(
        None, description="Set where times are numbers: seconds or milliseconds since 1970."
    )
    facts_table: str | None = Field(
        None,
        min_length=1,
        description="Table or view with dated events: event, kind, scheduled_at, known_at, symbols, and figures.",
    )

    def build(self) -> Feed:
        from .sql import SqlSource

        return SqlSource(self)
