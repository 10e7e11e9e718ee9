"""Malformed configurations and CSV files, and what has to come of them: a clear error, never a traceback."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from hypothesis import strategies as st

from kronosfw.cli import call

from .test_cli import SMALL, write_bars

JUNK = [
    "",
    "\x00",
    "\t",
    "[",
    "{",
    "}",
    ": ",
    "- ",
    "'",
    '"',
    "*a",
    "&a ",
    "!!python/object:os.system ",
    "${",
    "NaN",
]
JUNK += ["-1", "1e400", "null", "true", "0.5", "é", "\ufeff", "#", "|\n", "? ", "%", "@", "2024-01-01", "../../etc"]
ROWS = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2023-0{1 + i // 28}-{1 + i % 28:02d},10,12,9,11,5\n" for i in range(84)
)
ROWS_JUNK = [*JUNK, ",", ",,", "\n", "\r", "inf", "1,5", "2023-13-01", "99999999999", "2023-01-01T00:00+99:00"]


@st.composite
def mutated(draw, text: str, junk: list[str]) -> str:
    """Return the text with one to three places cut out, doubled, or replaced by junk."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(start + draw(st.integers(0, 25)), len(text))
        middle = draw(st.sampled_from(junk) | st.text(max_size=5) | st.just(text[start:end] * 2))
        text = text[:start] + middle + text[end:]
    return text


CONFIGURATIONS = mutated(SMALL, JUNK)
CSV_FILES = mutated(ROWS, ROWS_JUNK)


def outcome(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = call(list(arguments))
    return code, said.getvalue()


def fill(folder: Path) -> None:
    """Put a configuration and the bars of its three symbols into a folder."""
    (folder / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(folder / "bars" / f"{symbol}.csv", symbol)
    (folder / "config.yaml").write_text(SMALL)


def check_configuration(folder: Path, text: str) -> None:
    """Assert that a configuration is accepted or refused with its place."""
    path = folder / "mutant.yaml"
    path.write_text(text, "utf-8", errors="replace")
    code, said = outcome("check", str(path))
    assert code in (0, 2), said
    assert "Traceback" not in said
    assert code == 0 or str(path) in said or "calendar" in said


def check_csv_file(folder: Path, text: str) -> None:
    """Assert that the two other symbols are forecast whatever one symbol's file holds."""
    (folder / "bars" / "BBB.csv").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    code, said = outcome("run", str(folder / "config.yaml"), "--as-of", "2023-03-26", "--json")
    assert code in (0, 3), said
    assert "Traceback" not in said
    assert '"symbol": "AAA"' in said
    assert code == 0 or "BBB" in said
