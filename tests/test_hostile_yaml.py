"""Configurations that want all the memory or time there is, or to be more than text: one clear message, in time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .bounded import bounded
from .test_cli import SMALL

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
FILES: dict[str, tuple[bytes, str]] = {
    "laughs": (LAUGHS.encode(), "aliases multiply"),
    "mappings": (LAUGHS.replace("[", "{p: [").replace("]", "]}").encode(), "aliases multiply"),
    "chain": (b"".join(b"a%d: &a%d [*a%d]\n" % (i, i, i - 1) for i in range(1, 9000)), ":1:10: not valid YAML"),
    "merged": (
        SMALL.replace("horizon: 3", "base: &b {horizon: 3}\n<<: *b").encode(),
        ":3:1: base: there is no such",
    ),
    "depth": (b"[" * 400_000, ":1:1001: not valid YAML: exceeded maximum nesting depth"),
    "keys": (b"? " * 300_000, ":1:81: nested too deeply"),
    "dashes": (b"a: \n" + b"- " * 300_000, "nested too deeply"),
    "nodes": (b"a: [" + b"1," * 450_000 + b"]", "nested too deeply or too large"),
    "scalar": (b"feed: " + b"x" * 900_000, ":1:1: feed: expected `{type:"),
    "key": (b"x" * 900_000 + b": 1", "not valid YAML"),
    "anchor": (b"a: &" + b"x" * 900_000 + b" 1", ":1:1: feed: missing"),
    "folded": (b"a: >\n" + b" x\n\n" * 200_000, ":1:1: feed: missing"),
    "huge": (b"# " + b"x" * 100_000_000, "larger than 1,000,000 bytes"),
    "object": (b"feed: !!python/object/apply:os.system [touch owned]\n", ":1:1: feed: expected `{type:"),
    "name": (b"!!python/name:os.system a: 1\n", ":1:1: feed: missing"),
    "set": (b"feed: !!set {csv}\n", ":1:1: feed: give the feed's `type`"),
    "directive": (b"%YAML 9.9\n---\na: 1\n", ":1:1: not valid YAML"),
    "tag": (b"%TAG ! tag:x,2000:\n---\na: !b 1\n", ":3:1: feed: missing"),
    "two": (SMALL.encode() + b"---\na: 1\n", ":8:1: not valid YAML: but found another document"),
    "nul": (b"a: 1\n\nb: \0", ":3:4: not valid YAML: unacceptable character #x0000"),
    "escape": (b"\xc3\xa9: \x1b[31m", ":1:4: not valid YAML: unacceptable character #x001b"),
    "utf16": (SMALL.encode("utf-16"), ":1: not UTF-8 text"),
    "utf32": (SMALL.encode("utf-32-be"), ":1:1: not valid YAML"),
    "latin": ("feed: é".encode("latin-1"), ":1: not UTF-8 text"),
    "surrogate": (b'feed: "\\ud800"', ":1:10: not valid YAML"),
    "twice": (SMALL.encode() + b"horizon: 4\n", ":8:1: the key 'horizon' appears twice"),
    "twice2": (SMALL.encode() + b'"horizo\\u006e": 4\n', ":8:1: the key 'horizon' appears twice"),
}
VALUES = {
    "1e400": "horizon: expected a whole number",
    ".inf": "horizon: expected a whole number",
    "nan": "horizon: expected a whole number",
    "0x10": "horizon: expected a whole number",
    "0o17": "horizon: expected a whole number",
    "2024-01-01": "horizon: expected a whole number",
    "9" * 5000: "horizon: unable to parse input string as an integer",
    '"\\0"': "horizon: expected a whole number",
    "${A}": "horizon: expected a whole number",
}

MESSAGES = {f"value{i}": message for i, message in enumerate(VALUES.values())}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """Check all files within less than a gigabyte and a minute, and tell what came of each."""
    folder = tmp_path_factory.mktemp("yaml")
    contents = {name: content for name, (content, _) in FILES.items()}
    contents |= {
        name: SMALL.replace("horizon: 3", f"horizon: {value}").encode()
        for name, value in zip(MESSAGES, VALUES, strict=True)
    }
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_bytes(content)
    os.environ["A"] = "${B}"
    try:
        found = json.loads(bounded(folder, *(["check", f"{name}.yaml"] for name in contents), gigabytes=1))
    finally:
        del os.environ["A"]
    return folder, dict(zip(contents, found, strict=True))


@pytest.mark.parametrize("name", [*FILES, *MESSAGES])
def test_one_message_with_its_place(told: tuple[Path, dict[str, tuple[int, str]]], name: str) -> None:
    folder, found = told
    code, said = found[name]
    assert not (folder / "owned").exists()
    assert code == 2
    message = FILES[name][1] if name in FILES else f":3:1: {MESSAGES[name]}"
    assert f"{name}.yaml{message}" in said if message.startswith(":") else message in said
    assert len(said) < 3000
    assert "unexpectedly" not in said
