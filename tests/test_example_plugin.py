"""The example plugin, installed from its folder into an environment of its own and used as a stranger would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from kronosfw.store import Store

EXAMPLE = Path(__file__).parents[1] / "examples" / "kronosfw-ewma"
CONTRACTS = 15
"""Fewest tests that ForecasterContract holds."""

pytestmark = pytest.mark.skipif(
    find_spec("kronosfw_ewma") is not None, reason="kronosfw-ewma is installed here already; uninstall it"
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees what is installed here, and a folder to work in."""

    python: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._call(str(self.python), "-m", *arguments)

    def pip(self, command: str, *arguments: str) -> None:
        result = self._call(sys.executable, "-m", "pip", "--python", str(self.python), command, *arguments)
        assert result.returncode == 0, result.stderr

    def install(self) -> None:
        copy = self.folder / "source"
        shutil.copytree(EXAMPLE, copy, dirs_exist_ok=True)
        self.pip("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", str(copy))

    def uninstall(self) -> None:
        self.pip("uninstall", "--quiet", "--yes", "kronosfw-ewma")

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "PYTEST"))
        }
        environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        return subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with the example installed."""
    folder = tmp_path_factory.mktemp("stranger")
    home = folder / "env"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    paths = {name: sysconfig.get_path(name, "venv", {"base": str(home)}) for name in ("purelib", "scripts")}
    ours = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    lines = [f"import site; site.addsitedir({path!r})" for path in ours]
    Path(paths["purelib"], "ours.pth").write_text("\n".join(lines), "utf-8")
    shutil.copy(EXAMPLE / "ewma.yaml", folder)
    made = Environment(Path(paths["scripts"], "python"), folder)
    made.install()
    return made


def test_is_listed(environment: Environment) -> None:
    result = environment.run("kronosfw", "plugins", "--json")
    assert result.returncode == 0, result.stderr
    (plugin,) = (p for p in json.loads(result.stdout)["plugins"] if p["name"] == "ewma")
    assert plugin == {
        "name": "ewma",
        "distribution": "kronosfw-ewma",
        "version": "0.1.0",
        "problem": None,
        "components": {"forecaster": ["ewma"]},
    }


def test_runs_and_stores(environment: Environment) -> None:
    result = environment.run("kronosfw", "run", "ewma.yaml")
    assert result.returncode == 0, result.stderr
    with Store(f"sqlite:///{environment.folder / 'ewma.db'}") as store:
        rows = store.predictions(model_name="ewma")
    assert {(row["symbol"], row["step"]) for row in rows} == {
        (symbol, step) for symbol in ("BTCUSDT", "SPY") for step in range(1, 6)
    }
    assert all(row["p10"] < row["p50"] < row["p90"] for row in rows)
    assert all(row["model_version"].startswith("0.1.0+") for row in rows)


def test_keeps_its_contract(environment: Environment) -> None:
    result = environment.run("pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "source")
    assert result.returncode == 0, result.stdout
    assert int(result.stdout.splitlines()[-1].split()[0]) >= CONTRACTS


def test_without_it_the_type_is_named(environment: Environment) -> None:
    environment.uninstall()
    try:
        result = environment.run("kronosfw", "check", "ewma.yaml")
    finally:
        environment.install()
    assert result.returncode == 2
    assert "there is no forecaster 'ewma'" in result.stderr
    assert "ewma.yaml:8:" in result.stderr
    assert not result.stdout
