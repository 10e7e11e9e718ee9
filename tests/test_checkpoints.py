"""The store of checkpoints: what serves changes at one moment, and what is damaged never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kronosfw.checkpoints import Shelf, discover, read_verdict, verify
from kronosfw.errors import ConfigError, DamagedCheckpoint, Interrupted, PluginError
from kronosfw.files import locked
from kronosfw.types import Check, Entry, Verdict, moment
from tests import crash_points
from tests.shelves import NOW, activate, put

ROOT = Path(__file__).parents[1]
WHY = {"at": NOW, "reason": "it is better"}
REJECTED = Verdict(
    False,
    ("CRPS is 7 % worse",),
    (Check("crps", False, "7 % worse, 1 % is allowed", 0.07, 0.05, 0.09, 0.01), Check("nan", True, "all | finite")),
    {"crps_gain": -0.07, "days": float("nan")},
)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path, "crypto")


def several(shelf, n):
    """Publish n versions, oldest first, and return their names."""
    return [put(shelf.root, shelf.asset_class, {"weights.txt": b"%d" % i}).name for i in range(n)]


def promote(shelf, version, **more):
    return shelf.promote(version, **{"event": "promoted", **WHY, **more})


def test_a_version_says_what_it_is(tmp_path):
    until = {"from": "2024-01-01T00:00:00.000000Z", "until": "2025-06-30T00:00:00.000000Z"}
    folder = put(
        tmp_path, None, {"a.txt": b"1", "logs/b.txt": b"2"}, train=until, metrics={"loss": 0.5}, guarded=True
    )
    (found,) = discover(tmp_path)
    assert (found.path, found.asset_class, found.forecaster) == (folder, None, "fickle")
    assert (found.metrics, found.trained_until) == ({"loss": 0.5}, moment("2025-06-30"))
    assert (found.state, found.active) == ("candidate", False)
    assert verify(folder)


def test_names_sort_by_day_then_by_age(tmp_path, shelf):
    names = several(shelf, 12)
    older = put(tmp_path, day="2026-10-01").name
    assert names == sorted(names)
    assert [c.version for c in shelf.checkpoints()] == [older, *names]
    assert [name[11:15] for name in names] == [f"{i:04d}" for i in range(1, 13)]


def test_the_same_training_is_published_once(tmp_path, shelf):
    first = put(tmp_path, identity="a" * 12)
    assert put(tmp_path, files={"weights.txt": b"other"}, identity="a" * 12, day="2026-12-01") == first
    assert len(shelf.checkpoints()) == 1


def test_a_verdict_decides_who_may_serve(shelf):
    folder = put(shelf.root, guarded=True)
    with pytest.raises(ConfigError, match=r"checkpoint crypto/.* has not been judged"):
        promote(shelf, folder.name)
    shelf.judge(folder.name, REJECTED)
    assert shelf.checkpoints()[0].state == "rejected"
    with pytest.raises(ConfigError, match="was rejected"):
        promote(shelf, folder.name)
    assert shelf.active is None
    shelf.judge(folder.name, replace(REJECTED, accepted=True))
    assert shelf.checkpoints()[0].state == "ready"
    assert promote(shelf, folder.name).version == folder.name


def test_a_verdict_is_for_programs_and_for_a_person(shelf):
    folder = put(shelf.root)
    shelf.judge(folder.name, REJECTED)
    verdict, overruled = read_verdict(folder)
    assert (verdict.accepted, verdict.reasons, verdict.checks, overruled) == (*REJECTED_PARTS, "")
    assert verdict.numbers["crps_gain"] == -0.07
    text = (folder / "verdict.md").read_text()
    assert text.startswith(f"# {folder.name}: rejected\n\n- CRPS is 7 % worse\n")
    assert "| crps | no | 0.07 | 0.05 … 0.09 | 0.01 | 7 % worse, 1 % is allowed |" in text
    assert "| nan | yes |  |  |  | all \\| finite |" in text
    assert verify(folder), "a verdict is no damage"


REJECTED_PARTS = (REJECTED.accepted, REJECTED.reasons, REJECTED.checks)


def test_a_person_may_overrule_a_verdict(shelf):
    folder = put(shelf.root)
    shelf.judge(folder.name, REJECTED)
    promote(shelf, folder.name, force=True, reason="I know better")
    assert shelf.checkpoints()[0].state == "ready"
    verdict, overruled = read_verdict(folder)
    assert (verdict.accepted, overruled) == (False, "I know better")
    assert "overruled this verdict: I know better" in (folder / "verdict.md").read_text()


def test_a_promotion_is_in_the_history(shelf):
    one, two = several(shelf, 2)
    assert (shelf.active, shelf.history()) == (None, [])
    promote(shelf, one)
    pointer = promote(shelf, two, slot=NOW - timedelta(days=1), numbers={"gain": 0.5, "odd": float("inf")})
    assert shelf.active == replace(pointer, numbers=shelf.active.numbers)
    assert (pointer.version, pointer.previous, pointer.seq) == (two, one, 2)
    assert pointer.manifest == verify(shelf.versions / two)
    first, second = shelf.history()
    assert (first.version, first.previous, first.seq) == (one, "", 1)
    assert (second.at, second.event, second.reason, second.slot) == (
        NOW,
        "promoted",
        "it is better",
        NOW - timedelta(days=1),
    )
    assert second.numbers["gain"] == 0.5
    assert [c.version for c in shelf.checkpoints() if c.active] == [two]


def test_what_was_activated_meanwhile_is_not_overwritten(shelf):
    one, two, three = several(shelf, 3)
    promote(shelf, one, expected=0)
    promote(shelf, two, expected=1)
    for expected in (0, 1, 3):
        with pytest.raises(ConfigError, match=f"{two} of crypto was activated meanwhile"):
            promote(shelf, three, expected=expected)
    with pytest.raises(ConfigError, match="was activated meanwhile"):
        shelf.rollback(**WHY, expected=1)
    assert shelf.active.version == two
    assert len(shelf.history()) == 2


def test_rolling_back_again_and_again(shelf):
    one, two, three = several(shelf, 3)
    for version in (one, two, three):
        promote(shelf, version)
    found = [shelf.rollback(**WHY) for _ in range(3)]
    assert [(p.version, p.previous) for p in found] == [(two, one), (one, ""), ("", "")]
    assert [e.event for e in shelf.history()] == ["promoted"] * 3 + ["rolled_back"] * 3
    with pytest.raises(ConfigError, match="nothing of crypto is active"):
        shelf.rollback(**WHY)
    promote(shelf, three)
    assert shelf.rollback(**WHY).version == "", "what was left is not returned to"


def test_what_was_rolled_back_from_is_never_returned_to(shelf):
    one, two, three = several(shelf, 3)
    for version in (one, two, one, three, two):
        promote(shelf, version)
    found = [shelf.rollback(**WHY).version for _ in range(3)]
    assert found == [three, one, ""]


def test_promoting_what_is_active_changes_nothing_to_go_back_to(shelf):
    one, two = several(shelf, 2)
    for version in (one, two, two):
        pointer = promote(shelf, version)
    assert (pointer.previous, pointer.seq) == (one, 3)
    assert shelf.rollback(**WHY).version == one


def test_a_rollback_skips_what_cannot_be_used(shelf):
    versions = several(shelf, 4)
    for version in versions:
        promote(shelf, version)
    (shelf.versions / versions[2] / "weights.txt").write_bytes(b"x")
    shelf.judge(versions[1], REJECTED)
    pointer = shelf.rollback(**WHY)
    assert (pointer.version, pointer.previous) == (versions[0], "")


def test_a_rollback_without_a_history_goes_to_the_previous(shelf):
    one, two = several(shelf, 2)
    for version in (one, two):
        promote(shelf, version)
    (shelf.folder / "history.jsonl").unlink()
    assert shelf.rollback(**WHY).version == one


def test_the_history_is_kept_byte_by_byte(shelf, caplog):
    (version,) = several(shelf, 1)
    promote(shelf, version)
    path = shelf.folder / "history.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    before = path.read_bytes()
    shelf.note(Entry(NOW, "rejected", version, "too wide", NOW, numbers={"crps_gain": -0.1}))
    assert path.read_bytes().startswith(before)
    assert [e.event for e in shelf.history()] == ["promoted", "rejected"]
    assert "line 1 cannot be understood" in caplog.text
    with pytest.raises(ValueError, match="a change of what is active"):
        shelf.note(Entry(NOW, "promoted", version, seq=2))


def test_the_history_is_told_what_a_crash_kept_from_it(shelf):
    one, two = several(shelf, 2)
    promote(shelf, one)
    before = (shelf.folder / "history.jsonl").read_bytes()
    promote(shelf, two)
    whole = (shelf.folder / "history.jsonl").read_bytes()
    (shelf.folder / "history.jsonl").write_bytes(before)
    assert shelf.recover() == []
    assert (shelf.folder / "history.jsonl").read_bytes() == whole
    shelf.recover()
    assert (shelf.folder / "history.jsonl").read_bytes() == whole


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"version": "../../etc"}'])
def test_a_damaged_pointer_is_no_empty_one(shelf, content):
    one, two = several(shelf, 2)
    for version in (one, two):
        promote(shelf, version)
    active = shelf.folder / "ACTIVE"
    before = active.read_bytes()
    active.unlink()
    if content is not None:
        active.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=r"ACTIVE (is missing|cannot be understood)"):
        _ = shelf.active
    (told,) = shelf.recover()
    assert f"it was restored from the history: {two} is active" in told
    assert active.read_bytes() == before


def test_damaged_versions_are_set_aside_but_for_the_active_one(shelf):
    versions = several(shelf, 3)
    promote(shelf, versions[1])
    for version in versions[:2]:
        (shelf.versions / version / "weights.txt").write_bytes(b"x")
    (told,) = shelf.recover()
    assert told.startswith(f"checkpoint crypto/{versions[0]}: weights.txt has other content than its manifest says")
    assert shelf.names() == versions[1:]
    assert (shelf.folder / "quarantine" / versions[0] / "weights.txt").read_bytes() == b"x"
    assert [(e.event, e.version) for e in shelf.history()][1:] == [("quarantined", versions[0])]
    assert shelf.active.version == versions[1]


def test_leftovers_of_a_crash_are_deleted(shelf):
    (version,) = several(shelf, 1)
    for name in ("staging", "trash"):
        (shelf.folder / name / "half" / "deep").mkdir(parents=True)
        (shelf.folder / name / "file").touch()
    (shelf.folder / ".0123456789abcdef.tmp").touch()
    promote(shelf, version)
    assert [list((shelf.folder / name).iterdir()) for name in ("staging", "trash")] == [[], []]
    assert not list(shelf.folder.glob("*.tmp"))


def test_pruning_spares_what_is_active_and_what_was_before(shelf):
    versions = several(shelf, 5)
    for version in versions[1:4]:
        promote(shelf, version)
    every = shelf.checkpoints()
    assert shelf.prunable(every) == [versions[0], versions[1], versions[4]]
    assert shelf.prune(every[:2]) == versions[:2]
    assert shelf.names() == versions[2:]
    assert shelf.prune([]) == []
    assert list((shelf.folder / "trash").iterdir()) == []


def test_pruning_touches_no_other_home(tmp_path, shelf):
    put(tmp_path)
    pooled, other = put(tmp_path, None), put(tmp_path, "equity")
    every = discover(tmp_path)
    assert Shelf(tmp_path, None).prune(every) == []
    shelf.prune([replace(c, asset_class="crypto") for c in every if c.path == other])
    assert shelf.prune([replace(every[0], version="../../base")]) == []
    assert pooled.is_dir()
    assert other.is_dir()


def test_one_change_waits_for_another(shelf, monkeypatch):
    one, two = several(shelf, 2)
    promote(shelf, one)
    hold = threading.Event()

    def busy():
        with locked(shelf.folder / ".lock"):
            hold.set()
            time.sleep(0.3)

    thread = threading.Thread(target=busy)
    thread.start()
    hold.wait()
    began = time.monotonic()
    promote(shelf, two)
    assert time.monotonic() - began > 0.1
    thread.join()
    monkeypatch.setattr("kronosfw.checkpoints.holding._PATIENCE", 0.1)
    with (
        locked(shelf.folder / ".lock"),
        pytest.raises(Interrupted, match="another process has been changing the checkpoints of crypto"),
    ):
        shelf.rollback(**WHY)
    assert shelf.active.version == two


HOLD = """
import sys, time
from pathlib import Path
from kronosfw.checkpoints import Shelf
with Shelf(Path(sys.argv[1]), "crypto").retraining():
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_retrainings_of_a_class_do_not_run_at_once(tmp_path, shelf):
    one, two = several(shelf, 2)
    promote(shelf, one)
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        holder = rf"another retraining of crypto is under way \(process {process.pid} on .+\)"
        with pytest.raises(Interrupted, match=holder), shelf.retraining():
            pass
        with Shelf(tmp_path, "equity").retraining():
            promote(shelf, two)
        assert shelf.rollback(**WHY).version == one, "a person can roll back meanwhile"
    finally:
        process.kill()
        process.communicate()
    with shelf.retraining():
        pass


