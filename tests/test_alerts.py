"""Alerts reach whom they are meant for, harm nobody, and give no secret away."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from kronosfw import secrets
from kronosfw.alerts import alert_as_json, headline, raise_alert
from kronosfw.builtin.notifiers import Command, Log, Webhook, webhook
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import NotifierConfig
from kronosfw.loading import load
from kronosfw.manifest import manifest
from kronosfw.pipeline import run
from kronosfw.report import run_as_json
from kronosfw.testing.notifiers import ALERT, VERDICT
from tests.listener import listening

CANARY = "canary-7f3a9e41c0ffee"
"""A secret that is to be seen nowhere."""


@pytest.fixture
def server():
    with listening() as listener:
        yield listener


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(secrets, "_known", set())


def posting(server, **options):
    return Webhook(**{"url": f"{server.url}/hook", "backoff": 0, **options}).build()


def program(code, **options):
    return Command(run=(sys.executable, "-c", code), **options)


class TestWhoIsTold:
    class Note(NotifierConfig):
        """Keeps what it is told, unless it fails."""

        type: Literal["note"] = "note"
        fails: str = ""

        def build(self):
            if self.fails == "build":
                raise ImportError("no such library")
            return self

        def notify(self, alert):
            if self.fails == "leave":
                raise SystemExit("I am off")
            if self.fails == "secret":
                raise RuntimeError(f"no luck with {CANARY}")
            told.append(alert)

    @hookimpl
    def register_notifiers(self):
        return [self.Note]

    @pytest.fixture(autouse=True)
    def _told(self):
        told.clear()

    @pytest.fixture
    def notifying(self, configure, plugins):
        plugins.add("notes", self)
        return lambda *alerts: configure(alerts=f"[{', '.join(alerts)}]")

    def test_those_who_want_to_know_and_the_observers(self, notifying, plugins):
        plugins.add("observer", Observer())
        config = notifying("{type: note}", "{type: note, on: [promoted]}", "{type: note, on: [promoted, damaged]}")
        for kind, times in (("rejected", 1), ("promoted", 2), ("damaged", 2), ("failed", 1), ("rolled_back", 1)):
            told.clear()
            alert = replace(ALERT, kind=kind)
            raise_alert(alert, config, plugins)
            assert told == [alert] * times + [("observed", alert)]

    def test_nobody_is_harmed_by_another(self, notifying, plugins, caplog):
        plugins.add("fickle observer", FickleObserver())
        plugins.add("observer", Observer())
        secrets.remember(Webhook(url=f"https://host/{CANARY}"))
        failing = [f"{{type: note, fails: {how}}}" for how in ("build", "leave", "secret")]
        with caplog.at_level(logging.DEBUG):
            raise_alert(ALERT, notifying(*failing, "{type: note}"), plugins)
        assert told == [ALERT, ("observed", ALERT)]
        warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert warnings == [
            "alerts.0 (note) told nobody: ImportError: no such library",
            "alerts.1 (note) told nobody: SystemExit: I am off",
            "alerts.2 (note) told nobody: RuntimeError: no luck with ***",
            "plugin fickle observer failed in on_alert: RuntimeError: an observer's own trouble",
        ]
        assert CANARY not in caplog.text

    def test_an_interrupt_is_not_kept_back(self, notifying, plugins, monkeypatch):
        def interrupted(self, alert):
            raise KeyboardInterrupt

        monkeypatch.setattr(self.Note, "notify", interrupted)
        with pytest.raises(KeyboardInterrupt):
            raise_alert(ALERT, notifying("{type: note}"), plugins)


told: list[object] = []


class Observer:
    @hookimpl
    def on_alert(self, alert):
        told.append(("observed", alert))


class FickleObserver:
    @hookimpl
    def on_alert(self, alert):
        raise RuntimeError("an observer's own trouble")


class TestAsJson:
    def test_is_plain_and_whole(self):
        found = alert_as_json(ALERT)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["at"] == "2025-06-30T12:00:00+00:00"
        assert found["verdict"]["checks"][0] == {
            "name": "better",
            "passed": False,
            "text": "CRPS is 3 % higher, and 1 % was allowed",
            "value": 0.03,
            "low": 0.02,
            "high": 0.04,
            "limit": 0.01,
        }
        assert found["verdict"]["numbers"] == {"skill": -0.03, "unknown": None}
        assert alert_as_json(replace(ALERT, verdict=None))["verdict"] is None

    def test_moments_are_in_utc(self):
        noon = datetime(2025, 6, 30, 14, tzinfo=timezone(timedelta(hours=2)))
        for at in (noon, datetime(2025, 6, 30, 12), ALERT.at):
            assert alert_as_json(replace(ALERT, at=at))["at"] == "2025-06-30T12:00:00+00:00"

    def test_headline_is_one_line(self):
        assert headline(replace(ALERT, kind="rolled_back", text="one\n two")) == (
            "kronosfw: crypto 2025-06-30-0001 rolled back: one two"
        )

    def test_no_secret_is_told(self):
        secrets.remember(Webhook(url=f"https://host/{CANARY}"))
        check = replace(VERDICT.checks[0], text=f"see {CANARY}")
        verdict = replace(VERDICT, reasons=(f"no luck with {CANARY}",), checks=(check,))
        alert = replace(ALERT, text=f"failed: {CANARY}", verdict=verdict)
        assert CANARY not in json.dumps(alert_as_json(alert)) + headline(alert)


class TestLog:
    @pytest.mark.parametrize("level", ["info", "warning", "error"])
    def test_writes_a_line(self, caplog, level):
        with caplog.at_level(logging.INFO):
            Log(level=level).build().notify(ALERT)
        (record,) = caplog.records
        assert (record.levelname.lower(), record.getMessage()) == (level, headline(ALERT))


class TestWebhook:
    def test_posts_text_and_record(self, server):
        posting(server, url=f"{server.url}/hook?a=b", headers={"X-Key": "mine"}).notify(ALERT)
        ((path, headers, body),) = server.requests
        assert path == "/hook?a=b"
        assert (headers["Content-Type"], headers["X-Key"]) == ("application/json", "mine")
        assert body == {"text": headline(ALERT), "alert": alert_as_json(ALERT)}

    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_any_success_will_do(self, server, status):
        server.answers = [(status, {})]
        posting(server).notify(ALERT)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_tries_again_where_that_may_help(self, server, status):
        server.answers = [(status, {}), (status, {}), (200, {})]
        posting(server).notify(ALERT)
        assert len(server.requests) == 3
        assert server.requests[0][2] == server.requests[2][2]

    @pytest.mark.parametrize("status", [400, 401, 404, 410])
    def test_takes_a_refusal_for_an_answer(self, server, status):
        server.answers = [(status, {})]
        with pytest.raises(ConnectionError, match=f"answered {status} at try 1 of 4"):
            posting(server).notify(ALERT)
        assert len(server.requests) == 1

    def test_gives_up_in_the_end(self, server):
        server.answers = [(500, {})]
        with pytest.raises(ConnectionError, match="answered 500 at try 3 of 3"):
            posting(server, retries=2).notify(ALERT)
        assert len(server.requests) == 3

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_follows_no_redirect(self, server, status):
        with listening() as other:
            server.answers = [(status, {"Location": f"{other.url}/elsewhere"})]
            with pytest.raises(ConnectionError, match=f"answered {status} at try 1 of 4"):
                posting(server).notify(ALERT)
            assert (len(server.requests), other.requests) == (1, [])

    def test_waits_no_longer_than_it_is_told_to(self, server):
        server.silent.set()
        begin = time.monotonic()
        with pytest.raises(ConnectionError, match=r"no answer \(TimeoutError\) at try 2 of 2"):
            posting(server, timeout=0.1, retries=1).notify(ALERT)
        assert time.monotonic() - begin < 5
        assert len(server.requests) == 2

    def test_tries_again_where_nobody_listens(self, server, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        waits = []
        monkeypatch.setattr(webhook.time, "sleep", waits.append)
        with pytest.raises(ConnectionError, match=r"no answer \(ConnectionRefusedError\) at try 4 of 4"):
            posting(server, url=url, backoff=1).notify(ALERT)
        assert waits == [1, 2, 4]

    @pytest.mark.parametrize(
        ("asked", "waited"),
        [("7", 7), ("0", 2), ("86400", 60), ("-5", 2), ("soon", 2), ("Wed, 21 Oct 2015 07:28:00 GMT", 2)],
    )
    def test_waits_as_long_as_it_is_asked_to_within_bounds(self, server, monkeypatch, asked, waited):
        waits = []
        monkeypatch.setattr(webhook.time, "sleep", waits.append)
        server.answers = [(429, {"Retry-After": asked}), (200, {})]
        posting(server, backoff=2).notify(ALERT)
        assert waits == [waited]

    def test_waits_until_a_date(self, server, monkeypatch):
        waits = []
        monkeypatch.setattr(webhook.time, "sleep", waits.append)
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        server.answers = [(503, {"Retry-After": when}), (200, {})]
        posting(server, backoff=0).notify(ALERT)
        assert 25 < waits[0] <= 30

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://host/x",
            "file:///etc/passwd",
            "host/x",
            "https://",
            "https:///x",
            "https://me:pass@host/x",
            "https://host/with space",
            "https://host/line\r\nX: y",
            "https://host/ünïcödé",
            "https://a..b/x",
            "https://host:port/x",
        ],
    )
    def test_refuses_what_is_no_web_address(self, url):
        with pytest.raises(ValidationError, match=r"expected a URL|header Authorization"):
            Webhook(url=url)

    @pytest.mark.parametrize(
        "headers", [{"X-Key": f"{CANARY}\r\nX: y"}, {"X Key": CANARY}, {"X-Key": f"{CANARY}ü"}]
    )
    def test_refuses_headers_that_cannot_be_sent(self, headers):
        with pytest.raises(ValidationError) as caught:
            Webhook(url="https://host/x", headers=headers)
        assert CANARY not in str(caught.value)

    def test_a_port_that_is_none_is_told_of(self):
        with pytest.raises(ConnectionError, match="the webhook"):
            Webhook(url="http://127.0.0.1:99999/", retries=0).build().notify(ALERT)


class TestCommand:
    def test_gets_the_record_and_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WHERE_TO", str(tmp_path / "told.json"))
        code = "import os, sys, pathlib; pathlib.Path(os.environ['WHERE_TO']).write_text(sys.stdin.read())"
        program(code).build().notify(ALERT)
        assert json.loads((tmp_path / "told.json").read_text()) == alert_as_json(ALERT)

    def test_arguments_are_no_shell_s(self, tmp_path):
        code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
        words = "$(id); `id` | x > y *"
        Command(run=(sys.executable, "-c", code, str(tmp_path / "told"), words)).build().notify(ALERT)
        assert (tmp_path / "told").read_text() == words

    def test_says_how_it_ended(self):
        code = "import sys; print('out'); sys.stderr.write('x' * 9000 + 'no\\n route'); sys.exit(3)"
        with pytest.raises(ChildProcessError) as caught:
            program(code).build().notify(ALERT)
        assert str(caught.value).startswith("the program ended with exit code 3: xxx")
        assert str(caught.value).endswith("xxxno route")
        assert len(str(caught.value)) < 600

    def test_what_it_prints_stays_out_of_ours(self, capfd):
        program("import sys; print('out'); print('err', file=sys.stderr)").build().notify(ALERT)
        assert capfd.readouterr() == ("", "")

    def test_is_killed_in_the_end_with_what_it_started_left_behind(self):
        sleep = "import time; time.sleep(3)"
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])"
        begin = time.monotonic()
        with pytest.raises(ChildProcessError, match=r"killed after 0\.3 s"):
            program(code, timeout=0.3).build().notify(ALERT)
        assert time.monotonic() - begin < 2.5

    def test_that_cannot_be_run(self, tmp_path):
        for words, said in (
            (("no-such-program-here", CANARY), "No such file"),
            ((str(tmp_path), CANARY), "ermission denied"),
        ):
            with pytest.raises(ChildProcessError, match=said) as caught:
                Command(run=words).build().notify(ALERT)
            assert CANARY not in str(caught.value)

    def test_need_not_read(self):
        program("").build().notify(replace(ALERT, text="more than a pipe holds " * 10_000))

    @pytest.mark.parametrize("words", [(), ("",), ("program", "with\0")])
    def test_refuses_what_is_no_command(self, words):
        with pytest.raises(ValidationError):
            Command(run=words)

    def test_a_path_begins_at_the_configuration_file(self, tmp_path):
        for word, expected in (
            ("./tell.sh", tmp_path / "tell.sh"),
            ("bin/tell", tmp_path / "bin" / "tell"),
            ("/bin/sh", Path("/bin/sh")),
            ("tell", Path("tell")),
        ):
            options = Command.model_validate({"run": [word, "x"]}, context={"folder": tmp_path})
            assert options.run == (str(expected), "x")


SECRETIVE = """
import os, sys
print("$ post", *sys.argv[1:], os.environ["ALERT_TOKEN"], file=sys.stderr)
sys.exit(1)
"""


class TestSecrets:
    """Whatever fails, the secrets of all notifiers stay secret."""

    @pytest.fixture
    def config(self, server, tmp_path, monkeypatch, configure):
        monkeypatch.setenv("ALERT_TOKEN", f"{CANARY}-environment")
        monkeypatch.setenv("HOOK", f"{server.url}/services/{CANARY}-path?token={CANARY}-query&json=true")
        monkeypatch.setenv("KEY", f"Bearer {CANARY}-header")
        (tmp_path / "post.py").write_text(SECRETIVE)
        return configure(
            alerts=f"""
  - {{type: webhook, url: "${{HOOK}}", headers: {{Authorization: "${{KEY}}"}}, backoff: 0, timeout: 0.5}}
  - {{type: webhook, url: "http://127.0.0.1:1/{CANARY}-refused", retries: 0}}
  - {{type: command, run: ["{sys.executable}", "{tmp_path}/post.py", "--token={CANARY}-argument"]}}
  - {{type: log}}
