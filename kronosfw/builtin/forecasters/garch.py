"""GJR-GARCH(1,1) with Student's t errors, through the package arch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from arch import arch_model

from ...types import Floats, Forecast, Window
from . import Garch
from .common import log_close, prices, quiet, unit_quantiles

LEAST = 101
ROUNDING = 1e-10


class GarchForecaster:
    """Student's t around the last close; its variance over h bars is the sum of the h predicted ones.

    The model is that of Glosten, Jagannathan & Runkle (Journal of Finance 48, 1993), fitted by maximum
    likelihood to the log returns of the window. Summed variances with the fitted t score like simulated paths
    on daily bars, cost nothing and carry no noise. Needs 101 bars.
    """

    max_context: int | None = None

    def __init__(self, options: Garch) -> None:
        self._drift = options.drift

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window: Window, levels: Sequence[float]) -> Floats:
        returns = np.diff(log_close(window, LEAST))
        if np.median(np.abs(returns - np.median(returns))) < ROUNDING:
            raise ValueError("half of the returns or more are equal: there is no volatility to fit")
        scale = returns.std()
        with quiet():
            model = arch_model(
                returns / scale, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False
            )
            fit = model.fit(disp="off", show_warning=False)
            if fit.convergence_flag != 0:
                raise ValueError(f"the GARCH fit did not converge (optimiser's code {fit.convergence_flag})")
            variance = fit.forecast(horizon=window.horizon).variance.to_numpy()[-1]
            sigma = scale * np.sqrt(variance.cumsum())
        drift = scale * fit.params["mu"] if self._drift else 0.0
        centre = drift * np.arange(1, window.horizon + 1)
        z = unit_quantiles(levels, window.horizon, fit.params["nu"])
        return prices(window, centre[:, None] + sigma[:, None] * z)
