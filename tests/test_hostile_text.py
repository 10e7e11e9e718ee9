"""Names and messages are shown and never obeyed: by a terminal, a spreadsheet, a log or a browser."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape

from kronosfw.cli import call
from kronosfw.interchange.tables import write_table
from kronosfw.isolation import reason
from kronosfw.report import Terminal, plain_table
from kronosfw.visible import visible

from .test_cli import SMALL, write_bars

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08\u202e\u2066\u2028\ud800"
ACTS = set("\x1b\x07\x9b\r\x08\u202e\u2066\u2028\ud800")
TEXTS = st.text(st.sampled_from(HOSTILE + "a\t\n é") | st.characters(), max_size=30)


@given(TEXTS)
def test_nothing_that_acts_is_left_and_nothing_else_is_changed(text: str) -> None:
    shown = visible(text)
    assert not set(shown) & ACTS
    assert visible(shown) == shown
    if shown == text:
        shown.encode()
    plain = "".join(c for c in text if c.isascii() and c.isprintable())
    assert visible(plain) == plain


def test_what_ordinary_names_need_stays() -> None:
    for name in ("BTC/USDT", "^GSPC", "ES=F", "é", "東証", "می‌خواهم", "👩‍💻", "a\tb\nc"):
        assert visible(name) == name


@given(TEXTS)
def test_the_terminal_is_told_nothing(text: str) -> None:
    """Where no style is asked for, not one escape sequence comes out, whatever is printed and in whatever way."""
    terminal = Terminal()
    terminal.file = io.StringIO()
    table = plain_table()
    table.add_column("symbol", max_width=8, no_wrap=True)
    table.add_column(escape(text))
    table.add_row(escape(text), "1")
    terminal.print(table)
    terminal.print(f"[bold]{escape(text)}[/]", soft_wrap=True, highlight=False)
    assert not set(terminal.file.getvalue()) & ACTS


def test_styles_are_still_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal = Terminal()
    terminal.file = io.StringIO()
    terminal.print(f"[bold]BTC[/]{escape(HOSTILE)}", highlight=False)
    assert terminal.file.getvalue().startswith("\x1b[1mBTC\x1b[0m\\x1b[2J")


def test_a_reason_is_one_line_that_does_nothing() -> None:
    told = reason(RuntimeError(f"no\nway\r{HOSTILE}ERROR kronosfw: forged"))
    assert told.startswith("RuntimeError: no way \\x1b[2J\\x1b]0;owned\\x07\\x9b31m")
    assert not set(told) & ACTS
    assert len(told.splitlines()) == 1


def test_what_a_file_holds_is_shown_in_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell of a CSV file ends up in the reason why its symbol failed."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    with (tmp_path / "bars" / "BBB.csv").open("a", encoding="utf-8") as file:
        file.write("2024-01-01,1,1,1,\x1b[2J\u202e[red]x,1\n")
    (tmp_path / "config.yaml").write_text(SMALL)
    assert call(["run", str(tmp_path / "config.yaml")]) == 3
    shown = capsys.readouterr()
    assert "\\x1b[2J\\u202e[red]x" in shown.out
    assert "\x1b" not in shown.out + shown.err


FORMULAS = ["=1+1", "=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", " =1", "\t=1"]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("column", ["unique_id", "item_id", "model"])
def test_a_csv_holds_no_formula(name: str, column: str) -> None:
    """A name that a spreadsheet would calculate is neither changed nor written as it is."""
    for table in (pd.DataFrame({column: ["A", name], "p": [1.0, 2.0]}), pd.DataFrame({column: ["A"], name: [1.0]})):
        with pytest.raises(ValueError, match=r"for a formula: write a \.parquet"):
            write_table(table, ".csv", io.BytesIO())
        file = io.BytesIO()
        write_table(table, ".parquet", file)
        assert pd.read_parquet(file).equals(table)


def test_numbers_and_ordinary_names_are_no_formulas() -> None:
    file = io.BytesIO()
    write_table(
        pd.DataFrame({"unique_id": ["ES=F", "^GSPC", "A-B", "(x)"], "m": [-1.5, 2.0, -0.0, 1e-9]}), ".csv", file
    )
    assert b"ES=F,-1.5" in file.getvalue()


def test_an_export_that_would_hold_a_formula_names_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bars").mkdir()
    write_bars(tmp_path / "bars" / "=AAA.csv", "AAA")
    text = SMALL.splitlines()
    text[1] = 'universe: {"=AAA": {asset_class: crypto}}'
    (tmp_path / "config.yaml").write_text("\n".join(text))
    file = str(tmp_path / "config.yaml")
    assert call(["run", file]) == 0
    command = ["export", file, "--format", "autogluon", "--out"]
    assert call([*command, str(tmp_path / "out.csv")]) == 2
    assert "would take '=AAA' in a .csv for a formula: write a .parquet" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    assert call([*command, str(tmp_path / "out.parquet")]) == 0
