"""Database URLs: what is shown of them, and what never is."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from kronosfw.address import parse
from kronosfw.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:CANARY@CANARY@host/db",
        "postgresql://u:x@CANARY?@host/db",
        "postgresql://u:x@host/CANARY@db",
        "postgresql://u/CANARY:CANARY@host/db",
        "mysql+pymysql://u:x@CANARY@host/db",
        "postgresql://host/db?password=CANARY@x",
        "postgresql://u:x@host:CANARY/db",
        "CANARY",
    ],
)
def test_a_url_that_would_be_cut_in_its_password_is_refused(url):
    with pytest.raises(ConfigError, match=r"^url: .*percent-encode") as error:
        parse(url, "url")
    assert "CANARY" not in str(error.value)
    assert error.value.__context__ is None or error.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://u:p@[::1]:5432/db?sslpassword=x", "postgresql+psycopg://u:***@[::1]:5432/db"),
        ("postgresql://u%40x:p%40y@host/db", "postgresql+psycopg://u%40x:***@host/db"),
        ("postgresql:///db", "postgresql+psycopg:///db"),
        ("sqlite+pysqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_what_is_shown(url, shown):
    assert parse(url, "url").shown == shown


@pytest.mark.parametrize("name", ["sqlite", "duckdb"])
def test_a_path_is_no_place_for_a_password(name):
    assert parse(f"{name}:////tmp/a@b@c.db", "url").url.database == "/tmp/a@b@c.db"


@given(password=st.text(min_size=1))
def test_any_password_that_is_encoded_stays_one(password):
    address = parse(f"postgresql://me:{quote(password, safe='')}@host/db", "url")
    assert address.url.password == password
    assert address.shown == "postgresql+psycopg://me:***@host/db"
    assert "password=" not in repr(address)


@given(password=st.text("abcdefghijklmnop @:/?%.*+", min_size=4))
def test_a_long_password_is_redacted_wherever_it_stands(password):
    address = parse(URL.create("postgresql", "me", password, "host").render_as_string(hide_password=False), "url")
    text = address.redact(f"QUERY{password}QUERY {quote(password, safe='')} TEXT")
    assert text == "QUERY***QUERY *** TEXT"


def test_a_short_password_is_redacted_only_where_it_stands_alone():
    address = parse("postgresql://me:p@host/db?sslpassword=on", "url")
    said = 'invalid connection option "port", password p, "p", key on'
    assert address.redact(said) == 'invalid connection option "port", password ***, "***", key ***'
