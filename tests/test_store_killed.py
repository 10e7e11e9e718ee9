"""Results get to a Postgres that is killed while they are written, or that loses connections."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kronosfw.errors import StoreError
from kronosfw.store import Store, watch
from kronosfw.store.upsert import FEW

from .postgres import QUOTED, Server, served, wait_until_blocked
from .rows import prediction, run_row

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from served()


@pytest.fixture
def url(server: Server) -> str:
    return server.new_database()


@contextmanager
def meanwhile(work: Callable[[], int]) -> Iterator[list[int]]:
    """Do the work in a thread, which is over when the block is; yield what gets its result."""
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    yield done
    thread.join()


@pytest.mark.parametrize("rows", [FEW, 10 * FEW], ids=["one by one", "in bulk"])
def test_killed_in_the_middle_of_a_write(
    rows: int, server: Server, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kronosfw")
    new = [prediction(step) for step in range(rows)]
    with Store(url) as store:
        store.record(run_row(), new[:50])
        admin = server.connect(url.rpartition("/")[2])
        admin.execute("BEGIN")
        admin.execute("UPDATE ml_predictions SET seed = 1 WHERE step = 49")
        changed = [row | {"p50": 99.0} for row in new]
        with meanwhile(lambda: store.record(run_row(id="b"), changed)) as written:
            wait_until_blocked(admin)
            server.stop()
            time.sleep(1)
            server.start()
        admin.close()
        assert written == [rows]
        assert [(row["p50"], row["run_id"]) for row in store.predictions()] == [(99.0, "b")] * rows
        assert len(store.runs()) == 2
    assert [text.split("; ")[-1] for text in caplog.messages if "trying" in text] == ["trying again for up to 30 s"]
    assert sum("goes on" in text for text in caplog.messages) == 1


class Fatal(dict[str, Any]):
    """A row that does something when it is read, once."""

    def __init__(self, row: dict[str, Any], done: Callable[[], object]) -> None:
        super().__init__(row)
        self.done = [done]

    def __getitem__(self, name: str) -> Any:
        if name == "p50" and self.done:
            self.done.pop()()
        return super().__getitem__(name)


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_lost_in_the_middle_of_a_copy(how: str, server: Server, url: str, caplog: pytest.LogCaptureFixture) -> None:
    def kill() -> None:
        server.stop()
        server.start()

    def end() -> None:
        with server.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'COPY pg_temp%'"
            )

    rows = [prediction(step) for step in range(FEW)]
    with Store(url) as store:
        store.record(run_row(), rows[:10])
        assert store.record(run_row(), [*rows, Fatal(prediction(FEW), kill if how == "killed" else end)]) == FEW - 9
        assert [row["step"] for row in store.predictions()] == list(range(FEW + 1))
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert "closed the connection" in warning or "terminating connection" in warning


def test_killed_at_any_moment(server: Server, url: str) -> None:
    batches = [[prediction(step, symbol=f"S{batch}") for step in range(2 * FEW)] for batch in range(40)]
    with Store(url) as store:

        def work() -> int:
            return sum(store.record(run_row(), batch) for batch in batches)

        with meanwhile(work):
            for pause in (0.05, 0.1, 0.2):
                time.sleep(pause)
                server.stop()
                server.start()
        assert [row["symbol"] for row in store.predictions()] == sorted(
            row["symbol"] for batch in batches for row in batch
        )


def test_connections_ended_between_transactions_and_within(server: Server, url: str) -> None:
    """All connections are ended again and again while somebody writes and reads."""

    def disturb() -> None:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kronosfw'"
        with server.connect() as admin:
            for _ in range(10):
                time.sleep(0.1)
                admin.execute(end)

    thread = threading.Thread(target=disturb)
    with Store(url) as store:
        thread.start()
        numbers = iter(range(1000))
        while thread.is_alive():
            number = float(next(numbers))
            store.record(run_row(), [prediction(step, p50=number) for step in range(FEW + 50)])
            assert [row["p50"] for row in store.predictions()] == [number] * (FEW + 50)
        thread.join()


@contextmanager
def stopped(admin: Any) -> Iterator[None]:
    """Stop the store's sessions where they are; their machine still answers for them."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'kronosfw'"
    sessions = [pid for (pid,) in admin.execute(query)]
    assert sessions
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in sessions:
            os.kill(pid, signal.SIGCONT)


def test_an_idle_session_that_does_not_answer(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LONGEST", 0.3)
    with Store(url, patience=0) as store, server.connect() as admin:
        store.record(run_row(), [])
        with stopped(admin):
            assert store.runs() == [run_row()]


def test_a_session_that_does_not_answer_any_more(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "LONGEST", 0.5)
    with Store(url) as store, server.connect(url.rpartition("/")[2]) as admin:
        store.record(run_row(), [])
        admin.execute("BEGIN")
        admin.execute("LOCK TABLE ml_predictions")
        with meanwhile(lambda: store.record(run_row(), [prediction()])) as written:
            wait_until_blocked(admin)
            with stopped(admin):
                while not caplog.records:
                    time.sleep(0.01)
            admin.execute("COMMIT")
        assert written == [1]
    assert "connection" in caplog.messages[0]


def test_down_for_longer_than_anybody_waits(server: Server, url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Store(url, patience=0.5) as store:
        server.stop()
        started = time.monotonic()
        try:
            with pytest.raises(StoreError, match="Connection refused") as caught:
                store.record(run_row(), [prediction()])
        finally:
            server.start()
        assert time.monotonic() - started >= 0.5
        said = str(caught.value)
        assert "\n" not in said
        assert not any(secret in text for text in (said, caplog.text) for secret in (QUOTED, "p@ss/word"))
        assert store.record(run_row(), [prediction()]) == 1


def test_a_commit_of_which_nobody_hears(server: Server, url: str) -> None:
    """The server commits and the connection is lost before it says so."""
    Store(url).close()
    rows = [prediction(step) for step in range(FEW + 1)]
    with (
        deaf_to_a_commit(server.port) as (port, commits),
        Store(url.replace(str(server.port), str(port))) as store,
    ):
        assert store.record(run_row(), rows) == 0, "the first time was not heard of, the second changed nothing"
        assert len(commits) == 2
        assert [row["step"] for row in store.predictions()] == list(range(FEW + 1))


@contextmanager
def deaf_to_a_commit(target: int) -> Iterator[tuple[int, list[socket.socket]]]:
    """Forward connections to a port, but end the first that commits when the answer comes; yield a port."""
    commits: list[socket.socket] = []
    stop = threading.Event()

    def forward(listener: socket.socket) -> None:
        clients: set[socket.socket] = set()
        peers: dict[socket.socket, socket.socket] = {}
        while not stop.is_set():
            for source in select.select([listener, *peers], [], [], 0.05)[0]:
                if source is listener:
                    client, server = listener.accept()[0], socket.create_connection(("127.0.0.1", target))
                    clients.add(client)
                    peers |= {client: server, server: client}
                elif source in peers:
                    data = source.recv(2**16)
                    if source in clients and b"COMMIT\0" in data:
                        commits.append(source)
                    elif not data or (len(commits) == 1 and peers[source] is commits[0]):
                        for end in (source, peers[source]):
                            del peers[end]
                            end.close()
                        continue
                    peers[source].sendall(data)
        for end in peers:
            end.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=forward, args=[listener])
        thread.start()
        yield listener.getsockname()[1], commits
        stop.set()
        thread.join()
