"""Backtests: what the configuration's models and ensemblers would have forecast as of past origins, and scored.

At each origin the same is done as in a run as of that moment: windows are cut, members forecast, ensembles and
calibration learn from what had come by then and no later, and what they make is stored and scored. Some origins at
a time are written together with a note of how far it is, so that a backtest that was stopped goes on from there.
"""

from .report import BacktestReport
from .run import backtest

__all__ = ["BacktestReport", "backtest"]
