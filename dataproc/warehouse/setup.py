"""The schema `dataproc_load`: made and brought up to date under a lock, forward only."""

from collections.abc import Sequence

import psycopg

from dataproc.domain.errors import SetupError
from dataproc.warehouse.connection import connect

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('dataproc_load.setup', 0))"
MINIMUM_VERSION = 150000

STEPS = (
    """
    CREATE TABLE dataproc_load.load_fence (
        job_id uuid PRIMARY KEY,
        epoch bigint NOT NULL,
        cancelled boolean NOT NULL DEFAULT false
    );
    CREATE TABLE dataproc_load.load_staging (
        job_id uuid NOT NULL,
        epoch bigint NOT NULL,
        target text NOT NULL,
        staging_table text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (job_id, epoch, target)
    );
    CREATE TABLE dataproc_load.load_chunk (
        job_id uuid NOT NULL,
        epoch bigint NOT NULL,
        target text NOT NULL,
        unit text NOT NULL,
        seq integer NOT NULL,
        last boolean NOT NULL,
        rows_read bigint NOT NULL,
        rows_loaded bigint NOT NULL,
        rows_rejected bigint NOT NULL,
        rows_filtered bigint NOT NULL,
        digest bytea NOT NULL,
        staged_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (job_id, epoch, target, unit, seq),
        CHECK (rows_read = rows_loaded + rows_rejected + rows_filtered)
    );
    CREATE TABLE dataproc_load.load_ledger (
        job_id uuid NOT NULL,
        target text NOT NULL,
        epoch bigint NOT NULL,
        run_id uuid NOT NULL,
        way text NOT NULL CHECK (way IN ('direct', 'staged')),
        units bigint NOT NULL,
        rows_read bigint NOT NULL,
        rows_loaded bigint NOT NULL,
        rows_rejected bigint NOT NULL,
        rows_filtered bigint NOT NULL,
        published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (job_id, target),
        CHECK (rows_read = rows_loaded + rows_rejected + rows_filtered)
    );
    CREATE TABLE dataproc_load.reject (
        job_id uuid NOT NULL,
        run_id uuid NOT NULL,
        target text NOT NULL,
        unit text NOT NULL,
        position bigint NOT NULL,
        rule text NOT NULL,
        column_name text,
        reason text NOT NULL,
        raw_row text,
        rejected_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX reject_of_job ON dataproc_load.reject (job_id, unit, position);
    """,
    """
    ALTER TABLE dataproc_load.load_chunk ADD COLUMN rejects bytea;
    """,
    """
    ALTER TABLE dataproc_load.load_staging ADD COLUMN fingerprint bytea;
    ALTER TABLE dataproc_load.load_chunk
        ADD COLUMN rows_deduplicated bigint NOT NULL DEFAULT 0,
        DROP CONSTRAINT load_chunk_check,
        ADD CONSTRAINT load_chunk_balanced
            CHECK (rows_read = rows_loaded + rows_rejected + rows_deduplicated + rows_filtered);
    ALTER TABLE dataproc_load.load_ledger
        ADD COLUMN rows_deduplicated bigint NOT NULL DEFAULT 0,
        ADD COLUMN rows_announced bigint,
        DROP CONSTRAINT load_ledger_check,
        ADD CONSTRAINT load_ledger_balanced
            CHECK (rows_read = rows_loaded + rows_rejected + rows_deduplicated + rows_filtered);
    CREATE TABLE dataproc_load.load_unit (
        job_id uuid NOT NULL,
        target text NOT NULL,
        unit text NOT NULL,
        rows_announced bigint,
        rows_read bigint NOT NULL,
        rows_loaded bigint NOT NULL,
        rows_rejected bigint NOT NULL,
        rows_filtered bigint NOT NULL,
        rows_deduplicated bigint NOT NULL,
        PRIMARY KEY (job_id, target, unit),
        CHECK (rows_read = rows_loaded + rows_rejected + rows_deduplicated + rows_filtered)
    );
    """,
    """
    ALTER TABLE dataproc_load.load_chunk ADD COLUMN mark text NOT NULL DEFAULT '', ADD COLUMN high text;
    ALTER TABLE dataproc_load.load_ledger
        ADD COLUMN cursor text,
        ADD COLUMN read_after text,
        ADD COLUMN read_up_to text;
    CREATE TABLE dataproc_load.memory (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job_name text NOT NULL,
        target text NOT NULL,
        cursor text,
        watermark text,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (job_name, target)
    );
    CREATE TABLE dataproc_load.source_object (
        memory_id bigint NOT NULL REFERENCES dataproc_load.memory (id),
        uri text NOT NULL,
        version text NOT NULL,
        size bigint NOT NULL,
        job_id uuid NOT NULL,
        PRIMARY KEY (memory_id, uri, version)
    );
    """,
    """
    CREATE TABLE dataproc_load.throttle_secret (secret bytea NOT NULL);
    INSERT INTO dataproc_load.throttle_secret
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    CREATE TABLE dataproc_load.throttle (
        key bytea PRIMARY KEY,
        filled_at timestamptz NOT NULL DEFAULT '-infinity',
        spacing interval NOT NULL DEFAULT '0',
        paused_until timestamptz NOT NULL DEFAULT '-infinity',
        extra double precision NOT NULL DEFAULT 0,
        slowed_at timestamptz NOT NULL DEFAULT now() - interval '1 day'
    ) WITH (fillfactor = 50);
    """,
    """
    ALTER TABLE dataproc_load.load_staging ADD COLUMN key_tables integer NOT NULL DEFAULT 0;
    ALTER TABLE dataproc_load.load_chunk ADD COLUMN discarded jsonb NOT NULL DEFAULT '[]';
    ALTER TABLE dataproc_load.reject
        ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
        ADD COLUMN attempt integer,
        ADD COLUMN code text,
        ADD COLUMN is_row boolean NOT NULL DEFAULT false,
        ADD COLUMN is_encrypted boolean NOT NULL DEFAULT false,
        ADD COLUMN replayed_by uuid;
    CREATE INDEX reject_by_id ON dataproc_load.reject (job_id, id);
    ALTER TABLE dataproc_load.load_ledger
        ADD COLUMN rows_inserted bigint,
        ADD COLUMN rows_updated bigint,
        ADD COLUMN rows_deleted bigint,
        ADD COLUMN rows_unchanged bigint,
        ADD COLUMN notes text[];
    """,
    """
    ALTER TABLE dataproc_load.load_chunk
        ADD COLUMN broken jsonb NOT NULL DEFAULT '[]',
        ADD COLUMN edge bytea NOT NULL DEFAULT '';
    ALTER TABLE dataproc_load.memory ADD COLUMN boundary bytea, ADD COLUMN boundary_columns text NOT NULL DEFAULT '';
    """,
)
"""Each step brings the schema from its index to the next version. Add steps; never change one that was released."""


