"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ..errors import ConfigError
from ..files import write_atomically
from ..report_scoreboard import NOMINAL
from ..scoreboard import Estimate, Line, Scoreboard
from . import svg, words
from .content import Board, Content, Outlook
from .fan import band, fan, spark
from .places import Span
from .scorecharts import reliability, whiskers
from .svg import Drawing
from .tables import tables

_FOLDER = Path(__file__).parent
_GROUPS = {
    "asset_class": "By asset class",
    "bucket": "By steps ahead",
    "event": "With and without an important event",
    "symbol": "By symbol",
}
_PARTS = ("asset_class", "bucket", "event")
"""Kinds of group of which the coverage is drawn."""
_PERCENT = partial(words.percent, digits=1)
_SIGNED = partial(words.figure, sign=True)


def write(content: Content, path: Path) -> int:
    """Write the page, whole or not at all, and return its size in bytes; raises ConfigError where that fails."""
    page = render(content).encode(errors="replace")
    try:
        write_atomically(path, lambda file: file.write(page))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; choose another place with --out") from None
    return len(page)


def render(content: Content) -> str:
    """Return the page as HTML. All that comes from data is escaped."""
    classes = _classes(content)
    symbols = [_symbol(i, outlook, classes, content) for i, outlook in enumerate(content.outlooks)]
    parts = [("overview", "Overview"), ("symbols", "Symbols")] if symbols else []
    page = _template().render(
        content=content,
        title=f"Outlook as of {words.day(content.run.cutoff)}" if content.run else "Scores",
        parts=[
            *parts,
            ("scores", "Scores"),
            ("data", "Data and failures"),
            ("models", "Licences and training data"),
        ],
        warnings=words.warnings(content),
        overview=[_overview(i, outlook) for i, outlook in enumerate(content.outlooks)],
        symbols=symbols,
        boards=[_board(board, classes, content.served) for board in content.boards],
        failures=words.failures(content),
        leaks=words.leaks(content),
    )
    return "\n".join(line.rstrip() for line in page.split("\n") if line.strip()) + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals |= {
        "key": svg.key,
        "plural": words.plural,
        "minute": words.minute,
        "interval": words.interval,
        "figure": words.figure,
        "signed": _SIGNED,
        "ratio": partial(words.figure, digits=2),
        "percent": _PERCENT,
        "group": words.group,
    }
    return environment.get_template("page.html")


def _classes(content: Content) -> dict[str, str]:
    """Return each model's class in the style sheet, the same in all charts."""
    drawn = (envelope.model for outlook in content.outlooks for envelope in outlook.envelopes)
    scored = (line.model for board in content.boards if board.scores for line in board.scores.lines)
    return {model: svg.series(i) for i, model in enumerate(dict.fromkeys(chain(drawn, scored)))}


def _place(i: int) -> str:
    return f"symbol-{i + 1}"


def _overview(i: int, outlook: Outlook) -> dict[str, Any]:
    low, _, high = outlook.served.end
    confidence = words.confidence(outlook.served)
    return {
        "place": _place(i),
        "symbol": outlook.symbol,
        "asset_class": outlook.asset_class,
        "spark": spark(outlook),
        "close": words.price(outlook.close, outlook.close),
        "envelope": [words.percent(value, sign=True) for value in words.moves(outlook)],
        "width": words.percent((high - low) / abs(outlook.close)),
        "confidence": "–" if confidence is None else words.figure(confidence, 2),
        "model": outlook.served.model,
    }


def _symbol(i: int, outlook: Outlook, classes: Mapping[str, str], content: Content) -> dict[str, Any]:
    stretched = Span.of(outlook).stretching
    return {
        "place": _place(i),
        "symbol": outlook.symbol,
        "asset_class": outlook.asset_class,
        "summary": words.summary(outlook, content.freq),
        "fan": fan(outlook, classes, content.freq),
        "legend": list(_legend(outlook, classes)),
        "caption": "" if stretched < 1.5 else f"Bars to come have {stretched:.0f} times the room of those before.",
        "notes": [*words.notes(outlook), *([f"No history: {outlook.trouble}"] if outlook.trouble else [])],
        "tables": list(tables(outlook, content.freq)),
    }


def _legend(outlook: Outlook, classes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if outlook.history:
        yield "history", "close"
    yield "median", f"p50 of {outlook.served.model}"
    for low, high in outlook.served.bands:
        yield f"band {band(low)}", f"p{100 * low:g} to p{100 * high:g}"
    for envelope in outlook.envelopes[:-1]:
        yield f"series {classes[envelope.model]}", envelope.model
    if outlook.since:
        yield "since", "what came since"
    if outlook.events:
        yield "event", "event, as known at the cutoff"


def _board(board: Board, classes: Mapping[str, str], usual: str) -> dict[str, Any]:
    if board.scores is None:
        return {"title": board.title, "scores": None, "empty": board.empty}
    scores = board.scores
    lines = [line for line in scores.lines if line.by == "all"]
    served = usual if any(line.model == usual for line in lines) else lines[-1].model
    return {
        "title": board.title,
        "scores": scores,
        "summary": words.scored(board),
        "lines": lines,
        "charts": list(_charts(scores, lines, served)),
        "reliability": reliability(scores.curves, classes),
        "legend": [(f"marked {classes[model]}", model) for model in scores.curves],
        "tables": [
            (summary, found)
            for by, summary in _GROUPS.items()
            if (found := [line for line in scores.lines if line.by == by])
        ],
    }


def _charts(scores: Scoreboard, lines: Sequence[Line], served: str) -> Iterator[tuple[str, Drawing]]:
    """Yield the charts of the lines of all predictions, and of the served model's coverage, with their captions."""
    parts = [line for line in scores.lines if line.model == served and line.by in _PARTS]
    charts: list[tuple[str, list[tuple[str, Estimate]], Callable[[float], str], float | None]] = [
        (
            "Loss with its 95 % interval: further left is better",
            [(line.model, line.loss) for line in lines],
            words.figure,
            None,
        ),
        (
            f"Difference from the loss of {scores.reference}: left of the line is better",
            [(line.model, line.difference) for line in lines if line.difference],
            _SIGNED,
            0.0,
        ),
        (
            "Coverage of p10 to p90: at the line, 80 %, the envelope is what it says",
            [(line.model, line.coverage) for line in lines],
            _PERCENT,
            NOMINAL,
        ),
        (
            f"Coverage of {served} by group",
            [(words.group(line), line.coverage) for line in parts],
            _PERCENT,
            NOMINAL,
        ),
    ]
    for caption, rows, show, guide in charts:
        if rows:
            yield caption, whiskers(caption, rows, show, guide=guide, strong=served)
