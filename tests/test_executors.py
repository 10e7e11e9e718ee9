"""Where work is done: here or in other processes, the same comes of it, and whatever dies leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import closing
from functools import partial
from itertools import count

import pytest

from kronosfw.builtin.notifiers import Webhook
from kronosfw.errors import ConfigError
from kronosfw.executors import InProcess, Outcome, Processes, executor, in_order
from tests.workers import obeying, talking, unmade

BOTH = pytest.mark.parametrize("workers", [1, 2])
CANARY = "canary-5b1d77e0decade"
"""A secret that is to be seen nowhere."""


def outcomes(workers, tasks, make=obeying):
    found = list(executor(workers).map_unordered(make, tasks))
    return sorted(found, key=lambda outcome: outcome.key)


@pytest.fixture(autouse=True)
def _nobody_is_left():
    yield
    assert not multiprocessing.active_children()


def test_one_process_is_this_one():
    assert isinstance(executor(1), InProcess)
    assert executor(3) == Processes(3)


@BOTH
def test_the_same_wherever_it_is_done(workers):
    found = outcomes(workers, [3, "raise", 5, "leave", 7])
    assert [(o.key, o.value and o.value[1], o.error) for o in found] == [
        (0, 9, ""),
        (1, None, "TwoWordedError: no luck"),
        (2, 25, ""),
        (3, None, "SystemExit: I am off"),
        (4, 49, ""),
    ]
    assert ({o.value[0] for o in found if o.value} == {os.getpid()}) == (workers == 1)


@BOTH
def test_without_tasks_nothing_comes(workers):
    assert outcomes(workers, []) == []


@BOTH
def test_what_concerns_all_of_the_work_ends_it(workers):
    with pytest.raises(ConfigError, match="nobody can work like this"):
        outcomes(workers, [1, "config", 2, 3])


def test_a_worker_that_cannot_be_made_ends_it_too():
    with pytest.raises(MemoryError, match="no room"):
        outcomes(1, [1], unmade)
    with pytest.raises(ConfigError, match="another process cannot do the work: MemoryError: no room"):
        outcomes(2, [1, 2, 3], unmade)


def test_one_that_dies_is_tried_again_once_and_the_others_go_on(tmp_path):
    once, always = tmp_path / "once", tmp_path / "always"
    once.write_bytes(bytes(1))
    always.write_bytes(bytes(9))
    found = outcomes(2, [1, once, 2, always, "function", 3, 4])
    assert found[1].value == "alive"
    assert found[3].value is None
    assert found[3].error.startswith("the process that worked on it died twice")
    assert len(always.read_bytes()) == 7
    assert "pickle" in found[4].error, "what cannot be sent here ends no process"
    assert [o.value[1] for o in found if isinstance(o.value, tuple)] == [1, 4, 9, 16]


@BOTH
def test_only_a_few_tasks_are_held_at_a_time(workers):
    held, ended = [], 0

    def tasks():
        for n in range(20):
            held.append(n + 1 - ended)
            yield n

    for _ in executor(workers).map_unordered(obeying, tasks()):
        ended += 1
    assert ended == 20
    assert max(held) <= (1 if workers == 1 else 2 * workers)


def test_in_order_whatever_the_order_in_which_they_end():
    ended = [Outcome(key, str(key)) for key in (2, 0, 1, 4, 3)]
    assert [o.key for o in in_order(ended)] == [0, 1, 2, 3, 4]
    ready = in_order(iter(ended[1:2]))
    assert next(ready).key == 0, "what is next is not kept back"


@BOTH
def test_whoever_leaves_in_the_middle_leaves_no_process_behind(workers):
    with closing(executor(workers).map_unordered(obeying, count())) as found:
        assert next(found).key == 0
        assert len(multiprocessing.active_children()) == (workers if workers > 1 else 0)


def test_what_is_under_way_is_not_waited_for():
    def tasks():
        yield 60.0
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        outcomes(2, tasks())
    assert time.monotonic() - began < 30


def test_the_threads_are_shared_and_what_was_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    (told,) = outcomes(2, ["threads"])
    assert told.value == ("7", str(max((os.cpu_count() or 1) // 2, 1)))
    assert "MKL_NUM_THREADS" not in os.environ


def test_what_is_said_elsewhere_goes_to_stderr_without_secrets(capfd):
    (told,) = outcomes(2, [CANARY], partial(talking, Webhook(url=f"https://host/{CANARY}")))
    assert told.error == "RuntimeError: no luck with ***"
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "so to speak" in shown.err
    assert "WARNING talking: it is ***" in shown.err
    assert CANARY not in shown.err
