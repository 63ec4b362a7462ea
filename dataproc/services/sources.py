"""Registered sources: named connections that jobs refer to, so that no job holds a host or a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataproc.domain.identity import Caller
from dataproc.ports.connector import Connector
from dataproc.ports.store import Connection, Store


@dataclass(frozen=True, slots=True)
class SourceService:
    """What callers can do with registered sources."""

    store: Store
    connector: Callable[[Connection], Connector]

    async def put(self, connection: Connection, *, by: Caller) -> Connection:
        """Register a source, or change one; jobs that run keep what they began with."""
        self.connector(connection)
        async with self.store.begin() as tables:
            await tables.connections.put(connection)
            await tables.audit.record(
                "source.registered", by=by.name, subject=connection.name, details={"kind": connection.kind}
            )
        return connection

    async def get(self, name: str) -> Connection:
        """Return a registered source."""
        async with self.store.begin() as tables:
            return await tables.connections.get(name)

    async def all(self) -> Sequence[Connection]:
        """Return all registered sources, by name."""
        async with self.store.begin() as tables:
            return await tables.connections.all()