def test_what_is_durable_is_pointed_to_in_that_order(tmp_path, monkeypatch):
    """Removing any one of these syncs, or moving one behind what it is there for, fails here."""
    older = put(tmp_path).name
    done = []
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

    def name(path):
        path = Path(os.path.relpath(path, tmp_path / "rolling" / "crypto"))
        return "tmp" if path.suffix == ".tmp" else path.as_posix().replace(version, "V")

    version = "2026-11-02-0001-" + "b" * 12
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(("sync", name(os.readlink(f"/proc/self/fd/{fd}")))), real["fsync"](fd))
    )
    for kind in ("rename", "replace"):
        monkeypatch.setattr(os, kind, lambda a, b, k=kind: (done.append(("move", name(a), name(b))), real[k](a, b)))
    put(tmp_path, files={"w.txt": b"1", "logs/l.txt": b"2"}, day="2026-11-02", identity="b" * 12)
    assert done[done.index(("sync", "staging/V/logs/l.txt")) :] == [
        ("sync", "staging/V/logs/l.txt"),
        ("sync", "staging/V/w.txt"),
        ("sync", "staging/V/manifest.json"),
        ("sync", "staging/V/logs"),
        ("sync", "staging/V"),
        ("move", "staging/V", "versions/V"),
        ("sync", "versions"),
    ]
    done.clear()
    promote(Shelf(tmp_path, "crypto"), version)
    pointed = [("sync", "tmp"), ("move", "tmp", "ACTIVE"), ("sync", ".")]
    before = [("sync", name) for name in ("..", f"versions/{older}", "versions/V", "versions", ".")]
    assert done == [*before, *pointed, ("sync", "tmp"), ("move", "tmp", "history.jsonl"), ("sync", ".")]


