"""The scores that decide about weights: of a candidate beside what serves, and of shares of the way to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..checkpoints import verify
from ..config import Config
from ..errors import DamagedCheckpoint, DataError
from ..evaluation import NO_SCORES, Arm, Course, Events, course, leaks, scores
from ..interfaces import CheckpointPolicy, Forecaster, ForecasterConfig, Trainer
from ..isolation import NEVER_ISOLATED, reason, required
from ..reading import Failure, Progress, listed
from ..rows import as_datetime
from ..types import Check, Checkpoint, Entry, Example, Moment, Trial, Verdict

_MOST_TOLD = 3
_END = 1.0
"""The share that is all of what was learned."""


@dataclass(frozen=True)
class Bench:
    """One forecaster, to be tried with several sets of weights on the windows of some symbols."""

    config: Config
    forecaster: Forecaster
    context: int
    symbols: Sequence[str]
    progress: Progress

    @classmethod
    def of(cls, config: Config, options: ForecasterConfig, symbols: Sequence[str], progress: Progress) -> Bench:
        """Build the forecaster; raises PluginError where that fails, TypeError where its weights are fixed."""
        what = f"forecaster {options.type}"
        forecaster: Forecaster = required(options.build, what)
        if not hasattr(forecaster, "with_checkpoint"):
            raise TypeError(f"{what} has no with_checkpoint, so no other weights can serve")
        context = options.context or config.context
        return cls(config, forecaster, min(context, forecaster.max_context or context), symbols, progress)

    def course(self, first: Moment, until: Moment, embargo: int = 0) -> Course:
        """Cut the windows of a span; raises DataError where fewer symbols than ``min_symbols`` can be used."""
        run = course(self.config, self.symbols, self.context, first, until, embargo, self.progress)
        there, least = len(self.symbols) - len(run.failures), self.config.min_symbols
        if there < max(least * len(self.symbols), 1):
            raise DataError(
                f"{there} of {len(self.symbols)} symbols can be judged by, min_symbols is {least:g}"
                f"{listed(run.failures)}"
            )
        return run

    def load(self, weights: Path | None) -> Forecaster:
        """Return the forecaster with other weights; None are its own."""
        found: Forecaster = self.forecaster.with_checkpoint(weights)  # type: ignore[attr-defined]
        return found

    def scores(
        self, what: str, arms: Mapping[Arm, Path | None], examples: Sequence[Example], events: Events
    ) -> tuple[pd.DataFrame, dict[Arm, dict[int, str]]]:
        """Return the scores of the arms, and by window why one failed; arms with the same weights run once."""
        first = {path: arm for arm, path in reversed(list(arms.items()))}
        loaded = {arm: self.load(path) for path, arm in first.items()}

        def show(done: int) -> None:
            self.progress(what, done, len(examples))

        frame, failed = scores(loaded, examples, events, self.context, self.config.batch, show)
        twins = {arm: first[path] for arm, path in arms.items() if first[path] != arm}
        copies = [frame[frame["arm"] == one].assign(arm=arm) for arm, one in twins.items()]
        return pd.concat([frame, *copies], ignore_index=True), failed


def nearer(
    bench: Bench, policy: CheckpointPolicy, trainer: Trainer, start: Path | None, first: Moment, until: Moment
) -> Callable[[Path, Path], tuple[Path, dict[str, Any]]]:
    """Return what moves a best snapshot to the share of the way from its start that the policy chooses.

    The policy sees the scores of every origin of the validation, from ``first`` until ``until``. Where it leaves no
    choice, where the trainer cannot blend, or where the snapshot itself cannot forecast, it stays where it is. A
    share that cannot forecast is not offered.
    """

    def refine(best: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
        blend = getattr(trainer, "blend", None)
        if not policy.shares or blend is None:
            return best, {}
        shutil.rmtree(folder, ignore_errors=True)
        places: dict[Arm, Path | None] = {}
        for share in policy.shares:
            out = folder / f"{share:g}"
            out.mkdir(parents=True)
            blend(start, best, share, out)
            places[float(share)] = out
        run = bench.course(first, until)
        frame, failed = bench.scores("shares", places, run.examples, run.events)
        sound = {share: path for share, path in places.items() if not failed[share]}
        if _END in places and _END not in sound:
            return best, {}
        if len(sound) < len(places):
            frame, _ = bench.scores("shares", sound, run.examples, run.events)
        chosen = float(policy.share(frame.rename(columns={"arm": "share"}).astype({"share": float})))
        if chosen not in sound:
            raise ValueError(f"the checkpoint policy chose the share {chosen:g}, which it was not offered")
        return folder / f"{chosen:g}", {"share": chosen}

    return refine


@dataclass(frozen=True)
class Rivals:
    """A candidate and what it has to stand beside."""

    candidate: Checkpoint
    incumbent: Checkpoint | None
    """What serves; None for the forecaster's own weights."""
    base: Checkpoint | None
    """What would serve without the class's own; None for the forecaster's own weights."""

    @property
    def learned(self) -> Moment | None:
        """The moment until which the others, or what they began from, have learned."""
        others = (self.incumbent, self.base)
        return max((c.trained_until for c in others if c and c.trained_until is not None), default=None)


