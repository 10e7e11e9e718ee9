"""What is particular to SQLite: settings, locks, files and the file systems they lie on."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kronosfw.errors import ConfigError, StoreError
from kronosfw.store import Store, address, mounts
from kronosfw.store.engine import journal_mode, open_engine, reader

from .rows import prediction, run_row

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


def opened(file: Path, options: str = "") -> Store:
    return Store(f"sqlite:///{file}{options}", patience=0)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """Give up root's power over files, for the test; return a folder of the user's own."""
    home = Path(tempfile.mkdtemp(prefix="kronosfw-"))
    root = os.geteuid() == 0
    if root:
        os.chown(home, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield home
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(home)


def test_settings(file: Path) -> None:
    engine = open_engine(address.parse(f"sqlite:///{file}"))
    with engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "foreign_keys", "busy_timeout", "mmap_size", "journal_mode")
        }
    engine.dispose()
    assert found["journal_mode"] == journal_mode(sqlite3.sqlite_version_info).lower()
    assert (found["synchronous"], found["foreign_keys"], found["busy_timeout"]) == (2, 1, 10_000)
    assert not found["mmap_size"]


def test_wal_only_where_it_is_safe() -> None:
    versions = [(3, 40, 1), (3, 51, 2), (3, 51, 3), (3, 52, 0), (4, 0, 0)]
    assert [journal_mode(v) for v in versions] == ["DELETE", "DELETE", "WAL", "WAL", "WAL"]


def test_writers_lock_at_once_and_readers_do_not(file: Path) -> None:
    opened(file).close()
    engine = open_engine(address.parse(f"sqlite:///{file}?timeout=0.01"))
    with engine.connect() as writer:
        writer.exec_driver_sql("SELECT 1")
        with reader(engine).connect() as other:
            assert other.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0
        with opened(file, "?timeout=0.01") as store, pytest.raises(StoreError, match="another process is writing"):
            store.record(run_row(), [prediction()])
    engine.dispose()


def test_a_lock_that_passes_is_waited_for(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(file).close()
    holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, holder.rollback)
    with Store(f"sqlite:///{file}?timeout=0.01", patience=10.0) as store:
        release.start()
        with caplog.at_level("INFO", "kronosfw"):
            assert store.record(run_row(), [prediction()]) == 1
    release.join()
    holder.close()
    waits, goes_on = caplog.messages
    assert waits.endswith(
        "database is locked; another process is writing to it, try again later; trying again for up to 10 s"
    )
    assert "goes on after" in goes_on


def test_in_memory() -> None:
    with Store("sqlite://") as store:
        assert store.record(run_row(), [prediction()]) == 1
        assert len(store.predictions()) == 1


class TestFiles:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"the folder .*absent does not exist; create it"):
            opened(tmp_path / "absent" / "results.db")
        assert not (tmp_path / "absent").exists()

    def test_a_folder_is_no_database(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="unable to open database file; check"):
            opened(tmp_path)

    def test_another_file_is_no_database(self, file: Path) -> None:
        file.write_text("time,open,high,low,close\n" * 100)
        with pytest.raises(StoreError, match=f"store sqlite:///{file}: file is not a database"):
            opened(file)
        assert file.read_text().startswith("time,open")

    def test_folder_without_write_permission(self, ordinary_user: Path) -> None:
        ordinary_user.chmod(0o500)
        with pytest.raises(StoreError, match="unable to open database file; check"):
            opened(ordinary_user / "results.db")
        ordinary_user.chmod(0o700)

    def test_read_only_file_can_be_read(self, ordinary_user: Path) -> None:
        file = ordinary_user / "results.db"
        with opened(file) as store:
            store.record(run_row(), [prediction()])
        file.chmod(0o400)
        with opened(file) as store:
            assert len(store.predictions()) == 1
            with pytest.raises(StoreError, match="attempt to write a readonly database"):
                store.record(run_row(), [prediction(2)])

    def test_full_disk_leaves_nothing_half_written(self, file: Path) -> None:
        with Store(f"sqlite:///{file}") as store:
            store.record(run_row(id="before"), [prediction()])
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
            try:
                with pytest.raises(StoreError, match=r"disk I/O error|disk is full"):
                    store.record(run_row(), [prediction(step) for step in range(2, 2000)])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert [run["id"] for run in store.runs()] == ["before"]
            assert len(store.predictions()) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "sqlite://results.db",
            "sqlite:///file:results.db?uri=true",
            "sqlite:///x.db?nolock=1",
            "sqlite:///x.db?timeout=soon",
        ],
    )
    def test_urls_that_would_lose_safety(self, url: str) -> None:
        with pytest.raises(ConfigError, match="timeout"):
            Store(url)


MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home rw shared:2 master:3 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/local rw - xfs /dev/sdb rw
32 22 0:40 / /mnt/my\040share rw - cifs //server/share rw
33 22 0:41 / /data rw - nfs server:/data rw
34 22 8:3 / /data rw - ext4 /dev/sdc rw
35 22 0:42 / /mnt/s rw - fuse.sshfs host: rw
"""


class TestNetworkFileSystems:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/var/x.db", "ext4"),
            ("/home/me/x.db", "nfs4"),
            ("/homework/x.db", "ext4"),
            ("/home/local/x.db", "xfs"),
            ("/mnt/my share/x.db", "cifs"),
            ("/data/x.db", "ext4"),
            ("/mnt/s/x.db", "fuse.sshfs"),
        ],
    )
    def test_longest_and_latest_mount_holds_the_path(self, path: str, kind: str) -> None:
        assert mounts.file_system(Path(path), MOUNTS) == kind

    def test_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = tmp_path / "mountinfo"
        table.write_text(f"30 22 0:26 / {tmp_path} rw - nfs4 server:/home rw\n")
        monkeypatch.setattr(mounts, "_TABLE", table)
        with pytest.raises(StoreError, match=r"network file system \(nfs4\).*; use a local disk or Postgres"):
            opened(tmp_path / "results.db")
        assert not (tmp_path / "results.db").exists()

    def test_systems_without_a_table_are_not_judged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mounts, "_TABLE", tmp_path / "absent")
        opened(tmp_path / "results.db").close()
