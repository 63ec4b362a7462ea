"""Claims and what their holders may do: each move is one guarded statement, by the database's clock.

The guard of every move is the lease: this epoch, this holder, not ended. Locks are taken on the
lease first and on the job after it, so that two moves of one job never wait for each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import Executable, RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.errors import FencedError, IllegalMoveError, NotFoundError
from dataproc.domain.job import Claim, Failure, JobId, Progress
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import NO_LIMITS, REACTION, ExpiredLease, Heartbeat, RunningLimits
from dataproc.repositories import events
from dataproc.repositories.claims import Claiming
from dataproc.repositories.outbox import PostgresOutbox
from dataproc.repositories.rows import as_json, in_seconds, to_claim, to_expired

STATUS = text("SELECT status FROM jobs WHERE id = :job")

IS_HELD = "job_id = :job AND epoch = :epoch AND holder = :holder AND expires_at > clock_timestamp()"

ADOPT = text(f"""
SELECT held.*, jobs.attempt, jobs.spec, jobs.owner, jobs.created_at
FROM (SELECT * FROM job_leases WHERE {IS_HELD}) AS held JOIN jobs ON jobs.id = held.job_id
""")

HEARTBEAT = text(f"""
WITH renewed AS (
    UPDATE job_leases SET expires_at = clock_timestamp() + make_interval(secs => :lease)
    WHERE {IS_HELD} RETURNING job_id, run_id
),
told AS (
    UPDATE job_runs SET progress = CAST(:progress AS jsonb), updated_at = clock_timestamp()
    FROM renewed WHERE job_runs.id = renewed.run_id
)
SELECT jobs.cancel_requested FROM renewed JOIN jobs ON jobs.id = renewed.job_id
""")

ADVANCE = text(f"""
WITH moved AS (
    UPDATE jobs SET status = :to, updated_at = clock_timestamp()
    WHERE id = :job AND epoch = :epoch AND status = ANY(:sources)
        AND EXISTS (SELECT FROM job_leases WHERE {IS_HELD})
    RETURNING id
)
UPDATE job_runs SET status = :to, updated_at = clock_timestamp()
FROM moved WHERE job_runs.id = :run RETURNING job_runs.id
""")
STILL_HELD = text(f"SELECT FROM job_leases WHERE {IS_HELD}")

END = """
WITH held AS (DELETE FROM job_leases WHERE {is_held} RETURNING job_id, run_id),
moved AS (
    UPDATE jobs SET {move}, failure = CAST(:failure AS jsonb), updated_at = clock_timestamp()
    FROM held WHERE jobs.id = held.job_id AND epoch = :epoch AND status = ANY(:sources) RETURNING held.run_id
)
UPDATE job_runs SET status = :to, finished_at = clock_timestamp(), updated_at = clock_timestamp(),
    failure = CAST(:failure AS jsonb), progress = coalesce(CAST(:progress AS jsonb), progress)
