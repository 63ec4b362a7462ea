"""Staging tables: one a job and epoch, UNLOGGED, without indexes, registered before it is made.

What a load has replaced is registered as well, and dropped by whoever drops staging tables.
"""

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from dataproc.domain.keys import KeyRule
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.change import impatient
from dataproc.warehouse.columns import Column
from dataproc.warehouse.keys import PLACE, KeyTable
from dataproc.warehouse.target import Target

REGISTER = """
INSERT INTO dataproc_load.load_staging (job_id, epoch, target, staging_table, fingerprint, key_tables)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
UNREGISTER = """
DELETE FROM dataproc_load.load_staging WHERE job_id = %s AND epoch <= %s RETURNING staging_table, key_tables
"""
FORGET_CHUNKS = "DELETE FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch <= %s"
REPLACED = "replaced_"
"""How the names of tables begin that were replaced, and of their indexes."""
INDEXES = "SELECT oid, relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = %s::regclass"
END_USERS = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT DISTINCT pid FROM pg_locks
    WHERE relation = to_regclass(%s) AND pid <> pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS users
"""


def staging_name(load_id: LoadId) -> str:
    """Return the name of the staging table of a load.

    Workers of an earlier plan of the same run may still be at work, so each plan has a table of its own.
    """
    again = f"_{load_id.replans}" if load_id.replans else ""
    return f"staging_{load_id.job_id.hex}_{load_id.epoch}{again}"


def identifier_of(name: str) -> sql.Identifier:
    """Return the quoted name of a staging table."""
    return sql.Identifier("dataproc_load", name)


def staging_table(load_id: LoadId) -> sql.Identifier:
    """Return the quoted name of the staging table of a load."""
    return identifier_of(staging_name(load_id))


def key_tables(load_id: LoadId, rules: Sequence[KeyRule]) -> tuple[KeyTable, ...]:
    """Return the tables of the keys of a load."""
    names = key_names(staging_name(load_id), len(rules))
    return tuple(KeyTable(identifier_of(name), rule) for name, rule in zip(names, rules, strict=True))


def key_names(staging: str, count: int) -> Sequence[str]:
    """Return the names of the tables of keys beside a staging table."""
    return [f"{staging}_keys{at}" for at in range(count)]


def make_staging(
    conn: psycopg.Connection, load_id: LoadId, target: Target, fingerprint: bytes, rules: Sequence[KeyRule] = ()
) -> None:
    """Register the staging table and those of keys, then make them: what is not registered is never dropped.

    It has the columns, the NOT NULLs and the CHECKs of the target, so that a row which breaks one is found here.
    """
    name = staging_name(load_id)
    conn.execute(REGISTER, (load_id.job_id, load_id.epoch, target.name, name, fingerprint, len(rules)))
    checks = [sql.SQL("CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(text)) for name, text in target.checks]
    placed = PLACE if rules or target.placed else ()
    make_table(conn, staging_table(load_id), (*target.staged_columns, *placed), checks)
    for table in key_tables(load_id, rules):
        make_table(conn, table.identifier, table.columns)


def make_table(
    conn: psycopg.Connection,
    name: sql.Identifier,
    columns: Iterable[Column],
    checks: Iterable[sql.Composable] = (),
) -> None:
    """Make an unlogged table."""
    made = (
        sql.SQL("{} {}{}").format(
            sql.Identifier(c.name), sql.SQL(c.sql_type), sql.SQL(" NOT NULL" if c.required else "")
        )
        for c in columns
    )
    conn.execute(
        sql.SQL("CREATE UNLOGGED TABLE IF NOT EXISTS {} ({})").format(name, sql.SQL(", ").join([*made, *checks]))
    )


def set_aside(conn: psycopg.Connection, load_id: LoadId, target: Target) -> None:
    """Register a table that was replaced, and move it to our schema, to be dropped when nobody waits for that."""
    name = f"{REPLACED}{load_id.job_id.hex}_{load_id.epoch}"
    conn.execute(REGISTER, (load_id.job_id, load_id.epoch, name, name, None, 0))
    for oid, index in conn.execute(INDEXES, (target.identifier.as_string(conn),)).fetchall():
        # Those of the new table have the same names.
        free = sql.SQL("ALTER INDEX {} RENAME TO {}")
        conn.execute(free.format(sql.Identifier(target.schema, index), sql.Identifier(f"{REPLACED}{oid}")))
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(target.identifier, sql.Identifier(name)))
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA dataproc_load").format(sql.Identifier(target.schema, name)))


def drop_staging(conn: psycopg.Connection, job_id: object, epoch: int) -> None:
    """Drop the registered tables of a job up to `epoch`, and end who still writes into staging: it is too late."""
    for staging, keys in conn.execute(UNREGISTER, (job_id, epoch)).fetchall():
        for name in (staging, *key_names(staging, keys)):
            drop = sql.SQL("DROP TABLE IF EXISTS {}").format(identifier_of(name))
            if name.startswith(REPLACED):
                # Whoever uses it does no harm, such as pg_dump; it is dropped another time.
                with impatient(conn):
                    conn.execute(drop)
            else:
                end_users(conn, name)
                conn.execute(drop)


def end_users(conn: psycopg.Connection, name: str) -> None:
    """End the sessions that use a staging table, other than this one."""
    conn.execute(END_USERS, (f"dataproc_load.{name}",))


def forget_chunks(conn: psycopg.Connection, job_id: object, epoch: int) -> None:
    """Forget the chunks of a job up to `epoch`."""
    conn.execute(FORGET_CHUNKS, (job_id, epoch))