def test_a_sync_that_fails_is_fatal(shelf, monkeypatch):
    one, two = several(shelf, 2)
    promote(shelf, one)
    real = os.fsync

    def fail(what):
        def sync(handle):
            if os.readlink(f"/proc/self/fd/{handle}").endswith(what):
                raise OSError(5, "Input/output error")
            real(handle)

        return sync

    for what in ("weights.txt", "manifest.json", "versions"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail(what))
            with pytest.raises(OSError, match="Input/output error"):
                put(shelf.root, files={"weights.txt": b"new"})
        assert shelf.names() == [one, two]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(".tmp"))
        with pytest.raises(OSError, match="Input/output error"):
            promote(shelf, two)
    assert shelf.active.version == one


@pytest.mark.parametrize("what", crash_points.CHANGES)
def test_a_process_that_dies_anywhere_leaves_the_old_or_the_new(tmp_path, what):
    """A child dies before each thing that it asks of the disk in turn; see ``crash_points``."""
    command = [sys.executable, crash_points.__file__, what, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 5
    assert "old" in outcomes
    assert outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, reverse=True), "once it is new it stays so"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.pt", b"x"),
        ("model.BIN", b"x"),
        ("deep/model.pkl", b"x"),
        ("weights.txt", b"\x80\x04\x95pickled"),
        ("weights.safetensors", b"PK\x03\x04an archive"),
        ("array.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}"),
    ],
)
def test_pickles_are_not_published(tmp_path, shelf, name, content):
    with pytest.raises(PluginError, match=f"a snapshot may not hold {name}, a"):
        put(tmp_path, files={"good.txt": b"1", name: content})
    assert shelf.names() == []
    assert list((shelf.folder / "staging").iterdir()) == []


