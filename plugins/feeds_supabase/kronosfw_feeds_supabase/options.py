"""Options of the feed ``supabase``."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.resources import files
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from kronosfw.builtin.feeds.options import BarOptions
from kronosfw.errors import ConfigError, did_you_mean
from kronosfw.freq import normalise
from kronosfw.interfaces import Feed

CALENDAR, RATES, INDICATORS = "economic_calendar", "central_bank_rates", "economic_indicators"
TABLES = {"1h": "ohlcv_1h", "1d": "ohlcv_1d", **{name: name for name in (CALENDAR, RATES, INDICATORS)}}

_WEB = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?/?")
_PATH = re.compile(r"(/[\w.~-]+)*")
_HEADER = re.compile(r"[!-~]+")


class SupabaseFeed(BarOptions):
    """Bars and dated events from the tables of a Supabase project, over Postgres or over REST."""

    type: Literal["supabase"] = "supabase"
    transport: Literal["postgres", "rest"] = Field(
        "postgres", description="How to read: from the database itself, which is faster, or through PostgREST."
    )
    url: SecretStr = Field(
        description="For postgres the database's URL, direct (port 5432) or of a pooler (6543). For rest the "
        "project's, such as https://abc.supabase.co. Never shown."
    )
    key: SecretStr | None = Field(
        None, description="For rest, and needed there: a secret or publishable key, or a JWT. Never shown."
    )
    rest_path: str = Field(
        "/rest/v1", description="Path of PostgREST below the project's URL; empty for a PostgREST of one's own."
    )
    db_schema: str = Field("public", alias="schema", min_length=1, description="Schema of the tables.")
    tables: dict[str, str | None] = Field(
        default_factory=dict,
        validate_default=True,
        description="Bar length, or economic_calendar, central_bank_rates or economic_indicators → table or view; "
        "null for one that is not to be read. Those left out are ohlcv_1h, ohlcv_1d, and the three by these names.",
    )
    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="Kinds of events beyond the built-in ones: currency and name → kind, such as "
        "`USD CPI m/m: cpi`.",
    )
    schedule_lead: timedelta = Field(
        timedelta(days=365),
        ge=timedelta(0),
        description="How long ahead an event's date is known, such as 365d, where a table has no known_at.",
    )
    consensus_lead: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(0),
        description="How long ahead the consensus is known, such as 1d; likewise.",
    )
    release_lag: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        description="How long after its time a figure is known, such as 00:01; likewise. Not before "
        "ingested_at, where there is one.",
    )
    timeout: float = Field(30, gt=0, le=3600, description="Seconds that one statement, or one page, may take.")
    patience: float = Field(
        30,
        ge=0,
        le=3600,
        description="Seconds for which each statement or page is tried again where the project does not answer.",
    )
    chunk: int = Field(100, ge=1, le=10_000, description="Symbols whose rows are held in memory at a time.")

    @field_validator("rest_path")
    @classmethod
    def _path(cls, path: str) -> str:
        path = path.rstrip("/")
        if not _PATH.fullmatch(path):
            raise ValueError("expected a path such as /rest/v1, or nothing")
        return path

    @field_validator("key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _HEADER.fullmatch(key.get_secret_value()):
            raise ValueError("expected a key in ASCII, on one line and without blanks")
        return key

    @field_validator("tables")
    @classmethod
    def _with_defaults(cls, tables: dict[str, str | None]) -> dict[str, str | None]:
        given: dict[str, str | None] = {}
        for name, table in tables.items():
            if table == "":
                raise ValueError(f"{name} has an empty name; null leaves it out")
            ours = name if name in TABLES else _bar_length(name)
            if ours in given:
                raise ValueError(f"{ours} stands there twice, once as {name}")
            given[ours] = table
        return {**TABLES, **given}

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        url = self.url.get_secret_value()
        if self.transport == "rest":
            if not _WEB.fullmatch(url):
                raise ValueError("expected a `url` such as https://abc.supabase.co for the transport rest")
            if self.key is None:
                raise ValueError("the transport rest needs a `key`")
            if url.startswith("http://") and not _is_near(url):
                raise ValueError("over http:// the key could be read on its way to another network; use https://")
            if not _HEADER.fullmatch(self.db_schema):
                raise ValueError("the transport rest needs a `schema` in ASCII and without blanks")
            if odd := [name for name in self.tables.values() if name and ("/" in name or name in (".", ".."))]:
                raise ValueError(f"the transport rest cannot read a table named {odd[0]}")
            return self
        if self.key is not None:
            raise ValueError("`key` is for `transport: rest`; for postgres the password is a part of the URL")
        if not re.match(r"(postgres|postgresql|postgresql\+psycopg)://", url):
            raise ValueError("expected a `url` such as postgresql://user:password@host:5432/postgres")
        return self

    @classmethod
    def ddl(cls) -> str:
        """Return the SQL that makes the tables which the defaults name."""
        return files(__package__).joinpath("tables.sql").read_text("utf-8")

    def table(self, freq: str) -> str:
        """Return the table with bars of a length; raises ConfigError where none is named."""
        name = self.tables.get(freq)
        if name is None:
            raise ConfigError(f"feed supabase: no table has bars of {freq}; name one: `tables: {{{freq}: …}}`")
        return name

    def build(self) -> Feed:
        from .feed import SupabaseSource

        return SupabaseSource(self)


def _is_near(url: str) -> bool:
    """Tell whether a host is of this machine or network: a name without dots, or a private address."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host


def _bar_length(name: str) -> str:
    try:
        return normalise(name)
    except ValueError:
        raise ValueError(
            f"expected bar lengths such as 1h, and {CALENDAR}, {RATES} or {INDICATORS}; "
            f"found '{name}'{did_you_mean(name, TABLES)}"
        ) from None
