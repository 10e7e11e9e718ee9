"""``kronosfw init --supabase``: the SQL of a feed's tables, from whichever plugin has the feed."""

from __future__ import annotations

import pytest

from kronosfw.cli import call
from kronosfw.plugins import Plugins

TABLES = ("central_bank_rates", "economic_calendar", "economic_indicators", "ohlcv_1d", "ohlcv_1h")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_is_printed_and_nothing_is_written(tmp_path, capsys):
    assert call(["init", "--supabase"]) == 0
    shown = capsys.readouterr()
    assert all(f"create table if not exists {table} (" in shown.out for table in TABLES)
    assert not shown.err
    assert not list(tmp_path.iterdir())


def test_without_the_plugin(monkeypatch, capsys):
    monkeypatch.setattr(Plugins, "installed", lambda *_, **__: Plugins())
    assert call(["init", "--supabase"]) == 2
    shown = capsys.readouterr()
    assert "pip install kronosfw-feeds-supabase" in shown.err
    assert not shown.out


@pytest.mark.parametrize("more", [["mine.yaml"], ["kronosfw.yaml"], ["--force"]])
def test_it_takes_no_file(more, tmp_path, capsys):
    assert call(["init", "--supabase", *more]) == 2
    assert "takes no file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.postgres
def test_a_database_takes_it_as_it_is_and_again(postgres, postgres_url, capsys):
    assert call(["init", "--supabase"]) == 0
    ddl = capsys.readouterr().out
    with postgres.connect(postgres_url.rpartition("/")[2]) as connection:
        connection.execute(ddl)
        connection.execute(ddl)
        secured = "select relname from pg_class where relrowsecurity order by relname"
        assert [name for (name,) in connection.execute(secured)] == list(TABLES)
        connection.execute("set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off")
        window = "select * from ohlcv_1h where symbol = 'A' and timestamp <= now() order by timestamp desc limit 9"
        plan = str(connection.execute(f"explain {window}").fetchall())
        assert "Index Scan Backward using ohlcv_1h_pkey" in plan
