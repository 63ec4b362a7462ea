"""Jobs: recorded, read, listed, cancelled and revived. Their claims are in `leases`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, select, text, tuple_

from dataproc.domain.errors import NotFoundError
from dataproc.domain.job import Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import DISPATCH, NO_DISPATCHER, Cursor, JobFilter, QueueDepth
from dataproc.repositories import events
from dataproc.repositories.claims import IN_LANE, LANES, THOSE_RUNNING
from dataproc.repositories.leases import Leases
from dataproc.repositories.outbox import PostgresOutbox
from dataproc.repositories.rows import as_json, to_job
from dataproc.repositories.tables import job_runs, jobs

MOST_COUNTED = 10_000

# A held duty without a note is no obstacle; a duty that no process holds is one.
WAITING_FOR = f"""
CASE WHEN jobs.status = 'PENDING' AND jobs.scheduled_for <= clock_timestamp() THEN nullif(coalesce((
    SELECT coalesce(duties.note, '') FROM duties
    WHERE duties.name = '{DISPATCH}' AND duties.expires_at > clock_timestamp()
), '{NO_DISPATCHER}'), '') END
"""

ADD = text(f"""
INSERT INTO jobs (id, name, spec, owner, status, priority, execution, source, target,
    created_at, updated_at, scheduled_for)
SELECT :id, :name, CAST(:spec AS jsonb), :owner, 'PENDING', :priority, :execution, :source, :target,
    at, at, greatest(at, CAST(:scheduled_for AS timestamptz))
FROM clock_timestamp() AS at
RETURNING *, NULL AS progress, {WAITING_FOR} AS waiting_for
""")

CANCEL_PENDING = text("""
UPDATE jobs SET status = 'CANCELLED', finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = :id AND status = 'PENDING' RETURNING id
""")

REQUEST_CANCEL = text("""
UPDATE jobs SET cancel_requested = true, updated_at = clock_timestamp()
WHERE id = :id AND status = ANY(:running) RETURNING id
""")

# A revived job starts a new epoch, so that nothing of its earlier life can be taken for the new one.
REVIVE = text("""
UPDATE jobs SET status = 'PENDING', attempt = 0, epoch = epoch + 1, failure = NULL, cancel_requested = false,
    scheduled_for = greatest(clock_timestamp(), CAST(spec ->> 'scheduled_for' AS timestamptz)),
    started_at = NULL, finished_at = NULL, updated_at = clock_timestamp()
WHERE id = :id AND status IN ('FAILED', 'CANCELLED') RETURNING id
""")

# Ready jobs are counted up to a bound: beyond it, how many more there are changes nothing that anybody does.
DEPTH = text(f"""
WITH RECURSIVE {LANES},
{THOSE_RUNNING},
due AS (SELECT * FROM lanes WHERE due <= statement_timestamp())
SELECT (
        SELECT count(*) FROM (
            SELECT FROM due AS lane CROSS JOIN LATERAL (
                SELECT FROM jobs WHERE {IN_LANE} LIMIT {MOST_COUNTED}
            ) AS job LIMIT {MOST_COUNTED}
        ) AS first
    ) AS ready,
    (SELECT count(*) FROM running WHERE execution = ANY(:executions)) AS running,
    clock_timestamp() - (SELECT min(due) FROM due) AS oldest_ready
