"""A ledger of work, what a run was asked for, and an index by what a run wrote at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("runs", sa.Column("subject", sa.Text()))
    op.create_index("runs_subject", "runs", ["subject", "started_at"])
    op.create_table(
        "work",
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("timeframe", sa.Text(), primary_key=True),
        sa.Column("as_of", TIME, primary_key=True),
        sa.Column("model_name", sa.Text(), primary_key=True),
        sa.Column("model_version", sa.Text(), primary_key=True),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("finished_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="work_run_fk"),
    )
    op.create_index("work_run_id", "work", ["run_id"])
    op.create_index("work_as_of", "work", ["timeframe", "as_of"])
    op.create_index("ml_predictions_run", "ml_predictions", ["run_id", "created_at"])
    op.drop_index("ml_predictions_run_id", "ml_predictions")
