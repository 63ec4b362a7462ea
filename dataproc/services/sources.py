"""Registered sources: named connections that jobs refer to, so that no job holds a host or a key."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataproc.domain.errors import ConflictError, DataprocError, NotFoundError
from dataproc.domain.identity import Caller
from dataproc.ports.connector import Connector, Discovered
from dataproc.ports.store import Connection, Store, Tables


@dataclass(frozen=True, slots=True)
class Tested:
    """Whether a source can be reached: what it says of itself, or what went wrong, and after how many seconds."""

    told: str | None
    error: DataprocError | None
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceService:
    """What callers can do with registered sources; `connector` refuses a connection that no source could use."""

    store: Store
    connector: Callable[[Connection], Connector]

    async def add(self, connection: Connection, *, by: Caller) -> Connection:
        """Register a source; the same again does no harm, another one of that name raises `ConflictError`."""
        self.connector(connection)
        async with self.store.begin() as tables:
            before = await found(tables, connection.name)
            is_new = before is None and await tables.connections.put(connection)
            if not is_new and before != connection:
                taken = f"there is another source {connection.name!r}; change it by PUT, or take another name"
                raise ConflictError(taken)
            if is_new:
                await record(tables, "source.registered", connection, by=by)
        return connection

    async def put(self, connection: Connection, *, by: Caller) -> bool:
        """Register a source, or change one; return whether it is new. Jobs that run keep what they began with."""
        self.connector(connection)
        async with self.store.begin() as tables:
            is_new = await tables.connections.put(connection)
            await record(tables, "source.registered" if is_new else "source.changed", connection, by=by)
        return is_new

    async def get(self, name: str) -> Connection:
        """Return a registered source."""
        async with self.store.begin() as tables:
            return await tables.connections.get(name)

    async def all(self) -> Sequence[Connection]:
        """Return all registered sources, by name."""
        async with self.store.begin() as tables:
            return await tables.connections.all()

    async def remove(self, name: str, *, by: Caller) -> None:
        """Forget a source, unless jobs that have not ended use it."""
        async with self.store.begin() as tables:
            connection = await tables.connections.get(name)
            await tables.connections.remove(name)
            await record(tables, "source.removed", connection, by=by)

    async def test(self, name: str, *, by: Caller) -> Tested:
        """Log in to a source, and return what came of it."""
        connector, began = await self.opened(name, "source.tested", by=by), time.monotonic()
        try:
            told, error = await asyncio.to_thread(connector.test), None
        except DataprocError as exc:
            told, error = None, exc
        return Tested(told, error, time.monotonic() - began)

    async def discover(self, name: str, *, by: Caller) -> Sequence[Discovered]:
        """Return what there is to read in a source, or raise why it cannot be told."""
        connector = await self.opened(name, "source.discovered", by=by)
        return await asyncio.to_thread(connector.discover)

    async def opened(self, name: str, action: str, *, by: Caller) -> Connector:
        """Return what can be asked of a source; that it is asked is in the audit log before it happens."""
        async with self.store.begin() as tables:
            connection = await tables.connections.get(name)
            await record(tables, action, connection, by=by)
        return self.connector(connection)


async def found(tables: Tables, name: str) -> Connection | None:
    """Return the source of that name, if there is one."""
    try:
        return await tables.connections.get(name)
    except NotFoundError:
        return None


async def record(tables: Tables, action: str, connection: Connection, *, by: Caller) -> None:
    """Write down who did what to a source."""
    await tables.audit.record(action, by=by.name, subject=connection.name, details={"kind": connection.kind})