FROM moved WHERE job_runs.id = moved.run_id RETURNING job_runs.id
"""
FINISH = text(END.format(is_held=IS_HELD, move="status = :to, finished_at = clock_timestamp()"))
REQUEUE = text(
    END.format(
        is_held=IS_HELD,
        move="status = 'PENDING', scheduled_for = clock_timestamp() + make_interval(secs => :delay)",
    )
)
RELEASE = text(
    END.format(
        is_held=IS_HELD,
        move="status = 'PENDING', scheduled_for = clock_timestamp(), attempt = greatest(attempt - 1, 0)",
    )
)

EXPIRED = text("""
WITH ended AS (
    SELECT job_leases.job_id, holder AS lost_holder FROM job_leases JOIN jobs ON jobs.id = job_leases.job_id
    WHERE expires_at <= clock_timestamp() OR (
        jobs.cancel_requested AND jobs.updated_at <= clock_timestamp() - make_interval(secs => :reaction)
        AND holder NOT LIKE 'reaper-%'
    )
    ORDER BY expires_at, job_leases.job_id LIMIT :limit FOR UPDATE OF job_leases SKIP LOCKED
),
taken AS (
    UPDATE job_leases SET holder = :reaper, expires_at = clock_timestamp() + make_interval(mins => 1)
    FROM ended WHERE job_leases.job_id = ended.job_id RETURNING job_leases.*, ended.lost_holder
)
SELECT taken.*, jobs.attempt, jobs.spec, jobs.owner, jobs.created_at, jobs.cancel_requested
FROM taken JOIN jobs ON jobs.id = taken.job_id ORDER BY taken.job_id
""")


@dataclass(frozen=True, slots=True)
class Leases:
    """The half of `Jobs` that is about claims."""

    conn: AsyncConnection

    async def claim(
        self, holder: str, *, lease: timedelta, limit: int, limits: RunningLimits = NO_LIMITS, execution: str = "shared"
    ) -> Sequence[Claim]:
        """Claim up to `limit` ready jobs of that execution; each gets a new epoch, a run and a lease."""
        return await Claiming(self.conn, holder, lease, limits, execution).first_ready(limit)

    async def claim_one(self, job_id: JobId, holder: str, *, lease: timedelta) -> Claim:
        """Claim this PENDING job, or raise `IllegalMoveError`."""
        claim = await Claiming(self.conn, holder, lease).this_one(job_id)
        if claim is None:
            raise IllegalMoveError(f"job {job_id} is {await self.status_of(job_id)}, only a PENDING job can be claimed")
        return claim

    async def adopt(self, job_id: JobId, epoch: int, holder: str) -> Claim:
        """Return the claim that was made for `holder`, or raise `FencedError` when it is over."""
        row = await self.first(ADOPT, {"job": job_id, "epoch": epoch, "holder": holder})
        if row is None:
            raise FencedError(f"the claim on job {job_id} with epoch {epoch} is over", job_id=job_id)
        return to_claim(row)

    async def release(self, claim: Claim, *, failure: Failure) -> None:
        """End the run as FAILED and make the job PENDING at once, this attempt not counted, or raise `FencedError`."""
        if await self.first(RELEASE, ending(claim, RunStatus.FAILED, None, failure)) is None:
            raise fenced(claim)

    async def heartbeat(self, claim: Claim, *, lease: timedelta, progress: Progress) -> Heartbeat:
        """Renew the lease and record the progress, or raise `FencedError` when the claim is over."""
        params = guard(claim) | {"lease": in_seconds(lease), "progress": as_json(progress)}
        row = await self.first(HEARTBEAT, params)
        if row is None:
            raise fenced(claim)
        return Heartbeat(cancel_requested=row["cancel_requested"])

    async def advance(self, claim: Claim, to: RunStatus) -> None:
        """Move the run on to a later stage, or raise `FencedError` when the claim is over."""
        if not to.is_running:
            raise IllegalMoveError(f"advance() leads to a running stage, not to {to}")
        params = guard(claim) | {"run": claim.run_id, "to": to.value, "sources": running_before(to)}
        if await self.first(ADVANCE, params) is None:
            if await self.first(STILL_HELD, guard(claim)) is None:
                raise fenced(claim)
            raise IllegalMoveError(f"job {claim.job_id} is {await self.status_of(claim.job_id)}, not before {to}")

    async def finish(self, claim: Claim, to: RunStatus, *, progress: Progress | None, failure: Failure | None) -> None:
        """End run and job in the final status `to` and drop the lease, or raise `FencedError`."""
        if not to.is_final:
            raise IllegalMoveError(f"finish() leads to a final status, not to {to}")
        params = ending(claim, to, progress, failure)
        if await self.first(FINISH, params) is None:
            raise fenced(claim)
        await PostgresOutbox(self.conn).add(events.run_ended(claim, to, progress, failure))

    async def requeue(
        self, claim: Claim, *, delay: timedelta, failure: Failure | None, progress: Progress | None
    ) -> None:
        """End the run as FAILED and make the job PENDING again after `delay`, or raise `FencedError`."""
        params = ending(claim, RunStatus.FAILED, progress, failure) | {"delay": in_seconds(delay)}
        if await self.first(REQUEUE, params) is None:
            raise fenced(claim)

    async def expired(self, *, limit: int) -> Sequence[ExpiredLease]:
        """Take over claims whose lease has ended, under a holder of their own and for a minute."""
        params = {"limit": limit, "reaper": f"reaper-{uuid4()}", "reaction": in_seconds(REACTION)}
        rows = await self.conn.execute(EXPIRED, params)
        return [to_expired(row) for row in rows.mappings()]

    async def status_of(self, job_id: JobId) -> str:
        """Return the status of a job, or raise `NotFoundError`."""
        row = await self.first(STATUS, {"job": job_id})
        if row is None:
            raise NotFoundError(f"there is no job {job_id}")
        return str(row["status"])

    async def first(self, statement: Executable, params: Mapping[str, object]) -> RowMapping | None:
        """Return the first row of a statement, if there is one."""
        return (await self.conn.execute(statement, params)).mappings().first()


def guard(claim: Claim) -> dict[str, object]:
    """Return what tells this claim from every other."""
    return {"job": claim.job_id, "epoch": claim.epoch, "holder": claim.holder}


def ending(claim: Claim, to: RunStatus, progress: Progress | None, failure: Failure | None) -> dict[str, object]:
    """Return the parameters of a statement that ends a run."""
    told = {"progress": as_json(progress), "failure": as_json(failure)}
    return guard(claim) | told | {"to": to.value, "sources": running_before(to)}


def running_before(to: RunStatus) -> list[str]:
    """Return the running stages that may come before `to`: a claim that is over finds its job PENDING or final."""
    return [status.value for status in to.reachable_from() if status.is_running]


def fenced(claim: Claim) -> FencedError:
    """Return the error of a claim that is over."""
    return FencedError(
        f"the claim on job {claim.job_id} with epoch {claim.epoch} is over",
        job_id=claim.job_id,
        run_id=claim.run_id,
    )
