"""What can go wrong with PostgREST, and what a key may see."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from kronosfw_feeds_supabase.options import SupabaseFeed
from kronosfw_feeds_supabase.pages import Pages

from kronosfw.errors import ConfigError, DataError, FeedDown, KronosfwError, SymbolError
from kronosfw.types import Span, moment
from tests.postgrest import Api

from .projects import BARS, PRICES, made

pytestmark = pytest.mark.postgres
EVER = Span(moment("2100-01-01"))
FILL = "insert into bars select s, '2024-01-02Z', 1, 1, 1, 1, 1 from unnest(array['A', 'B']) s"


@pytest.fixture
def filled(project: Api) -> Api:
    project.run(f"create table bars ({BARS})", FILL)
    return project


def read(project: Api, symbols=("A", "B"), **given):
    options = made(project, "rest")(**{"tables": {"1d": "bars"}, "patience": 0, **given})
    return dict(options.build().bars(symbols, "1d", EVER))


def test_row_level_security_hides_symbols_which_then_fail(filled: Api):
    filled.run(
        "alter table bars enable row level security",
        "create policy part on bars for select to authenticated using (symbol = 'A')",
    )
    assert all(len(frame) == 1 for frame in read(filled).values())
    seen = read(filled, key=filled.token("authenticated"))
    assert len(seen["A"]) == 1
    assert isinstance(seen["B"], SymbolError)
    assert "has no row with it, or the key may not see it" in str(seen["B"])
    nothing = read(filled, key=filled.token("anon"))
    assert all(isinstance(error, SymbolError) for error in nothing.values())


@pytest.mark.parametrize(
    ("key", "bearer"), [("sb_secret_abc", False), ("sb_publishable_abc", False), ("eyJh.eyJy.c2ln", True)]
)
def test_only_a_jwt_is_a_bearer(key, bearer):
    client = Pages(SupabaseFeed(transport="rest", url="https://abc.supabase.co", key=key))._client
    headers = client.headers
    assert headers["apikey"] == key
    assert headers.get("Authorization") == (f"Bearer {key}" if bearer else None)
    assert str(client.base_url) == "https://abc.supabase.co/rest/v1"


def test_a_key_of_the_new_kind_reads(filled: Api):
    """Supabase's gateway turns it into a role; PostgREST by itself takes who comes without a JWT for anon."""
    assert len(read(filled, key="sb_publishable_abc")["A"]) == 1


@pytest.mark.parametrize("claims", [{"exp": 1}, {"role": "nobody"}])
def test_a_key_that_is_refused(filled: Api, claims):
    key = filled.token(**{"role": "service_role", **claims})
    with pytest.raises(ConfigError, match="refuses the key") as error:
        read(filled, key=key)
    assert_secret(error.value, key)


def test_a_forged_key(filled: Api):
    key = filled.token("service_role")[:-6] + "AAAAAA"
    with pytest.raises(ConfigError, match="refuses the key"):
        read(filled, key=key)


def test_a_table_that_the_key_may_not_read(filled: Api):
    filled.run("revoke select on bars from authenticated")
    with pytest.raises(ConfigError, match=r"the key may not read public\.bars"):
        read(filled, key=filled.token("authenticated"))


def test_a_schema_that_is_not_exposed(filled: Api):
    with pytest.raises(ConfigError, match="schema other is not among those"):
        read(filled, schema="other")


def test_a_column_that_is_gone(filled: Api):
    feed = made(filled, "rest")(tables={"1d": "bars"}).build()
    list(feed.bars(["A"], "1d", EVER))
    filled.run("alter table bars drop column volume")
    with pytest.raises(ConfigError, match="a column is gone"):
        list(feed.bars(["A"], "1d", EVER))


def test_another_path(filled: Api):
    with pytest.raises(ConfigError, match="`rest_path`"):
        read(filled, rest_path="/rest/v1")


