"""The warehouse as the services see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import psycopg
import pyarrow as pa

from dataproc.domain.destination import Destination
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import JobId
from dataproc.domain.keys import KeyRule
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import LoadId, Published, Reconciliation, TargetPreview
from dataproc.warehouse import ledger, resume
from dataproc.warehouse.connection import connect
from dataproc.warehouse.direct import DirectLoad
from dataproc.warehouse.memory import WarehouseMemory
from dataproc.warehouse.reconciliation import reconcile
from dataproc.warehouse.setup import prepare
from dataproc.warehouse.staged import StagedLoad
from dataproc.warehouse.staging import drop_staging, forget_chunks, make_staging
from dataproc.warehouse.target import Target, definition, find_target

STAGED = "SELECT DISTINCT job_id FROM dataproc_load.load_staging"


@dataclass(frozen=True, slots=True)
class PostgresWarehouse:
    """A PostgreSQL warehouse; `direct_limit` is the largest source, in bytes, that `auto` loads directly."""

    url: str = field(repr=False)
    direct_limit: int

    def fence(self, load_id: LoadId) -> Published | None:
        """Let this epoch publish, and no earlier one; return what an earlier one published."""
        with connect(self.url) as conn:
            ledger.raise_fence(conn, load_id)
            return ledger.look_up(conn, load_id.job_id)

    def memory(self, name: str, target: str) -> WarehouseMemory:
        """Return what the published runs of jobs of this name have read for a target."""
        return WarehouseMemory(self.url, name, target)

    def open(
        self,
        load_id: LoadId,
        destination: Destination,
        schema: pa.Schema,
        plan: SourcePlan,
        rules: Sequence[KeyRule] = (),
    ) -> DirectLoad | StagedLoad:
        """Look at the target and choose the way of the load; nothing is changed in the target.

        A staged load goes on with what earlier epochs have staged, if plan and target are still the same.
        """
        with connect(self.url) as conn, conn.transaction():
            # An epoch that is over would make a table that nobody cleans, or take one over from its successor.
            ledger.demand_fence(conn, load_id)
            target = find_target(conn, destination, schema)
            if self.goes_directly(destination, target, plan):
                drop_earlier(conn, load_id)
                load: DirectLoad | StagedLoad = DirectLoad(self.url, load_id, target, tuple(rules))
            else:
                same = resume.fingerprint(plan, schema, target, rules)
                load = open_staged(conn, StagedLoad(self.url, load_id, target, plan, tuple(rules)), same)
        reached(FaultPoint.OPENED)
        return load

    def preview(self, destination: Destination, schema: pa.Schema, plan: SourcePlan) -> TargetPreview:
        """Return what a load would meet; nothing is changed."""
        with connect(self.url) as conn:
            target = find_target(conn, destination, schema)
            new = target.columns and not target.exists
            statements = tuple(part.as_string(conn) for part in definition(target)) if new else ()
        columns = tuple((column.name, column.sql_type) for column in target.columns)
        way = "direct" if self.goes_directly(destination, target, plan) else "staged"
        return TargetPreview(target.name, target.exists, columns, statements, way)

    def goes_directly(self, destination: Destination, target: Target, plan: SourcePlan) -> bool:
        """Whether a load takes the direct way: because the spec says so, or because it is small enough.

        Rows without columns need no staging table, and a type without a binary form needs one. A stream is read again
        from its beginning unless its chunks are staged.
        """
        if not target.columns:
            return True
        if not target.fits_directly or destination.load == "staged":
            return False
        return destination.load == "direct" or (plan.size <= self.direct_limit and not plan.streams)

    def published(self, job_id: JobId) -> Published | None:
        """Return what the ledger says of a job."""
        with connect(self.url) as conn:
            return ledger.look_up(conn, job_id)

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        """Forbid any publish of this epoch or an earlier one; return what was published, if a publish won."""
        with connect(self.url) as conn:
            ledger.forbid(conn, job_id, epoch)
            return ledger.look_up(conn, job_id)

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


def open_staged(conn: psycopg.Connection, load: StagedLoad, fingerprint: bytes) -> StagedLoad:
    """Return a load by way of a staging table: that of an earlier epoch, where it can be taken over, or a new one."""
    load_id, target = load.load_id, load.target
    taken = load_id.epoch > 1 and resume.take_over(conn, load_id, target, fingerprint)
    drop_earlier(conn, load_id)
    if not taken:
        make_staging(conn, load_id, target, fingerprint, load.rules)
    return replace(load, staged_before=resume.chunks_to_keep(conn, load_id, target))


def drop_earlier(conn: psycopg.Connection, load_id: LoadId) -> None:
    """Drop what earlier epochs have staged: from here on it can never be published."""
    if load_id.epoch > 1:
        clean(conn, load_id.job_id, load_id.epoch - 1)


def clean(conn: psycopg.Connection, job_id: JobId, epoch: int) -> None:
    """Drop what a job has staged up to `epoch`."""
    with conn.transaction():
        drop_staging(conn, job_id, epoch)
        forget_chunks(conn, job_id, epoch)


def server_version(conn: psycopg.Connection) -> str:
    """Return the version as people write it."""
    number = conn.info.server_version
    return f"{number // 10000}.{number % 10000}"
