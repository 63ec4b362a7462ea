"""The metadata database as the services see it: transactions over its tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dataproc.repositories.audit import PostgresAudit
from dataproc.repositories.connections import PostgresConnections
from dataproc.repositories.duties import PostgresDuties
from dataproc.repositories.engine import open_engine, translated
from dataproc.repositories.jobs import PostgresJobs
from dataproc.repositories.keys import PostgresIdempotencyKeys
from dataproc.repositories.outbox import PostgresOutbox
from dataproc.repositories.runs import PostgresRunLogs, PostgresRuns
from dataproc.settings import Settings

VERSION = text("SELECT current_setting('server_version') AS server, to_regclass('alembic_version') AS revisions")
REVISION = text("SELECT version_num FROM alembic_version")


@dataclass(frozen=True, slots=True)
class PostgresTables:
    """All tables, in one transaction."""

    conn: AsyncConnection

    @property
    def jobs(self) -> PostgresJobs:
        """The queue and the truth about jobs."""
        return PostgresJobs(self.conn)

    @property
    def runs(self) -> PostgresRuns:
        """The history of attempts."""
        return PostgresRuns(self.conn)

    @property
    def connections(self) -> PostgresConnections:
        """Registered sources."""
        return PostgresConnections(self.conn)

    @property
    def keys(self) -> PostgresIdempotencyKeys:
        """Idempotency keys."""
        return PostgresIdempotencyKeys(self.conn)

    @property
    def audit(self) -> PostgresAudit:
        """The audit log."""
        return PostgresAudit(self.conn)

    @property
    def outbox(self) -> PostgresOutbox:
        """Events to deliver."""
        return PostgresOutbox(self.conn)

    @property
    def logs(self) -> PostgresRunLogs:
        """What runs have logged."""
        return PostgresRunLogs(self.conn)

    @property
    def duties(self) -> PostgresDuties:
        """Work that one process at a time does."""
        return PostgresDuties(self.conn)


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """The metadata database, through a pool of connections."""

    engine: AsyncEngine

    @classmethod
    def open(cls, url: str, settings: Settings) -> "PostgresStore":
        """Return the store at `url`; the first transaction connects."""
        return cls(open_engine(url, pool_size=settings.pool_size, max_overflow=settings.pool_overflow))

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresTables]:
        """Open a transaction: committed at the end of the block, rolled back when it raises."""
        with translated():
            async with self.engine.begin() as conn:
                yield PostgresTables(conn)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[PostgresTables]:
        """Give tables for looking, with half the round trips of a transaction."""
        with translated():
            async with self.engine.connect() as conn:
                yield PostgresTables(await conn.execution_options(isolation_level="AUTOCOMMIT"))

    async def check(self) -> str:
        """Return the server's version and the schema's revision, or raise `MetadataUnavailableError`."""
        with translated():
            async with self.engine.connect() as conn:
                row = (await conn.execute(VERSION)).one()
                revision = None if row.revisions is None else await conn.scalar(REVISION)
        return f"PostgreSQL {row.server}, schema {revision or 'missing'}"

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
