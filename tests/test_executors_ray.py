"""Work on a Ray cluster of several nodes on this machine, which are killed: the same comes of it."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytest

from kronosfw.builtin.notifiers import Webhook
from kronosfw.config import RayOptions
from kronosfw.errors import ConfigError, Interrupted
from kronosfw.executors import InProcess, actor, actors, head, map_unordered
from kronosfw.executors.cluster import Cluster, _as_it_was
from kronosfw.pipeline import run
from tests.made_up import stored
from tests.ray_workers import Roams, placed, unwilling
from tests.workers import talking

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

TOKEN = "token-0b7a1d77e0decade0123456789abcdef"
CANARY = "canary-5b1d77e0decade"
MEMORY = 80 << 20
"""Bytes of shared memory that a node needs at least."""


class Nodes:
    """A cluster whose head does no work, and whose other nodes have one processor each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as OneMachine

        self._cluster = OneMachine(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False},
        )
        self.address = self._cluster.address
        self.working = []

    def add(self, many: int) -> None:
        self.working += [
            self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY, wait=False) for _ in range(many)
        ]
        self._cluster.wait_for_nodes()

    def kill(self) -> None:
        """Kill all processes of a node."""
        self._cluster.remove_node(self.working.pop(), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@pytest.fixture(scope="module")
def cluster():
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
        _as_it_was(),
    ):
        for name, value in {**SETTINGS, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        with closing(Nodes()) as nodes:
            yield nodes


@pytest.fixture
def nodes(cluster):
    cluster.add(2 - len(cluster.working))
    yield cluster
    import ray

    assert not ray.is_initialized()


def on(nodes, **options):
    return Cluster(RayOptions(address=nodes.address, token=TOKEN, **options))


def outcomes(nodes, tasks, make=placed, *, how=None, **options):
    found = list(map_unordered(on(nodes, **options), make, tasks, **(how or {})))
    return sorted(found, key=lambda outcome: outcome.key)


def test_there_is_an_actor_for_each_place(nodes):
    assert on(nodes).workers == 2
    assert on(nodes, cpus=0.5).workers == 4
    assert on(nodes, workers=7).workers == 7
    with pytest.raises(ConfigError, match="no node of the Ray cluster has 1 CPUs and 1 GPUs"):
        _ = on(nodes, gpus=1).workers


def test_the_same_as_here_by_those_that_there_is_room_for(nodes):
    tasks = [3, "raise", 5, "leave", 7, bytes(2_000_000)]
    *found, threads = outcomes(nodes, [*tasks, "threads"], workers=5)
    here = map_unordered(InProcess(), placed, tasks)
    assert [(o.key, o.error) for o in found] == [(o.key, o.error) for o in here]
    assert [o.value[1] for o in found if isinstance(o.value, tuple)] == [9, 25, 49]
    assert found[-1].value == 2_000_000
    assert threads.value == "1"


def test_an_actor_that_dies_is_replaced(nodes, tmp_path):
    once = tmp_path / "once"
    once.write_bytes(bytes(1))
    always = tmp_path / "always"
    always.write_bytes(bytes(9))
    *found, dead = outcomes(nodes, [1, "function", once, 2, 3, always])
    assert "pickle" in found[1].error, "what cannot be sent here ends no process"
    assert found[2].value == "alive"
    assert [o.value[1] for o in found if isinstance(o.task, int)] == [1, 4, 9]
    assert (dead.error, dead.lost) == ("the actor that worked on it died: its worker process has died", True)
    assert len(always.read_bytes()) < 9


def test_what_takes_too_long_is_stopped_and_what_waited_behind_it_is_not_lost(nodes):
    def timeout(task):
        return 0.5 if isinstance(task, float) else None

    found = outcomes(nodes, [600.0, 1, 2, 3], workers=1, how={"timeout": timeout})
    assert found[0].lost
    assert found[0].error == "it took longer than the 0.5 seconds it may"
    assert [(o.value[1], o.in_vain) for o in found[1:]] == [(1, 0), (4, 0), (9, 0)]


def test_an_actor_that_falls_silent_is_given_up(nodes, monkeypatch, tmp_path):
    monkeypatch.setattr(actor, "_PULSE", 0.2)
    monkeypatch.setattr(actor, "_SILENCE", 1.0)
    once = tmp_path / "once"
    once.touch()
    silent, busy = outcomes(nodes, [("silence", once), 2.5])
    assert (silent.value, silent.in_vain) == ("heard", 1)
    assert (busy.error, busy.in_vain) == ("", 0), "one that is busy does answer"


def test_a_head_that_does_not_answer_is_not_waited_for(nodes, monkeypatch):
    monkeypatch.setattr(head, "_EVERY", 0.2)
    with closing(on(nodes).crew(placed)) as crew:
        crew.begin(0, 1, None)
        assert crew.end().value[1] == 1
        crew.begin(1, 600.0, None)
        crew._head.address = "127.0.0.1:1"
        with pytest.raises(Interrupted, match="the Ray cluster does not answer any more; run again to finish"):
            crew.end()


def test_what_concerns_all_of_the_work_ends_it(nodes, monkeypatch):
    with pytest.raises(ConfigError, match=r"^nobody can work like this$"):
        outcomes(nodes, [1, "config", 2, 3])
    with pytest.raises(ConfigError, match=r"^another process cannot do the work: nobody can work like this$"):
        outcomes(nodes, [1, 2], unwilling)
    monkeypatch.setattr(unwilling, "__module__", "a_module_of_mine")
    monkeypatch.setitem(sys.modules, "a_module_of_mine", sys.modules[placed.__module__])
    with pytest.raises(ConfigError, match=r"^a node of the Ray cluster cannot do the work: .*a_module_of_mine"):
        outcomes(nodes, [1, 2], unwilling)


def test_without_room_it_does_not_wait_for_ever(nodes, monkeypatch):
    monkeypatch.setattr(actors, "_PATIENCE", 0.5)
    with pytest.raises(ConfigError, match=r"started no worker within 0\.5 seconds"):
        outcomes(nodes, [1, 2], workers=2, cpus=16)


def test_what_is_said_there_is_told_on_stderr_without_secrets(nodes, capfd):
    (told,) = outcomes(nodes, [CANARY], partial(talking, Webhook(url=f"https://host/{CANARY}")))
    assert told.error == "RuntimeError: no luck with ***"
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.count("so to speak\n") == shown.err.count("WARNING talking: it is ***\n") == 1
    assert CANARY not in shown.err
    logs = [path.read_text(errors="replace") for path in Path(os.environ["RAY_TMPDIR"]).rglob("logs/worker*")]
    assert any("it is ***" in text for text in logs)
    assert not any(CANARY in text or TOKEN in text for text in logs)


def test_it_is_spread_over_the_nodes_and_leaves_no_process_behind_and_this_one_as_it_was(nodes):
    def asked(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, asked)
    try:
        factory, hook, environment = logging.getLogRecordFactory(), sys.excepthook, dict(os.environ)
        with closing(map_unordered(on(nodes), placed, chain([1], repeat("node")))) as found:
            there = Path(f"/proc/{next(found).value[0]}")
            assert there.exists()
            places = set()
            while len(places) < 2:
                places.add(next(found).value)
            assert signal.getsignal(signal.SIGTERM) is asked
            assert dict(os.environ) == environment
        assert (logging.getLogRecordFactory(), sys.excepthook) == (factory, hook)
    finally:
        signal.signal(signal.SIGTERM, before)
    ends = time.monotonic() + 30
    while there.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not there.exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("somewhere", "Invalid address format"),
    ],
)
def test_where_no_cluster_is_one_is_told_at_once(cluster, address, why):
    with pytest.raises(ConfigError, match=f"no Ray cluster at {address}: {why}.*; start one with `ray start"):
        _ = Cluster(RayOptions(address=address)).workers