"""
        )

    @pytest.mark.parametrize("status", [302, 404, 503, None])
    def test_no_log_shows_them(self, config, plugins, server, caplog, capfd, status):
        server.answers = [(status or 200, {"Location": f"/{CANARY}-elsewhere"})]
        if status is None:
            server.silent.set()
        with caplog.at_level(logging.DEBUG):
            raise_alert(replace(ALERT, text=f"failed at {CANARY}-path"), config, plugins)
        path, headers, body = server.requests[0]
        assert CANARY in path
        assert CANARY in headers["Authorization"]
        assert body["text"].endswith("failed at ***")
        warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert [w.partition(":")[0] for w in warnings[:3]] == [
            "alerts.0 (webhook) told nobody",
            "alerts.1 (webhook) told nobody",
            "alerts.2 (command) told nobody",
        ]
        assert warnings[2].endswith("exit code 1: $ post *** ***")
        assert len(warnings) == 4
        assert "127.0.0.1" not in caplog.text
        assert CANARY not in caplog.text + "".join(capfd.readouterr())

    def test_nothing_that_is_kept_or_printed_shows_them(self, config, plugins, tmp_path):
        report = run(config, plugins, symbols=["S00"])
        shown = [
            repr(config),
            config.model_dump_json(),
            str(config.model_dump()),
            json.dumps(run_as_json(report), default=str),
            json.dumps(manifest(config, plugins, report.cutoff, symbols=[], data="", models={}, learned={})),
        ]
        assert not [text for text in shown if CANARY in text]
        assert not [p for p in tmp_path.rglob("*") if p.suffix == ".db" and CANARY.encode() in p.read_bytes()]

    def test_other_texts_that_quote_them_are_redacted(self, config):
        for text in (
            f"Max retries exceeded with url: /services/{CANARY}-path?token={CANARY}-query&json=true",
            f"POST /services/{CANARY}-path",
            f"no token {CANARY}-query",
            f"{os.environ['HOOK']} is down",
            f"header 'Bearer {CANARY}-header'",
            f"invalid token '{CANARY}-header'",
        ):
            assert CANARY not in secrets.redact(text)
        harmless = "two services gave json: true to a webhook at https://host"
        secrets.remember(Webhook(url="https://host/hook"))
        assert secrets.redact(harmless) == harmless

    def test_a_mistake_in_the_file_does_not_show_them(self, tmp_path, config, monkeypatch):
        from kronosfw.errors import ConfigError

        (file,) = tmp_path.glob("*.yaml")
        text = file.read_text()
        monkeypatch.setenv("HOOK", f"ftp://{CANARY}")
        monkeypatch.setenv("KEY", f"{CANARY}\u00fc")
        file.write_text(text.replace("run: [", f"ran: [{CANARY}, "))
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert "expected a URL" in str(caught.value)
        assert "no such option" in str(caught.value)
        assert CANARY not in str(caught.value)


def test_the_password_of_a_database_is_all_that_is_secret_in_its_url(configure):
    config = configure(store='"postgresql://me:open-sesame@host/database"')
    secrets.remember(config)
    assert secrets.redact("host, database, open-sesame") == "host, database, ***"
