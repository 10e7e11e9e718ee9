"""What is said on stderr, for people and as JSON: one line a record whatever it holds, and never a secret."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from kronosfw import secrets
from kronosfw.cli import call, cli
from kronosfw.logs import JsonLines, Logging, Redacting, printed, tell

BOTH = pytest.mark.parametrize("form", ["text", "json"])


class Options(BaseModel):
    token: SecretStr


@pytest.fixture(autouse=True)
def _as_before():
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_known", set())
        yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message="", *args, **fields):
    made = logging.LogRecord("kronosfw.pipeline", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(fields)
    return made


def line(*args, **fields):
    return json.loads(JsonLines().format(record(*args, **fields)))


def lines(text):
    return [json.loads(one) for one in text.splitlines()]


def strings(value):
    """Yield every text in a value, keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_a_record_is_an_object_with_its_fields():
    made = record("%d windows", 9, run_id="609fc43b829dc2bd", stage="reading", seconds=0.25, model=None)
    found = json.loads(JsonLines().format(made))
    assert list(found)[:4] == ["time", "level", "logger", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])
    assert abs(datetime.fromisoformat(found.pop("time")).timestamp() - made.created) < 2e-6
    assert found == {
        "level": "INFO",
        "logger": "kronosfw.pipeline",
        "message": "9 windows",
        "run_id": "609fc43b829dc2bd",
        "stage": "reading",
        "seconds": 0.25,
        "model": None,
    }


def test_a_field_takes_the_place_of_none_of_ours():
    found = line("so", time=1, logger="mine")
    assert (found["logger"], found["logger_"], found["time_"]) == ("kronosfw.pipeline", "mine", 1)


