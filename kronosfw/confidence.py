"""A figure for how much a forecast may be relied on, from its width against its own history and its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .types import ENVELOPE, Forecast, Window

if TYPE_CHECKING:
    import pandas as pd

COVERED = 0.8
"""Share of outcomes that p10 to p90 should cover."""
_LEAST_WIDTHS, _LEAST_OUTCOMES = 20, 50


def with_confidence(
    forecasts: Sequence[Forecast],
    windows: Mapping[str, Window],
    envelopes: pd.DataFrame,
    coverage: Mapping[str, tuple[float, int]],
) -> list[Forecast]:
    """Return the forecasts of one model with a ``confidence`` in their ``event_context``.

    ``value`` is ``width_rank`` × (1 − |coverage − 0.8| / 0.8). ``width_rank`` is the share of the model's earlier
    envelopes of the symbol that were wider at the last step, relative to the close, equal ones counting half: 1 for
    the narrowest. ``coverage`` is that of the asset class, of ``n`` outcomes. With fewer than 20 envelopes or 50
    outcomes there is no figure. ``envelopes`` and ``coverage`` are as ``lessons.Lessons`` has them.
    """
    width = (envelopes["p90"] - envelopes["p10"]) / envelopes["last_close"].abs()
    earlier = {symbol: its.to_numpy() for symbol, its in width.groupby(envelopes["symbol"])}
    told = []
    for forecast in forecasts:
        window = windows[forecast.symbol]
        share, n = coverage.get(window.asset_class, (0.0, 0))
        widths = earlier.get(forecast.symbol, np.empty(0))
        if len(widths) < _LEAST_WIDTHS or n < _LEAST_OUTCOMES:
            told.append(forecast)
            continue
        low, _, high = forecast.at(ENVELOPE)[-1]
        now = (high - low) / abs(window.bars.close[-1])
        rank = float(((widths > now) + 0.5 * (widths == now)).mean())
        value = rank * max(1 - abs(share - COVERED) / COVERED, 0.0)
        figures: dict[str, Any] = {"value": value, "width_rank": rank, "coverage": share, "n": n}
        told.append(replace(forecast, event_context={**forecast.event_context, "confidence": figures}))
    return told
