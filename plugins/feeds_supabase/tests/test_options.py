"""What a configuration may say, and what the README says about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kronosfw_feeds_supabase.options import TABLES, SupabaseFeed
from kronosfw_feeds_supabase.plugin import register_feeds
from pydantic import ValidationError

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
DATABASE = "postgresql://user:secret-word@host/db"
REST = {"transport": "rest", "url": "https://abc.supabase.co", "key": "sb_secret_word"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "mysql://host/db"}, "expected a `url` such as postgresql://"),
        ({"url": "https://abc.supabase.co"}, "expected a `url` such as postgresql://"),
        ({"url": DATABASE, "key": "sb_secret_word"}, "`key` is for `transport: rest`"),
        ({**REST, "key": None}, "needs a `key`"),
        ({**REST, "key": "two\nlines"}, "on one line"),
        ({**REST, "key": "schlüssel"}, "in ASCII"),
        ({**REST, "url": DATABASE}, "expected a `url` such as https://"),
        ({**REST, "url": "https://user:hidden@abc.supabase.co"}, "expected a `url` such as https://"),
        ({**REST, "url": "https://abc.supabase.co/rest/v1"}, "expected a `url` such as https://"),
        ({**REST, "rest_path": "rest?x"}, "expected a path"),
        ({"url": DATABASE, "tables": {"7min": "x"}}, "expected bar lengths"),
        ({"url": DATABASE, "tables": {"economic_calender": "x"}}, "did you mean 'economic_calendar'"),
        ({"url": DATABASE, "tables": {"1d": ""}}, "an empty name"),
        ({"url": DATABASE, "tables": {"1h": "x", "60min": "y"}}, "1h stands there twice, once as 60min"),
        ({**REST, "tables": {"1d": "../rpc/x"}}, "cannot read a table named"),
        ({**REST, "schema": "two\r\nlines"}, "`schema` in ASCII"),
        ({**REST, "url": "http://abc.supabase.co"}, "use https://"),
        ({**REST, "url": "http://8.8.8.8"}, "use https://"),
        ({"url": DATABASE, "chunk": 0}, "chunk"),
        ({"url": DATABASE, "timezone": "Mars"}, "time zone"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValidationError, match=message) as error:
        SupabaseFeed(**given)
    assert not any(secret in str(error.value) for secret in ("secret-word", "sb_secret_word", "hidden"))


def test_tables_that_are_given_join_the_defaults():
    tables = SupabaseFeed(url=DATABASE, tables={"60min": "mine", "5m": "short", "economic_calendar": None}).tables
    assert tables == {**TABLES, "1h": "mine", "5min": "short", "economic_calendar": None}


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:3000",
        "http://rest:3000",
        "http://192.168.0.7",
        "https://abc.supabase.co/",
        "http://[::1]:3000",
        "https://db.example.org:8443",
    ],
)
def test_addresses_of_rest(url):
    SupabaseFeed(**{**REST, "url": url})


def test_nothing_secret_is_shown():
    for options in (SupabaseFeed(url=DATABASE), SupabaseFeed(**REST)):
        for text in (repr(options), str(options), options.model_dump_json()):
            assert "secret-word" not in text
            assert "sb_secret_word" not in text


def test_the_readme_names_every_table_and_column():
    assert register_feeds() == (SupabaseFeed,)
    columns = re.findall(r"^  (\w+) (?:text|timestamptz|double precision)\b(?!;)", SupabaseFeed.ddl(), re.MULTILINE)
    assert all(f"`{table}`" in README for table in TABLES.values())
    assert not [name for name in columns if name not in README]
