"""Which weights serve: what was verified and nothing else, whatever others do to the folder meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kronosfw.builtin.policies import Latest, Rolling
from kronosfw.checkpoints import Shelf, choose, contents, serve
from kronosfw.errors import DamagedCheckpoint
from kronosfw.pipeline import run
from tests.made_up import Fickle, FickleForecaster
from tests.shelves import activate, put
from tests.test_checkpoints import FAULTS, REJECTED

ROOT = Path(__file__).parents[1]
ROLLING = Rolling().build()
LATEST = Latest().build()
OTHERS = {"checkpoint_root": "checkpoints", "ensembler": None, "forecasters": "[{type: fickle}]"}
UNIVERSE = "{S00: {asset_class: crypto}, S01: {asset_class: equity, calendar: 24/7}}"


def versions(root, asset_class, n):
    """Publish and activate n versions, oldest first."""
    folders = [put(root, asset_class, {"weights.txt": b"%d" % i}) for i in range(n)]
    for folder in folders:
        activate(folder)
    return folders


def spoil(folder):
    (folder / "weights.txt").write_bytes(b"x")


def test_only_what_is_ready_is_offered(tmp_path):
    good = put(tmp_path)
    put(tmp_path, guarded=True, day="2026-11-02")
    rejected = put(tmp_path, day="2026-11-03")
    Shelf(tmp_path, "crypto").judge(rejected.name, REJECTED)
    put(tmp_path, forecaster="another", day="2026-11-04")
    assert choose(LATEST, tmp_path, "crypto", "fickle")[0].path == good
    assert choose(ROLLING, tmp_path, "crypto", "fickle") == (None, [])


def test_the_pooled_one_serves_where_the_class_has_none(tmp_path):
    (pooled,), (own,) = versions(tmp_path, None, 1), versions(tmp_path, "crypto", 1)
    assert choose(ROLLING, tmp_path, "equity", "fickle")[0].path == pooled
    assert choose(ROLLING, tmp_path, "crypto", "fickle")[0].path == own
    assert choose(ROLLING, tmp_path, "crypto", "fickle", pooled=True)[0].path == pooled


def test_a_policy_may_choose_only_what_it_was_offered(tmp_path):
    class Odd:
        def select(self, asset_class, checkpoints):
            return "newest"

    with pytest.raises(ValueError, match="chose 'newest', which is not a checkpoint for crypto"):
        choose(Odd(), tmp_path, "crypto", "fickle")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("asset_class", ["crypto", None])
def test_a_damaged_active_one_falls_back_to_the_one_before_loudly(tmp_path, asset_class, fault):
    first, second, third = versions(tmp_path, asset_class, 3)
    (third / "weights.txt").write_bytes(b"weights")
    FAULTS[fault][0](third)
    chosen, (told,) = choose(ROLLING, tmp_path, "crypto", "fickle")
    home = asset_class or "base"
    assert chosen.path == second
    assert told.startswith(f"checkpoint {home}/{third.name}")
    assert told.endswith(f"; crypto is served by {home}/{second.name} instead")
    spoil(second)
    chosen, told = choose(ROLLING, tmp_path, "crypto", "fickle")
    assert chosen.path == first
    assert len(told) == 2
    spoil(first)
    chosen, told = choose(ROLLING, tmp_path, "crypto", "fickle")
    assert (chosen, len(told)) == (None, 3)
    assert all(text.endswith("crypto is served by the forecaster's own weights instead") for text in told)


def test_an_active_one_that_is_gone_or_rejected_is_no_silent_fallback(tmp_path):
    (pooled,), (first, second) = versions(tmp_path, None, 1), versions(tmp_path, "crypto", 2)
    Shelf(tmp_path, "crypto").judge(second.name, REJECTED)
    chosen, (told,) = choose(ROLLING, tmp_path, "crypto", "fickle")
    assert chosen.path == first
    assert "is active but rejected" in told
    second.rename(tmp_path / "elsewhere")
    chosen, (told,) = choose(ROLLING, tmp_path, "crypto", "fickle")
    assert chosen.path == first
    assert "is active but cannot be read" in told
    first.rename(tmp_path / "there")
    chosen, (told,) = choose(ROLLING, tmp_path, "crypto", "fickle")
    assert chosen.path == pooled
    assert told.endswith(f"crypto is served by base/{pooled.name} instead")


def test_another_policy_is_asked_again_without_the_damaged_one(tmp_path):
    old, new = put(tmp_path), put(tmp_path, day="2026-11-02")
    spoil(new)
    chosen, (told,) = choose(LATEST, tmp_path, "crypto", "fickle")
    assert chosen.path == old
    assert new.name in told


def test_without_knowing_what_is_active_nothing_serves(tmp_path):
    versions(tmp_path, "crypto", 2)
    (tmp_path / "rolling" / "crypto" / "ACTIVE").write_bytes(b"{")
    with pytest.raises(DamagedCheckpoint, match="ACTIVE cannot be understood"):
        choose(ROLLING, tmp_path, "crypto", "fickle")
    assert choose(ROLLING, tmp_path, "equity", "fickle") == (None, [])


def exchange(folder):
    """Put other weights in their place, with a manifest that fits them."""
    spoil(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    stated = {name: file for name, file in contents(folder).items() if name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": stated}))


@pytest.mark.parametrize("how", [spoil, exchange])
def test_what_was_exchanged_while_it_was_loaded_does_not_serve(tmp_path, how):
    first, second = versions(tmp_path, "crypto", 2)

    def load(path):
        if path == second:
            how(path)
        return path

    served = serve(ROLLING, tmp_path, "crypto", "fickle", load)
    assert (served.checkpoint.path, served.weights) == (first, first)
    assert len(served.told) == 1


def test_a_promotion_while_loading_is_followed(tmp_path):
    first, second = versions(tmp_path, "crypto", 1)[0], put(tmp_path, files={"weights.txt": b"2"})
    seen = []

    def load(path):
        seen.append(path)
        if len(seen) == 1:
            activate(second)
        return path

    assert serve(ROLLING, tmp_path, "crypto", "fickle", load).weights == second
    assert seen == [first, second]


def test_what_cannot_be_loaded_is_no_damage(tmp_path):
    versions(tmp_path, "crypto", 2)
    seen = []

    def load(path):
        seen.append(path)
        raise ValueError("trained for another base")

    with pytest.raises(ValueError, match="trained for another base"):
        serve(ROLLING, tmp_path, "crypto", "fickle", load)
    assert len(seen) == 1


WRITER = """
import os, sys
from pathlib import Path
from kronosfw.checkpoints import Shelf
from tests.shelves import NOW, activate, put
os.fsync = lambda handle: None  # who reads while the machine runs does not depend on it
root = Path(sys.argv[1])
shelf = Shelf(root, "crypto")
for i in range(200):
    content = b"%06d" % i * 1000
    activate(put(root, "crypto", {"a.txt": content, "b.txt": content}))
    if i % 7 == 6:
        shelf.rollback(at=NOW, reason="")
    shelf.prune(shelf.checkpoints())
