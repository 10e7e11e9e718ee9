"""kronosfw: plugin-based forecasting of market data."""

__version__ = "0.1.0"
