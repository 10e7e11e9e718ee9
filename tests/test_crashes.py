"""Checkpoints outlive a machine that stops and a process that is killed, and the tests of that would notice."""

from __future__ import annotations

import logging
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests import killing
from tests.crash_scenarios import SCENARIOS
from tests.crashing import STORE, Campaign, total
from tests.planted_bugs import PLANTED
from tests.shelves import activate, put

ROOT = Path(__file__).parents[1]
HOME = f"{STORE}/rolling/crypto"
SYNCS = {
    "made: .": "first",
    "made: data": "first",
    "made: data/store": "first",
    "made: data/store/rolling": "first",
    f"made: {HOME}": "first",
    f"settle: {HOME}": "pointer lost",
    f"settle: {HOME}/versions": "untidy",
    f"settle: {HOME}/versions/V": "first",
    f"_copy: {HOME}/staging/V/a.safetensors": "first",
    f"_copy: {HOME}/staging/V/deep/tokens.txt": "first",
    f"write_version: {HOME}/staging/V/manifest.json": "first",
    f"write_version: {HOME}/staging/V/deep": "first",
    f"write_version: {HOME}/staging/V": "first",
    f"write_version: {HOME}/versions": "first",
    f"write_verdict: {HOME}/staging/*.tmp": "first",
    f"write_verdict: {HOME}/versions/V": "first",
    f"_flip: {HOME}/*.tmp": "first",
    f"_flip: {HOME}": "first",
    f"append: {HOME}/*.tmp": "first",
    f"append: {HOME}": "first",
    f"prune: {HOME}/versions": "pointer lost",
    f"_set_aside: {HOME}/versions": "untidy",
    f"reconcile: {HOME}/*.tmp": "pointer lost",
    f"reconcile: {HOME}": "pointer lost",
}
"""All that the store syncs, and the scenario in which leaving it out comes to light."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="calls are recorded on Linux alone")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory):
    return {name: Campaign(SCENARIOS[name], tmp_path_factory.mktemp("disk")) for name in SCENARIOS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_crash_leaves_anything_but_the_old_or_the_new(campaigns, name):
    found = total(campaigns[name].crash(limit=6))
    assert found.violations == []
    assert found.different > len(campaigns[name].first.calls) / 4


@pytest.mark.parametrize("name", SCENARIOS)
def test_nor_does_a_crash_after_another_or_after_a_kill(campaigns, name):
    found = total(campaigns[name].crash_again(starts=4, limit=4, points=5))
    assert found.violations == []
    assert found.points >= 4


def test_all_syncs_are_known(campaigns):
    assert {label for campaign in campaigns.values() for label in campaign.labels} == set(SYNCS)


@pytest.mark.parametrize("sync", SYNCS)
def test_leaving_out_a_sync_comes_to_light(campaigns, sync):
    campaign = campaigns[SYNCS[sync]]
    founds = chain(campaign.crash(4, without=sync), campaign.crash_again(60, 2, without=sync))
    assert any(found.violations for found in founds)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_comes_to_light(tmp_path, bug):
    name, planted = PLANTED[bug]
    campaign = Campaign(SCENARIOS[name], tmp_path, planted=planted)
    founds = chain(campaign.crash(4), campaign.crash_again(60, 2))
    assert any(found.violations for found in founds)


def test_no_kill_leaves_anything_but_the_old_or_the_new():
    command = [sys.executable, ROOT / "benchmarks" / "crashes.py", "kills", "--kills", "15"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 kills" in done.stdout
    assert ", 0 violations" in done.stdout


def spoil(folder):
    (folder / "weights.txt").write_bytes(b"")


FOUND = {
    "another is active": (lambda told, folder: told.update(active=["", 0]), "is active"),
    "one is lost": (lambda told, folder: told.update(names=[*told["names"], "x"]), "a version is lost"),
    "one too many": (lambda told, folder: told.update(names=[]), "a version came from nowhere"),
    "damaged": (lambda told, folder: spoil(folder), "DamagedCheckpoint"),
    "half there": (lambda told, folder: (folder / "verdict.json").touch(), "a version is half there"),
    "no pointer": (lambda told, folder: (folder.parents[1] / "ACTIVE").unlink(), "ACTIVE is missing"),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_a_kill_may_not_leave_is_found(tmp_path, what):
    folder = put(tmp_path)
    activate(folder)
    told = {"active": [folder.name, 1], "names": [folder.name]}
    assert killing.strange(tmp_path, told) == []
    change, message = FOUND[what]
    change(told, folder)
    assert message in " ".join(killing.strange(tmp_path, told))


def test_a_reader_that_got_the_weights_of_another_fails(tmp_path):
    files = {name: bytes(16) + b"b" * 12 for name in killing.WEIGHTS}
    activate(put(tmp_path, files=files, identity="a" * 12))
    with pytest.raises(AssertionError, match=r"bbb.* was loaded from"):
        killing.read_on(tmp_path, killing.Slate(tmp_path / "reads"), tmp_path / "stop")
