"""Staging tables: one a job and epoch, UNLOGGED, without indexes, registered before it is made."""

import psycopg
from psycopg import sql

from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.target import Target

REGISTER = """
INSERT INTO dataproc_load.load_staging (job_id, epoch, target, staging_table, fingerprint) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
UNREGISTER = """
DELETE FROM dataproc_load.load_staging WHERE job_id = %s AND epoch <= %s RETURNING staging_table
"""
FORGET_CHUNKS = "DELETE FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch <= %s"
END_USERS = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT DISTINCT pid FROM pg_locks
    WHERE relation = to_regclass(%s) AND pid <> pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS users
"""


def staging_name(load_id: LoadId) -> str:
    """Return the name of the staging table of a load."""
    return f"staging_{load_id.job_id.hex}_{load_id.epoch}"


def identifier_of(name: str) -> sql.Identifier:
    """Return the quoted name of a staging table."""
    return sql.Identifier("dataproc_load", name)


def staging_table(load_id: LoadId) -> sql.Identifier:
    """Return the quoted name of the staging table of a load."""
    return identifier_of(staging_name(load_id))


def make_staging(conn: psycopg.Connection, load_id: LoadId, target: Target, fingerprint: bytes) -> None:
    """Register the staging table, then make it: what is not registered is never dropped.

    It has the columns, the NOT NULLs and the CHECKs of the target, so that a row which breaks one is found here.
    """
    conn.execute(REGISTER, (load_id.job_id, load_id.epoch, target.name, staging_name(load_id), fingerprint))
    columns = (
        sql.SQL("{} {}{}").format(
            sql.Identifier(c.name), sql.SQL(c.sql_type), sql.SQL(" NOT NULL" if c.required else "")
        )
        for c in target.columns
    )
    checks = (sql.SQL("CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(text)) for name, text in target.checks)
    conn.execute(
        sql.SQL("CREATE UNLOGGED TABLE IF NOT EXISTS {} ({})").format(
            staging_table(load_id), sql.SQL(", ").join([*columns, *checks])
        )
    )


def drop_staging(conn: psycopg.Connection, job_id: object, epoch: int) -> None:
    """Drop the registered staging tables of a job up to `epoch`, and end who still writes there: it is too late."""
    for (name,) in conn.execute(UNREGISTER, (job_id, epoch)).fetchall():
        end_users(conn, name)
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(identifier_of(name)))


def end_users(conn: psycopg.Connection, name: str) -> None:
    """End the sessions that use a staging table, other than this one."""
    conn.execute(END_USERS, (f"dataproc_load.{name}",))


def forget_chunks(conn: psycopg.Connection, job_id: object, epoch: int) -> None:
    """Forget the chunks of a job up to `epoch`."""
    conn.execute(FORGET_CHUNKS, (job_id, epoch))
