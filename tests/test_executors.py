"""Where work is done: here or in other processes, the same comes of it, and whatever dies leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronosfw.builtin.notifiers import Webhook
from kronosfw.errors import ConfigError
from kronosfw.executors import Executor, InProcess, Processes, map_unordered
from kronosfw.executors.mapping import MOST_IN_VAIN
from tests.workers import FickleCrew, listing, obeying, talking, unmade

BOTH = pytest.mark.parametrize("workers", [1, 2])
CANARY = "canary-5b1d77e0decade"
"""A secret that is to be seen nowhere."""


def executor(workers) -> Executor:
    return InProcess() if workers == 1 else Processes(workers)


def outcomes(workers, tasks, make=obeying, **how):
    found = list(map_unordered(executor(workers), make, tasks, **how))
    return sorted(found, key=lambda outcome: outcome.key)


@pytest.fixture(autouse=True)
def _nobody_is_left():
    yield
    assert not multiprocessing.active_children()


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
    assert found[3].error.startswith("the process that worked on it died")
    assert [(o.key, o.in_vain, o.lost) for o in found if o.in_vain] == [(1, 1, False), (3, 2, True)]
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

    for _ in map_unordered(executor(workers), obeying, tasks()):
        ended += 1
    assert ended == 20
    assert max(held) <= (1 if workers == 1 else 2 * workers)


def test_one_that_takes_too_long_is_stopped_and_the_others_go_on():
    found = outcomes(2, [1, 60.0, 2, 3], timeout=lambda task: 2.0)
    assert found[1].error == "it took longer than the 2 seconds it may"
    assert (found[1].lost, found[1].in_vain) == (True, 2)
    assert [o.value[1] for o in found if o.value] == [1, 4, 9]


def halved(task):
    middle = len(task) // 2
    return [task[:middle], task[middle:]] if middle else []


def test_what_kills_its_worker_stands_alone_in_the_end():
    tasks = [list(range(20)), [*range(9), "die", *range(9, 15)], [7]]
    found = outcomes(2, tasks, listing, split=halved)
    values = {key: sorted(v for o in found if o.key == key and o.value for v in o.value) for key in range(3)}
    assert values == {0: list(range(20)), 1: list(range(15)), 2: [7]}
    (lost,) = [o for o in found if o.lost]
    assert (lost.key, lost.task) == (1, ["die"])


def test_a_task_of_which_nothing_comes_is_given_up(tmp_path):
    deaths = tmp_path / "deaths"
    deaths.touch()
    found = outcomes(2, [[deaths] * 64, [3]], listing, split=halved)
    assert deaths.stat().st_size == MOST_IN_VAIN
    assert sum(len(o.task) for o in found if o.key == 0 and o.lost) == 64
    assert [o.value for o in found if o.key == 1] == [[3]]


@given(
    lost=st.lists(st.booleans(), max_size=60),
    sizes=st.lists(st.integers(1, 9), max_size=6),
    room=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_everything_ends_once_whatever_is_lost(lost, sizes, room, order):
    """Whichever tries are lost and in whatever order they end: each item has one outcome."""
    crew = FickleCrew(room, iter(lost), order)
    tasks = [[(task, item) for item in range(size)] for task, size in enumerate(sizes)]
    found = list(map_unordered(crew, obeying, tasks, split=halved))
    assert sorted(item for o in found for item in o.task) == sorted(item for task in tasks for item in task)
    assert all((o.value is None) == o.lost and o.value in (None, o.task) for o in found)
    assert all(o.key == task for o in found for task, _ in o.task)
    assert crew.most <= room
    assert crew.closed or not tasks


@BOTH
def test_whoever_leaves_in_the_middle_leaves_no_process_behind(workers):
    with closing(map_unordered(executor(workers), obeying, count())) as found:
        first = next(found)
        assert first.value[1] == first.key**2
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


def test_a_worker_that_leaves_in_silence_is_lost_too():
    """Whatever code it ends with, and whether or not it was at a task."""
    found = outcomes(2, [1, "exit", 2, 3])
    assert found[1].error == "the process that worked on it died: exit code 0"
    assert [o.value[1] for o in found if o.value] == [1, 4, 9]
    with closing(map_unordered(executor(1 + 1), obeying, [*range(8), 0.5, *range(8)])) as ends:
        next(ends)
        for idle in multiprocessing.active_children()[:1]:
            os.kill(idle.pid, signal.SIGKILL)
        assert len(list(ends)) == 16


def test_what_a_worker_raises_or_sends_is_its_own_affair():
    found = outcomes(2, [1, "interrupt", "bomb", "generator", 2])
    assert [o.error for o in found if o.error] == [
        "KeyboardInterrupt: no message",
        "RuntimeError: unfit to be received",
        "GeneratorExit: no message",
    ]
    assert [o.value[1] for o in found if o.value] == [1, 4]


def test_what_cannot_be_sent_ends_the_work_at_once():
    with pytest.raises(ConfigError, match="what the work needs cannot be sent to another process"):
        outcomes(2, [1], lambda: obeying)


def test_nobody_stays_behind_a_process_that_was_killed(tmp_path):
    """A worker at a long task ends with the process that it works for."""
    code = (
        "from tests.workers import obeying; from kronosfw.executors import Processes, map_unordered\n"
        "ends = map_unordered(Processes(1), obeying, [1, 600.0])\n"
        "print(next(ends).value[0], flush=True)\n"
        "next(ends)\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    driver.stdout.close()
    for _ in range(200):
        if not alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError("the worker is still there")


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_is_said_elsewhere_goes_to_stderr_without_secrets(capfd):
    (told,) = outcomes(2, [CANARY], partial(talking, Webhook(url=f"https://host/{CANARY}")))
    assert told.error == "RuntimeError: no luck with ***"
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "so to speak" in shown.err
    assert "WARNING talking: it is ***" in shown.err
    assert CANARY not in shown.err
