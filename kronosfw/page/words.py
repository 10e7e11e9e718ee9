"""Figures and what stands behind a forecast, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

from ..freq import is_daily
from ..scoreboard import Estimate, Line
from .content import Board, Content, Envelope, Event, Outlook

T = TypeVar("T")


def price(value: float, reference: float) -> str:
    """Show five significant digits of the reference, so that figures beside each other align."""
    decimals = min(max(4 - math.floor(math.log10(abs(reference) or 1.0)), 0), 8)
    return _shown(value, f",.{decimals}f")


def percent(share: float, digits: int = 1, *, sign: bool = False) -> str:
    """Show a share in per cent."""
    return _shown(share, f"{'+' if sign else ''}z.{digits}%")


def figure(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Show a figure with so many decimals."""
    return _shown(value, f"{'+' if sign else ''}z.{digits}f")


def interval(estimate: Estimate, show: Callable[[float], str]) -> str:
    """Show the ends of an estimate's interval."""
    known = math.isfinite(estimate.high - estimate.low)
    return f"{show(estimate.low)} … {show(estimate.high)}" if known else "too few days"


def day(when: date) -> str:
    """Show a date in full."""
    return f"{when.day} {when:%B %Y}"


def minute(when: datetime) -> str:
    """Show a moment of UTC."""
    return f"{day(when)}, {when:%H:%M} UTC"


def short(when: datetime, freq: str) -> str:
    """Show the time of a bar in as little room as can be."""
    return f"{when.day} {when:%b}" if is_daily(freq) else clock(when)


def clock(when: datetime) -> str:
    """Show day and time of day."""
    return f"{when.day} {when:%b %H:%M}"


def plural(n: int, noun: str) -> str:
    """Show how many there are."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def notes(outlook: Outlook, *, brief: bool = False) -> list[str]:
    """Return the sentences that explain a symbol's forecasts: the served one's first, then those of the others.

    In brief, what is out of the ordinary alone.
    """
    tellers = (_note, _missing) if brief else (_note, _missing, _calibration, _confidence)
    told: dict[str, str] = {}
    for envelope in reversed(outlook.envelopes):
        whose = "" if envelope is outlook.served else f"{envelope.model}: "
        for tell in tellers:
            for steps, sentence in stretches([tell(context) for context in envelope.contexts]):
                if sentence:
                    when = "" if steps == "all steps" else f"{steps[0].upper()}{steps[1:]}: "
                    told.setdefault(when + sentence, whose + when + sentence)
    return list(told.values())


def confidence(envelope: Envelope) -> float | None:
    """Return the confidence in the last step, 0 to 1; None where it was not told."""
    told = envelope.contexts[-1].get("confidence")
    return figures(told).get("value")


def figures(told: Any) -> dict[str, float]:
    """Return the finite figures of what should be a mapping: plugins put into a context what they like."""
    if not isinstance(told, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in told.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def stretches(values: Sequence[T]) -> Iterator[tuple[str, T]]:
    """Yield what consecutive steps share, with the steps in words: ``step 1``, ``steps 2–5`` or ``all steps``."""
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            first, last = start + 1, end
            if last - first + 1 == len(values):
                yield "all steps", values[start]
            else:
                yield f"step {first}" if first == last else f"steps {first}–{last}", values[start]
            start = end


def moves(outlook: Outlook) -> list[float]:
    """Return p10, p50 and p90 at the last step as shares of the last close that they lie from it."""
    return [(value - outlook.close) / abs(outlook.close) for value in outlook.served.end]


def summary(outlook: Outlook, freq: str) -> str:
    """Tell a symbol's envelope at the last step, and the events until then."""
    low, middle, high = (
        f"{price(value, outlook.close)} ({percent(move, sign=True)})"
        for value, move in zip(outlook.served.end, moves(outlook), strict=True)
    )
    told = (
        f"From {price(outlook.close, outlook.close)} to between {low} and {high} "
        f"by {short(outlook.targets[-1], freq)}, with its median at {middle}."
    )
    to_come = [f"{event(e)} on {clock(e.at)} UTC" for e in outlook.events if e.bar > 0]
    return f"{told} To come: {', '.join(to_come)}." if to_come else told


def scored(board: Board) -> str:
    """Tell what the scores rest on; empty where there are none."""
    if board.scores is None:
        return ""
    line = board.scores.lines[0]
    told = f"{plural(line.rows, 'prediction')} of each model, made on {period(board)}"
    if board.scores.left_out:
        told += f"; {board.scores.left_out:,} more were left out, since some model did not make them"
    return f"{told}. The one to beat is {board.scores.reference}.{few(board)}"


