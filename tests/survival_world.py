"""Folders as users have them, in which runs can be disturbed: the market, a forecaster and the configuration."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
from sqlalchemy import Engine, event

from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.cli import call
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import FeedConfig, ForecasterConfig
from kronosfw.plugins import Plugins

TODAY, TOMORROW = "2025-03-03", "2025-03-04"
AS_OF = "2025-03-04T00:00:00.000000Z"
"""When the last bar of today is complete."""
SYMBOLS = [*(f"CRYPTO{i:04d}" for i in range(1, 14)), "BTCUSDT"]
REVISED = SYMBOLS[4]
BATCH = 3
CONFIG = f"""\
feed: {{type: growing}}
universe:
  SPY: {{asset_class: equity, forecast: false}}
{"".join(f"  {symbol}: {{asset_class: crypto}}{chr(10)}" for symbol in SYMBOLS)}\
horizon: 1
context: 60
checks: {{min_history: 60}}
encoders: [{{type: macro20, dxy: null, vix: null}}]
forecasters: [{{type: tallied}}, {{type: bootstrap, samples: 50}}]
ensembler: {{type: online}}
calibration: {{trust: 20}}
horizon_buckets: [1]
backtest: {{start: 2025-02-01, end: 2025-02-23}}
"""
MODELS = 4
"""Two members, the ensemble and the calibrated forecast."""
USUAL = f"batch: {BATCH}\nstore_patience: 0.2\n"


class Growing(FeedConfig):
    """The simulated market until the day in the file ``today``; ``revised`` names a symbol whose last bar moved."""

    type: Literal["growing"] = "growing"

    def build(self):
        return GrowingFeed()


class GrowingFeed:
    def __init__(self):
        until = date.fromisoformat(Path("today").read_text())
        self._market = SimulatedFeed(start=date(2024, 11, 1), end=until, count=13).build()
        self._revised = Path("revised").read_text() if Path("revised").exists() else ""

    def bars(self, symbols, freq, span):
        for symbol, frame in self._market.bars(symbols, freq, span):
            if symbol == self._revised:
                frame.loc[frame.index[-1], "close"] *= 1 + 1e-6
            yield symbol, frame

    def facts(self, symbols, span):
        return self._market.facts(symbols, span)


class Tallied(ForecasterConfig):
    """A random walk that notes in ``tally`` what it forecasts, and can be held up (see ``World.hold``)."""

    type: Literal["tallied"] = "tallied"

    def build(self):
        return TalliedForecaster()


class TalliedForecaster:
    max_context = 30

    def forecast(self, windows, levels):
        with suppress(FileNotFoundError):
            while len(Path("tally").read_text().split()) >= int(Path("hold").read_text()):
                Path("held").touch()
                time.sleep(0.01)
        with Path("tally").open("a") as file:
            file.write("".join(f"{window.symbol}\n" for window in windows))
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window, levels):
        sigma = np.diff(np.log(window.bars.close[-30:])).std() * np.sqrt(np.arange(1, window.horizon + 1))
        return window.bars.close[-1] * np.exp(sigma[:, None] * (np.array(levels) - 0.5) * 3)


class Components:
    @hookimpl
    def register_feeds(self):
        return [Growing]

    @hookimpl
    def register_forecasters(self):
        return [Tallied]


@contextmanager
def installed() -> Iterator[None]:
    """Have the feed and the forecaster of these worlds among the plugins installed."""
    plugins = Plugins.installed()
    assert not plugins.add("survival", Components()).problem
    with patch.object(Plugins, "installed", lambda *_, **__: plugins):
        yield


class World:
    """A folder with a configuration, a market and a store."""

    def __init__(self, folder: Path, url: str, more: str = USUAL) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.url = folder, url
        (folder / "config.yaml").write_text(f"{CONFIG}store: {url}\n{more}")
        (folder / "today").write_text(TODAY)
        (folder / "tally").touch()

    def happen(self, change: str) -> None:
        """Let a day pass, or a bar be revised, or nothing be."""
        if change == "grown":
            (self.folder / "today").write_text(TOMORROW)
        elif change == "revised":
            (self.folder / "revised").write_text(REVISED)

    def tally(self) -> list[str]:
        """Return the symbols forecast so far, each time they were."""
        return (self.folder / "tally").read_text().split()

    @contextmanager
    def hold(self, symbols: int, *command: str) -> Iterator[Child]:
        """Begin a command and, once so many symbols were forecast, let it forecast no more in the block."""
        hold = self.folder / "hold"
        hold.write_text(str(symbols))
        child = self.start(*command)
        while not (self.folder / "held").exists():
            time.sleep(0.01)
        yield child
        hold.unlink()

    def said(self) -> str:
        """Return all that commands have said."""
        return (self.folder / "log").read_text()

    def start(self, *arguments: str, prepare: Callable[[], object] = lambda: None) -> Child:
        """Begin a command in a process of its own, which prepares for it in some way."""
        child = os.fork()
        if child:
            return Child(child)
        code = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            sys.stdout = sys.stderr = Path("log").open("a", buffering=1)  # noqa: SIM115
            os.dup2(sys.stderr.fileno(), 1)
            os.dup2(sys.stderr.fileno(), 2)
            prepare()
            code = call([*arguments])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)


def run_here(world: World, command: str) -> None:
    """Run a command in this process, so that those forked from it have at hand what takes long to make."""
    with chdir(world.folder), redirect_stdout(StringIO()):
        assert call([command, "config.yaml"]) == 0


def announce(handle: int) -> None:
    """Write a byte for each statement that this process sends to a database."""

    def tell(*_: object) -> None:
        with suppress(OSError):
            os.write(handle, b".")

    event.listen(Engine, "before_cursor_execute", tell)
    event.listen(Engine, "commit", tell)


@dataclass
class Child:
    """A command under way; its process leads a group of its own."""

    pid: int

    def kill(self, number: int) -> None:
        """Send a signal; nothing happens where the process has ended."""
        os.kill(self.pid, number)

    def code(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def alone(self, seconds: float = 10.0) -> bool:
        """Return whether no process of the group is left, after a while at most."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.01)
        return False