def test_a_server_that_never_answers(filled: Api):
    os.kill(filled.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(FeedDown, match=r"no answer within 0.3 s; tried for 0.5 s"):
            read(filled, timeout=0.3, patience=0.5)
        assert time.monotonic() - began < 5
    finally:
        os.kill(filled.process.pid, signal.SIGCONT)


def test_a_pause_is_waited_for(filled: Api):
    """Nothing is lost where the server comes back within the patience."""
    os.kill(filled.process.pid, signal.SIGSTOP)
    timer = threading.Timer(0.7, os.kill, (filled.process.pid, signal.SIGCONT))
    timer.start()
    try:
        assert len(read(filled, timeout=0.3, patience=20)["A"]) == 1
    finally:
        timer.join()


def test_nobody_listens(filled: Api):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(FeedDown, match="cannot connect, or the connection was lost"):
            read(filled, url=url)
        assert time.monotonic() - began < 3, "the client is not to try again by itself"


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server that answers everything alike, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "kind", "again"),
    [
        (503, b'{"code": "PGRST001", "message": "no connection"}', FeedDown, True),
        (429, b"slow down", FeedDown, True),
        (500, b"<html>", FeedDown, True),
        (400, b'{"code": "P0001", "message": "secret data"}', DataError, False),
        (408, b"", FeedDown, True),
        (418, b"", DataError, False),
        (302, b"", ConfigError, False),
        (200, b"<html>welcome</html>", ConfigError, False),
        (200, b"[1]", ConfigError, False),
        (200, b"[[1]]", ConfigError, False),
        (200, b'[{"symbol": "A"}, {}]', ConfigError, False),
        (200, b"[" * 100_000, ConfigError, False),
    ],
)
def test_other_answers(filled: Api, status, body, kind, again):
    with answering(status, body) as (url, asked), pytest.raises(kind) as error:
        read(filled, url=url, patience=0.3 if again else 30)
    assert type(error.value) is kind
    assert (len(asked) > 1) == again
    assert "secret data" not in str(error.value)


ROW = b'[{"symbol": "A", "timestamp": "2024-01-02T00:00:00+00:00", "open": 1, "high": 1, "low": 1, "close": 1}]'


@pytest.mark.parametrize(
    ("body", "counted"), [(ROW, None), (ROW, "*/*"), (ROW, "0-0/many"), (b'[{"symbol": "A"}]', "0-0/1")]
)
def test_rows_without_their_count_or_columns(filled: Api, body, counted):
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ROW), ROW)
    refusal = b"HTTP/1.1 400 Bad\r\nContent-Length: 17\r\n\r\n" + b'{"code": "22007"}'
    counting = f"Content-Range: {counted}\r\n" if counted else ""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{counting}\r\n"
    with saying(good, refusal, head.encode() + body) as url, pytest.raises(ConfigError, match="not as PostgREST"):
        read(filled, url=url)


