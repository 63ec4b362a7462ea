"""Registered sources."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.errors import NotFoundError
from dataproc.ports.store import Connection
from dataproc.repositories.tables import NOW, data_sources


@dataclass(frozen=True, slots=True)
class PostgresConnections:
    """Where sources are and how to reach them, without secrets."""

    conn: AsyncConnection

    async def put(self, connection: Connection) -> None:
        """Register a connection, or replace the one of that name."""
        new = {"kind": connection.kind, "config": dict(connection.config)}
        statement = insert(data_sources).values(name=connection.name, **new)
        replace = statement.on_conflict_do_update(index_elements=["name"], set_={**new, "updated_at": NOW})
        await self.conn.execute(replace)

    async def get(self, name: str) -> Connection:
        """Return a connection, or raise `NotFoundError`."""
        rows = await self.conn.execute(select(data_sources).where(data_sources.c.name == name))
        row = rows.mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"there is no connection {name!r}; register it, or correct the name")
        return to_connection(row)

    async def all(self) -> Sequence[Connection]:
        """Return every connection, by name."""
        rows = await self.conn.execute(select(data_sources).order_by(data_sources.c.name))
        return [to_connection(row) for row in rows.mappings()]


def to_connection(row: RowMapping) -> Connection:
    """Return the connection of a row of `data_sources`."""
    return Connection(name=row["name"], kind=row["kind"], config=row["config"])
