"""The fence and the ledger: who may publish, and what was published."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import psycopg

from dataproc.domain.chunk import Account
from dataproc.domain.errors import CancelledRunError, FencedError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import JobId
from dataproc.domain.memory import Window
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Effect, LoadId, Published
from dataproc.warehouse.memory import add_objects, move_watermark, take_memory
from dataproc.warehouse.reject_table import mark_replayed

RAISE = """
INSERT INTO dataproc_load.load_fence AS fence (job_id, epoch) VALUES (%(job)s, %(epoch)s)
ON CONFLICT (job_id) DO UPDATE SET epoch = EXCLUDED.epoch, cancelled = false
WHERE fence.epoch < EXCLUDED.epoch OR (fence.epoch = EXCLUDED.epoch AND NOT fence.cancelled)
RETURNING epoch
"""
FORBID = """
INSERT INTO dataproc_load.load_fence AS fence (job_id, epoch, cancelled) VALUES (%(job)s, %(epoch)s, true)
ON CONFLICT (job_id) DO UPDATE SET epoch = greatest(fence.epoch, EXCLUDED.epoch), cancelled = true
WHERE fence.epoch <= EXCLUDED.epoch
"""
WAIT_FOR_FENCE = "SELECT set_config('lock_timeout', %s, true)"
FENCE_PATIENCE = timedelta(seconds=5)
"""How long a publish may hold the fence before whoever wants to forbid it goes on with other work, and asks again."""
TAKE = "SELECT epoch, cancelled FROM dataproc_load.load_fence WHERE job_id = %s FOR UPDATE"
ASK = "SELECT epoch, cancelled FROM dataproc_load.load_fence WHERE job_id = %s FOR SHARE"
RECORD = """
INSERT INTO dataproc_load.load_ledger
    (job_id, target, epoch, run_id, way, units, rows_announced,
     rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated, cursor, read_after, read_up_to,
     rows_inserted, rows_updated, rows_deleted, rows_unchanged, notes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING target
"""
RECORD_UNITS = """
COPY dataproc_load.load_unit
    (job_id, target, unit, rows_announced, rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated)
FROM STDIN
"""
LOOK_UP = """
SELECT target, rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated, way,
       rows_inserted, rows_updated, rows_deleted, rows_unchanged, notes
FROM dataproc_load.load_ledger WHERE job_id = %s
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger row to be."""

    load_id: LoadId
    target: str
    way: str
    plan: SourcePlan
    tally: Tally
    effect: Effect = field(default_factory=Effect)

    def window(self) -> Window | None:
        """Return what an incremental source has given, of all chunks; `None`: the source is not incremental."""
        move = self.plan.move
        return None if move is None else move.window(self.tally.edges())


def raise_fence(conn: psycopg.Connection, load_id: LoadId) -> None:
    """Let this epoch publish, and no earlier one."""
    row = conn.execute(RAISE, {"job": load_id.job_id, "epoch": load_id.epoch}).fetchone()
    if row is None:
        raise FencedError(job=load_id.job_id, epoch=load_id.epoch)


def forbid(conn: psycopg.Connection, job_id: JobId, epoch: int, patience: timedelta = FENCE_PATIENCE) -> None:
    """Let no epoch up to this one publish. Waits a while for a publish that already holds the fence."""
    with conn.transaction():
        conn.execute(WAIT_FOR_FENCE, (f"{patience // timedelta(milliseconds=1)}ms",))
        conn.execute(FORBID, {"job": job_id, "epoch": epoch})


def take_fence(conn: psycopg.Connection, load_id: LoadId) -> None:
    """Hold the fence until the transaction ends, or stop: from here on nobody can cancel or overtake us."""
    demand_fence(conn, load_id, TAKE)
    reached(FaultPoint.PUBLISH_FENCED)


def demand_fence(conn: psycopg.Connection, load_id: LoadId, ask: str = ASK) -> None:
    """Stop unless this epoch may publish; that stays true until the transaction ends."""
    row = conn.execute(ask.encode(), (load_id.job_id,)).fetchone()
    if row is None or row[0] != load_id.epoch:
        raise FencedError(job=load_id.job_id, epoch=load_id.epoch)
    if row[1]:
        raise CancelledRunError(job=load_id.job_id)


def record(conn: psycopg.Connection, entry: Entry) -> Published:
    """Write the ledger row: with this transaction the load has happened, or it has not."""
    load_id, account = entry.load_id, entry.tally.account
    head = (load_id.job_id, entry.target, load_id.epoch, load_id.run_id, entry.way, entry.tally.units_done)
    window = entry.window()
    told = (*head, entry.plan.rows, *counts(account), *read_by(window), *written(entry.effect))
    if conn.execute(RECORD, told).fetchone() is None:
        raise FencedError("this job was published before", job=load_id.job_id)
    record_units(conn, entry)
    remember(conn, entry, window)
    if entry.plan.replay is not None:
        mark_replayed(conn, entry.plan.replay, load_id.job_id)
    reached(FaultPoint.RECORDED)
    return Published(entry.target, account, entry.way, entry.effect)


def read_by(window: Window | None) -> tuple[str | None, ...]:
    """Return the window of a run in the order of our columns."""
    return (None, None, None) if window is None else (window.cursor, window.after, window.up_to)


def written(effect: Effect) -> tuple[object, ...]:
    """Return an effect in the order of our columns."""
    return (effect.inserted, effect.updated, effect.deleted, effect.unchanged, list(effect.notes))


def remember(conn: psycopg.Connection, entry: Entry, window: Window | None) -> None:
    """Move the job's memory of its source on, in the same transaction."""
    if window is None and not entry.plan.objects:
        return
    memory_id = take_memory(conn, entry.load_id.name, entry.target)
    if window is not None:
        move_watermark(conn, memory_id, window)
    add_objects(conn, memory_id, entry.load_id.job_id, entry.plan.objects)


def record_units(conn: psycopg.Connection, entry: Entry) -> None:
    """Write the account of each unit."""
    with conn.cursor() as cursor, cursor.copy(RECORD_UNITS) as copy:
        for unit in entry.plan.units:
            account = counts(entry.tally.of(unit))
            copy.write_row((entry.load_id.job_id, entry.target, unit.id, unit.rows, *account))


def counts(account: Account) -> tuple[int, ...]:
    """Return an account in the order of our columns."""
    return (account.read, account.loaded, account.rejected, account.filtered, account.deduplicated)


def look_up(conn: psycopg.Connection, job_id: UUID) -> Published | None:
    """Return what the ledger says of a job."""
    row = conn.execute(LOOK_UP, (job_id,)).fetchone()
    return None if row is None else Published(row[0], Account(*row[1:6]), row[6], effect_of(*row[7:]) or Effect())


def effect_of(
    inserted: int | None, updated: int | None, deleted: int | None, unchanged: int | None, notes: list[str] | None
) -> Effect | None:
    """Return an effect from our columns; `None`: the load is older than these columns."""
    if inserted is None:
        return None
    return Effect(inserted, updated or 0, deleted, unchanged or 0, tuple(notes or ()))
