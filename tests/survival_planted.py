"""Mistakes that a run could make, each of which killing and resuming must bring to light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

from kronosfw import journal, pipeline
from kronosfw.store import Row, Store
from kronosfw.undertaking import Undertaking

_RECORD = Store.record


def _work_first(
    store: Store, run: Row, predictions: Iterable[Row], *, work: Iterable[Row] = (), **more: Any
) -> int:
    _RECORD(store, run, (), work=work)
    return _RECORD(store, run, predictions, **more)


def _rows_first(
    store: Store, run: Row, predictions: Iterable[Row], *, work: Iterable[Row] = (), **more: Any
) -> int:
    written = _RECORD(store, run, predictions, **more)
    _RECORD(store, run, (), work=work)
    return written


def _whatever_the_inputs(under_way: Any, symbol: str, asset_class: str, inputs: str) -> bool:
    versions = {name: its[asset_class] for name, its in under_way._versions.items()}
    return all((symbol, name, version) in under_way._finished for name, version in versions.items())


PLANTED = {
    "the ledger is written before the rows": patch.object(Store, "record", _work_first),
    "the rows are written before the ledger": patch.object(Store, "record", _rows_first),
    "what has other inputs by now counts as finished": patch.object(
        Undertaking, "_is_finished", _whatever_the_inputs
    ),
    "a run that is resumed has a cutoff of its own": patch.object(
        pipeline, "_unended", lambda subject, store: None
    ),
    "a run counts as done from its first batch on": patch.object(journal, "RUNNING", "done"),
    "what is finished is done again": patch.object(Undertaking, "_worked", lambda under_way: {}),
}