def test_safetensors_of_any_header_are_published(tmp_path):
    header = b'{"a": 1}'.ljust(0x280)
    assert put(tmp_path, files={"a.safetensors": len(header).to_bytes(8, "little") + header})


def test_links_are_not_published(tmp_path):
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "weights.txt").symlink_to("/etc/passwd")
    with pytest.raises(PluginError, match=r"files and folders alone, not weights.txt"):
        Shelf(tmp_path, "crypto").publish(snapshot, {}, day="2026-11-01", identity="a" * 12)


def test_names_that_are_none_are_refused(tmp_path, shelf):
    with pytest.raises(ConfigError, match="is no name of an asset class"):
        Shelf(tmp_path, "../crypto")
    for day, identity in (("2026-11-01", "../../../abc"), ("..", "a" * 12)):
        with pytest.raises(ValueError, match="is no name of a version"):
            put(tmp_path, day=day, identity=identity)
    (version,) = several(shelf, 1)
    for name in ("", "..", f"../versions/{version}", version[:-1]):
        with pytest.raises(ConfigError, match="there is no version"):
            promote(shelf, name)
    assert shelf.active is None


def test_nothing_outside_the_root_is_emptied(tmp_path):
    valued = tmp_path / "valued"
    valued.mkdir()
    (valued / "letter").touch()
    for name in ("staging", "trash", "versions"):
        shelf = Shelf(tmp_path / name, "crypto")
        shelf.folder.mkdir(parents=True)
        (shelf.folder / name).symlink_to(valued)
        with pytest.raises(ConfigError, match=f"{name} is a link"):
            shelf.recover()
    assert (valued / "letter").exists()


