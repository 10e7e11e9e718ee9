"""``kronosfw store``, for databases and spools of earlier and of this version."""

from __future__ import annotations

from pathlib import Path

import pytest

from kronosfw.cli import call
from kronosfw.store import Store, spool

from .rows import prediction, run_row

CONFIG = """\
feed: {type: csv, path: "bars/*.csv"}
universe: {AAA: {asset_class: crypto}}
forecasters: [{type: drift}]
ensembler: {type: mean}
store: sqlite:///results.db
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def steps() -> list[int]:
    with Store("sqlite:///results.db") as store:
        return [row["step"] for row in store.predictions()]


def test_a_run_in_parts_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in range(3):
        spooled = spool(folder / "spool", run_row(), [prediction(2 * part), prediction(2 * part + 1)])
    assert call(["store", "replay", "config.yaml", str(spooled)]) == 0
    assert capsys.readouterr().out == f"6 predictions added or changed; {spooled} can be deleted.\n"
    assert steps() == [0, 1, 2, 3, 4, 5]


def test_a_run_that_did_not_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spooled = spool(folder / "spool", run_row(state="running", finished_at=None), [prediction(1)])
    assert call(["store", "replay", "config.yaml", str(spooled)]) == 0
    said = capsys.readouterr()
    assert said.out == "1 predictions added or changed.\n"
    assert said.err.startswith(f"warning: the run in {spooled} was spooled before it ended; ")
    assert said.err.count("\n") == 1
    assert steps() == [1]


def test_one_file_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = spool(folder / "spool", run_row(), [prediction(1)]).iterdir()
    alone = file.rename(folder / "609fc43b829dc2bd.parquet")
    assert call(["store", "replay", "config.yaml", str(alone)]) == 0
    assert "1 predictions added" in capsys.readouterr().out
    assert steps() == [1]


@pytest.mark.parametrize("path", ["absent", "."])
def test_what_is_no_spool(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["store", "replay", "config.yaml", path]) == 6
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"spool {path}: " in err
