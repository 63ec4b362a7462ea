"""What claims count by (execution, source, target), logs of runs, duties, and events that are tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)

# The program of 0001 leaves no `execution` in a spec.
FILL = """
UPDATE jobs SET
    execution = coalesce(spec ->> 'execution', 'shared'),
    source = coalesce(spec #>> '{source,connection}', spec #>> '{source,kind}', ''),
    target = coalesce(spec #>> '{destination,table}', '')
WHERE source = '' AND target = ''
"""

# Built beside the traffic; one that was interrupted is left invalid, so that a repetition drops it first.
NEW_INDEXES = {
    "ix_jobs_lanes": (
        "jobs (execution, priority, owner, source, target, scheduled_for, created_at, id) WHERE status = 'PENDING'"
    ),
    "ix_jobs_completed": "jobs (name, owner, created_at DESC, id DESC) WHERE status = 'COMPLETED'",
    "ix_outbox_due": "outbox (due_at, created_at, id) WHERE delivered_at IS NULL",
}
OLD_INDEXES = ("ix_jobs_ready", "ix_outbox_pending")


def upgrade() -> None:
    add_columns()
    create_run_logs()
    create_duties()
    with op.get_context().autocommit_block():
        op.execute(FILL)
        for name, what in NEW_INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {what}")
        for name in OLD_INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def add_columns() -> None:
    """Add columns whose defaults are constant, so that no table is written anew, and only once."""
    op.execute("ALTER TABLE jobs ADD COLUMN IF NOT EXISTS execution text NOT NULL DEFAULT 'shared'")
    op.execute("ALTER TABLE jobs ADD COLUMN IF NOT EXISTS source text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE jobs ADD COLUMN IF NOT EXISTS target text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE outbox ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE outbox ADD COLUMN IF NOT EXISTS due_at timestamptz NOT NULL DEFAULT now()")


def create_run_logs() -> None:
    op.create_table(
        "run_logs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("logged_at", WHEN, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_run_logs")),
        sa.ForeignKeyConstraint(["run_id"], ["job_runs.id"], name=op.f("fk_run_logs_run_id")),
        if_not_exists=True,
    )


def create_duties() -> None:
    op.create_table(
        "duties",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
        if_not_exists=True,
    )
