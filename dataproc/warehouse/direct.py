"""The direct way: workers encode, and one COPY in the publish transaction takes the bytes.

One transaction or nothing: there is no staging table, no second write, and nothing to clean up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dataproc.domain.chunk import Account, Chunk, LoadedChunk
from dataproc.domain.errors import ContractViolationError, CountMismatchError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.keys import KeyRule
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import LoadId, Published
from dataproc.warehouse import encoding, rejects
from dataproc.warehouse.columns import Column
from dataproc.warehouse.fitting import fit
from dataproc.warehouse.keys import Doubles, hashes
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.target import Target


@dataclass(frozen=True, slots=True)
class Encode:
    """Turns a chunk into bytes for COPY; runs in the workers."""

    columns: tuple[Column, ...]
    rules: tuple[KeyRule, ...] = ()

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Return the chunk encoded, with its account and its rejects."""
        payload = encoding.encode(fit(chunk.rows, self.columns))
        return LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered,
            encoding.digest(payload), payload, rejects.pack(chunk.rejects), chunk.deduplicated, chunk.mark, chunk.high,
            hashes(chunk.keys, self.rules),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HandOn:
    """Takes a chunk's rows as they are; runs in the workers."""

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Return the chunk's bytes with its account."""
        if chunk.wire is None:
            raise TypeError(chunk)
        return LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.read, 0, 0, encoding.digest(chunk.wire), chunk.wire
        )


@dataclass(frozen=True, slots=True)
class DirectLoad:
    """A load by one COPY into the target."""

    url: str = field(repr=False)
    load_id: LoadId
    target: Target
    rules: tuple[KeyRule, ...] = ()
    way: str = "direct"
    staged_before: tuple[LoadedChunk, ...] = ()
    as_is: bool = False

    @property
    def step(self) -> Encode | HandOn:
        """What workers do with a chunk."""
        return HandOn() if self.as_is else Encode(self.target.columns, self.rules)

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Account], None]) -> Published:
        """Stream all results into the target and commit, or leave it as it was."""
        tally, doubles = Tally(), Doubles()
        with rejects.Aside() as aside, publishing(self.url, self.load_id, self.target) as conn:
            copied = copy_all(conn, self.target, arrivals(results, tally, doubles, aside))
            tally.verify(plan)
            doubles.refuse()
            self.compare(copied, tally.account)
            check(tally.account)
            reached(FaultPoint.COPIED)
            # Taken last, so that a cancel never waits for the COPY.
            take_fence(conn, self.load_id)
            rejects.copy_rejects(conn, self.load_id, self.target.name, aside)
            return record(conn, Entry(self.load_id, self.target.name, self.way, plan, tally))

    def compare(self, copied: int, account: Account) -> None:
        """Refuse unless the target took every row."""
        if copied == account.loaded:
            return
        if not self.target.columns:
            raise ContractViolationError(f"{account.loaded} rows without any column are left for {self.target.name}")
        raise CountMismatchError(
            f"{account.loaded} rows were sent to {self.target.name}, and it took {copied}; "
            "does one of its triggers or rules leave rows out?"
        )


def arrivals(
    results: Iterator[LoadedChunk], tally: Tally, doubles: Doubles, aside: rejects.Aside
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of each new chunk, counting it, and keep the rejects for later."""
    for chunk in results:
        if tally.add(chunk):
            doubles.add(chunk)
            yield chunk.payload
            aside.add(chunk)


def copy_all(conn: psycopg.Connection, target: Target, payloads: Iterator[bytes | memoryview]) -> int:
    """Send `payloads` through one COPY; return how many rows it took. Without columns there is nothing to send."""
    if not target.columns:
        for _ in payloads:
            pass
        return 0
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target.identifier, target.column_list)
    with conn.cursor() as cursor:
        with cursor.copy(command) as copy:
            copy.write(encoding.HEADER)
            for payload in payloads:
                copy.write(payload)
            copy.write(encoding.TRAILER)
        return cursor.rowcount
