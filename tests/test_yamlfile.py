"""YAML is read as text, within bounds, and mistakes have a place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kronosfw.errors import ConfigError
from kronosfw.yamlfile import MAX_BYTES, parse, read

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="$\ufeff"), min_size=1
)
TREES = st.recursive(
    TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


def test_scalars_stay_text():
    text = "symbols: [NO, ON, NULL, TRUE, 07, 1:30, 1e-4]\nempty:\ntilde: ~\nnone: null\nquoted: ''"
    data = parse(text).data
    assert data["symbols"] == ["NO", "ON", "NULL", "TRUE", "07", "1:30", "1e-4"]
    assert (data["empty"], data["tilde"], data["none"], data["quoted"]) == (None, None, None, "")


@given(st.dictionaries(TEXTS, TREES, min_size=1, max_size=5))
def test_whatever_text_is_written_is_read_back(data):
    quoted = yaml.safe_dump(data, default_style='"', allow_unicode=True)
    assert parse(quoted).data == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("- a\n- b", "f:1:1: expected `key: value` lines"),
        ("a: 1\nb: 2\na: 3", "f:3:1: the key 'a' appears twice"),
        ("a: {b: 1, b: 2}", "f:1:11: the key 'b' appears twice"),
        ("a: 1\n\tb: 2", "f:2:1: not valid YAML"),
        ("a: [1, 2", "not valid YAML"),
        ("a: 'open", "not valid YAML"),
        ("? [x, y]\n: 1", "f:1:3: a key must be plain text"),
        ("a: \x01", "not valid YAML"),
        ("a: " + "[" * 300, "nested too deeply"),
        ("a: &a [*a]", "aliases multiply or refer to themselves"),
        ("a: *nobody", "not valid YAML"),
    ],
)
def test_a_mistake_has_its_place(text, message):
    with pytest.raises(ConfigError) as raised:
        parse(text, "f")
    assert message in str(raised.value)


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="aliases multiply"):
        parse("\n".join(lines))


def test_an_alias_may_be_used():
    assert parse("a: &x {b: 1}\nc: *x").data == {"a": {"b": "1"}, "c": {"b": "1"}}


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.yaml:2: not UTF-8"):
        read(binary)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read(large)


def test_variables_only_in_values(monkeypatch):
    monkeypatch.setenv("NAME", "value: [1, 2]")
    document = parse("${NAME}: 1\na: ${NAME}\nb: x${NAME:-y}z\nc: $${NAME}\nd: $NAME\ne: ${OTHER:-}")
    assert document.data == {
        "${NAME}": "1",
        "a": "value: [1, 2]",
        "b": "xvalue: [1, 2]z",
        "c": "${NAME}",
        "d": "$NAME",
        "e": "",
    }
    assert document.redact("found value: [1, 2] there") == "found ${NAME} there"
    assert "value: [1, 2]" not in repr(document.secrets) or "secrets" not in repr(document)
