"""The metadata database: everything that one transaction can change."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from dataproc.domain.job import JobId
from dataproc.ports.events import Outbox
from dataproc.ports.queue import Duties, Jobs, RunLogs, Runs


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What an Idempotency-Key was used for."""

    fingerprint: str
    job_id: JobId


@dataclass(frozen=True, slots=True)
class Connection:
    """A registered source: where it is and how to reach it, without secrets."""

    name: str
    kind: str
    config: Mapping[str, object]


class Connections(Protocol):
    """Registered sources."""

    async def put(self, connection: Connection) -> bool:
        """Register a connection, or replace the one of that name; return whether it is new."""

    async def get(self, name: str) -> Connection:
        """Return a connection, which is not removed until the transaction ends, or raise `NotFoundError`."""

    async def remove(self, name: str) -> None:
        """Remove a connection, or raise `NotFoundError`, or `ConflictError` while jobs that have not ended need it."""

    async def all(self) -> Sequence[Connection]:
        """Return every connection, by name."""


class IdempotencyKeys(Protocol):
    """Replies that were given, kept so that a repeated request gets the same."""

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        """Store `reply` unless the key is taken; return what stands there now.

        A twin that is in flight is not waited for: it raises `InFlightError`.
        """


class Audit(Protocol):
    """An append-only, hash-chained log of who did what."""

    async def record(self, action: str, *, by: str, subject: str, details: Mapping[str, object]) -> None: ...


class Tables(Protocol):
    """All tables, in one transaction."""

    @property
    def jobs(self) -> Jobs: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def connections(self) -> Connections: ...
    @property
    def keys(self) -> IdempotencyKeys: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def logs(self) -> RunLogs: ...
    @property
    def duties(self) -> Duties: ...


class Store(Protocol):
    """The metadata database."""

    def begin(self) -> AbstractAsyncContextManager[Tables]:
        """Open a transaction: committed at the end of the block, rolled back when it raises."""

    def looking(self) -> AbstractAsyncContextManager[Tables]:
        """Give tables for looking: each statement is a transaction of its own, and holds nothing."""

    async def check(self) -> str:
        """Return the server's version and the schema's revision, or raise `MetadataUnavailableError`."""

    async def close(self) -> None: ...
