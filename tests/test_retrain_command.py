"""``kronosfw retrain`` as cron runs it: exit codes, output, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kronosfw.checkpoints import Shelf, discover, verify
from kronosfw.cli import call
from kronosfw.loading import load
from kronosfw.training import train
from tests import volatility
from tests.test_plugins import install
from tests.volatility import CONFIG, POISONED, WILDER

AS_OF = "--as-of", "2022-01-03"
POLICY = "{type: rolling, guard: {shrinkage: none}}"


@pytest.fixture
def folder(tmp_path, monkeypatch, plugins):
    """A folder with a configuration, a trained base and the plugin on the path of this and of other processes."""
    install(tmp_path, "kronosfw-volatility", Path(volatility.__file__).read_text("utf-8"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, WILDER)
    plugins.add("volatility", volatility)
    train(load(tmp_path / "kronosfw.yaml", plugins)[0], plugins)
    return tmp_path


def write(folder, feed, trainer="{type: fit}"):
    (folder / "kronosfw.yaml").write_text(CONFIG.format(feed=feed, trainer=trainer, checkpoints=POLICY))


@pytest.fixture
def kronosfw(folder, capsys):
    """Return what runs a command in this process: (exit code, stdout, stderr)."""

    def command(*arguments):
        code = call(["retrain", "kronosfw.yaml", *arguments])
        return code, *capsys.readouterr()

    return command


def test_what_cron_gets(kronosfw, folder):
    code, out, err = kronosfw("--if-due", "--dry-run", *AS_OF)
    assert (code, err) == (0, "")
    assert "2021-01-01 to 2021-11-17" in " ".join(out.split())
    code, out, err = kronosfw("--if-due", *AS_OF)
    assert code == 0, err
    assert "crypto  promoted" in out
    code, out, err = kronosfw("--if-due", "--json", *AS_OF)
    assert code == 0
    assert [c["ending"] for c in json.loads(out)["classes"]] == ["not due", "not due"]


def test_a_rejection_is_code_4(kronosfw, folder):
    write(folder, POISONED)
    code, out, err = kronosfw("--if-due", *AS_OF)
    assert code == 4
    assert "equity  rejected" in out
    assert "✗" in out
    assert "rejected: CRPS" in err, "the notifier tells, too"


def test_a_class_that_failed_is_code_3(kronosfw, folder):
    write(folder, WILDER.replace("}", ", fails: [C0, C1]}"))
    code, out, err = kronosfw("--if-due", *AS_OF)
    assert code == 3
    assert "crypto  failed" in out
    assert "equity  promoted" in out
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--class", "cripto"), "did you mean 'crypto'"),
        (("--as-of", "2150-01-01"), "lies in the future"),
        (("--as-of", "whenever"), "whenever"),
    ],
)
def test_a_mistake_is_code_2(kronosfw, arguments, said):
    code, _, err = kronosfw(*arguments)
    assert code == 2
    assert said in err


def start(folder):
    code = "import sys; from kronosfw.cli import call; sys.exit(call(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, "retrain", "kronosfw.yaml", "--if-due", *AS_OF],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_anywhere_it_goes_on_and_ends_the_same(folder):
    """Kill it when each of these has just come to be; what is there in the end is what undisturbed runs leave."""
    write(folder, WILDER, "{type: fit, pause: 0.1}")
    moments = (
        "training/crypto-*/step-2",
        "rolling/crypto/versions/*/manifest.json",
        "rolling/crypto/ACTIVE",
    )
    for moment in moments:
        process = start(folder)
        while not list((folder / "checkpoints").glob(moment)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(folder)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "equity  promoted" in out
    root = folder / "checkpoints"
    assert list((root / "training").iterdir()) == []
    for checkpoint in discover(root):
        verify(checkpoint.path)
    for name in ("crypto", "equity"):
        events = [e.event for e in Shelf(root, name).history()]
        assert events == ["promoted"]
        (version,) = Shelf(root, name).checkpoints()
        assert version.active


def test_two_at_once(kronosfw, folder):
    write(folder, WILDER, "{type: fit, pause: 0.5}")
    first = start(folder)
    while not list((folder / "checkpoints").glob("training/crypto-*/step-1")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    code, out, _ = kronosfw("--class", "crypto", "--if-due", *AS_OF)
    assert code == 75
    assert "crypto  busy" in out
    assert "under way" in out
    first.communicate(timeout=120)
    assert first.returncode == 0
