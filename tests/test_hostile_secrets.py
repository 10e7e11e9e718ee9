"""A secret shows up nowhere: whatever the command, however it fails, and whatever is left behind."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kronosfw.cli import call

from .postgres import Server
from .test_cli import SMALL, write_bars

CANARY = "c4n4ry/W0rd:%?"
QUOTED = "c4n4ry%2FW0rd%3A%25%3F"
SPELLINGS = (CANARY, QUOTED, "c4n4ry")
COMMANDS = [
    "-vv check F",
    "-vv run F",
    "--log-format json -vv run F --resume --json",
    "store replay F spool",
    "-vv score F",
    "report F",
    "export F --format nixtla --out out.csv",
    "-vv store migrate F",
]
FEED = '{type: csv, path: "bars/*.csv"}'
PLACES = {
    "nobody listens": ("sqlite:///results.db", "postgresql://u:SECRET@127.0.0.1:1/d"),
    "no such host": ("sqlite:///results.db", "postgresql://u:SECRET@host.invalid/d"),
    "no such driver": ("sqlite:///results.db", "nosuchdb://u:SECRET@127.0.0.1/d"),
    "no port": ("sqlite:///results.db", "postgresql://u:SECRET@127.0.0.1:999999/d"),
    "an option": ("sqlite:///results.db", "postgresql://127.0.0.1:1/d?user=u&password=SECRET&sslpassword=SECRET"),
    "no option": ("sqlite:///results.db", "postgresql://u:SECRET@127.0.0.1:1/d?passwort=x"),
    "an option of SQLite": ("sqlite:///results.db", "sqlite:///results.db?key=SECRET"),
    "the feed": (FEED, '{type: sql, url: "postgresql://u:SECRET@127.0.0.1:1/d"}'),
    "a project": (FEED, "{type: supabase, url: 'postgresql://u:SECRET@127.0.0.1:1/d', patience: 0}"),
    "a project's key": (
        FEED,
        "{type: supabase, transport: rest, url: 'http://127.0.0.1:1', key: SECRET, patience: 0}",
    ),
    "a cluster's token": ("horizon: 3", "horizon: 3\nexecutor: {type: ray, address: '127.0.0.1:1', token: SECRET}"),
    "a notifier": ("horizon: 3", "horizon: 3\nalerts: [{type: webhook, url: 'http://127.0.0.1:1/SECRET'}]"),
    "what a mistake stands beside": (FEED, '{type: sql, url: "postgresql://u:SECRET@h/d", colums: 1}'),
    "what is no URL": ("sqlite:///results.db", "u:SECRET@127.0.0.1"),
    "the wrong option": ("horizon: 3", "horizon: SECRET"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", QUOTED)
    monkeypatch.setenv("KRONOSFW_DEBUG", "1")
    return tmp_path


def leaks(folder: Path) -> list[str]:
    """Return the files that hold the secret, packed or not."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        told = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            told += repr((table.schema.metadata, table.to_pylist())).encode()
        if any(spelling.encode() in told for spelling in SPELLINGS):
            found.append(path.name)
    return found


def configure(folder: Path, old: str, new: str) -> None:
    assert old in SMALL
    new = new.replace("SECRET", "${SECRET}")
    (folder / "F").write_text(
        SMALL.replace(old, f'"{new}"' if new.startswith("u:") else new)
        + "store_patience: 0\nmetrics: {path: kronosfw.prom}\n"
    )


@pytest.mark.parametrize("place", PLACES)
def test_no_command_shows_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    configure(folder, *PLACES[place])
    for command in COMMANDS:
        call(command.split())
        said = "".join(capfd.readouterr())
        assert not [spelling for spelling in SPELLINGS if spelling in said], (command, said)
    assert leaks(folder) == []


@pytest.mark.postgres
def test_nor_does_a_server_that_refuses_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], postgres: Server
) -> None:
    configure(folder, "sqlite:///results.db", f"postgresql://tester:SECRET@127.0.0.1:{postgres.port}/postgres")
    for command in COMMANDS:
        call(command.split())
        said = "".join(capfd.readouterr())
        assert not [spelling for spelling in SPELLINGS if spelling in said], (command, said)
    assert leaks(folder) == []


def test_a_leak_would_be_found(folder: Path) -> None:
    (folder / "told.txt").write_text(f"password {CANARY}")
    assert leaks(folder) == ["told.txt"]
