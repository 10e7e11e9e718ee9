"""Forecasts windows with TimesFM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from kronosfw.types import Floats, Forecast, Window

from .deciles import at_levels
from .networks import Network, patches
from .options import TimesFm
from .series import Series, series_of
from .sources import CONFIG, WEIGHTS, locate


class TimesFmForecaster:
    """Forecasts the close.

    Series that are padded to the same length and have the same numbers of channels share a batch; nothing in it
    passes from one to the other. Raises WeightsError where the weights cannot be had.
    """

    def __init__(self, options: TimesFm) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._options = options
        self._network = _network(options)
        self.max_context: int | None = self._network.room(1)

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        """Return one forecast for each window; raises ValueError for a window that cannot be forecast."""
        series = [series_of(window, self._network.room(window.horizon), self._options) for window in windows]
        found: dict[int, Floats] = {}
        for rows in self._batches(series):
            found.update(zip(rows, self._network.deciles([series[row] for row in rows]), strict=True))
        return [
            window.forecast(levels, one.prices(at_levels(found[row], levels)))
            for row, (window, one) in enumerate(zip(windows, series, strict=True))
        ]

    def _batches(self, series: Sequence[Series]) -> list[list[int]]:
        """Return which series are forecast together."""
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, one in enumerate(series):
            shape = patches(len(one.values)), one.horizon, len(one.channels.past), len(one.channels.known)
            alike[shape].append(row)
        batches = []
        for rows in alike.values():
            most = max(self._options.batch // (1 + len(series[rows[0]].channels)), 1)
            batches += [rows[start : start + most] for start in range(0, len(rows), most)]
        return batches


def _network(options: TimesFm) -> Network:
    if options.version == "2.5":
        folder = locate(options.source, options.revision, (WEIGHTS,))
        from .timesfm25 import TimesFm25

        return TimesFm25(folder, options)
    folder = locate(options.source, options.revision, (CONFIG, WEIGHTS))
    from .timesfm30 import TimesFm30

    return TimesFm30(folder, options)
