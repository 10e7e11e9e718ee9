"""Training: market → examples → trainer → snapshots → a new version of a forecaster's weights.

What a training depends on makes a digest, and with it the folder that it works in and the version that it ends in:
the same command goes on where a killed one stopped, and finds the version where there is one already.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import __version__, checkpoints
from .checkpoints import Shelf, select
from .checks import DataReport
from .config import Config, Training
from .encoding import build_encoders, leaders_of, lookback_of
from .errors import DONE, PARTIAL, ConfigError, DataError, Interrupted, PluginError, did_you_mean
from .examples import Examples, Extent, at_midnight, split
from .files import locked
from .interfaces import EventEncoder, Trainer, TrainerConfig
from .isolation import required
from .learning import follow, follows, learn
from .manifest import digest
from .pipeline import silent
from .plugins import Plugins
from .reading import Failure, Market, Progress, as_moment, listed, present, read, read_facts, stretch
from .snapshots import JOURNAL, Journal, Record
from .types import Checkpoint, Moment, moment
from .windows import Cutter

_BEGINNING = moment("1900-01-01")
"""Facts go back as far for every symbol, whichever others are read beside it."""
_PUBLISHED_WITHIN = 600
"""Seconds that a process waits for the one that leads to publish."""
_REFINED = "refined"
LOGS = "logs"
"""What a trainer writes below this folder is kept with the version."""


@dataclass(frozen=True)
class TrainReport:
    """What came of a training."""

    version: str
    path: Path
    """The folder of the version."""
    asset_class: str | None
    """None for the pooled base."""
    forecaster: str
    """Type of the forecaster that the weights belong to."""
    serves: bool
    """Whether the checkpoint policy would serve it rather than others of its class, or of the pooled ones."""
    trained: bool
    """False where the version was there already."""
    snapshots: tuple[Record, ...]
    best: Record
    train: tuple[Extent, ...]
    validation: tuple[Extent, ...]
    data: Mapping[str, DataReport]
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """The exit code that the command ends with."""
        return PARTIAL if self.failures else DONE


@dataclass(frozen=True)
class Finish:
    """How a training ends whose version is to be judged before it may serve."""

    day: str
    """Date that the name of the version begins with."""
    inputs: Mapping[str, Any]
    """What ``refine`` depends on, as plain values."""
    refine: Callable[[Path, Path], tuple[Path, Mapping[str, Any]]]
    """(best snapshot, a folder that is not there yet) → what is published and what the manifest tells of it."""


@dataclass(frozen=True)
class _Task:
    """What is to be trained, from a configuration that has all it takes."""

    config: Config
    trainer: TrainerConfig
    training: Training
    root: Path
    start: Path | None
    symbols: tuple[str, ...]

    @property
    def context(self) -> int:
        return self.trainer.context or self.config.context

    @property
    def horizon(self) -> int:
        return self.trainer.horizon or self.config.horizon

    @property
    def what(self) -> str:
        return f"trainer {self.trainer.type}"


@dataclass(frozen=True)
class _Place:
    """Where a training works and where its version gets, from a digest of all that the weights depend on."""

    identity: str
    work: Path
    shelf: Shelf

    @classmethod
    def of(cls, task: _Task, asset_class: str | None, identity: str, shelf: Shelf) -> _Place:
        return cls(identity, task.root / "training" / f"{asset_class or 'base'}-{identity}", shelf)

    @property
    def lock(self) -> Path:
        return self.work.with_name(f".{self.work.name}.lock")

    def version(self) -> Path | None:
        """Return the version if it is there."""
        return next(self.shelf.versions.glob(f"*-{self.identity}"), None)


def train(
    config: Config,
    plugins: Plugins,
    *,
    asset_class: str | None = None,
    start: Path | None = None,
    as_of: datetime | str | None = None,
    finish: Finish | None = None,
    progress: Progress = silent,
) -> TrainReport:
    """Train on the symbols of the configuration, or of one asset class, and publish the best snapshot.

    ``start`` is a folder with weights to go on from; None is the base. Raises ConfigError for a user's mistake,
    PluginError where trainer or encoder break their contract, DataError where there is not enough to learn from and
    Interrupted if ``progress`` does, or where another process trains the same. Training again with the same inputs
    goes on where it stopped, and where it ended finds the version. The first version of all becomes the active one;
    with ``finish`` a version is a candidate, which somebody has to judge.
    """
    began = datetime.now(UTC)
    task = _task(config, plugins, asset_class, start)
    trainer: Trainer = required(task.trainer.build, task.what)
    encoders = build_encoders(config)
    market = _read(task, encoders, as_of or config.as_of, progress)
    examples = _examples(task, market, encoders, progress)
    inputs = _inputs(task, plugins, examples, finish)
    shelf = Shelf(task.root, asset_class)
    place = _Place.of(task, asset_class, digest(inputs, 12), shelf)
    try:
        there = place.version()
        if there:
            version = there
        elif follows():
            version = _follow(task, trainer, examples, place)
        else:
            version = _make(task, trainer, examples, inputs, place, market.cutoff, finish, progress)
        if not follows():
            shutil.rmtree(place.work, ignore_errors=True)
            place.lock.unlink(missing_ok=True)
            if finish is None and shelf.active is None:
                shelf.promote(
                    version.name, event="activated", at=datetime.now(UTC), reason="it is the first version"
                )
        journal = Journal(version)
    except BlockingIOError:
        raise Interrupted(f"another process trains the same, in {place.work}") from None
    except OSError as error:
        raise ConfigError(f"checkpoint_root {task.root}: {error.strerror or error}") from error
    return TrainReport(
        version=version.name,
        path=version,
        asset_class=asset_class,
        forecaster=task.trainer.forecaster,
        serves=_serves(task, shelf, version),
        trained=there is None,
        snapshots=tuple(journal.records),
        best=journal.best,
        train=tuple(examples[0].extents()),
        validation=tuple(examples[1].extents()),
        data=market.reports,
        failures=tuple(market.failures),
        seconds=(datetime.now(UTC) - began).total_seconds(),
    )


def _task(config: Config, plugins: Plugins, asset_class: str | None, start: Path | None) -> _Task:
    """Return what is to be trained; raises ConfigError where the configuration does not say."""
    trainer, training, root = config.trainer, config.training, config.checkpoint_root
    if trainer is None or training is None or root is None:
        lines = {
            "trainer: {type: …}": trainer,
            "training: {validate_from: 2025-01-01}": training,
            "checkpoint_root: checkpoints": root,
        }
        lacking = " and ".join(f"`{line}`" for line, given in lines.items() if given is None)
        raise ConfigError(f"there is nothing to train without {lacking} in the configuration")
    if not trainer.forecaster:
        raise PluginError(
            f"trainer {trainer.type}: {type(trainer).__name__} does not say whose weights it makes; its author has "
            'to give it `forecaster: ClassVar[str] = "…"`, the type of a forecaster'
        )
    if trainer.forecaster not in plugins.components["forecaster"]:
        raise PluginError(
            f"trainer {trainer.type} makes weights of the forecaster '{trainer.forecaster}', which is not installed"
        )
    classes = {symbol: config.universe[symbol].asset_class for symbol in config.forecast_symbols}
    symbols = tuple(symbol for symbol, name in classes.items() if asset_class in (None, name))
    if not symbols:
        raise ConfigError(
            f"no symbol to forecast is of the asset class '{asset_class}'"
            f"{did_you_mean(str(asset_class), classes.values())}"
        )
    if start is not None:
        _check_start(start, trainer)
    return _Task(config, trainer, training, root, start, symbols)


def _check_start(start: Path, trainer: TrainerConfig) -> None:
    """Refuse a folder that holds no weights to go on from, or those of another forecaster."""
    if not start.is_dir() or not any(start.iterdir()):
        raise ConfigError(f"{start}: there are no weights to start from")
    if (start / checkpoints.MANIFEST).exists():
        owner = _read_start(start).forecaster
        if owner != trainer.forecaster:
            raise ConfigError(
                f"{start} holds weights of {owner}, trainer {trainer.type} makes {trainer.forecaster}'s"
            )


def _read_start(start: Path) -> Checkpoint:
    """Return what a version to go on from says of itself; raises ConfigError."""
    try:
        return checkpoints.read(start, None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{start / checkpoints.MANIFEST}: cannot be understood: {error}") from None


def _read(task: _Task, encoders: Sequence[EventEncoder], as_of: datetime | str, progress: Progress) -> Market:
    """Read the symbols and the leaders; raises DataError where a leader cannot be used."""
    config, training = task.config, task.training
    leaders = leaders_of(encoders)
    first = None
    if training.start is not None:
        first = at_midnight(training.start) - stretch(task.context + lookback_of(encoders), config.freq)
    until = _until(training, as_of)
    market = read(config, list(dict.fromkeys([*task.symbols, *leaders])), until, progress, start=first)
    lost = [failure for failure in market.failures if failure.symbol in leaders]
    if lost:
        raise DataError(f"the encoders cannot do without their leaders:{listed(lost)}")
    return market


def _until(training: Training, as_of: datetime | str) -> datetime | str:
    """Return the moment up to which bars are read."""
    if training.until is None:
        return as_of
    until = datetime(training.until.year, training.until.month, training.until.day, tzinfo=UTC)
    if isinstance(as_of, datetime):
        return min(as_of, until)
    return until if as_moment(until) <= present() else as_of


def _examples(
    task: _Task, market: Market, encoders: Sequence[EventEncoder], progress: Progress
) -> tuple[Examples, Examples]:
    """Cut the examples to train and to validate with; raises DataError where there are too few."""
    config = task.config
    facts = read_facts(config, list(market.bars), _BEGINNING, market.cutoff, market.calendar) if encoders else []
    cutter = replace(Cutter.of(config, task.context, encoders, facts, market.bars), horizon=task.horizon)
    mine = {symbol: market.bars[symbol] for symbol in task.symbols if symbol in market.bars}
    examples = required(lambda: split(cutter, mine, config.universe, task.training, progress), "encoders")
    used = {symbol for part in examples for symbol in part.symbols}
    for symbol, bars in mine.items():
        if symbol not in used:
            text = (
                f"{symbol}: none of its {len(bars):,} bars has {task.context} of context and {task.horizon} to come"
            )
            market.failures.append(Failure(symbol, "window", text))
    if len(used) < max(config.min_symbols * len(task.symbols), 1):
        raise DataError(
            f"{len(used)} of {len(task.symbols)} symbols can be learned from, min_symbols is "
            f"{config.min_symbols:g}{listed(market.failures)}"
        )
    for part, what, way_out in zip(examples, ("train", "validate"), ("a later", "an earlier"), strict=True):
        if not len(part):
            raise DataError(
                f"there is no example to {what} with: bars reach up to {str(market.cutoff)[:16]} UTC, "
                f"training.validate_from is {task.training.validate_from}; give {way_out} date or more bars"
            )
    return examples


def _serves(task: _Task, shelf: Shelf, version: Path) -> bool:
    """Tell whether the checkpoint policy of the configuration chooses a version among those of its shelf."""
    options = task.config.checkpoints
    if options is None:
        return False
    policy = required(options.build, f"checkpoint policy {options.type}")
    name = shelf.asset_class or task.config.universe[task.symbols[0]].asset_class
    chosen = select(policy, name, [c for c in shelf.checkpoints() if c.forecaster == task.trainer.forecaster])
    return chosen is not None and chosen.path == version


def _inputs(
    task: _Task, plugins: Plugins, examples: tuple[Examples, Examples], finish: Finish | None
) -> dict[str, Any]:
    """Return all that the weights depend on, as plain values."""
    config = task.config
    return {
        "trainer": {**task.trainer.model_dump(mode="json"), "release": plugins.release(type(task.trainer))},
        "training": task.training.model_dump(mode="json"),
        "symbols": [part.symbols for part in examples],
        "encoders": [e.model_dump(mode="json") for e in config.encoders],
        "freq": config.freq,
        "context": task.context,
        "horizon": task.horizon,
        "seed": config.seed,
        "data": [part.fingerprint() for part in examples],
        "inputs": dict(required(task.trainer.inputs, task.what)),
        "finish": finish and dict(finish.inputs),
        "parent": None
        if task.start is None
        else f"{task.start.name}@{digest(checkpoints.contents(task.start), 12)}",
    }


def _manifest(
    task: _Task, inputs: Mapping[str, Any], examples: tuple[Examples, Examples], best: Record
) -> dict[str, Any]:
    """Return what a version says of itself."""
    extents = [extent for part in examples for extent in part.extents()]
    inherited = (
        task.start and (task.start / checkpoints.MANIFEST).exists() and _read_start(task.start).trained_until
    )
    until = max(extent.last for extent in extents)
    return {
        "forecaster": task.trainer.forecaster,
        "metrics": {name: value for name, value in best.metrics.items() if value is not None},
        **inputs,
        "train": {
            "from": f"{min(extent.first for extent in extents)}Z",
            "until": f"{max(until, inherited or until)}Z",
            "validate_from": task.training.validate_from.isoformat(),
            "examples": {"train": len(examples[0]), "validation": len(examples[1])},
            "step": best.step,
        },
        "kronosfw": __version__,
    }


def _make(
    task: _Task,
    trainer: Trainer,
    examples: tuple[Examples, Examples],
    inputs: Mapping[str, Any],
    place: _Place,
    cutoff: Moment,
    finish: Finish | None,
    progress: Progress,
) -> Path:
    """Train, publish and return the version; raises BlockingIOError where another process is at it, and OSError."""
    place.work.mkdir(parents=True, exist_ok=True)
    with locked(place.lock), _tidied(place):
        version = place.version()
        if version is None:
            journal = Journal(place.work)
            snapshots = iter(trainer.train(*examples, task.start, journal.folder))
            learn(task.what, snapshots, journal, task.training.patience, progress)
            best = journal.best
            weights, manifest = place.work / best.path, _manifest(task, inputs, examples, best)
            if finish:
                weights, told = finish.refine(weights, place.work / _REFINED)
                manifest |= {**told, "guarded": True}
            day = finish.day if finish else str(cutoff)[:10]
            beside = place.work / JOURNAL, place.work / LOGS
            version = place.shelf.publish(weights, manifest, *beside, day=day, identity=place.identity)
    return version


@contextmanager
def _tidied(place: _Place) -> Iterator[None]:
    """Leave nothing behind where a training has ended, or failed before it began."""
    try:
        yield
    finally:
        with suppress(OSError):
            place.work.rmdir()
        with suppress(OSError):
            place.lock.unlink()


def _follow(task: _Task, trainer: Trainer, examples: tuple[Examples, Examples], place: _Place) -> Path:
    """Train beside the process that leads and return the version that it publishes.

    Raises Interrupted where none comes.
    """
    place.work.mkdir(parents=True, exist_ok=True)
    losses = Journal(place.work).losses
    follow(task.what, iter(trainer.train(*examples, task.start, place.work)), losses, task.training.patience)
    until = time.monotonic() + _PUBLISHED_WITHIN
    while (version := place.version()) is None:
        if time.monotonic() > until:
            raise Interrupted(f"the process that leads has published nothing in {place.shelf.versions}")
        time.sleep(0.2)
    return version
