"""First tables: jobs with runs and leases, sources, idempotency keys, outbox, audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")
STATUSES = "'PENDING', 'INGESTING', 'TRANSFORMING', 'LOADING', 'COMPLETED', 'FAILED', 'CANCELLED'"

AUDIT_HASH = """
CREATE FUNCTION audit_hash(
    previous bytea, chain smallint, seq bigint, recorded_at timestamptz,
    action text, actor text, subject text, details jsonb
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(previous || convert_to(jsonb_build_array(
        chain, seq, (extract(epoch FROM recorded_at) * 1000000)::bigint, action, actor, subject, details
    )::text, 'UTF8'))
$$
"""

# The lock comes first and is kept until commit: the statement after it sees the newest entry.
AUDIT_CHAIN = """
CREATE FUNCTION audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dataproc audit_logs'), new.chain);
    SELECT seq + 1, hash INTO new.seq, new.previous FROM audit_logs
        WHERE chain = new.chain ORDER BY seq DESC LIMIT 1;
    new.seq := coalesce(new.seq, 1);
    new.previous := coalesce(new.previous, ''::bytea);
    new.recorded_at := clock_timestamp();
    new.hash := audit_hash(new.previous, new.chain, new.seq, new.recorded_at,
        new.action, new.actor, new.subject, new.details);
    RETURN new;
END
$$
"""

AUDIT_REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_logs is append only: % refused', tg_op USING ERRCODE = 'insufficient_privilege';
END
$$
"""

AUDIT_TRIGGERS = (
    "CREATE TRIGGER audit_chain BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION audit_chain()",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_logs FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    create_jobs()
    create_runs()
    create_leases()
    create_sources()
    create_keys()
    create_outbox()
    create_audit()


def create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", JSONB(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("epoch", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("created_at", WHEN, nullable=False, server_default=NOW),
        sa.Column("updated_at", WHEN, nullable=False, server_default=NOW),
        sa.Column("scheduled_for", WHEN, nullable=False, server_default=NOW),
        sa.Column("started_at", WHEN),
        sa.Column("finished_at", WHEN),
        sa.Column("failure", JSONB()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_jobs_status")),
        sa.CheckConstraint("epoch >= 0 AND attempt >= 0", name=op.f("ck_jobs_counts")),
    )
    create_job_indexes()


def create_job_indexes() -> None:
    pending = sa.text("status = 'PENDING'")
    ready = (sa.text("priority DESC"), sa.text("scheduled_for"), sa.text("created_at"), sa.text("id"))
    newest = (sa.text("created_at DESC"), sa.text("id DESC"))
    op.create_index("ix_jobs_ready", "jobs", ready, postgresql_where=pending)
    op.create_index("ix_jobs_newest", "jobs", newest)
    op.create_index("ix_jobs_status_newest", "jobs", ["status", *newest])
    op.create_index("ix_jobs_name_newest", "jobs", ["name", *newest])


def create_runs() -> None:
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("started_at", WHEN, nullable=False),
        sa.Column("updated_at", WHEN, nullable=False),
        sa.Column("finished_at", WHEN),
        sa.Column("failure", JSONB()),
        sa.Column("progress", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
        sa.UniqueConstraint("job_id", "epoch", name=op.f("uq_job_runs_job_id_epoch")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_runs_job_id")),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_job_runs_status")),
    )


def create_leases() -> None:
    op.create_table(
        "job_leases",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_leases")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_leases_job_id")),
        sa.ForeignKeyConstraint(["run_id"], ["job_runs.id"], name=op.f("fk_job_leases_run_id")),
    )


def create_sources() -> None:
    op.create_table(
        "data_sources",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False, server_default=NOW),
        sa.Column("updated_at", WHEN, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_data_sources")),
    )


def create_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
    )


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False, server_default=NOW),
        sa.Column("delivered_at", WHEN),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    waiting = sa.text("delivered_at IS NULL")
    op.create_index("ix_outbox_pending", "outbox", ["created_at", "id"], postgresql_where=waiting)


def create_audit() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("chain", sa.SmallInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", WHEN, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", JSONB(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq", "recorded_at", name=op.f("pk_audit_logs")),
    )
    op.create_index("ix_audit_logs_subject", "audit_logs", ["subject", "recorded_at"])
    for statement in (AUDIT_HASH, AUDIT_CHAIN, AUDIT_REFUSE, *AUDIT_TRIGGERS):
        op.execute(statement)