def prepare(url: str, steps: Sequence[str] = STEPS) -> int:
    """Bring the schema `dataproc_load` up to date; return its version. Safe when two do it at once."""
    with connect(url) as conn:
        refuse_old_server(conn)
        with conn.transaction():
            conn.execute(LOCK)
            conn.execute("CREATE SCHEMA IF NOT EXISTS dataproc_load")
            conn.execute("CREATE TABLE IF NOT EXISTS dataproc_load.version (version integer NOT NULL)")
            for number, step in enumerate(steps[version(conn) :], version(conn) + 1):
                conn.execute(step.encode())
                conn.execute("DELETE FROM dataproc_load.version")
                conn.execute("INSERT INTO dataproc_load.version VALUES (%s)", (number,))
            return version(conn)


def version(conn: psycopg.Connection) -> int:
    """Return the version of the schema; 0 when it is empty."""
    row = conn.execute("SELECT max(version) FROM dataproc_load.version").fetchone()
    return (row and row[0]) or 0


def refuse_old_server(conn: psycopg.Connection) -> None:
    """Refuse a PostgreSQL that is too old."""
    if conn.info.server_version < MINIMUM_VERSION:
        raise SetupError(f"the warehouse runs PostgreSQL {conn.info.server_version // 10000}; 15 or newer is needed")