@contextmanager
def saying(*answers: bytes, pause: float = 0) -> Iterator[str]:
    """Give the address of a server that gives one answer after the other, with a pause before each of its bytes."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            for answer in answers:
                connection.recv(65_536)
                head, blank, body = answer.partition(b"\r\n\r\n")
                connection.sendall(head + blank)
                for piece in [body] if not pause else (body[i : i + 1] for i in range(len(body))):
                    time.sleep(pause)
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_an_answer_that_drips(filled: Api):
    body = b"[" + b" " * 200 + b"]"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with saying(answer, pause=0.02) as url:
        began = time.monotonic()
        with pytest.raises(FeedDown, match=r"no answer within 0\.3 s"):
            read(filled, url=url, timeout=0.3)
        assert time.monotonic() - began < 3


def test_a_filter_by_a_column_of_any_name(project: Api):
    """Some names mean something to PostgREST, and a filter by one of them must not vanish."""
    names = ["limit", "select", "offset", "order", "and", "or", "not.x", "on_conflict", "columns", "é😀", "a b"]
    names += [f"a{odd}b" for odd in (".", "+", "'", "%", "=", "&", "->", "::", "\\", '"', ",", "(", ")")]
    for i, name in enumerate(names):
        quoted = '"' + name.replace('"', '""') + '"'
        project.run(
            f"create table odd{i} ({quoted} text, timestamp timestamptz, {PRICES})",
            f"insert into odd{i} select s, '2024-01-02Z', 1, 1, 1, 1, 1 from unnest(array['A', 'B']) s",
        )
    for transport in ("postgres", "rest"):
        for i, name in enumerate(names):
            options = made(project, transport)(tables={"1d": f"odd{i}"}, columns={"symbol": name}, patience=5)
            assert len(dict(options.build().bars(["A"], "1d", EVER))["A"]) == 1, (transport, name)


@pytest.mark.parametrize("stamp", ["2024-01-01T05:00:00+02:00", "2024-01-01T05:00:00", "2024-01-01"])
def test_a_text_that_looks_like_a_time(project: Api, stamp):
    """As a text it would be compared letter by letter."""
    columns = BARS.replace("timestamptz", "text")
    project.run(f"create table texts ({columns})", f"insert into texts values ('A', '{stamp}', 1, 1, 1, 1, 1)")
    project.reload("texts")
    with pytest.raises(ConfigError, match="timestamp is of type text"):
        read(project, tables={"1d": "texts"})


def test_the_key_is_not_in_the_causes_of_an_error(filled: Api):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(FeedDown) as error:
            read(filled, url=f"http://127.0.0.1:{held.getsockname()[1]}")
    cause: BaseException | None = error.value
    while cause is not None:
        assert not hasattr(cause, "request")
        cause = cause.__context__


def test_the_key_is_nowhere(filled: Api, caplog):
    caplog.set_level(logging.DEBUG)
    key = filled.token("service_role")
    options = made(filled, "rest")(tables={"1d": "missing"}, key=key, patience=0)
    feed = options.build()
    with pytest.raises(ConfigError) as error:
        list(feed.bars(["A"], "1d", EVER))
    assert_secret(error.value, key)
    for text in (repr(options), str(options), options.model_dump_json(), repr(feed), caplog.text):
        assert key not in text


def assert_secret(error: KronosfwError, key: str) -> None:
    told = "".join(traceback.format_exception(error))
    assert key not in told
    assert key.rpartition(".")[2] not in told


def test_a_feed_that_is_dropped_is_closed(filled: Api):
    feed = made(filled, "rest")(tables={"1d": "bars"}).build()
    list(feed.bars(["A"], "1d", EVER))
    client = feed._transport._pages._client.session
    del feed
    gc.collect()
    assert client.is_closed


def test_a_table_that_changes_between_two_pages_is_read_again(project: Api):
    project.run(
        f"create table bars ({BARS})",
        "insert into bars select 'A', '2020-01-01Z'::timestamptz + d * interval '1 day', 1, 1, 1, d, 1 "
        "from generate_series(0, 249) d",
    )
    feed = made(project, "rest")(tables={"1d": "bars"}).build()
    pages = feed._transport._pages
    ask = pages._ask
    deleting = iter(["delete from bars where close = 0"])

    def changed_once(*arguments):
        answer = ask(*arguments)
        if len(answer.data) == 100:
            for statement in deleting:
                project.run(statement)
        return answer

    pages._ask = changed_once
    [(_, frame)] = feed.bars(["A"], "1d", EVER)
    assert frame["close"].tolist() == list(range(1, 250))
    deleting = iter([f"delete from bars where close = {n}" for n in range(1, 100)])

    def changing(*arguments):
        answer = ask(*arguments)
        project.run(next(deleting))
        return answer

    pages._ask = changing
    with pytest.raises(DataError, match="it changes while it is read"):
        list(feed.bars(["A"], "1d", EVER))
