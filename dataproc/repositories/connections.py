"""Registered sources."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, delete, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.errors import ConflictError, NotFoundError
from dataproc.domain.status import RunStatus
from dataproc.ports.store import Connection
from dataproc.repositories.tables import NOW, data_sources

UNFINISHED = [status.value for status in RunStatus if not status.is_final]
NEEDED_BY = text("""
SELECT count(*) FROM jobs
WHERE status = ANY(:unfinished)
  AND (spec #>> '{source,connection}' = :name OR spec -> 'transforms' @> CAST(:lookup AS jsonb))
""")


@dataclass(frozen=True, slots=True)
class PostgresConnections:
    """Where sources are and how to reach them, without secrets."""

    conn: AsyncConnection

    async def put(self, connection: Connection) -> bool:
        """Register a connection, or replace the one of that name; return whether it is new."""
        new = {"kind": connection.kind, "config": dict(connection.config)}
        statement = insert(data_sources).values(name=connection.name, **new)
        replace = statement.on_conflict_do_update(index_elements=["name"], set_={**new, "updated_at": NOW})
        # A row that was just inserted has no earlier version.
        return bool((await self.conn.execute(replace.returning(literal_column("xmax = 0")))).scalar_one())

    async def get(self, name: str) -> Connection:
        """Return a connection, which is not removed until the transaction ends, or raise `NotFoundError`."""
        named = select(data_sources).where(data_sources.c.name == name)
        row = (await self.conn.execute(named.with_for_update(read=True, key_share=True))).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"there is no connection {name!r}; register it, or correct the name")
        return to_connection(row)

    async def remove(self, name: str) -> None:
        """Remove a connection, or raise `NotFoundError`, or `ConflictError` while jobs that have not ended need it."""
        found = delete(data_sources).where(data_sources.c.name == name)
        if (await self.conn.execute(found)).rowcount == 0:
            raise NotFoundError(f"there is no connection {name!r}")
        # Asked after the row was locked: a job that named it a moment ago is recorded by now.
        lookup = json.dumps([{"from": {"source": {"connection": name}}}])
        told = {"name": name, "lookup": lookup, "unfinished": UNFINISHED}
        if waiting := await self.conn.scalar(NEEDED_BY, told):
            raise ConflictError(f"{waiting} jobs that have not ended use {name!r}; cancel them, or wait for their end")

    async def all(self) -> Sequence[Connection]:
        """Return every connection, by name."""
        rows = await self.conn.execute(select(data_sources).order_by(data_sources.c.name))
        return [to_connection(row) for row in rows.mappings()]


def to_connection(row: RowMapping) -> Connection:
    """Return the connection of a row of `data_sources`."""
    return Connection(name=row["name"], kind=row["kind"], config=row["config"])