class Unspeakable:
    def __str__(self):
        raise RuntimeError("not me")


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(7), 7),
        (2**70, 2**70),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.datetime64("2025-06-30", "D"), "2025-06-30"),
        (datetime(2025, 6, 30, tzinfo=UTC), "2025-06-30 00:00:00+00:00"),
        (Path("a/b"), "a/b"),
        (b"\0", "b'\\x00'"),
        (ValueError("no"), "ValueError('no')"),
        ((1, {2: {"x": np.nan}}), [1, {"2": {"x": "nan"}}]),
        (Unspeakable(), "a Unspeakable that cannot be shown"),
        (10**5000, "a int that cannot be shown"),
        (ENDLESS, [[[["[[...]]"]]]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_may_be_anything(value, shown):
    assert line(field=value)["field"] == shown


def test_what_is_long_is_cut_in_the_middle():
    for found in (line("a" + 10**6 * "x" + "z")["message"], line(field=["a" * 10**6])["field"]):
        assert 3990 < len(found) < 4010
        assert " … " in found
    assert line("a" + 10**6 * "x" + "z")["message"].endswith("xz")


VISIBLE = st.text(st.characters(exclude_characters="*"), max_size=8)
"""Without stars, beside which a part of what is left could be taken for a secret that holds some."""
SECRETS = st.builds("k{}-{}".format, VISIBLE, st.text('"\\\n\r\té\u2028€𝄞/%&', min_size=2, max_size=9))


@given(SECRETS, VISIBLE, VISIBLE, st.booleans())
def test_a_line_is_one_whatever_it_holds_and_tells_no_secret(secret, before, after, by_argument):
    forms = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_known", set())
        secrets.remember(Options(token=SecretStr(secret)))
        texts = [f"{before}{form}{after}" for form in sorted(forms)]
        message = [" ".join(texts), *([secret] if by_argument else [])]
        nested = {text: [text, {"deep": (text, {text: {text: {text}}})}] for text in texts}
        made = record(*message, **{texts[0]: nested, "why": KeyError(secret), "raw": texts})
        shown = JsonLines().format(made)
        assert "\n" not in shown
        assert shown.isascii()
        found = list(strings(json.loads(shown)))
        assert not [text for text in found if any(form in text for form in forms)]
        assert json.dumps(secret)[1:-1] not in shown
        assert any(before + secrets.SHOWN + after in text for text in found)
        plain = Redacting().format(made)
        assert not [form for form in forms if form in plain]


def test_a_number_may_be_a_secret():
    secrets.remember(Options(token=SecretStr("73021455")))
    assert line(a=73021455, b=[73021455.5], c=7)["a"] == "***"
    assert "73021455" not in json.dumps(line(a=73021455, b=[73021455.5]))


@BOTH
def test_a_message_that_its_arguments_do_not_fit_is_told_without_them(form, capfd):
    secrets.remember(Options(token=SecretStr("open-sesame")))
    Logging(logging.INFO, form).begin()
    logging.getLogger("odd").info("%d symbols", "open-sesame")
    shown = capfd.readouterr().err
    assert "%d symbols" in shown
    assert shown.count("\n") == 1
    assert "sesame" not in shown


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_a_traceback_is_told_only_where_everything_is(level, capfd):
    secrets.remember(Options(token=SecretStr("open-sesame")))
    Logging(level, "json").begin()
    try:
        raise LookupError("open-sesame")
    except LookupError:
        logging.getLogger("kronosfw.x").warning("skipped", exc_info=True)
    (found,) = lines(capfd.readouterr().err)
    assert (found["message"], found["error"]) == ("skipped", "LookupError")
    assert ("traceback" in found) == (level == logging.DEBUG)
    assert "sesame" not in str(found)


@BOTH
def test_how_a_process_logs_can_be_sent_to_another(form):
    said = Logging(logging.INFO, form)
    said.begin()
    assert pickle.loads(pickle.dumps(Logging.current())) == said


@BOTH
@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_warnings_are_told_only_where_everything_is(form, level, capfd):
    Logging(level, form).begin()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old fashioned", stacklevel=1)
    assert ("old fashioned" in capfd.readouterr().err) == (level == logging.DEBUG)


def test_what_is_printed_is_told_line_by_line(capfd):
    Logging(logging.ERROR, "json").begin()
    out = printed()
    print("one", "two\n\nthree", file=out)
    print("fo", end="", file=out)
    print("ur", end="", file=out)
    del out
    assert [(found["level"], found["message"]) for found in lines(capfd.readouterr().err)] == [
        ("INFO", "one two"),
        ("INFO", "three"),
        ("INFO", "four"),
    ]
    Logging().begin()
    assert printed() is sys.stderr


@BOTH
def test_what_is_told_is_told_at_any_level_and_without_secrets(form, capfd):
    secrets.remember(Options(token=SecretStr('": "')))
    Logging(logging.CRITICAL, form).begin()
    tell('it is ": "', logging.WARNING, rows=3)
    shown = capfd.readouterr().err
    if form == "text":
        assert shown == "it is ***\n"
    else:
        (found,) = lines(shown)
        assert (found["level"], found["message"], found["rows"]) == ("WARNING", "it is ***", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["conjure"], "No such command 'conjure'"),
        (["run", "--nowhere"], "No such option"),
    ],
)
def test_an_error_that_ends_a_command_is_a_line_of_json(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["--log-format", "json", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (found,) = lines(shown.err)
    assert found["message"].startswith(message)
    assert (found["level"], found["exit_code"]) == ("ERROR", 2)
    monkeypatch.setenv("KRONOSFW_LOG_FORMAT", "json")
    assert call(arguments) == 2
    assert len(lines(capsys.readouterr().err)) == 1
    assert call(["--log-format", "text", *arguments]) == 2
    assert not capsys.readouterr().err.startswith("{")


@pytest.mark.parametrize("debug", ["", "1"])
def test_our_own_mistake_is_a_line_of_json(debug, monkeypatch, capsys):
    secrets.remember(Options(token=SecretStr("open-sesame")))
    monkeypatch.setenv("KRONOSFW_DEBUG", debug)

    def stumble() -> None:
        raise LookupError("open-sesame")

    monkeypatch.setitem(cli.commands, "stumble", click.Command("stumble", callback=stumble))
    assert call(["--log-format", "json", "stumble"]) == 1
    (found,) = lines(capsys.readouterr().err)
    assert "failed unexpectedly: LookupError in stumble" in found["message"]
    assert found["exit_code"] == 1
    assert ("traceback" in found, found.get("error")) == ((True, "LookupError") if debug else (False, None))
    assert "sesame" not in str(found)


def test_a_run_is_lines_of_json(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "feed: {type: simulated, count: 3, start: 2024-01-01, end: 2024-06-01}\n"
        "universe: {CRYPTO0001: {asset_class: crypto}}\n"
        "forecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "kronosfw", "-vv", "run", "config.yaml"],
        cwd=tmp_path,
        env={**os.environ, "KRONOSFW_LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = lines(result.stderr)
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, found))
    assert "kronosfw.undertaking" in {one["logger"] for one in found}
