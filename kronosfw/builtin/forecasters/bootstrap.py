"""Historical bootstrap, filtered by volatility."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

from ...types import Floats, Forecast, Window
from . import Bootstrap
from .common import log_close, prices

LEAST = 22
QUIETEST = 0.1
FARTHEST = 10


class BootstrapForecaster:
    """Quantiles of paths made of past log returns, drawn in blocks (Künsch, Annals of Statistics 17, 1989).

    With ``rescale`` each return is divided by the volatility known before it and multiplied by the present one
    (Hull & White, Journal of Risk 1, 1998); see ``rescaled``. Returns are centred: the sample's own trend is no
    forecast.

    The quantile rule is i/(S + 1) ("weibull"): if the outcome is one more draw like the S paths, it lies below
    the i-th of them with exactly that probability. Needs 22 bars, and a block at least.
    """

    max_context: int | None = None

    def __init__(self, options: Bootstrap) -> None:
        self._options = options

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [self._forecast(window, levels) for window in windows]

    def _forecast(self, window: Window, levels: Sequence[float]) -> Forecast:
        options = self._options
        returns = np.diff(log_close(window, max(LEAST, options.block + 1)))
        if options.rescale:
            returns = rescaled(returns, options.decay)
        paths = prices(window, self._draw(returns - returns.mean(), window))
        return window.forecast(
            levels,
            np.quantile(paths, levels, axis=0, method="weibull").T,
            samples=paths[:, :, None] if options.keep_samples else None,
        )

    def _draw(self, returns: Floats, window: Window) -> Floats:
        """Return cumulative log returns of the paths ``[S, H]``."""
        block = self._options.block
        blocks = -(-window.horizon // block)
        starts = window.rng().integers(len(returns) - block + 1, size=(self._options.samples, blocks))
        rows = (starts[:, :, None] + np.arange(block)).reshape(self._options.samples, -1)
        paths: Floats = returns[rows[:, : window.horizon]].cumsum(axis=1)
        return paths


def rescaled(returns: Floats, decay: float) -> Floats:
    """Return each return over the volatility known before it, times the present one, ``[N]``.

    In a quiet stretch, such as a halt, the volatility decays towards zero, and the return that ends it would
    outweigh all others. So no volatility is below a tenth of the root mean square of the returns, and a return
    counts as ten times the volatility before it at most.
    """
    least = QUIETEST * np.sqrt(np.mean(returns**2))
    volatility = np.maximum(ewma_volatility(returns, decay), least)
    past, present = volatility[:-1], volatility[-1]
    units = np.divide(returns, past, out=np.zeros_like(returns), where=past > 0)
    result: Floats = present * np.clip(units, -FARTHEST, FARTHEST)
    return result


def ewma_volatility(returns: Floats, decay: float) -> Floats:
    """Return the volatility known before each of N returns and after the last, ``[N + 1]``.

    The recursion σ²ₜ₊₁ = λ σ²ₜ + (1 − λ) r²ₜ starts at the mean square of all of them.
    """
    squares = returns**2
    start = squares.mean()
    later, _ = lfilter([1 - decay], [1, -decay], squares, zi=[decay * start])
    volatility: Floats = np.sqrt(np.concatenate([[start], later]))
    return volatility