def test_without_ray_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[ray\]'"):
        _ = Cluster(RayOptions()).workers


def test_a_cluster_with_a_token_takes_in_nobody_with_another(nodes):
    code = (
        "from kronosfw.executors.cluster import Cluster; from kronosfw.config import RayOptions\n"
        f"try: Cluster(RayOptions(address='{nodes.address}', token='{CANARY}')).workers\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare, timeout=60)
    assert told.stdout.startswith(f"ConfigError the Ray cluster at {nodes.address} does not take this process in")
    assert CANARY not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_a_run_stores_the_same_though_a_node_is_killed_in_the_middle(nodes, configure, plugins, tmp_path, capfd):
    assert not plugins.add("roams", Roams()).problem
    traces = tmp_path / "traces"
    traces.mkdir()
    changes = {"forecasters": f"[{{type: roaming, traces: '{traces}'}}, {{type: random_walk}}]", "batch": "2"}
    whole = run(configure(**changes), plugins)
    expected = numbers(stored(tmp_path))
    (tmp_path / "results.db").unlink()
    killed = False

    def progress(stage, done, total):
        nonlocal killed
        if not killed and len(list(traces.iterdir())) == 3:
            nodes.kill()
            killed = True

    there = f"{{type: ray, address: '{nodes.address}', token: {TOKEN}}}"
    report = run(configure(**changes, executor=there), plugins, progress=progress)
    assert killed
    assert numbers(stored(tmp_path)) == expected
    assert (report.exit_code, report.run_id) == (whole.exit_code, whole.run_id) == (0, whole.run_id)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err


def numbers(rows):
    return sorted(tuple(repr(row[key]) for key in row if key != "created_at") for row in rows)