def period(board: Board) -> str:
    """Tell on which days the forecasts were made."""
    days = plural(board.scores.lines[0].days, "day") if board.scores else "no day"
    return f"{days} from {day(board.first)} to {day(board.last)}" if board.first and board.last else days


def few(board: Board) -> str:
    """Tell which models are not compared; empty where all are."""
    names = ", ".join(board.few)
    return f" Not compared, since scored less than half as often: {names}." if names else ""


def group(line: Line) -> str:
    """Name the group of predictions that a line is about."""
    if line.by == "bucket":
        return f"step {line.group}" if line.group.isdigit() else f"steps {line.group.replace('-', '–')}"
    return line.group


def event(found: Event) -> str:
    """Show an event's name; short ones are abbreviations."""
    return found.name.upper() if len(found.name) <= 4 else found.name.replace("_", " ")


def failures(content: Content) -> list[str]:
    """Return each failure once, with the symbols it struck."""
    struck: dict[tuple[str, str], list[str]] = {}
    for failure in content.run.failures if content.run else ():
        struck.setdefault((failure.model, failure.reason), []).append(failure.symbol)
    told = []
    for (model, reason), symbols in struck.items():
        where = " · ".join(part for part in (model, ", ".join(filter(None, symbols))) if part)
        told.append(reason if not where or reason.startswith(f"{where}:") else f"{where}: {reason}")
    return told


def warnings(content: Content) -> list[str]:
    """Return what a reader has to know before anything else."""
    told = list(content.troubles)
    if content.run and content.run.made < content.run.asked:
        told.append(f"{content.run.made} of {plural(content.run.asked, 'symbol')} could be forecast.")
    if bare := [outlook.symbol for outlook in content.outlooks if outlook.trouble]:
        told.append(f"The bars of {', '.join(bare)} could not be read, so the charts show no history.")
    return told


def leak(trained_until: str, first: date) -> str | None:
    """Return why scores from a date on may be no evidence for weights trained until then; None if they are."""
    found = re.match(r"\d{4}-\d{2}-\d{2}", trained_until)
    if found is None:
        return f"the end of its training data is {trained_until}: it may have learned from what it is scored on"
    if first < date.fromisoformat(found.group()):
        return (
            f"the scores begin on {day(first)}, before the end of its training data ({trained_until}): "
            "those of days before it are no evidence"
        )
    return None


def leaks(content: Content) -> list[str]:
    """Return a warning for each model whose scores may be no evidence."""
    firsts = [board.first for board in content.boards if board.first is not None]
    if not firsts:
        return []
    found = {model: leak(weights.trained_until, min(firsts)) for model, weights in content.weights.items()}
    told = {model: why for model, why in found.items() if why}
    for board in content.boards:
        told = {**board.seen, **told}
    return [f"{model}: {why}" for model, why in told.items()]


def _note(context: Mapping[str, Any]) -> str:
    return str(context.get("note") or "")


def _missing(context: Mapping[str, Any]) -> str:
    missing = context.get("missing")
    if not isinstance(missing, Sequence) or isinstance(missing, str) or not missing:
        return ""
    return f"Made without {', '.join(map(str, missing))}, which failed here; the other members have its weight."


def _calibration(context: Mapping[str, Any]) -> str:
    moved = figures(context.get("calibration"))
    if not {"low", "high", "n"} <= moved.keys():
        return ""
    if not moved["low"] and not moved["high"]:
        return "Not calibrated: no outcome of these steps is known yet."
    ends = (
        f"p{level} moved {'outward' if by >= 0 else 'inward'} by {percent(abs(by))} of the width"
        for level, by in ((10, moved["low"]), (90, moved["high"]))
    )
    return f"Calibrated on outcomes of {plural(int(moved['n']), 'moment')} of its class: {', '.join(ends)}."


def _confidence(context: Mapping[str, Any]) -> str:
    told = figures(context.get("confidence"))
    if "value" not in told:
        return ""
    why = []
    if "width_rank" in told:
        why.append(f"the envelope is narrower than {percent(told['width_rank'], 0)} of the symbol's earlier ones")
    if "coverage" in told and told.get("n"):
        why.append(f"{percent(told['coverage'], 0)} of {plural(int(told['n']), 'outcome')} of its class lay within")
    return f"Confidence {told['value']:.2f}" + (f": {', and '.join(why)}." if why else ".")


def _shown(value: float, form: str) -> str:
    return f"{value:{form}}".replace("-", "−") if math.isfinite(value) else "–"
