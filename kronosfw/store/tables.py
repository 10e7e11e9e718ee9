"""The tables.

A change here needs a new revision in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

from .columns import Real, UtcTime, json_type

Row = Mapping[str, Any]
"""A row by column name, with Python's own types: aware datetimes, dates, floats, ints, str, JSON values."""

STAMPS = frozenset({"run_id", "started_at", "finished_at", "created_at", "scored_at"})
"""Columns that say who wrote a row and when: a row that differs in nothing else is not written again."""

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("state", Text, nullable=False),
    Column("manifest", json_type(), nullable=False),
    Column("report", json_type()),
    Column("subject", Text),
    Index("runs_subject", "subject", "started_at"),
)


def _natural_key() -> list[Column[Any]]:
    """Return what identifies a prediction, and the score of it."""
    return [
        Column("symbol", Text, primary_key=True),
        Column("timeframe", Text, primary_key=True),
        Column("as_of", UtcTime, primary_key=True),
        Column("model_name", Text, primary_key=True),
        Column("model_version", Text, primary_key=True),
        Column("step", Integer, primary_key=True, autoincrement=False),
    ]


ml_predictions = Table(
    "ml_predictions",
    metadata,
    *_natural_key(),
    Column("asset_class", Text, nullable=False),
    Column("target_time", UtcTime, nullable=False),
    Column("target_available_at", UtcTime, nullable=False),
    Column("session", Date, nullable=False),
    Column("p10", Real, nullable=False),
    Column("p50", Real, nullable=False),
    Column("p90", Real, nullable=False),
    Column("quantiles", json_type()),
    Column("last_close", Real, nullable=False),
    Column("event_context", json_type()),
    Column("seed", BigInteger, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id", name="ml_predictions_run_fk"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ml_predictions_as_of", "as_of"),
    Index("ml_predictions_target_available_at", "target_available_at"),
    Index("ml_predictions_run", "run_id", "created_at"),
)

KEY = tuple(column.name for column in ml_predictions.primary_key)
"""The natural key of predictions and evaluations."""

signal_evaluations = Table(
    "signal_evaluations",
    metadata,
    *_natural_key(),
    Column("asset_class", Text, nullable=False),
    Column("realised", Real, nullable=False),
    Column("realised_at", UtcTime, nullable=False),
    Column("abs_error", Real, nullable=False),
    Column("pinball", Real, nullable=False),
    Column("crps", Real, nullable=False),
    Column("covered", Boolean, nullable=False),
    Column("pit", Real, nullable=False),
    Column("direction_hit", Boolean),
    Column("event_active", Boolean),
    Column("regime", Text, nullable=False),
    Column("scored_at", UtcTime, nullable=False),
    ForeignKeyConstraint(
        KEY,
        [f"ml_predictions.{name}" for name in KEY],
        name="signal_evaluations_prediction_fk",
        ondelete="CASCADE",
    ),
    Index("signal_evaluations_realised_at", "realised_at"),
)

states = Table(
    "states",
    metadata,
    Column("model_name", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    Column("options", Text, primary_key=True),
    Column("as_of", UtcTime, primary_key=True),
    Column("content", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

ledger = Table(
    "work",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    Column("as_of", UtcTime, primary_key=True),
    Column("model_name", Text, primary_key=True),
    Column("model_version", Text, primary_key=True),
    Column("inputs", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("run_id", Text, ForeignKey("runs.id", name="work_run_fk"), nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    Index("work_run_id", "run_id"),
    Index("work_as_of", "timeframe", "as_of"),
)
"""What was done for a symbol and cutoff by a model, and from what."""

WORK_KEY = tuple(column.name for column in ledger.primary_key)
"""The natural key of the ledger: that of predictions but for the step."""
