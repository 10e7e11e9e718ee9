"""Runs that store in Postgres, whose processes are killed and whose server goes away."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest

from kronosfw.store.tables import KEY
from tests.postgres import served
from tests.survival import REPLAY, RESUME, RUN, Campaign
from tests.survival_checks import different
from tests.survival_stops import stops
from tests.survival_stores import Postgres, forecasts, lasting, tables
from tests.survival_world import BATCH, SYMBOLS, installed


@pytest.fixture(scope="module")
def server():
    """A server of these tests' own, for it is stopped."""
    with contextmanager(served)() as server:
        yield server


@pytest.fixture(scope="module")
def campaign(server, tmp_path_factory):
    with installed():
        yield Campaign(tmp_path_factory.mktemp("survival"), Postgres(server), 12)


def test_ended_again_and_again_nothing_is_lost_or_done_twice(campaign):
    found = campaign.disturb(5)
    assert found.violations == []


def test_a_server_that_is_stopped_twice_is_waited_for(campaign, server):
    violations, downs, _ = stops(campaign, server, 2, longest=0.6)
    assert (violations, downs) == ([], 2)


def test_a_server_that_stays_away_is_given_up_once_and_the_rest_waits(campaign, server):
    world, backend = campaign.world("away", "batch: 3\nstore_patience: 0.5\n"), Postgres(server)
    with ExitStack() as stack:
        with world.hold(2 * BATCH, *RUN) as child:
            stack.enter_context(backend.shut(world.url))
        assert child.code() == 6
    assert world.said().count("results are spooled from here on") == 1
    (spooled,) = (world.folder / "spool").iterdir()
    assert {row["symbol"] for row in forecasts(tables(world.url))} == set(SYMBOLS[: 2 * BATCH])
    assert world.start(*REPLAY, str(spooled)).code() == 0
    found, expected = tables(world.url), campaign.undisturbed("as it was")
    assert lasting(found["runs"]) == lasting(expected["runs"])
    assert numbers(found) == numbers(expected)
    assert world.start(*RESUME).code() == 0
    assert [*different(tables(world.url), expected)] == []


def numbers(found):
    """Return what was forecast, but for a confidence, which takes a store."""
    return [[row[name] for name in (*KEY, "p10", "p50", "p90", "seed")] for row in forecasts(found)]