@dataclass(frozen=True)
class Judgement:
    """What the policy decided, and how far it could be judged."""

    verdict: Verdict
    faults: tuple[str, ...]
    """What is wrong with the candidate whatever its scores, in sentences."""
    failures: tuple[Failure, ...]
    """The symbols that could not be judged by."""
    twin: bool
    """Whether the candidate forecasts number by number what serves does."""


def judge(
    bench: Bench,
    policy: CheckpointPolicy,
    rivals: Rivals,
    slot: Moment,
    first: Moment,
    history: Sequence[Entry],
    share: float | None,
) -> Judgement:
    """Return the policy's verdict on a candidate.

    It is judged on the origins since ``first``, less an embargo of one horizon, and where another arm has learned
    longer, since then. Where that leaves less than half of the time, all of it counts, and the verdict says that it
    is no fair comparison.
    """
    learned = rivals.learned
    fair = learned is None or learned <= first + (slot - first) // 2
    since = max(first, learned) if fair and learned is not None else first
    run = bench.course(since, slot, embargo=bench.config.horizon)
    faults, frame = _faults(bench, rivals.candidate, run), NO_SCORES
    if not faults:
        arms: dict[Arm, Path | None] = {
            "candidate": rivals.candidate.path,
            "incumbent": path_of(rivals.incumbent),
            "base": path_of(rivals.base),
        }
        frame, failed = bench.scores("judging", arms, run.examples, run.events)
        others = [windows for arm, windows in failed.items() if arm != "candidate"]
        hard = set.intersection(*(set(windows) for windows in others)) if others else set()
        if told := [text for i, text in failed["candidate"].items() if i not in hard]:
            windows = f"{len(told)} of {len(run.examples)} windows that what serves can forecast, it cannot"
            faults += [f"{windows}: {'; '.join(told[:_MOST_TOLD])}"]
    trial = Trial(
        candidate=rivals.candidate,
        incumbent=rivals.incumbent,
        base=rivals.base,
        scores=frame,
        slot=as_datetime(slot),
        faults=tuple(faults),
        history=history,
    )
    verdict = policy.admit(trial)
    if faults and verdict.accepted:
        verdict = replace(verdict, accepted=False, reasons=trial.faults)
    verdict = _with_notes(verdict, share, None if fair else learned)
    return Judgement(verdict, trial.faults, tuple(run.failures), _alike(frame, "candidate", "incumbent"))


def _alike(frame: pd.DataFrame, one: str, other: str) -> bool:
    """Tell whether two arms have the same scores, row by row, where there are any."""
    arms = [frame[frame["arm"] == arm].set_index(["symbol", "as_of", "step"])["crps"] for arm in (one, other)]
    return len(arms[0]) > 0 and arms[0].equals(arms[1])


def _with_notes(verdict: Verdict, share: float | None, learned: Moment | None) -> Verdict:
    """Put before the policy's checks which share was judged, and that others have seen what it was judged by."""
    notes = []
    if share is not None:
        text = f"of the way from what serves to what was learned, the validation chose {share:g}"
        notes.append(Check("share", True, text, share))
    if learned is None:
        return replace(verdict, checks=(*notes, *verdict.checks))
    text = (
        f"what serves, or the base, has learned of days until {str(learned)[:10]}, and is judged by them too: "
        "no fair comparison, and none that tells how much training gains"
    )
    notes.append(Check("unseen", True, text))
    kept = {name: value for name, value in verdict.numbers.items() if "gain" not in name}
    return replace(verdict, checks=(*notes, *verdict.checks), numbers=kept)


def path_of(checkpoint: Checkpoint | None) -> Path | None:
    """Return where the weights are; None are the forecaster's own."""
    return None if checkpoint is None else checkpoint.path


def _faults(bench: Bench, candidate: Checkpoint, run: Course) -> list[str]:
    """Return what is wrong with a candidate whatever its scores, in sentences."""
    try:
        verify(candidate.path)
        return leaks(bench.load(candidate.path), run, bench.context)
    except DamagedCheckpoint as error:
        return [str(error)]
    except NEVER_ISOLATED:
        raise
    except (Exception, SystemExit) as error:
        return [f"the weights cannot be used: {reason(error)}"]