"""


def test_readers_never_fail_and_never_mix_while_others_promote_and_delete(tmp_path):
    content = b"start." * 1000
    activate(put(tmp_path, "crypto", {"a.txt": content, "b.txt": content}))
    shelf = Shelf(tmp_path, "crypto")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], cwd=ROOT)
    loads, served = 0, {}

    def load(path):
        nonlocal loads
        loads += 1
        return (path / "a.txt").read_bytes(), (path / "b.txt").read_bytes()

    while writer.poll() is None:
        found = serve(ROLLING, tmp_path, "crypto", "fickle", load)
        assert found.told == ()
        assert found.checkpoint is not None
        a, b = found.weights
        assert a == b
        assert served.setdefault(found.checkpoint.version, a) == a
    assert writer.returncode == 0
    assert loads > len(served) > 20
    assert shelf.active.seq > 200
    assert len(shelf.names()) <= 2


class TestRuns:
    """The same by way of a run."""

    @pytest.fixture
    def root(self, tmp_path):
        return tmp_path / "checkpoints"

    @pytest.fixture
    def setting(self, configure):
        def make(**changes):
            sections = {"universe": UNIVERSE, "checkpoints": "{type: rolling}", **OTHERS, **changes}
            return configure(**{k: v for k, v in sections.items() if v is not None})

        return make

    def test_a_fallback_ends_with_exit_code_3_and_says_so(self, setting, plugins, root):
        first, second = versions(root, "crypto", 2)
        spoil(second)
        report = run(setting(), plugins)
        assert report.exit_code == 3
        ((symbol, stage, why, model),) = [(f.symbol, f.stage, f.reason, f.model) for f in report.failures]
        assert (symbol, stage, model) == ("", "model", "fickle")
        assert why.endswith(f"crypto is served by crypto/{first.name} instead")
        assert report.served == ("S00", "S01")
        assert Fickle.paths == {"S00": first, "S01": None}
        assert report.versions["fickle"]["crypto"].endswith(f"@crypto/{first.name}")

    def test_a_class_whose_weights_cannot_be_known_fails_alone(self, setting, plugins, root):
        versions(root, "crypto", 1)
        (root / "rolling" / "crypto" / "ACTIVE").write_bytes(b"{")
        report = run(setting(), plugins)
        assert [(f.symbol, f.stage) for f in report.failures] == [("S00", "model")]
        assert report.failures[0].reason.endswith("ACTIVE cannot be understood")
        assert report.served == ("S01",)
        assert report.versions["fickle"]["crypto"] != report.versions["fickle"]["equity"]

    def test_weights_that_several_classes_share_are_loaded_once(self, setting, plugins, root, monkeypatch):
        (pooled,) = versions(root, None, 1)
        seen = []
        real = FickleForecaster.with_checkpoint
        monkeypatch.setattr(
            FickleForecaster, "with_checkpoint", lambda self, path: (seen.append(path), real(self, path))[1]
        )
        report = run(setting(), plugins)
        assert report.exit_code == 0
        assert seen == [pooled]

    def test_what_no_symbol_asked_for_needs_is_not_loaded(self, setting, plugins, root):
        for folder in versions(root, "crypto", 1):
            spoil(folder)
        assert run(setting(), plugins, symbols=["S01"]).exit_code == 0
