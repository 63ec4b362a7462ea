"""The warehouse as the services see it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import pyarrow as pa
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.destination import Destination
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import JobId
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import LoadId, Published, Reconciliation, TargetPreview
from dataproc.warehouse import ledger, resume
from dataproc.warehouse.access import permissions
from dataproc.warehouse.columns import takes_as_is
from dataproc.warehouse.connection import connect
from dataproc.warehouse.direct import DirectLoad
from dataproc.warehouse.memory import WarehouseMemory
from dataproc.warehouse.present import present_in
from dataproc.warehouse.preview import preview_of
from dataproc.warehouse.reconciliation import reconcile
from dataproc.warehouse.setup import prepare
from dataproc.warehouse.shaped import held_rows, planned_rows, shaped_target
from dataproc.warehouse.staged import StagedLoad
from dataproc.warehouse.staging import drop_staging, forget_chunks, make_staging, staging_table
from dataproc.warehouse.target import Target, find_target

STAGED = "SELECT DISTINCT job_id FROM dataproc_load.load_staging"


@dataclass(frozen=True, slots=True)
class PostgresWarehouse:
    """A PostgreSQL warehouse; `direct_limit` is the largest source, in bytes, that `auto` loads directly.

    With a `cipher`, the rows that are set aside are kept encrypted.
    """

    url: str = field(repr=False)
    direct_limit: int
    cipher: Cipher | None = field(default=None, repr=False)
    fence_patience: timedelta = ledger.FENCE_PATIENCE

    def hiding(self, cipher: Cipher, *, personal: bool) -> "PostgresWarehouse":
        """Return this warehouse for rows of a source; for personal ones, which are refused without a key, it hides."""
        if not personal:
            return self
        cipher.demand("`personal: true`, by which rows that are set aside are kept encrypted,")
        return replace(self, cipher=cipher)

    def fence(self, load_id: LoadId) -> Published | None:
        """Let this epoch publish, and no earlier one; return what an earlier one published."""
        with connect(self.url) as conn:
            ledger.raise_fence(conn, load_id)
            return ledger.look_up(conn, load_id.job_id)

    def memory(self, name: str, target: str, *, by_key: bool = False) -> WarehouseMemory:
        """Return the memory of the jobs of this name for a target, which may be filled `by_key`."""
        return WarehouseMemory(self.url, name, target, by_key)

    def open(
        self,
        load_id: LoadId,
        destination: Destination,
        schema: pa.Schema,
        plan: SourcePlan,
        across: Across = NOTHING,
    ) -> DirectLoad | StagedLoad:
        """Look at the target and choose the way of the load; nothing is changed in the target.

        A staged load goes on with what earlier epochs have staged, if plan and target are still the same.
        """
        with connect(self.url) as conn, conn.transaction():
            # An epoch that is over would make a table that nobody cleans, or take one over from its successor.
            ledger.demand_fence(conn, load_id)
            target = held_rows(destination, schema) if across.queries else find_target(conn, destination, schema)
            target.change.demand_accepted(destination.accept)
            if not across.queries and self.goes_directly(destination, target, plan):
                drop_earlier(conn, load_id)
                as_is = takes_as_is(target.columns, plan.wire)
                present = None if as_is else present_in(conn, self.url, target, destination)
                load: DirectLoad | StagedLoad = DirectLoad(
                    self.url, load_id, target, across.rules, as_is=as_is, present=present, destination=destination
                )
            else:
                same = resume.fingerprint(plan, schema, target, across)
                staged = StagedLoad(self.url, load_id, target, plan, across, destination=destination)
                load = with_goal(conn, open_staged(conn, staged, same))
        reached(FaultPoint.OPENED)
        return replace(load, cipher=self.cipher)

    def preview(
        self, destination: Destination, schema: pa.Schema, plan: SourcePlan, queries: Sequence[str] = ()
    ) -> TargetPreview:
        """Return what a load would meet; nothing is changed."""
        with connect(self.url) as conn, conn.transaction(force_rollback=True):
            if queries:
                rows = planned_rows(conn, held_rows(destination, schema))
                target = shaped_target(conn, destination, queries, rows)
            else:
                conn.execute("SET TRANSACTION READ ONLY")
                target = find_target(conn, destination, schema)
            allowed = permissions(conn, target)
        way = "direct" if not queries and self.goes_directly(destination, target, plan) else "staged"
        return preview_of(target, way, allowed, destination.accept)

    def goes_directly(self, destination: Destination, target: Target, plan: SourcePlan) -> bool:
        """Whether a load takes the direct way: because the spec says so, or because it is small enough.

        Rows without columns need no staging table, and a type without a binary form needs one. A stream is read again
        from its beginning unless its chunks are staged.
        """
        if not target.columns:
            return True
        has_bytes = target.fits_directly or takes_as_is(target.columns, plan.wire)
        if not has_bytes or destination.load == "staged" or not can_go_directly(destination, target):
            return False
        # A target that is changed cannot be used meanwhile: in a staged load that is shorter.
        is_short = plan.size <= self.direct_limit and not plan.streams and not target.alterations
        return destination.load == "direct" or is_short

    def published(self, job_id: JobId) -> Published | None:
        """Return what the ledger says of a job."""
        with connect(self.url) as conn:
            return ledger.look_up(conn, job_id)

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        """Forbid any publish of this epoch or an earlier one; return what was published, if a publish won."""
        with connect(self.url) as conn:
            ledger.forbid(conn, job_id, epoch, self.fence_patience)
            return ledger.look_up(conn, job_id)

    def refresh(self, target: str) -> None:
        """Bring the statistics of a target up to date; not if it is gone by now, or the next load has it."""
        with connect(self.url) as conn, suppress(pg.UndefinedTable):
            conn.execute(sql.SQL("ANALYZE (SKIP_LOCKED) {}").format(sql.Identifier(*target.split("."))))

    def clean(self, job_id: JobId, epoch: int) -> None:
        """Drop the staging tables of an epoch that is over, and of every earlier one."""
        with connect(self.url) as conn:
            clean(conn, job_id, epoch)

    def staged(self) -> Sequence[JobId]:
        """Return the jobs that have staging tables."""
        with connect(self.url) as conn:
            return [JobId(job_id) for (job_id,) in conn.execute(STAGED).fetchall()]

    def reconciliation(self, job_id: JobId) -> Reconciliation | None:
        """Return the account of a published load, unit by unit; `None`: nothing was published."""
        with connect(self.url) as conn:
            return reconcile(conn, job_id)

    def prepare(self) -> int:
        """Bring the schema `dataproc_load` up to date; return its version."""
        return prepare(self.url)

    def check(self) -> str:
        """Return the server's version."""
        with connect(self.url) as conn:
            return server_version(conn)


