"""Runs that are killed, stopped or have a full disk: once they are resumed all is there, and nothing else."""

from __future__ import annotations

import resource
import signal
import time
from functools import partial

import pytest
from sqlalchemy import Engine, event

from tests.survival import REPLAY, RESUME, RUN, Campaign, Tried
from tests.survival_checks import different
from tests.survival_planted import PLANTED
from tests.survival_stores import SQLite, forecasts, tables
from tests.survival_world import BATCH, SYMBOLS, installed


@pytest.fixture(scope="module", autouse=True)
def _installed():
    with installed():
        yield


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return Campaign(tmp_path_factory.mktemp("survival"), SQLite(), 11)


def test_ended_again_and_again_nothing_is_lost_or_done_twice(campaign):
    found = campaign.disturb(6)
    assert found.violations == []
    assert found.spared > 0, "something was finished when a run was killed"


@pytest.mark.parametrize("bug", ["the rows are written before the ledger", "what is finished is done again"])
def test_mistakes_come_to_light(campaign, monkeypatch, bug):
    monkeypatch.setattr(campaign, "planted", PLANTED[bug])
    monkeypatch.setattr(campaign, "found", Tried())
    while not campaign.found.violations:
        assert campaign.found.disturbed.total() < 60
        campaign.disturb(campaign.found.disturbed.total() + 1)


def test_the_second_signal_ends_it_at_once(campaign):
    world = campaign.world("hanging")
    with world.hold(BATCH, *RUN) as child:
        child.kill(signal.SIGTERM)
        time.sleep(0.2)
        child.kill(signal.SIGINT)
        assert child.code() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert world.start(*RESUME).code() == 0
    assert [*different(tables(world.url), campaign.undisturbed("as it was"))] == []


def full(pages):
    """Let databases grow to so many pages at most."""

    @event.listens_for(Engine, "connect")
    def limit(connection, record):
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_told_of_and_what_has_no_room_waits(campaign):
    world = campaign.world("full")
    size = (world.folder / "results.db").stat().st_size
    child = world.start(*RUN, prepare=partial(full, size // 4096 + 8))
    assert child.code() == 6
    said = [line for line in world.said().splitlines() if "full" in line]
    assert "results are spooled from here on" in said[0]
    assert sum("WARNING" in line for line in said) == 1
    before = {row["symbol"] for row in forecasts(tables(world.url))}
    (spooled,) = (world.folder / "spool").iterdir()
    assert world.start(*REPLAY, str(spooled)).code() == 0
    found, expected = tables(world.url), campaign.undisturbed("as it was")
    assert len(before) < len(SYMBOLS)
    assert {row["symbol"] for row in forecasts(found)} == set(SYMBOLS)
    assert world.start(*RESUME).code() == 0
    assert [*different(tables(world.url), expected)] == []


def test_where_there_is_no_room_at_all_it_says_so_once(campaign):
    world = campaign.world("fuller")
    child = world.start(*RUN, prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2_000, 2_000)))
    assert child.code() == 6
    (said,) = [line for line in world.said().splitlines() if line.startswith("error:")]
    assert "and the results could not be spooled: spool" in said
    assert "File too large" in said
    assert world.start(*RESUME).code() == 0
    assert [*different(tables(world.url), campaign.undisturbed("as it was"))] == []
