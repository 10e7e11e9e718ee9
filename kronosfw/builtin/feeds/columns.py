"""Which column is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .faults import Fault, shown

USUAL = {
    "time": ("timestamp", "timestamps", "date", "datetime", "time", "ds"),
    "symbol": ("symbol", "ticker", "unique_id", "item_id", "instrument", "asset"),
}
PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume", "amount")


def has_symbols(names: Sequence[str], given: Mapping[str, str]) -> bool:
    """Tell whether one of the columns holds symbols."""
    return bool(_candidates("symbol", names, given))


def match(names: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """Return our name → index for the columns of bars, from the mapping given and the usual names.

    Raises Fault where a name stands twice, a column is missing or two could be meant.
    """
    _refuse_twins([name.strip() for name in names])
    found: dict[str, int] = {}
    for ours in ("time", "symbol", *VALUES):
        candidates = _candidates(ours, names, given)
        if len(candidates) > 1:
            theirs = ", ".join(names[i] for i in candidates)
            raise Fault(f"several columns could be the {ours}: {theirs}; say which with `columns: {{{ours}: …}}`")
        if candidates:
            found[ours] = candidates[0]
        elif ours in given:
            raise Fault(f"there is no column {shown(given[ours])} for {ours}; {_listed(names)}")
    missing = [ours for ours in ("time", *PRICES) if ours not in found]
    if missing:
        raise Fault(f"no column for {', '.join(missing)}; {_listed(names)}; map other names with `columns`")
    return found


def _candidates(ours: str, names: Sequence[str], given: Mapping[str, str]) -> list[int]:
    """Return where the column may stand: a mapped name as it is written, else any name in whatever case."""
    if given.get(ours) in names:
        return [names.index(given[ours])]
    wanted = [given[ours]] if ours in given else USUAL.get(ours, (ours,))
    folded = {name.strip().casefold() for name in wanted}
    return [i for i, name in enumerate(names) if name.strip().casefold() in folded]


def _refuse_twins(names: Sequence[str]) -> None:
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        twins = sorted({name for name in named if named.count(name) > 1})
        raise Fault(f"the column {shown(twins[0])} stands there twice")


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(shown(name) for name in names[:12])
    return f"found {some}{', …' if len(names) > 12 else ''}"