def can_go_directly(destination: Destination, target: Target) -> bool:
    """Whether the target has all columns that the mode works with, or the mode only adds rows to it."""
    return not target.beside and (target.exists or destination.mode in ("append", "merge", "replace"))


def open_staged(conn: psycopg.Connection, load: StagedLoad, fingerprint: bytes) -> StagedLoad:
    """Return a load by way of a staging table: that of an earlier epoch, where it can be taken over, or a new one."""
    load_id, target = load.load_id, load.target
    taken = load_id.epoch > 1 and not load_id.replans and resume.take_over(conn, load_id, target, fingerprint)
    drop_earlier(conn, load_id)
    if not taken:
        make_staging(conn, load_id, target, fingerprint, load.across.rules)
    return replace(load, staged_before=resume.chunks_to_keep(conn, load_id, target))


def with_goal(conn: psycopg.Connection, load: StagedLoad) -> StagedLoad:
    """Return a load with the table that its queries fill, if it has queries."""
    if not load.across.queries:
        return load
    shaped = shaped_target(conn, load.destination, load.across.queries, staging_table(load.load_id))
    shaped.change.demand_accepted(load.destination.accept)
    return replace(load, shaped=shaped)


def drop_earlier(conn: psycopg.Connection, load_id: LoadId) -> None:
    """Drop what earlier epochs, or earlier plans of this run, have staged: from here on it can never be published."""
    if load_id.replans or load_id.epoch > 1:
        clean(conn, load_id.job_id, load_id.epoch if load_id.replans else load_id.epoch - 1)


def clean(conn: psycopg.Connection, job_id: JobId, epoch: int) -> None:
    """Drop what a job has staged up to `epoch`."""
    with conn.transaction():
        drop_staging(conn, job_id, epoch)
        forget_chunks(conn, job_id, epoch)


def server_version(conn: psycopg.Connection) -> str:
    """Return the version as people write it."""
    number = conn.info.server_version
    return f"{number // 10000}.{number % 10000}"
