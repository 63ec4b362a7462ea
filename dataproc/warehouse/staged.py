"""The staged way: workers fill a staging table chunk by chunk; all of it is published in one transaction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.chunk import Account, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import CountMismatchError, WarehouseUnavailableError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.tally import Tally, Totals
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import Effect, LoadId, Published
from dataproc.warehouse import rejects
from dataproc.warehouse.chunks import Stage
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.modes.factory import move_rows, refuse_rejects
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.others import Others
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.settling import Settling
from dataproc.warehouse.shaping import Shaping
from dataproc.warehouse.staging import drop_staging, forget_chunks, key_tables, staging_table
from dataproc.warehouse.target import Target
from dataproc.warehouse.unrouted import is_unrouted, set_aside_unrouted

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
    across: Across = NOTHING
    way: str = "staged"
    staged_before: tuple[LoadedChunk, ...] = ()
    as_is: bool = False
    cipher: Cipher | None = field(default=None, repr=False)
    destination: Destination = field(kw_only=True)
    shaped: Target | None = None

    @property
    def step(self) -> Stage:
        """What workers do with a chunk."""
        numbers = {unit.id: number for number, unit in enumerate(self.plan.units)} if self.is_placed else {}
        return Stage(self.url, self.load_id, self.target, self.across.rules, numbers, cipher=self.cipher)

    @property
    def is_placed(self) -> bool:
        """Whether staged rows tell where they come from."""
        return bool(self.across.rules) or self.target.placed

    @property
    def goal(self) -> Target:
        """The table that the load fills; without queries, staging has its columns."""
        return self.shaped or self.target

    @property
    def key(self) -> tuple[object, ...]:
        """What the chunks of this load have in common."""
        return (self.load_id.job_id, self.load_id.epoch, self.target.name)

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Totals], None]) -> Published:
        """Wait until all is staged; then publish it in one transaction."""
        tally = Tally()
        for chunk in results:
            tally.add(chunk)
        tally.verify(plan)
        if not self.across.is_anything:
            check(tally.totals)
        reached(FaultPoint.STAGED)
        with publishing(self.url, self.load_id, self.goal) as conn:
            take_fence(conn, self.load_id)
            self.compare(conn, tally.account)
            rows = self.settled(conn, plan, tally)
            if self.across.is_anything:
                check(tally.totals)
            effect = self.moved(conn, rows, plan, tally, check)
            self.move_rejects(conn)
            drop_staging(conn, self.load_id.job_id, self.load_id.epoch)
            forget_chunks(conn, self.load_id.job_id, self.load_id.epoch)
            return record(conn, Entry(self.load_id, self.target.name, self.way, plan, tally, effect))

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

    def settled(self, conn: psycopg.Connection, plan: SourcePlan, tally: Tally) -> sql.Identifier:
        """Return the table with the rows that are left by the rules and the queries over the whole run."""
        rows = staging_table(self.load_id)
        if self.across.rules:
            others = Others(conn, self.load_id, self.target, plan, tally, rows, self.cipher)
            Settling(others).settle(key_tables(self.load_id, self.across.rules))
        return Shaping(conn, self.across.queries).shape(rows, plan, tally) if self.across.queries else rows

    def moved(
        self,
        conn: psycopg.Connection,
        rows: sql.Identifier,
        plan: SourcePlan,
        tally: Tally,
        check: Callable[[Totals], None],
    ) -> Effect:
        """Bring rows into the target; those that belong to none of its partitions are set aside first."""
        if not self.goal.partitioned:
            return self.move_rows(conn, rows, plan, tally.account)
        try:
            with conn.transaction():
                return self.move_rows(conn, rows, plan, tally.account)
        except pg.CheckViolation as exc:
            others = Others(conn, self.load_id, self.goal, plan, tally, rows, self.cipher)
            if not is_unrouted(exc) or not set_aside_unrouted(others, exc):
                raise
        check(tally.totals)
        return self.move_rows(conn, rows, plan, tally.account)

    def move_rows(self, conn: psycopg.Connection, rows: sql.Identifier, plan: SourcePlan, account: Account) -> Effect:
        """Bring rows into the target, as its mode says."""
        refuse_rejects(self.destination, account)
        move = Move(conn, self.goal, self.destination, rows, plan, account.loaded, self.load_id, self.is_placed)
        return move_rows(move)

    def move_rejects(self, conn: psycopg.Connection) -> None:
        """Write the rejects that wait with their chunks, one chunk after the other."""
        for unit, seq in conn.execute(WITH_REJECTS, self.key).fetchall():
            packed = conn.execute(TAKE_REJECTS, (*self.key, unit, seq)).fetchone()
            if packed is not None:
                rejects.copy_rejects(conn, self.load_id, self.target.name, [(unit, packed[0])])
