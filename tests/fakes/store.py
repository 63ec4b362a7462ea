"""The metadata database in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from dataproc.domain.errors import ConflictError, InFlightError, MetadataUnavailableError, NotFoundError
from dataproc.ports.store import Connection, StoredReply
from tests.fakes.outbox import FakeOutbox
from tests.fakes.queue import FakeJobs
from tests.fakes.runs import FakeDuties, FakeRunLogs, FakeRuns
from tests.fakes.state import AuditEntry, Memory, State

Rows = TypeVar("Rows")
Key = tuple[str, str]


@dataclass(slots=True)
class FakeStore(Memory):
    """A store whose transactions come one after the other, each from its first use of a table to its end."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys_in_flight: set[Key] = field(default_factory=set)
    is_away: bool = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["FakeTables"]:
        if self.is_away:
            raise MetadataUnavailableError
        transaction = Transaction(self)
        try:
            yield FakeTables(transaction)
        except BaseException:
            transaction.roll_back()
            raise
        finally:
            transaction.end()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator["FakeTables"]:
        if self.is_away:
            raise MetadataUnavailableError
        yield FakeTables(Looks(self))

    async def check(self) -> str:
        return "in memory"

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Transaction:
    """What one user of the store does before anybody else may do anything."""

    store: FakeStore
    before: State | None = None
    keys: set[Key] = field(default_factory=set)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other transaction does anything; keep it so."""
        await self.take_turn()
        yield

    async def take_turn(self) -> None:
        """Wait until no other transaction does anything."""
        if self.before is None:
            await self.store.turn.acquire()
            self.before = State(**{part.name: copy(getattr(self.store.state, part.name)) for part in fields(State)})

    def roll_back(self) -> None:
        """Take back what was done."""
        if self.before is not None:
            self.store.state = self.before

    def end(self) -> None:
        """Let others do something."""
        self.store.keys_in_flight -= self.keys
        if self.before is not None:
            self.store.turn.release()


@dataclass(slots=True)
class Looks(Transaction):
    """Uses that each are a transaction of their own."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other transaction does anything, and let others go on after this use."""
        if self.store.is_away:
            raise MetadataUnavailableError
        async with self.store.turn:
            yield


@dataclass(frozen=True, slots=True)
class InTurn:
    """Rows whose every use waits for the turn of its transaction."""

    transaction: Transaction
    rows: object

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def use(*args: Any, **named: Any) -> Any:
            async with self.transaction.turn():
                return await getattr(self.rows, name)(*args, **named)

        return use


@dataclass(frozen=True, slots=True)
class FakeTables:
    """All tables, in one transaction."""

    transaction: Transaction

    def in_turn(self, table: Callable[[FakeStore], Rows]) -> Rows:
        """Return the rows of a table, used in turn."""
        return cast("Rows", InTurn(self.transaction, table(self.transaction.store)))

    @property
    def jobs(self) -> FakeJobs:
        return self.in_turn(FakeJobs)

    @property
    def runs(self) -> FakeRuns:
        return self.in_turn(FakeRuns)

    @property
    def connections(self) -> "FakeConnections":
        return self.in_turn(FakeConnections)

    @property
    def keys(self) -> "FakeIdempotencyKeys":
        return FakeIdempotencyKeys(self.transaction)

    @property
    def audit(self) -> "FakeAudit":
        return self.in_turn(FakeAudit)

    @property
    def outbox(self) -> FakeOutbox:
        return self.in_turn(FakeOutbox)

    @property
    def logs(self) -> FakeRunLogs:
        return self.in_turn(FakeRunLogs)

    @property
    def duties(self) -> FakeDuties:
        return self.in_turn(FakeDuties)


@dataclass(frozen=True, slots=True)
class FakeConnections:
    """Registered sources."""

    store: Memory

    async def put(self, connection: Connection) -> bool:
        is_new = connection.name not in self.store.state.connections
        self.store.state.connections[connection.name] = connection
        return is_new

    async def remove(self, name: str) -> None:
        await self.get(name)
        jobs = self.store.state.jobs.values()
        if any(name in job.spec.connections for job in jobs if not job.status.is_final):
            raise ConflictError
        del self.store.state.connections[name]

    async def get(self, name: str) -> Connection:
        if name not in self.store.state.connections:
            raise NotFoundError(f"there is no connection {name!r}")
        return self.store.state.connections[name]

    async def all(self) -> Sequence[Connection]:
        return [connection for _, connection in sorted(self.store.state.connections.items())]


@dataclass(frozen=True, slots=True)
class FakeIdempotencyKeys:
    """Replies that were given."""

    transaction: Transaction

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        in_flight, mine = self.transaction.store.keys_in_flight, self.transaction.keys
        if (owner, key) in in_flight - mine:
            raise InFlightError
        in_flight.add((owner, key))
        mine.add((owner, key))
        await self.transaction.take_turn()
        return self.transaction.store.state.keys.setdefault((owner, key), reply)


@dataclass(frozen=True, slots=True)
class FakeAudit:
    """Who did what; `store.state.entries` has it."""

    store: Memory

    async def record(self, action: str, *, by: str, subject: str, details: Mapping[str, object]) -> None:
        self.store.state.entries.append(AuditEntry(action, by, subject, dict(details)))
