"""The tables of the metadata database, as the newest migration leaves them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from dataproc.domain.status import RunStatus

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
NOW = func.clock_timestamp()
KNOWN_STATUS = "status IN ({})".format(", ".join(f"'{status}'" for status in RunStatus))
WHEN = DateTime(timezone=True)

metadata = MetaData(naming_convention=NAMES)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("owner", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("epoch", Integer, nullable=False, server_default=text("0")),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", WHEN, nullable=False, server_default=NOW),
    Column("updated_at", WHEN, nullable=False, server_default=NOW),
    Column("scheduled_for", WHEN, nullable=False, server_default=NOW),
    Column("started_at", WHEN),
    Column("finished_at", WHEN),
    Column("failure", JSONB(none_as_null=True)),
    Column("execution", Text, nullable=False, server_default=text("'shared'")),
    Column("source", Text, nullable=False, server_default=text("''")),
    Column("target", Text, nullable=False, server_default=text("''")),
    CheckConstraint(KNOWN_STATUS, name="status"),
    CheckConstraint("epoch >= 0 AND attempt >= 0", name="counts"),
)
# The jobs that wait, lane by lane: a claim looks at the first ones of each lane and passes over full lanes.
Index(
    "ix_jobs_lanes",
    jobs.c.execution,
    jobs.c.priority,
    jobs.c.owner,
    jobs.c.source,
    jobs.c.target,
    jobs.c.scheduled_for,
    jobs.c.created_at,
    jobs.c.id,
    postgresql_where=text("status = 'PENDING'"),
)
Index("ix_jobs_newest", jobs.c.created_at.desc(), jobs.c.id.desc())
Index("ix_jobs_status_newest", jobs.c.status, jobs.c.created_at.desc(), jobs.c.id.desc())
Index("ix_jobs_name_newest", jobs.c.name, jobs.c.created_at.desc(), jobs.c.id.desc())
Index(
    "ix_jobs_completed",
    jobs.c.name,
    jobs.c.owner,
    jobs.c.created_at.desc(),
    jobs.c.id.desc(),
    postgresql_where=text("status = 'COMPLETED'"),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("started_at", WHEN, nullable=False),
    Column("updated_at", WHEN, nullable=False),
    Column("finished_at", WHEN),
    Column("failure", JSONB(none_as_null=True)),
    Column("progress", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    UniqueConstraint("job_id", "epoch"),
    CheckConstraint(KNOWN_STATUS, name="status"),
)

# A table of its own, and without an index on `expires_at`: a heartbeat never waits for the lock on a
# job's row, and its update stays within the page (HOT).
job_leases = Table(
    "job_leases",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), primary_key=True),
    Column("run_id", Uuid, ForeignKey("job_runs.id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("expires_at", WHEN, nullable=False),
)

run_logs = Table(
    "run_logs",
    metadata,
    Column("run_id", Uuid, ForeignKey("job_runs.id"), nullable=False),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("logged_at", WHEN, nullable=False),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
)

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", WHEN, nullable=False),
    Column("note", Text),
)

data_sources = Table(
    "data_sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("created_at", WHEN, nullable=False, server_default=NOW),
    Column("updated_at", WHEN, nullable=False, server_default=NOW),
)

# No foreign key to `jobs`: the key is taken before the job is recorded.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("created_at", WHEN, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("owner", "key"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("created_at", WHEN, nullable=False, server_default=NOW),
    Column("delivered_at", WHEN),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", WHEN, nullable=False, server_default=func.now()),
)
Index(
    "ix_outbox_due",
    outbox.c.due_at,
    outbox.c.created_at,
    outbox.c.id,
    postgresql_where=text("delivered_at IS NULL"),
)

# `recorded_at` is part of the key, so that the table can be cut into monthly partitions.
audit_logs = Table(
    "audit_logs",
    metadata,
    Column("chain", SmallInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("recorded_at", WHEN, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("chain", "seq", "recorded_at"),
)
Index("ix_audit_logs_subject", audit_logs.c.subject, audit_logs.c.recorded_at)
