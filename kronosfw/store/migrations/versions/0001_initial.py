"""Runs, predictions and their scores."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
KEY = ("symbol", "timeframe", "as_of", "model_name", "model_version", "step")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("manifest", JSON, nullable=False),
        sa.Column("report", JSON),
    )
    op.create_table(
        "ml_predictions",
        *_natural_key(),
        sa.Column("asset_class", sa.Text(), nullable=False),
        sa.Column("target_time", TIME, nullable=False),
        sa.Column("target_available_at", TIME, nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("p10", sa.Double(), nullable=False),
        sa.Column("p50", sa.Double(), nullable=False),
        sa.Column("p90", sa.Double(), nullable=False),
        sa.Column("quantiles", JSON),
        sa.Column("last_close", sa.Double(), nullable=False),
        sa.Column("event_context", JSON),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="ml_predictions_run_fk"),
    )
    op.create_table(
        "signal_evaluations",
        *_natural_key(),
        sa.Column("asset_class", sa.Text(), nullable=False),
        sa.Column("realised", sa.Double(), nullable=False),
        sa.Column("realised_at", TIME, nullable=False),
        sa.Column("abs_error", sa.Double(), nullable=False),
        sa.Column("pinball", sa.Double(), nullable=False),
        sa.Column("crps", sa.Double(), nullable=False),
        sa.Column("covered", sa.Boolean(), nullable=False),
        sa.Column("pit", sa.Double(), nullable=False),
        sa.Column("direction_hit", sa.Boolean()),
        sa.Column("event_active", sa.Boolean()),
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column("scored_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            KEY,
            [f"ml_predictions.{name}" for name in KEY],
            name="signal_evaluations_prediction_fk",
            ondelete="CASCADE",
        ),
    )
    for column in ("as_of", "target_available_at", "run_id"):
        op.create_index(f"ml_predictions_{column}", "ml_predictions", [column])
    op.create_index("signal_evaluations_realised_at", "signal_evaluations", ["realised_at"])


def _natural_key() -> list[sa.Column[Any]]:
    return [
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("timeframe", sa.Text(), primary_key=True),
        sa.Column("as_of", TIME, primary_key=True),
        sa.Column("model_name", sa.Text(), primary_key=True),
        sa.Column("model_version", sa.Text(), primary_key=True),
        sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False),
    ]
