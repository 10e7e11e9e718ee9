"""Plugins are found, and those that cannot be used harm nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig
from kronosfw.plugins import Plugins

GOOD = '''
from typing import Literal
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig

class Mine(ForecasterConfig):
    """Mine."""
    type: Literal["{type}"] = "{type}"

@hookimpl
def register_forecasters():
    return [Mine]
'''
COMMAND = """
import click
from kronosfw.hookspec import hookimpl

@hookimpl
def register_commands(cli):
    @cli.command("greet")
    def greet():
        "Say hello."
        click.echo("hello")
"""


def install(folder: Path, name: str, source: str, group: str = "kronosfw.v1") -> None:
    """Put a distribution with one entry point into a folder of the path."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name.removeprefix('kronosfw-')} = {module}\n")


def kronosfw(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from kronosfw.cli import call; sys.exit(call(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


LAZY = GOOD.replace('Literal["{type}"] = "{type}"', 'str = "{type}"')
FORWARD = GOOD.replace("    type:", "    mood: 'NoSuchType'\n    type:")
WEIGHTS = GOOD.replace("    type:", "    weights = 'MIT'\n    type:")


@pytest.fixture
def broken(tmp_path):
    """An environment with plugins that cannot be used and one that can."""
    install(tmp_path, "kronosfw-raises", "raise RuntimeError('no such device')")
    install(tmp_path, "kronosfw-leaves", "import sys; sys.exit(3)")
    install(tmp_path, "kronosfw-twin", GOOD.format(type="random_walk"))
    install(tmp_path, "kronosfw-next", GOOD.format(type="tomorrow"), "kronosfw.v2")
    install(tmp_path, "kronosfw-typo", GOOD.replace("register_forecasters", "register_forcasters"))
    install(tmp_path, "kronosfw-odd", GOOD.replace("[Mine]", "[int]"))
    install(tmp_path, "kronosfw-lazy", LAZY.format(type="lazy"))
    install(tmp_path, "kronosfw-forward", FORWARD.format(type="forward"))
    install(tmp_path, "kronosfw-weights", WEIGHTS.format(type="weights"))
    install(tmp_path, "kronosfw-good", GOOD.format(type="good"))
    return tmp_path


def test_each_broken_plugin_is_listed_with_its_reason(broken):
    result = kronosfw(broken, "plugins", "--json")
    assert result.returncode == 0, result.stderr
    listed = json.loads(result.stdout)
    found = {p["distribution"]: p for p in listed["plugins"]}
    assert "RuntimeError: no such device" in found["kronosfw-raises"]["problem"]
    assert "SystemExit" in found["kronosfw-leaves"]["problem"]
    assert "made for kronosfw.v2" in found["kronosfw-next"]["problem"]
    assert "register_forcasters" in found["kronosfw-typo"]["problem"]
    assert "needs `type: Literal" in found["kronosfw-lazy"]["problem"]
    assert "NoSuchType" in found["kronosfw-forward"]["problem"]
    assert "weights is a str, not Weights" in found["kronosfw-weights"]["problem"]
    assert "not a ForecasterConfig" in found["kronosfw-odd"]["problem"]
    assert found["kronosfw-good"] == {
        "name": "good",
        "distribution": "kronosfw-good",
        "version": "1.2",
        "problem": None,
        "components": {"forecaster": ["good"]},
    }
    (conflict,) = listed["conflicts"]
    assert "forecaster 'random_walk' is registered by kronosfw and kronosfw-twin" in conflict
    shown = kronosfw(broken, "plugins").stdout
    assert all(reason in shown for reason in ("no such device", "kronosfw.v2", "conflict", "drift"))


def test_everything_else_still_works(broken):
    assert kronosfw(broken, "init").returncode == 0
    path = broken / "kronosfw.yaml"
    text = path.read_text().replace("{type: random_walk}", "{type: drift}")
    path.write_text(text)
    result = kronosfw(broken, "run", "kronosfw.yaml", "--symbols", "SPY")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        ("raises", "kronosfw-raises is installed but failed to load: RuntimeError: no such device"),
        ("next", "kronosfw-next is installed but made for kronosfw.v2"),
        ("tide", "there is no forecaster 'tide'; installed are: "),
        ("tide", "kronosfw-raises, kronosfw-typo, kronosfw-weights cannot be used, see `kronosfw plugins`"),
        ("random_walk", "'random_walk' is registered by both kronosfw and kronosfw-twin; keep one"),
    ],
)
def test_a_config_that_names_a_broken_one_is_told_so(broken, type_, message):
    kronosfw(broken, "init")
    path = broken / "kronosfw.yaml"
    path.write_text(path.read_text().replace("type: random_walk", f"type: {type_}"))
    result = kronosfw(broken, "check", "kronosfw.yaml")
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plugin_that_takes_anothers_name_harms_nobody(tmp_path):
    """Its entry point is called as ours is, and comes first or fails."""
    install(tmp_path, "kronosfw-builtin", "raise RuntimeError('not me')")
    install(tmp_path, "aaa", GOOD.format(type="mine"))
    entry = tmp_path / "aaa-1.2.dist-info" / "entry_points.txt"
    entry.write_text("[kronosfw.v1]\nbuiltin = aaa\n")
    listed = json.loads(kronosfw(tmp_path, "plugins", "--json").stdout)
    assert [(p["distribution"], bool(p["problem"])) for p in listed["plugins"] if p["name"] == "builtin"] == [
        ("aaa", False),
        ("kronosfw", False),
        ("kronosfw-builtin", True),
    ]
    kronosfw(tmp_path, "init")
    assert kronosfw(tmp_path, "check", "kronosfw.yaml").returncode == 0


def test_a_conflict_of_namesakes_is_settled_by_distribution(tmp_path):
    for name in ("one-ewma", "two-ewma"):
        install(tmp_path, name, GOOD.format(type="ewma"))
        module = name.replace("-", "_")
        (tmp_path / f"{module}-1.2.dist-info" / "entry_points.txt").write_text(f"[kronosfw.v1]\newma = {module}\n")
    kronosfw(tmp_path, "init")
    path = tmp_path / "kronosfw.yaml"
    path.write_text(path.read_text().replace("type: random_walk", "type: ewma"))
    result = kronosfw(tmp_path, "check", "kronosfw.yaml")
    assert result.returncode == 2
    assert "'ewma' is registered by both one-ewma and two-ewma" in result.stderr
    advice = re.search(r"plugins: \{disable: \[[^]]*\]\}", result.stderr)[0]
    path.write_text(f"{path.read_text()}\n{advice}\n")
    result = kronosfw(tmp_path, "check", "kronosfw.yaml")
    assert result.returncode == 0, result.stderr


def test_disabling_settles_a_conflict(broken):
    kronosfw(broken, "init")
    with (broken / "kronosfw.yaml").open("a") as file:
        file.write("plugins: {disable: [twin]}\n")
    result = kronosfw(broken, "check", "kronosfw.yaml")
    assert result.returncode == 0, result.stderr


def test_a_plugin_adds_a_command(tmp_path):
    install(tmp_path, "kronosfw-greet", COMMAND)
    assert kronosfw(tmp_path, "greet").stdout == "hello\n"
    assert "Say hello." in kronosfw(tmp_path, "--help").stdout


def test_listing_loads_nothing_heavy():
    code = (
        "import sys; from kronosfw.cli import call\n"
        "for arguments in (['--help'], ['plugins']): call(arguments)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'sqlalchemy', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_observers_cannot_break_anything(caplog):
    seen = []
    plugins = Plugins()

    class Rude:
        @hookimpl
        def before_run(self, run):
            raise RuntimeError("rude")

    class Leaver:
        @hookimpl
        def before_run(self, run):
            raise SystemExit(9)

    class Polite:
        @hookimpl
        def before_run(self, run):
            seen.append(run)

    for name, plugin in (("a", Rude()), ("b", Leaver()), ("c", Polite())):
        assert not plugins.add(name, plugin).problem
    for _ in range(3):
        plugins.notify("before_run", run="the run")
    assert seen == ["the run"] * 3
    assert [r.message for r in caplog.records] == [
        "plugin a failed in before_run: RuntimeError: rude",
        "plugin b failed in before_run: SystemExit: 9",
    ], "once, however often it happens"


def test_order_of_installation_plays_no_part():
    class One(ForecasterConfig):
        """One."""

        type: Literal["one"] = "one"

    class Two(ForecasterConfig):
        """Two."""

        type: Literal["two"] = "two"

    class Plugin:
        def __init__(self, cls):
            self.cls = cls

        @hookimpl
        def register_forecasters(self):
            return [self.cls]

    def loaded(*order):
        plugins = Plugins()
        for cls in order:
            assert not plugins.add(cls.__name__, Plugin(cls)).problem
        return list(plugins.components["forecaster"].items())

    assert loaded(One, Two) == loaded(Two, One) == [("one", One), ("two", Two)]