""")

ENDED = text("SELECT id, epoch FROM jobs WHERE id = ANY(:ids) AND status = ANY(:final)")

COUNT = text("SELECT status, count(*) AS count FROM jobs GROUP BY status")

EXECUTIONS = ["shared", "dedicated"]
RUNNING = [status.value for status in RunStatus if status.is_running]
FINAL = [status.value for status in RunStatus if status.is_final]


@dataclass(frozen=True, slots=True)
class PostgresJobs(Leases):
    """The queue and the truth about jobs."""

    async def add(self, job: Job) -> Job:
        """Record a new PENDING job; the database sets its times."""
        params = {
            "id": job.id,
            "name": job.spec.name,
            "spec": as_json(job.spec),
            "owner": job.owner,
            "priority": job.spec.priority,
            "execution": job.spec.execution,
            "source": job.spec.source_name,
            "target": job.spec.destination.table,
            "scheduled_for": job.spec.scheduled_for,
        }
        return to_job((await self.conn.execute(ADD, params)).mappings().one())

    async def get(self, job_id: JobId, *, lock: bool = False) -> Job:
        """Return a job, or raise `NotFoundError`; with `lock` nobody moves it until the transaction ends."""
        query = viewed().where(jobs.c.id == job_id)
        row = await self.first(query.with_for_update(of=jobs) if lock else query, {})
        if row is None:
            raise NotFoundError(f"there is no job {job_id}")
        return to_job(row)

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> Sequence[Job]:
        """Return up to `limit` jobs, newest first, that come after the cursor."""
        query = viewed().where(*conditions(which, after))
        rows = await self.conn.execute(query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit))
        return [to_job(row) for row in rows.mappings()]

    async def cancel_pending(self, job_id: JobId) -> bool:
        """Make a PENDING job CANCELLED; return whether it was PENDING."""
        if await self.first(CANCEL_PENDING, {"id": job_id}) is None:
            return False
        await PostgresOutbox(self.conn).add(events.never_ran(await self.get(job_id)))
        return True

    async def request_cancel(self, job_id: JobId) -> bool:
        """Ask the runner of a running job to stop; return whether the job was running."""
        return await self.first(REQUEST_CANCEL, {"id": job_id, "running": RUNNING}) is not None

    async def revive(self, job_id: JobId) -> bool:
        """Make a FAILED or CANCELLED job PENDING again, its attempts counted anew; return whether it was one."""
        return await self.first(REVIVE, {"id": job_id}) is not None

    async def ended(self, job_ids: Sequence[JobId]) -> Mapping[JobId, int]:
        """Return those of the jobs that are in a final status, with their latest epoch."""
        rows = await self.conn.execute(ENDED, {"ids": list(job_ids), "final": FINAL})
        return {JobId(row["id"]): row["epoch"] for row in rows.mappings()}

    async def depth(self, execution: str | None = None) -> QueueDepth:
        """Return how many jobs (of that execution) are ready and running."""
        executions = EXECUTIONS if execution is None else [execution]
        row = (await self.conn.execute(DEPTH, {"executions": executions})).mappings().one()
        return QueueDepth(ready=row["ready"], running=row["running"], oldest_ready=row["oldest_ready"])

    async def count_by_status(self) -> Mapping[RunStatus, int]:
        """Return the number of jobs in each status; a status without jobs is 0."""
        found = {row["status"]: row["count"] for row in (await self.conn.execute(COUNT)).mappings()}
        return {status: found.get(status, 0) for status in RunStatus}


def viewed() -> Select[tuple[object, ...]]:
    """Return jobs with the progress of their latest run; a waiting job has none, but may have an obstacle.

    The join, and not a copy in `jobs`, is what lets a heartbeat leave the job's row alone.
    """
    latest = and_(job_runs.c.job_id == jobs.c.id, job_runs.c.epoch == jobs.c.epoch)
    progress = case((jobs.c.status == literal_column("'PENDING'"), None), else_=job_runs.c.progress)
    others = [column for column in jobs.c if column.name != "updated_at"]
    updated_at = func.greatest(jobs.c.updated_at, job_runs.c.updated_at).label("updated_at")
    waiting_for: ColumnElement[str | None] = literal_column(WAITING_FOR)
    return select(*others, updated_at, progress.label("progress"), waiting_for.label("waiting_for")).select_from(
        jobs.outerjoin(job_runs, latest)
    )


def conditions(which: JobFilter, after: Cursor | None) -> list[ColumnElement[bool]]:
    """Return what a filter and a cursor ask for."""
    wanted: list[ColumnElement[bool]] = []
    if which.status is not None:
        wanted.append(jobs.c.status == which.status.value)
    if which.name is not None:
        wanted.append(jobs.c.name == which.name)
    if which.created_from is not None:
        wanted.append(jobs.c.created_at >= which.created_from)
    if which.created_until is not None:
        wanted.append(jobs.c.created_at < which.created_until)
    if after is not None:
        wanted.append(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(after.created_at, after.id))
    return wanted
