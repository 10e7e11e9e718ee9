"""One asset class, once: watched, retrained if it is time to, and told of."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..alerts import raise_alert
from ..checkpoints import Shelf, choose, manifest_of, read, read_verdict, titled
from ..config import Training
from ..errors import DamagedCheckpoint, Interrupted
from ..examples import at_midnight
from ..interfaces import Concern
from ..isolation import reason, required
from ..reading import as_moment
from ..rows import as_datetime
from ..training import Finish, train
from ..types import Alert, Checkpoint, Entry, Verdict
from .judging import Bench, Rivals, judge, nearer, path_of
from .outcomes import Ending, Outcome
from .task import Task
from .watching import heir, on_trial, watch

Decision = Literal["promoted", "kept", "rejected"]


def retrain_class(task: Task, name: str) -> Outcome:
    """Retrain one class; whatever goes wrong becomes its outcome. Raises Interrupted if the progress did."""
    began = time.monotonic()
    this = Round(task, name)
    with ExitStack() as stack:
        try:
            if not task.wishes.dry_run:
                stack.enter_context(this.shelf.retraining())
            outcome = this.run()
        except Interrupted as error:
            if this.stopped:
                raise
            outcome = this.ended("busy", str(error))
        except (Exception, SystemExit) as error:
            outcome = this.failed(error)
    return replace(outcome, seconds=time.monotonic() - began)


class Round:
    """What has come of one class so far."""

    def __init__(self, task: Task, name: str) -> None:
        self.task = task
        self.name = name
        self.shelf = Shelf(task.root, name)
        self.stopped = False
        """Whether it was the caller that asked to stop."""
        self._result = Outcome(name, "failed", "")

    def run(self) -> Outcome:
        """Watch the last promotion, and retrain if it is time to."""
        task = self.task
        if not task.wishes.dry_run:
            for told in self.shelf.recover():
                self._trouble(told)
            self._watch()
        due = task.policy.due(self.shelf.history(), task.now)
        if due is None and task.wishes.if_due:
            return self.ended("not due", "no retraining is due")
        slot = due if due is not None and task.wishes.if_due else task.now
        before, incumbent = self.shelf.active, self.incumbent
        if told := self._too_late(slot, incumbent):
            return self.ended("not due", told)
        self._note(slot=slot)
        span = self._span(slot)
        if not task.wishes.dry_run:
            return self._retrain(slot, span, incumbent, before.seq if before else 0)
        start = titled(incumbent.path) if incumbent else "the forecaster's own weights"
        text = f"would train from {start} on {span.start} to {span.until}, and judge by what came then"
        return self.ended("due", f"{text}, up to {slot:%Y-%m-%d %H:%M} UTC")

    def failed(self, error: BaseException) -> Outcome:
        """Return the outcome of a class that could not be retrained, told once for each slot and reason."""
        text, slot = reason(error), self._result.slot
        if self.task.wishes.dry_run:
            return self.ended("failed", text)
        entry = Entry(self.task.now, "failed", reason=text, slot=slot)
        try:
            before = self.shelf.history()[-1:]
            if [(e.event, e.slot, e.reason) for e in before] == [(entry.event, slot, text)]:
                return self.ended("failed", text)
            self.shelf.note(entry)
        except (Exception, SystemExit) as trouble:
            text = f"{text}; and it could not be noted in {self.shelf.folder}: {reason(trouble)}"
        self._tell("failed", text)
        return self.ended("failed", text)

    def ended(self, ending: Ending, text: str) -> Outcome:
        """Return the outcome as it is now."""
        with suppress(Exception):
            serving = self.incumbent
            self._note(serves="" if serving is None else f"{serving.asset_class or 'base'}/{serving.version}")
        return replace(self._result, ending=ending, reason=text)

    def _watch(self) -> None:
        """Ask the canary about the last promotion, and roll back where it says so.

        What keeps it from an answer is told, and keeps nobody from retraining.
        """
        try:
            self._ask_the_canary()
        except Interrupted:
            raise
        except DamagedCheckpoint as error:
            self._trouble(str(error))
        except (Exception, SystemExit) as error:
            self._trouble(f"the canary came to no answer: {reason(error)}", "failed")

    def _ask_the_canary(self) -> None:
        task, shelf = self.task, self.shelf
        promotion = on_trial(shelf)
        if promotion is None:
            return
        before = heir(shelf, promotion) or path_of(self.pooled)
        verdict = watch(self.bench, task.policy, shelf, promotion, before, as_moment(task.now))
        if verdict is None:
            return
        text = "; ".join(verdict.reasons)
        if verdict.accepted:
            shelf.note(Entry(task.now, "confirmed", promotion.version, text, numbers=_finite(verdict)))
        else:
            numbers = _finite(verdict)
            back = shelf.rollback(at=task.now, reason=text, numbers=numbers, expected=promotion.seq)
            admitted, _ = read_verdict(shelf.versions / promotion.version)
            whole = replace(verdict, checks=(*verdict.checks, *admitted.checks)) if admitted else verdict
            shelf.judge(promotion.version, whole)
            serves = back.version or "what is pooled"
            self._tell("rolled_back", f"{text}; {serves} serves again", promotion.version, whole)
        self._note(watched=verdict)

    def _too_late(self, slot: datetime, incumbent: Checkpoint | None) -> str:
        """Say why a retraining up to a moment would only go back; empty where it would not."""
        done = [e.slot for e in self.shelf.history() if e.slot and e.retrained]
        if done and max(done) > slot:
            return (
                f"a retraining has ended whose data reach to {max(done):%Y-%m-%d %H:%M} UTC, later than these would"
            )
        known = incumbent.trained_until if incumbent else None
        if known is not None and known > as_moment(slot):
            return (
                f"what serves has learned of days until {as_datetime(known):%Y-%m-%d}, later than these would reach"
            )
        return ""

    def _retrain(self, slot: datetime, span: Training, incumbent: Checkpoint | None, seq: int) -> Outcome:
        """Train, judge, promote or reject, and retain; ``seq`` is the number of the last change of what serves."""
        shelf = self.shelf
        candidate, share = self._candidate(slot, span, path_of(incumbent))
        if share == 0:
            return self._keep(
                candidate, slot, "the validation prefers what serves to any share of what was learned"
            )
        judgement = judge(
            self.bench,
            self.task.policy,
            Rivals(candidate, incumbent, self.pooled),
            as_moment(slot),
            at_midnight(span.until or slot.date()),
            shelf.history(),
            share,
        )
        verdict = judgement.verdict
        self._note(failures=tuple(dict.fromkeys((*self._result.failures, *judgement.failures))))
        if judgement.twin:
            return self._keep(candidate, slot, "no snapshot was better than what serves")
        self._note(verdict=verdict)
        shelf.judge(candidate.version, verdict)
        text = "; ".join(verdict.reasons)
        forced = self.task.wishes.force and not verdict.accepted and not judgement.faults
        if not verdict.accepted and not forced:
            return self._finished("rejected", candidate, slot, text, verdict)
        text = f"promoted by force: {text}" if forced else f"admitted by {len(verdict.checks)} checks"
        shelf.promote(
            candidate.version,
            event="promoted",
            at=self.task.now,
            reason=text,
            slot=slot,
            numbers=_finite(verdict),
            expected=seq,
            force=forced,
        )
        return self._finished("promoted", candidate, slot, text, verdict)

    def _keep(self, candidate: Checkpoint, slot: datetime, text: str) -> Outcome:
        """Leave what serves, since by the validation nothing of what was learned is worth having."""
        verdict = Verdict(False, (text,))
        self.shelf.judge(candidate.version, verdict)
        return self._finished("kept", candidate, slot, text, verdict)

    def _finished(
        self, event: Decision, candidate: Checkpoint, slot: datetime, text: str, verdict: Verdict
    ) -> Outcome:
        """Note and tell what was decided, and let go of old versions."""
        now, shelf = self.task.now, self.shelf
        if event != "promoted":
            shelf.note(Entry(now, event, candidate.version, text, slot, numbers=_finite(verdict)))
        if event in ("promoted", "rejected"):
            self._tell(event, text, candidate.version, verdict)
        try:
            deleted = shelf.prune(self.task.policy.expire(shelf.checkpoints()))
            self._note(deleted=tuple(deleted))
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            self._trouble(f"old versions could not be deleted: {reason(error)}", "failed")
        return self.ended(event, text)

    def _candidate(self, slot: datetime, span: Training, start: Path | None) -> tuple[Checkpoint, float | None]:
        """Train on from what serves; return the version, and which share of the way was kept."""
        task = self.task
        trainer = required(task.trainer.build, f"trainer {task.trainer.type}")
        first, until = at_midnight(span.validate_from), at_midnight(span.until or slot.date())
        inputs = {
            "shares": list(task.policy.shares),
            "forecaster": task.forecaster.model_dump(mode="json", exclude={"name"}),
        }
        report = train(
            task.config.model_copy(update={"training": span}),
            task.plugins,
            asset_class=self.name,
            start=start,
            as_of=slot,
            finish=Finish(
                f"{slot:%Y-%m-%d}", inputs, nearer(self.bench, task.policy, trainer, start, first, until)
            ),
            progress=self._progress,
        )
        self._note(training=report, version=report.version, failures=report.failures)
        share = manifest_of(report.path).get("share")
        return read(report.path, self.name), share

    @cached_property
    def bench(self) -> Bench:
        """The forecaster, to be tried on the symbols of the class."""
        task = self.task
        return Bench.of(task.config, task.forecaster, task.symbols(self.name), self._progress)

    @property
    def incumbent(self) -> Checkpoint | None:
        """What serves the class."""
        return self._choose(pooled=False)

    @property
    def pooled(self) -> Checkpoint | None:
        """What would serve the class if it had never been retrained."""
        return self._choose(pooled=True)

    def _choose(self, pooled: bool) -> Checkpoint | None:
        task = self.task
        chosen, told = choose(task.policy, task.root, self.name, task.trainer.forecaster, pooled=pooled)
        for text in told:
            self._trouble(text)
        return chosen

    def _span(self, slot: datetime) -> Training:
        """Return what a retraining learns from: all of it lies before what it is judged by."""
        spans = self.task.config.retraining
        judged = slot - timedelta(spans.judge_days)
        return Training(
            start=(slot - timedelta(spans.days)).date(),
            validate_from=(judged - timedelta(spans.validate_days)).date(),
            until=judged.date(),
            stride=spans.stride,
            patience=spans.patience,
        )

    def _progress(self, stage: str, done: int, total: int) -> None:
        try:
            self.task.progress(f"{self.name}: {stage}", done, total)
        except Interrupted:
            self.stopped = True
            raise

    def _trouble(self, text: str, kind: Concern = "damaged") -> None:
        """Tell once of something that was found damaged, or could not be done beside the retraining."""
        if text not in self._result.trouble:
            self._note(trouble=(*self._result.trouble, text))
            if not self.task.wishes.dry_run:
                self._tell(kind, text)

    def _note(self, **found: Any) -> None:
        self._result = replace(self._result, **found)

    def _tell(self, kind: Concern, text: str, version: str = "", verdict: Verdict | None = None) -> None:
        alert = Alert(kind, self.name, text, self.task.now, version, verdict)
        raise_alert(alert, self.task.config, self.task.plugins)


def _finite(verdict: Verdict) -> dict[str, float]:
    """Return the numbers of a verdict that the history can keep."""
    return {name: value for name, value in verdict.numbers.items() if math.isfinite(value)}
