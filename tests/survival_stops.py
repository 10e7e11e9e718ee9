"""A Postgres server that is stopped and started again and again while one run writes to it."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial

from tests.postgres import Server
from tests.survival import RUN, Campaign
from tests.survival_checks import different
from tests.survival_stores import stop, tables
from tests.survival_world import announce

LONGEST = 3.0
"""Seconds that the server is down at most."""


def stops(
    campaign: Campaign, server: Server, number: int, longest: float = LONGEST
) -> tuple[list[str], int, float]:
    """Stop the server so often in the course of a run; return what is strange then, how often, and the seconds.

    It is stopped each time a few more statements were sent to it.
    """
    rng = random.Random(number)
    expected = campaign.undisturbed("as it was")
    world = campaign.world("stopped", "store_patience: 60\nbatch: 1\n")
    announced, telling = os.pipe()
    started, downs = time.monotonic(), 0
    child = world.start(*RUN, prepare=partial(announce, telling))
    os.close(telling)
    for turn in range(number):
        if not all(os.read(announced, 1) for _ in range(rng.randrange(4, 10))):
            break
        time.sleep(rng.uniform(0, 0.01))
        stop(server, (signal.SIGQUIT, signal.SIGINT)[turn % 2])
        time.sleep(rng.uniform(0.5, longest))
        server.start()
        downs += 1
    code = child.code()
    os.close(announced)
    found = [] if code == 0 else [f"the run ended with {code}: {world.said()}"]
    found += [] if downs == number else [f"the run has ended after {downs} stops"]
    return [*found, *different(tables(world.url), expected)], downs, time.monotonic() - started
