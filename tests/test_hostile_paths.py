"""Names that look like paths, patterns or devices stay names: nothing is read or written outside its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kronosfw.cli import call
from kronosfw.config import Instrument
from kronosfw.errors import ConfigError
from kronosfw.files import safe_name
from kronosfw.loading import load

from .test_cli import write_bars

SYMBOLS = [
    "../../escaped",
    "/etc/passwd",
    "..",
    ".",
    "~",
    "C:\\x",
    "CON",
    "NUL.csv",
    "A",
    "a",
    "A.",
    "*",
    "[A]",
    "?",
    "**",
    "А",  # Cyrillic
    "x" * 64,
    "é" * 64,
    "e\u0301",
    "é",
    "-rf",
    "$(touch owned)",
    "<b>",
]


def configure(folder: Path, **changes: object) -> Path:
    config = {
        "feed": {"type": "parquet", "path": "bars/*.parquet"},
        "universe": {symbol: {"asset_class": "crypto"} for symbol in SYMBOLS},
        "horizon": "2",
        "context": "80",
        "forecasters": [{"type": "random_walk"}],
        "store": "sqlite:///results.db",
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}, default_style='"', allow_unicode=True), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file for each symbol, and a decoy for those whose name leads elsewhere."""
    inner = tmp_path / "a" / "b"
    (inner / "bars").mkdir(parents=True)
    for i, symbol in enumerate(SYMBOLS):
        write_bars(tmp_path / "bars.csv", str(i))
        pd.read_csv(tmp_path / "bars.csv").to_parquet(inner / "bars" / f"{safe_name(symbol)}.parquet")
    (tmp_path / "bars.csv").rename(tmp_path / "a" / "escaped.parquet")
    return inner


def all_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("store", ["sqlite:///results.db", "postgresql://u:p@127.0.0.1:1/d"])
def test_each_symbol_has_bars_of_its_own_and_nothing_is_written_elsewhere(
    folder: Path, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    outside = folder.parents[1]
    path = configure(folder, store=store, store_patience="0")
    before = all_files(outside)
    assert call(["run", str(path), "--json"]) == (0 if store.startswith("sqlite") else 6)
    made = json.loads(capsys.readouterr().out)["forecasts"]
    assert sorted(forecast["symbol"] for forecast in made) == sorted(SYMBOLS)
    assert len({forecast["last_close"] for forecast in made}) == len(SYMBOLS), "each has its own file"
    assert call(["report", str(path)]) == (0 if store.startswith("sqlite") else 6)
    new = {file.relative_to(folder).parts[0] for file in all_files(outside) - before}
    assert new <= {"results.db", "report.html", "spool"}
    capsys.readouterr()


def test_a_pattern_is_no_symbol(folder: Path) -> None:
    """Where a symbol that is a pattern has no file, it is not given another's."""
    for symbol in ("*", "[A]", "?", "**"):
        (folder / "bars" / f"{safe_name(symbol)}.parquet").unlink()
    assert call(["run", str(configure(folder)), "--json"]) == 3


def test_each_symbol_has_a_file_name_of_its_own() -> None:
    names = [safe_name(symbol) for symbol in SYMBOLS]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and not set(name) & set('/\\:*?"<>|. $') for name in names)
    assert max(map(len, names)) < 200


@pytest.mark.parametrize(
    "symbol", ["", " A", "A\0", "A\nB", "\x1b[31mA", "\u202eA", "A\u2028", "x" * 65, "\ufeffA"]
)
def test_what_is_no_symbol_is_refused(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(ConfigError, match="a symbol is 1 to 64 printable characters"):
        load(configure(tmp_path, universe={symbol: {"asset_class": "crypto"}}))


@pytest.mark.parametrize("name", ["../x", "/x", "x/y", "base", "..", "x\0", "X", "x" * 33, "a.b", "é", "ｅ"])
def test_an_asset_class_names_a_folder_and_no_path(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected lower-case|give it another name"):
        Instrument(asset_class=name, calendar="24/7")


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("spool", "a\0b", "expected a path without control characters"),
        ("spool", "\x1b[2J", "expected a path without control characters"),
        ("spool", "~nobody-of-that-name/x", "there is no home folder ~nobody-of-that-name"),
        ("checkpoint_root", "a\nb", "expected a path without control characters"),
        ("store", "sqlite:///a\0b", "expected a URL without control characters"),
    ],
)
def test_a_path_that_can_be_none_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, path: str, message: str
) -> None:
    assert call(["check", str(configure(tmp_path, **{option: path}))]) == 2
    assert f"{option}: {message}" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["../../../a", "/etc/passwd", "..", "x\0", "*", "A/../A"])
@pytest.mark.parametrize("command", ["show", "activate"])
def test_a_version_of_a_checkpoint_is_no_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, command: str
) -> None:
    path = configure(tmp_path, checkpoint_root="checkpoints")
    before = all_files(tmp_path)
    assert call(["checkpoints", command, str(path), version]) == 2
    assert "unexpectedly" not in capsys.readouterr().err
    assert all_files(tmp_path) == before
