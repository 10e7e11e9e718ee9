"""What must be true of a store after runs were disturbed, and after the last of them has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.survival_stores import Tables, forecasts, lasting
from tests.survival_world import AS_OF, BATCH, MODELS, REVISED, SYMBOLS


def history(found: Tables, change: str) -> tuple[str, ...]:
    """Return which runs there are, one of which may be to be finished, and the one that follows."""
    if change != "grown":
        return ("as it was" if change == "shut" else change,)
    cutoffs = sorted(row["manifest"]["cutoff"] for row in found["runs"] if row["subject"])
    return tuple(dict.fromkeys([*("as it was" if cutoff == AS_OF else change for cutoff in cutoffs), change]))


def torn(found: Tables) -> Iterator[str]:
    """Yield what is there in part, of a symbol or of a batch."""
    rows = Counter((row["as_of"], row["symbol"]) for row in forecasts(found))
    work = Counter((row["as_of"], row["symbol"]) for row in found["work"])
    if set(rows) != set(work):
        yield f"rows of {sorted(s for _, s in rows)}, work of {sorted(s for _, s in work)}"
    if wrong := {n for n in rows.values() if n != MODELS} | {n for n in work.values() if n != MODELS}:
        yield f"a symbol has {wrong} rows"
    for cutoff, count in Counter(as_of for as_of, _ in rows).items():
        if count % BATCH and count != len(SYMBOLS):
            yield f"{count} symbols as of {cutoff}"


def finished(found: Tables) -> set[str]:
    """Return the symbols that are finished as the ledger has it, but for the one whose bars may be revised."""
    return {row["symbol"] for row in found["work"] if row["state"] == "done"} - {REVISED}


def rewritten(before: Tables, after: Tables) -> Iterator[str]:
    """Yield what was finished and is gone, or was written again."""
    done, there = finished(before), forecasts(after)
    kept = [row for row in forecasts(before) if row["symbol"] in done]
    if lost := sum(row not in there for row in kept):
        yield f"{lost} rows were lost or written again"


def different(found: Tables, expected: Tables, change: str = "as it was") -> Iterator[str]:
    """Yield the tables that are not as expected, but for runs with other inputs that were left behind.

    These are runs of data that were revised since, and of a time when there was no store to learn from.
    """
    for name, rows in expected.items():
        mine, other = lasting(found[name]), lasting(rows)
        if name == "runs" and change in ("revised", "shut"):
            ids = {row["id"] for row in other}
            mine = [row for row in mine if row["id"] in ids]
        if mine != other:
            extra = [row for row in mine if row not in other]
            yield f"{name}: {len(mine)} rows in place of {len(other)}, {len(extra)} of them others"