def test_folders_that_are_no_versions_are_left_alone(tmp_path, shelf, caplog):
    folder = put(tmp_path)
    (folder.parent / "notes").mkdir()
    (folder.parent / f"{folder.name[:-1]}0").symlink_to(folder)
    (folder.parent / "README").touch()
    assert [c.version for c in shelf.checkpoints()] == [folder.name]
    assert "notes is no version" in caplog.text
    shelf.recover()
    assert (folder.parent / "notes").is_dir()


def damaged(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil_pickle(folder):
    """Put a pickle in the place of weights, with a manifest that fits."""
    import hashlib

    content = b"\x80\x04cos\nsystem\n"
    (folder / "weights.txt").write_bytes(content)
    stated = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    damaged(folder, files={"weights.txt": stated})


def link(folder):
    (folder / "weights.txt").unlink()
    (folder / "weights.txt").symlink_to("/etc/passwd")


ANY = {"sha256": "", "size": 1}
FAULTS = {
    "truncated": (lambda f: (f / "weights.txt").write_bytes(b""), r"weights.txt has 0 bytes, its manifest says 7"),
    "flipped": (lambda f: (f / "weights.txt").write_bytes(b"weighus"), r"weights.txt has other content"),
    "gone": (lambda f: (f / "weights.txt").unlink(), r"weights.txt is missing"),
    "more": (lambda f: (f / "more.txt").touch(), r"more.txt is not in its manifest"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest.json is missing"),
    "nonsense": (lambda f: (f / "manifest.json").write_text("[]"), r"manifest.json cannot be understood"),
    "pickle": (spoil_pickle, r"weights.txt is a pickle or an archive under another name"),
    "link": (link, r"weights.txt is neither a file nor a folder"),
    "climbs": (
        lambda f: damaged(f, files={"../x": ANY}),
        r"lists '\.\./x', which is no path",
    ),
    "absolute": (lambda f: damaged(f, files={"/etc/x": ANY}), r"'/etc/x', which is no path"),
    "drive": (lambda f: damaged(f, files={"C:x": ANY}), r"'C:x', which is no path"),
    "no files": (lambda f: damaged(f, files={}), r"names no file"),
    "format": (lambda f: damaged(f, format=2), r"has format 2, this kronosfw understands 1"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), r"pipe is neither a file nor a folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_damaged_is_never_promoted(tmp_path, shelf, fault):
    good = put(tmp_path)
    activate(good)
    folder = put(tmp_path, files={"weights.txt": b"weights"})
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(DamagedCheckpoint, match=rf"checkpoint crypto/{folder.name}: .*{message}"):
        verify(folder)
    with pytest.raises(ConfigError, match="there is no version"):
        promote(shelf, folder.name)
    assert shelf.names() == [good.name], "it was set aside"
    assert shelf.active.version == good.name


def test_a_manifest_that_was_exchanged_is_noticed(tmp_path):
    folder = put(tmp_path)
    digest = verify(folder)
    damaged(folder, metrics={"loss": 0})
    assert verify(folder)
    with pytest.raises(DamagedCheckpoint, match=r"manifest.json is not the one that was activated"):
        verify(folder, digest)
