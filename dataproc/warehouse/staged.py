"""The staged way: workers fill a staging table chunk by chunk; all of it is published in one transaction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dataproc.domain.chunk import Account, LoadedChunk
from dataproc.domain.errors import CountMismatchError, WarehouseUnavailableError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.keys import KeyRule
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import LoadId, Published
from dataproc.warehouse import rejects
from dataproc.warehouse.chunks import Stage
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.settling import Settling
from dataproc.warehouse.staging import drop_staging, forget_chunks, key_tables, staging_table
from dataproc.warehouse.target import Target

SUM_CHUNKS = """
SELECT COALESCE(sum(rows_read), 0), COALESCE(sum(rows_loaded), 0),
       COALESCE(sum(rows_rejected), 0), COALESCE(sum(rows_filtered), 0), COALESCE(sum(rows_deduplicated), 0)
FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch = %s AND target = %s
"""
WITH_REJECTS = """
SELECT unit, seq FROM dataproc_load.load_chunk
WHERE job_id = %s AND epoch = %s AND target = %s AND rejects IS NOT NULL ORDER BY unit, seq
"""
TAKE_REJECTS = """
SELECT rejects FROM dataproc_load.load_chunk
WHERE job_id = %s AND epoch = %s AND target = %s AND unit = %s AND seq = %s
"""


@dataclass(frozen=True, slots=True)
class StagedLoad:
    """A load by way of a staging table."""

    url: str = field(repr=False)
    load_id: LoadId
    target: Target
    plan: SourcePlan = field(repr=False)
    rules: tuple[KeyRule, ...] = ()
    way: str = "staged"
    staged_before: tuple[LoadedChunk, ...] = ()
    as_is: bool = False

    @property
    def step(self) -> Stage:
        """What workers do with a chunk."""
        numbers = {unit.id: number for number, unit in enumerate(self.plan.units)} if self.rules else {}
        return Stage(self.url, self.load_id, self.target, self.rules, numbers)

    @property
    def key(self) -> tuple[object, ...]:
        """What the chunks of this load have in common."""
        return (self.load_id.job_id, self.load_id.epoch, self.target.name)

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Account], None]) -> Published:
        """Wait until all is staged; then publish it in one transaction."""
        tally = Tally()
        for chunk in results:
            tally.add(chunk)
        tally.verify(plan)
        if not self.rules:
            check(tally.account)
        reached(FaultPoint.STAGED)
        with publishing(self.url, self.load_id, self.target) as conn:
            take_fence(conn, self.load_id)
            self.compare(conn, tally.account)
            if self.rules:
                tables = key_tables(self.load_id, self.rules)
                Settling(conn, self.load_id, self.target, plan, tally).settle(tables)
                check(tally.account)
            self.move_rows(conn, tally.account)
            self.move_rejects(conn)
            drop_staging(conn, self.load_id.job_id, self.load_id.epoch)
            forget_chunks(conn, self.load_id.job_id, self.load_id.epoch)
            return record(conn, Entry(self.load_id, self.target.name, self.way, plan, tally))

    def compare(self, conn: psycopg.Connection, account: Account) -> None:
        """Refuse unless the chunks, the staged rows and our own count agree."""
        row = conn.execute(SUM_CHUNKS, self.key).fetchone() or ()
        if Account(*map(int, row)) != account:
            raise CountMismatchError(f"the chunks in the warehouse say {row}, the results of the workers {account}")
        counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(staging_table(self.load_id))).fetchone()
        staged = counted[0] if counted else 0
        if staged < account.loaded:
            # PostgreSQL empties UNLOGGED tables when it recovers from a crash; the next attempt stages anew.
            raise WarehouseUnavailableError(f"{account.loaded} rows were staged, and {staged} are left after a crash")
        if staged > account.loaded:
            raise CountMismatchError(f"{account.loaded} rows were staged, and {staged} are there")

    def move_rows(self, conn: psycopg.Connection, account: Account) -> None:
        """Insert the staged rows into the target."""
        names = self.target.column_list
        insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            self.target.identifier, names, names, staging_table(self.load_id)
        )
        inserted = conn.execute(insert).rowcount
        if inserted != account.loaded:
            raise CountMismatchError(
                f"{account.loaded} rows were staged, and {self.target.name} took {inserted}; "
                "does one of its triggers or rules leave rows out?"
            )

    def move_rejects(self, conn: psycopg.Connection) -> None:
        """Write the rejects that wait with their chunks, one chunk after the other."""
        for unit, seq in conn.execute(WITH_REJECTS, self.key).fetchall():
            packed = conn.execute(TAKE_REJECTS, (*self.key, unit, seq)).fetchone()
            if packed is not None:
                rejects.copy_rejects(conn, self.load_id, self.target.name, [(unit, packed[0])])
