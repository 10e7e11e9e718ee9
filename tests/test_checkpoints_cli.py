"""``kronosfw checkpoints``: what a person and a program see, and what is refused."""

from __future__ import annotations

import json

import pytest

from kronosfw.checkpoints import Shelf, about
from kronosfw.cli import call
from kronosfw.files import locked
from tests.shelves import NOW, activate, put
from tests.test_checkpoints import REJECTED

CONFIG = """\
feed: {type: simulated, start: 2022-01-01, end: 2023-12-31}
universe: {BTCUSDT: {asset_class: crypto}, SPY: {asset_class: equity}}
forecasters: [{type: drift}]
checkpoints: {type: rolling}
checkpoint_root: weights
store: sqlite:///results.db
"""
TRAIN = {"from": "2024-01-01T00:00:00Z", "until": "2025-06-30T00:00:00Z", "examples": {"train": 1200}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a configuration, three versions of crypto and a pooled one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "weights"


@pytest.fixture
def three(root):
    more = {"forecaster": "drift", "train": TRAIN, "metrics": {"loss": 0.25}, "parent": "somebody@abc"}
    found = [put(root, files={"weights.txt": b"%d" % i}, day=f"2026-1{i}-01", **more) for i in range(3)]
    for folder in found[:2]:
        activate(folder)
    Shelf(root, "crypto").judge(found[2].name, REJECTED)
    return [folder.name for folder in found]


@pytest.fixture
def pooled(root):
    folder = put(root, None, forecaster="drift", day="2026-09-01")
    activate(folder)
    return folder.name


@pytest.fixture
def ask(capsys):
    """Return what calls a command and gives its exit code, stdout and stderr; JSON where that was asked for."""

    def ask(name, *arguments):
        capsys.readouterr()
        code = call(["checkpoints", name, "config.yaml", *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments else out, err

    return ask


def active(root):
    return Shelf(root, "crypto").active.version


def test_the_list_says_what_serves(root, three, pooled, ask):
    code, out, err = ask("list")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert list(rows)[:2] == ["base", "version"]
    assert "ready, active" in rows[three[1]]
    assert "crypto" in rows[three[1]]
    assert "2025-06-30" in rows[three[1]]
    assert "0.25" in rows[three[1]]
    assert "rejected" in rows[three[2]]
    assert "equity" in rows[pooled]
    assert max(map(len, out.splitlines())) <= 100
    code, told, _ = ask("list", "--class", "crypto", "--json")
    assert [(c["version"], c["active"], c["serves"]) for c in told] == [
        (f"crypto/{three[0]}", False, []),
        (f"crypto/{three[1]}", True, ["crypto"]),
        (f"crypto/{three[2]}", False, []),
    ]
    assert {c["trained_until"] for c in told} == {"2025-06-30T00:00:00+00:00"}


def test_nothing_is_there_yet(root, ask):
    for name in ("list", "verify"):
        code, out, _ = ask(name)
        assert (code, out) == (0, f"There are no checkpoints below {root}.\n")
    assert ask("history")[1] == "Nothing was activated or judged yet.\n"
    assert ask("prune")[1] == "There is nothing to delete.\n"


def test_one_is_shown_with_its_verdict_and_history(root, three, ask):
    code, out, _ = ask("show", three[2][-12:])
    assert code == 0
    for text in ("somebody@abc", "1,200 to train", "Verdict: rejected", "7 % worse, 1 %", "0.05 … 0.09"):
        assert text in out
    code, told, _ = ask("show", f"crypto/{three[2]}", "--json")
    assert told["verdict"]["checks"][0]["limit"] == 0.01
    assert told["verdict"]["numbers"]["days"] is None
    assert told["manifest"]["parent"] == "somebody@abc"
    assert told["history"] == []
    assert [e["event"] for e in ask("show", three[0], "--json")[1]["history"]] == ["promoted", "promoted"]
    assert "it is better" in ask("show", three[0])[1]


def test_the_history_says_what_was_active_when_and_why(root, three, ask):
    Shelf(root, "crypto").rollback(at=NOW, reason="[red]harm[/]: E = 25")
    code, out, _ = ask("history")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert [row[2] for row in rows if row[:1] == ["2026-11-01"]] == ["promoted", "promoted", "rolled"]
    assert "[red]harm[/]: E = 25" in out
    told = ask("history", "--class", "crypto", "--json")[1]["crypto"]
    assert [(e["version"], e["seq"]) for e in told] == [(three[0], 1), (three[1], 2), (three[0], 3)]


def test_verify_names_the_file(root, three, ask):
    assert ask("verify")[0] == 0
    (root / "rolling" / "crypto" / "versions" / three[1] / "weights.txt").write_bytes(b"x")
    code, out, _ = ask("verify")
    assert code == 5
    assert out.count("sound") == 2
    assert f"damaged checkpoint crypto/{three[1]}: weights.txt has other content than its manifest says" in out
    code, told, _ = ask("verify", three[0], three[1], "--json")
    assert (code, [row["damage"] is None for row in told]) == (5, [True, False])
    assert ask("verify", three[0])[0] == 0


def test_verify_names_an_active_one_that_is_gone(root, three, ask):
    home = root / "rolling" / "crypto"
    (home / "versions" / three[1]).rename(root / "elsewhere")
    code, out, _ = ask("verify")
    assert (code, f"crypto/{three[1]} is active and is missing" in out) == (5, True)
    (home / "ACTIVE").write_bytes(b"")
    code, out, _ = ask("verify")
    assert (code, "ACTIVE cannot be understood" in out) == (5, True)


def test_activate_and_roll_back(root, three, ask):
    code, out, _ = ask("activate", three[0], "--reason", "the new one is odd")
    assert (code, active(root)) == (0, three[0])
    assert out == f"crypto/{three[0]} is active now; a rollback would go back to crypto/{three[1]}.\n"
    assert Shelf(root, "crypto").history()[-1].reason == "the new one is odd"
    code, told, _ = ask("rollback", "--class", "crypto", "--json")
    assert (code, told) == (0, {"class": "crypto", "active": three[1], "previous": None})
    code, out, _ = ask("rollback", "--class", "crypto")
    assert out == "Nothing of crypto is active now: what is pooled serves.\n"
    code, _, err = ask("rollback", "--class", "crypto")
    assert (code, "there is nothing to go back from" in err) == (2, True)
    told = about(three[1], Shelf(root, "crypto").history())
    assert told[-1].event == "rolled_back", "the change that ended its service names another version"
    assert told[-1].version == ""


def test_a_person_can_roll_back_while_a_training_runs(root, three, ask):
    with Shelf(root, "crypto").retraining():
        assert ask("rollback", "--class", "crypto")[0] == 0
    assert active(root) == three[0]


def test_the_pooled_one_is_activated_like_any_other(root, pooled, ask):
    other = put(root, None, {"weights.txt": b"2"}, forecaster="drift", day="2026-09-02").name
    assert ask("activate", f"base/{other}")[0] == 0
    assert ask("rollback", "--class", "base")[1].startswith(f"base/{pooled} is active now")


def test_what_was_rejected_needs_force(root, three, ask):
    code, _, err = ask("activate", three[2])
    assert (code, "was rejected" in err, active(root)) == (2, True, three[1])
    assert ask("activate", three[2], "--force")[0] == 0
    assert active(root) == three[2]
    assert "overruled by a person: by hand" in ask("show", three[2])[1]


def test_what_is_damaged_is_not_activated(root, three, ask):
    (root / "rolling" / "crypto" / "versions" / three[0] / "manifest.json").write_text("{")
    for arguments in (("activate", three[0]), ("activate", three[0], "--force"), ("show", three[0])):
        assert ask(*arguments)[0] != 0
        assert active(root) == three[1]


@pytest.mark.parametrize("policy", ["checkpoints: {type: latest}\n", ""])
def test_what_would_have_no_effect_is_refused(root, three, ask, policy):
    text = CONFIG.replace("checkpoints: {type: rolling}\n", policy)
    (root.parent / "config.yaml").write_text(text)
    before = (root / "rolling" / "crypto" / "ACTIVE").read_bytes()
    for arguments in (("activate", three[0]), ("rollback", "--class", "crypto")):
        code, _, err = ask(*arguments)
        assert code == 2
        assert "{type: rolling}" in err
    assert (root / "rolling" / "crypto" / "ACTIVE").read_bytes() == before
    code, _, err = ask("activate", three[0])
    if policy:
        assert f"the checkpoint policy latest would serve crypto/{three[1]}" in err
        assert ask("activate", three[1])[0] == 0


def test_prune_deletes_what_the_policy_keeps_no_longer(root, pooled, ask):
    (root.parent / "config.yaml").write_text(CONFIG.replace("{type: rolling}", "{type: latest, keep: 1}"))
    names = [put(root, day=f"2026-10-0{i}", forecaster="drift").name for i in range(1, 6)]
    for name in names[1:3]:
        activate(root / "rolling" / "crypto" / "versions" / name)
    gone = [f"crypto/{name}" for name in (names[0], names[3])]
    code, out, _ = ask("prune", "--dry-run")
    assert (code, out) == (0, "".join(f"{title} would be deleted\n" for title in gone))
    assert len(Shelf(root, "crypto").names()) == 5
    assert ask("prune", "--json")[1] == {"deleted": gone, "dry_run": False}
    assert Shelf(root, "crypto").names() == [names[1], names[2], names[4]]
    assert Shelf(root, None).names() == [pooled]


def test_names_are_understood_or_suggested(root, three, ask):
    path = root / "rolling" / "crypto" / "versions" / three[0]
    for name in (str(path), f"crypto/{three[0]}", three[0], "crypto/2026-10", "-" + three[0][-12:]):
        assert ask("verify", "--", name)[:2] == (0, f"sound crypto/{three[0]}\n")
    code, _, err = ask("show", "2026-1")
    assert (code, "'2026-1' could be crypto/" in err) == (2, True)
    code, _, err = ask("show", three[0][:-1] + "z")
    assert (code, f"did you mean '{three[0]}'" in err) == (2, True)
    for name in ("equity/2026-10", "", "../../etc", "crypto/"):
        assert ask("show", name)[0] == 2
    code, _, err = ask("rollback", "--class", "cripto")
    assert (code, "did you mean 'crypto'" in err) == (2, True)


def test_a_configuration_without_a_root_says_so(root, ask):
    text = CONFIG.replace("checkpoint_root: weights\n", "").replace("checkpoints: {type: rolling}\n", "")
    (root.parent / "config.yaml").write_text(text)
    for arguments in (("list",), ("history",), ("verify",), ("show", "x"), ("rollback", "--class", "crypto")):
        code, _, err = ask(*arguments)
        assert (code, "without `checkpoint_root: checkpoints`" in err) == (2, True)


def test_a_change_that_cannot_be_made_is_no_traceback(root, three, ask, monkeypatch):
    monkeypatch.setattr("kronosfw.checkpoints.holding._PATIENCE", 0.05)
    with locked(root / "rolling" / "crypto" / ".lock"):
        assert ask("activate", three[0])[0] == 75
        assert ask("list")[0] == 0, "readers take no lock"

    def fail(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("kronosfw.checkpoints.shelf.write_atomically", fail)
    code, _, err = ask("activate", three[0])
    assert (code, err) == (2, f"error: checkpoint_root {root}: Read-only file system\n")
