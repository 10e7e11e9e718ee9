"""A backtest under way: origin by origin, what members make is served, scored, remembered and written."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from ..config import Backtest, Config
from ..ensemble import Ensemble
from ..errors import DamagedState
from ..executors import Executor
from ..forecasting import Troupe
from ..freq import minutes
from ..lessons import Learned
from ..members import Member
from ..reading import Failure, Progress
from ..rows import as_datetime, prediction_rows
from ..serving import Server
from ..store import REHEARSED, Row, Store, learned_row
from ..types import Forecast, Window, moment
from .course import Course
from .ledger import Ledger
from .origins import Origin, chunks
from .rehearsal import Before, Rehearsal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """The windows of one origin, and what could not be cut."""

    origin: Origin
    windows: Mapping[str, Window]
    failures: Sequence[Failure]


class Stage:
    """Plays the origins that are left, some at a time; each time all that came of them is written at once."""

    def __init__(
        self,
        config: Config,
        options: Backtest,
        store: Store,
        course: Course,
        servers: Sequence[Server],
        versions: Mapping[str, Mapping[str, str]],
        ledger: Ledger,
    ) -> None:
        self._config, self._store, self._course = config, store, course
        self._servers, self._versions, self._ledger = servers, versions, ledger
        self._mark = f"{REHEARSED}{ledger.run_id[:8]}"
        """Ends the versions of what this backtest writes."""
        self._purge = timedelta(minutes=options.purge * minutes(config.freq))
        self._rehearsal = self._remembered()
        self._learned: dict[str, Learned] = {}
        """By ensemble, what it knows and what is to be kept of it."""

    def _remembered(self) -> Rehearsal:
        """Return what was done before, as the store has it."""
        done = self._ledger.done_until
        if done is None:
            done = moment("1900-01-01")
        until, last = as_datetime(self._course.until), as_datetime(done)
        served = [server.served for server in self._servers]
        freq, run_id = self._config.freq, self._ledger.run_id
        scored = self._store.past(until, run_id=run_id)
        scored = scored[scored["as_of"] <= last]
        told = self._store.envelopes(last, timeframe=freq, models=served, step=self._config.horizon, run_id=run_id)
        rehearsal = Rehearsal(scored, told, served, self._config.horizon)
        for ensemble in self._ensembles:
            try:
                kept = self._store.learned(ensemble.name, freq, ensemble.options + self._mark, last)
            except DamagedState as error:
                log.warning("%s learns anew: %s", ensemble.name, error)
                continue
            rehearsal.states |= {(ensemble.name, ensemble.options): kept} if kept else {}
        return rehearsal

    @property
    def _ensembles(self) -> list[Ensemble]:
        return [server.ensemble for server in self._servers if server.ensemble is not None]

    def play(
        self, planned: Sequence[Origin], members: Sequence[Member], executor: Executor, progress: Progress
    ) -> None:
        """Play the origins after those that are done; raises what ``progress`` raises."""
        ledger = self._ledger
        todo = [o for o in planned if ledger.done_until is None or o.cutoff > ledger.done_until]
        done = len(planned) - len(todo)
        under_way: list[list[Cut]] = []

        def batches() -> Iterator[list[Window]]:
            for chunk in chunks(todo, self._config.batch):
                under_way.append([Cut(origin, *self._course.windows(origin)) for origin in chunk])
                yield [window for cut in under_way[-1] for window in cut.windows.values()]

        levels = sorted({level for server in self._servers for level in server.member_levels})
        with closing(Troupe(members, self._config, levels, executor).forecast(batches())) as outcomes:
            for told in outcomes:
                cuts = under_way.pop(0)
                ledger.failed(told.failures)
                for model, seconds in told.seconds.items():
                    ledger.took(model, seconds)
                predictions: list[Row] = []
                evaluations: list[Row] = []
                for cut in cuts:
                    rows, scores = self._at(cut, [f for f in told.forecasts if f.cutoff == cut.origin.cutoff])
                    predictions += rows
                    evaluations += scores
                    done += 1
                    progress("origins", done, len(planned))
                ledger.done_until = cuts[-1].origin.cutoff
                self._store.record(ledger.row(), predictions, evaluations=evaluations, learned=self._states())
        for ensemble in self._ensembles:
            self._store.forget(ensemble.options + self._mark)
        ledger.finished = True
        self._store.record(ledger.row(), [])

    def _at(self, cut: Cut, members: Sequence[Forecast]) -> tuple[list[Row], list[Row]]:
        """Return the predictions of all models at one origin and their scores, and remember them."""
        self._ledger.failed(cut.failures)
        lessons = Before(self._rehearsal, as_datetime(cut.origin.cutoff), self._purge)
        made: dict[tuple[str, str], Forecast] = {}
        for server in self._servers:
            began = time.perf_counter()
            taught = server.learn(lessons, cut.origin.cutoff)
            served = server.serve(taught, cut.windows, members, lessons)
            if (name := server.made) is not None:
                self._ledger.took(name, time.perf_counter() - began)
            self._ledger.failed([*taught.failures, *served.failures])
            self._remember(server, taught.learned)
            for forecast in served.forecasts:
                made.setdefault((forecast.symbol, forecast.model), forecast)
        predictions: list[Row] = [
            row
            for forecast in made.values()
            for row in prediction_rows(
                forecast, cut.windows[forecast.symbol], self._version(forecast, cut.windows[forecast.symbol])
            )
        ]
        by_symbol: dict[str, list[Row]] = {}
        for row in predictions:
            by_symbol.setdefault(row["symbol"], []).append(row)
        outcomes = self._course.outcomes
        evaluations: list[Row] = [
            e for symbol, rows in by_symbol.items() if symbol in outcomes for e in outcomes[symbol].evaluate(rows)
        ]
        self._rehearsal.add(predictions, evaluations)
        return predictions, evaluations

    def _version(self, forecast: Forecast, window: Window) -> str:
        return self._versions[forecast.model][window.asset_class] + self._mark

    def _remember(self, server: Server, learned: Mapping[str, Learned]) -> None:
        """Keep what was learned at one origin for the next."""
        for model, its in learned.items():
            if its.state is None:
                continue
            if server.ensemble is not None and model == server.ensemble.name:
                # The ensembler itself knows it: from here on it need not be handed back.
                self._rehearsal.states.pop((model, its.options), None)
                self._learned[model] = its
            else:
                self._rehearsal.states[model, its.options] = its.until, its.state

    def _states(self) -> list[Row]:
        """Return what a backtest that goes on from here has to hand back to its ensembles."""
        return [
            learned_row(model, self._config.freq, its.options + self._mark, its.until, its.state)
            for model, its in self._learned.items()
            if its.state is not None
        ]
