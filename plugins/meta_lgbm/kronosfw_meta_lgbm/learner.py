"""What both ensemblers do: learn from the past when it is due, remember, and look at a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kronosfw.builtin.ensemblers.common import by_name, context, shared_columns, stacked
from kronosfw.past import POOLED, Past, counted, enough, scored, too_few
from kronosfw.types import ENVELOPE, Floats, Forecast, Moment, Window

from .features import Observed, observed, of_past, of_window, recent_losses
from .learning import Lesson, Task, learn
from .options import Boosted
from .states import NOTHING, Learned, from_state, to_state

if TYPE_CHECKING:
    import pandas as pd


class Learner:
    """Learns by asset class where there is enough of it, else from all classes together, else nothing."""

    learns = True

    def __init__(self, options: Boosted) -> None:
        self._options = options
        self.learned = NOTHING
        self._counts: dict[str, int] = {}
        self._recent: dict[str, dict[str, float]] = {}

    def task(self, past: Past) -> Task:
        """Return what is to be learned."""
        raise NotImplementedError

    def weigh(
        self, lesson: Lesson, window: Window, members: Sequence[Forecast], seen: Sequence[Observed]
    ) -> tuple[Floats, list[dict[str, Any]]]:
        """Return the members' weights ``[H, M]``, and what is told of each step; ``seen`` is what was observed."""
        raise NotImplementedError

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return sorted({*levels, *ENVELOPE})

    def fit(self, past: pd.DataFrame, cutoff: Moment) -> None:
        known = scored(past, self._options.name, cutoff)
        self._counts = counted(known.asset_class)
        classes = np.unique(known.asset_class)
        recent = recent_losses(known, classes, np.full(len(classes), cutoff), self._options.recent_days)
        self._recent = {
            str(name): dict(zip(known.members, row, strict=True)) for name, row in zip(classes, recent, strict=True)
        }
        if self._is_due(known, cutoff):
            self.learned = self._train(known, cutoff)

    @property
    def summary(self) -> tuple[str, ...]:
        """What was learned, a line for each asset class."""
        return tuple(
            f"{name or 'all classes'}: {lesson.labels:,} outcomes, {lesson.rounds} rounds of trees, "
            f"{lesson.share:.0%} of what they say is believed"
            for name, lesson in self.learned.lessons.items()
        )

    def state(self) -> Mapping[str, Any] | None:
        return to_state(self.learned, self._options) if self.learned.lessons else None

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learned = from_state(state, self._options)

    def _is_due(self, known: Past, cutoff: Moment) -> bool:
        """Whether to train: nothing is learned, it is too old, of other members, or from after the cutoff."""
        learned = self.learned
        if not learned.lessons or learned.members != known.members or learned.until > cutoff:
            return True
        return bool(cutoff - learned.until >= np.timedelta64(int(self._options.refit_days * 86_400), "s"))

    def _train(self, known: Past, cutoff: Moment) -> Learned:
        groups = enough(known.asset_class, self._options.least)
        classes = tuple(np.unique(known.asset_class).tolist())
        if all(name in groups for name in classes):
            groups.pop(POOLED, None)
        lessons: dict[str, Lesson] = {}
        if groups:
            task, features = self.task(known), of_past(known, classes, self._options)
            for name, rows in groups.items():
                moments = known.as_of[rows], known.realised_at[rows]
                lessons[name] = learn(task[rows], features[rows], *moments, len(classes), self._options)
        return Learned(cutoff, known.members, classes, lessons)

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        members = by_name(members)
        columns = shared_columns(members)
        seen = observed(window, self._options.channels)
        lesson, note = self._lesson(window, members)
        if lesson is None:
            weights, told = equal(window, members), [{"note": note}] * window.horizon
        else:
            weights, told = self.weigh(lesson, window, members, seen)
        quantiles = np.einsum("hm,mhcq->hcq", weights, stacked(members, columns, levels))
        steps = [
            {**context(members, row), **own, "features": features}
            for row, own, features in zip(weights, told, seen, strict=True)
        ]
        return window.forecast(levels, quantiles, columns=columns, event_context={"steps": steps})

    def _lesson(self, window: Window, members: Sequence[Forecast]) -> tuple[Lesson | None, str]:
        """Return what is known of the window's asset class, and a note where that is nothing."""
        lessons = self.learned.lessons
        lesson = lessons.get(window.asset_class, lessons.get(POOLED))
        if lesson is None:
            return None, too_few(window.asset_class, self._counts, self._options.least)
        if not any(m.model in self.learned.members for m in members):
            return None, "equal weights: nothing is known yet of the members that are there"
        return lesson, ""

    def features(self, window: Window, members: Sequence[Forecast], seen: Sequence[Observed]) -> Floats:
        """Return the features of the window's steps ``[H, F]``."""
        last = window.bars.close[-1]
        envelope = np.full((window.horizon, len(self.learned.members), 3), np.nan)
        for member in members:
            if member.model in self.learned.members:
                place = self.learned.members.index(member.model)
                envelope[:, place] = (member.at(ENVELOPE) - last) / abs(last)
        told = self._recent.get(window.asset_class, {})
        recent = np.array([told.get(name, np.nan) for name in self.learned.members])
        return of_window(window, seen, envelope, recent, self.learned.classes, self._options)


def equal(window: Window, members: Sequence[Forecast]) -> Floats:
    """Return equal weights ``[H, M]``."""
    return np.full((window.horizon, len(members)), 1 / len(members))
