"""The members' part of the work: whatever is lost on the way, each window has one end with each member."""

from __future__ import annotations

import random
from itertools import repeat

from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw.builtin.forecasters import Drift, RandomWalk
from kronosfw.config import Config
from kronosfw.executors import End, InProcess
from kronosfw.forecasting import Troupe
from kronosfw.members import build_members
from kronosfw.plugins import Plugins
from tests.windows_for_tests import window

PLUGINS = Plugins.installed()
CONFIG = Config.model_construct(
    forecasters=(RandomWalk(), Drift(name="other")),
    universe={},
    encoders=(),
    checkpoints=None,
    context=50,
    batch=100,
)
MEMBERS, _ = build_members(CONFIG, PLUGINS, ())
LEVELS = (0.1, 0.5, 0.9)
NAMES = ["random_walk", "other"]


class Hazardous:
    """An executor that does its work here, but for parts that hold a deadly window, in any order."""

    here, workers = True, 1

    def __init__(self, deadly, room, order):
        self.deadly, self.room, self.order = deadly, room, order
        self.under_way, self.begun = [], 0

    def crew(self, make_worker):
        self.work = make_worker()
        return self

    def begin(self, ticket, part, timeout):
        self.under_way.append((ticket, part))
        self.begun += 1

    def end(self):
        ticket, part = self.under_way.pop(self.order.randrange(len(self.under_way)))
        if any((part.member, w.symbol) in self.deadly for w in part.windows):
            return End(ticket, None, lost="it died")
        return End(ticket, self.work(part))

    def close(self):
        pass


def batches(sizes):
    """Return windows in batches of these sizes."""
    count = iter(range(1000))
    walk = 100 + random.Random(1).random()
    closes = [walk + (i * 7919 % 13) for i in range(60)]
    return [[window(closes, symbol=f"W{next(count)}") for _ in range(size)] for size in sizes]


def told(executor, work):
    return list(Troupe(MEMBERS, CONFIG, LEVELS, executor).forecast(iter(work)))


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=5),
    deadly=st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, 60).map("W{}".format)), max_size=6),
    room=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_only_what_is_deadly_fails(sizes, deadly, room, order):
    work = batches(sizes)
    found = told(Hazardous(deadly, room, order), work)
    undisturbed = told(InProcess(), work)
    assert len(found) == len(work), "batch by batch, in order"
    for one, other, windows in zip(found, undisturbed, work, strict=True):
        ends = {(f.model, f.symbol) for f in one.forecasts}
        failed = {(f.model, f.symbol) for f in one.failures}
        assert failed == {(name, w.symbol) for name in NAMES for w in windows} & deadly
        assert len(ends) == len(one.forecasts)
        assert ends | failed == {(name, w.symbol) for name in NAMES for w in windows}
        numbers = {(f.model, f.symbol): f.quantiles.tobytes() for f in other.forecasts}
        assert all(f.quantiles.tobytes() == numbers[f.model, f.symbol] for f in one.forecasts)


def test_a_member_of_which_nothing_comes_is_given_up():
    work = batches([8, 8, 40, 8, 8])
    deadly = {("other", w.symbol) for windows in work for w in windows}
    executor = Hazardous(deadly, 1, random.Random(0))
    found = told(executor, work)
    assert executor.begun == 5 + 2 * 16, "16 tries of eight windows are not enough, twice as many are"
    assert [len(t.failures) for t in found] == [8, 8, 40, 8, 8]
    assert {f.reason for t in found for f in t.failures} == {"it died"}
    assert [len(t.forecasts) for t in found] == [8, 8, 40, 8, 8]


def test_batches_are_drawn_as_there_is_room_for_them():
    held, most = 0, 0

    def drawn():
        nonlocal held, most
        for windows in batches(repeat(2, 20)):
            held += 1
            most = max(most, held)
            yield windows

    for _ in Troupe(MEMBERS, CONFIG, LEVELS, InProcess()).forecast(drawn()):
        held -= 1
    assert most <= 2


def test_no_batch_runs_away_from_one_that_takes_its_time():
    """Nor where there is nothing to be done, for a member was given up or none is there."""
    work = batches([1] * 30)
    slow = work[0]

    class Slow(Hazardous):
        def end(self):
            place = next((i for i, (_, p) in enumerate(self.under_way) if p.windows[:1] != slow), 0)
            ticket, part = self.under_way.pop(place)
            return End(ticket, self.work(part))

    drawn = 0

    def counted(work):
        nonlocal drawn
        for windows in work:
            drawn += 1
            yield windows

    troupe = Troupe(MEMBERS[:1], CONFIG, LEVELS, Slow(set(), 2, None))
    first = next(troupe.forecast(counted(work)))
    assert first.forecasts[0].symbol == "W0"
    assert drawn <= 2 * Slow.workers
    drawn = 0
    troupe._given_up["random_walk"] = "it is gone"
    told_of = next(troupe.forecast(counted(work)))
    assert [f.reason for f in told_of.failures] == ["it is gone"]
    assert drawn <= 2
