"""The statements that claim jobs: by priority, then fair share between owners, then age, within limits.

Jobs that wait stand in lanes: same execution, priority, owner, source and target, by the time they are due. The
statements walk from lane to lane by the index, pass over lanes that are not due or whose owner, source or target has
reached its limit, and look at the first jobs of the others. So their work grows with the lanes, not with the jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.job import Claim, JobId
from dataproc.ports.queue import NO_LIMITS, RunningLimits
from dataproc.repositories.rows import in_seconds, to_claim

UNLIMITED = 2**31 - 1

# Only `statement_timestamp()` is stable and can bound an index; by `clock_timestamp()` a lane would be read to its end.
LANES = """
lanes AS (
    SELECT first.* FROM unnest(CAST(:executions AS text[])) AS wanted (execution) CROSS JOIN LATERAL (
        SELECT execution, priority, owner, source, target, scheduled_for AS due FROM jobs
        WHERE status = 'PENDING' AND execution = wanted.execution
        ORDER BY priority, owner, source, target, scheduled_for LIMIT 1
    ) AS first
    UNION ALL
    SELECT next.* FROM lanes CROSS JOIN LATERAL (
        SELECT execution, priority, owner, source, target, scheduled_for FROM jobs
        WHERE status = 'PENDING' AND execution = lanes.execution
            AND (priority, owner, source, target) > (lanes.priority, lanes.owner, lanes.source, lanes.target)
        ORDER BY priority, owner, source, target, scheduled_for LIMIT 1
    ) AS next
)
"""

IN_LANE = """
status = 'PENDING' AND execution = lane.execution AND priority = lane.priority AND owner = lane.owner
    AND source = lane.source AND target = lane.target AND scheduled_for <= statement_timestamp()
"""

# OFFSET keeps the planner from reading all jobs for the sake of the few that run.
THOSE_RUNNING = """
running AS MATERIALIZED (
    SELECT job.* FROM job_leases CROSS JOIN LATERAL (
        SELECT execution, owner, source, target FROM jobs WHERE id = job_leases.job_id OFFSET 0
    ) AS job
)
"""

# `share` is what claims one by one would see: how many jobs the owner has running once this one runs. A few jobs more
# than wanted are looked at, as other transactions may hold some.
FIRST_READY = f"""
{THOSE_RUNNING},
owners AS (SELECT owner, count(*) AS busy FROM running GROUP BY owner),
sources AS (SELECT source, count(*) AS busy FROM running GROUP BY source),
targets AS (SELECT target, count(*) AS busy FROM running GROUP BY target),
open_lanes AS (
    SELECT lanes.*, coalesce(owners.busy, 0) AS of_owner, coalesce(sources.busy, 0) AS of_source,
        coalesce(targets.busy, 0) AS of_target
    FROM lanes LEFT JOIN owners USING (owner) LEFT JOIN sources USING (source) LEFT JOIN targets USING (target)
    WHERE lanes.due <= statement_timestamp() AND coalesce(owners.busy, 0) < :per_owner
        AND coalesce(sources.busy, 0) < :per_source AND coalesce(targets.busy, 0) < :per_target
),
candidates AS (
    SELECT lane.*, job.* FROM open_lanes AS lane CROSS JOIN LATERAL (
        SELECT id, scheduled_for, created_at FROM jobs WHERE {IN_LANE}
        ORDER BY scheduled_for, created_at, id LIMIT :limit + 10
    ) AS job
),
fair AS (
    SELECT *, of_owner + row_number() OVER (
        PARTITION BY owner ORDER BY priority DESC, scheduled_for, created_at, id
    ) AS share
    FROM candidates
),
in_turn AS (
    SELECT *, row_number() OVER (ORDER BY priority DESC, share, scheduled_for, created_at, id) AS turn
    FROM fair WHERE share <= :per_owner
),
counted AS (
    SELECT id, turn, of_source + row_number() OVER (PARTITION BY source ORDER BY turn) AS nth_of_source,
        of_target + row_number() OVER (PARTITION BY target ORDER BY turn) AS nth_of_target
    FROM in_turn
),
next AS (
    SELECT id, turn FROM counted WHERE nth_of_source <= :per_source AND nth_of_target <= :per_target
    ORDER BY turn LIMIT :limit + 10
),
ready AS MATERIALIZED (
    SELECT jobs.id, next.turn FROM next JOIN jobs ON jobs.id = next.id
    WHERE jobs.status = 'PENDING' AND jobs.scheduled_for <= statement_timestamp()
    ORDER BY next.turn LIMIT greatest(0, least(:limit, :in_all - (SELECT count(*) FROM running)))
    FOR UPDATE OF jobs SKIP LOCKED
)
"""
THIS_ONE = """
ready AS MATERIALIZED (SELECT id, 1 AS turn FROM jobs WHERE status = 'PENDING' AND id = :job FOR UPDATE)
"""

TAKE = """
claimed AS (
    UPDATE jobs SET status = 'INGESTING', epoch = epoch + 1, attempt = attempt + 1, failure = NULL,
        started_at = clock_timestamp(), finished_at = NULL, updated_at = clock_timestamp()
    FROM ready WHERE jobs.id = ready.id RETURNING jobs.*, ready.turn
),
runs AS (
    INSERT INTO job_runs (id, job_id, attempt, epoch, status, holder, started_at, updated_at)
    SELECT gen_random_uuid(), id, attempt, epoch, status, CAST(:holder AS text), started_at, started_at FROM claimed
    RETURNING id, job_id, epoch, holder
),
leases AS (
    INSERT INTO job_leases (job_id, run_id, epoch, holder, expires_at)
    SELECT job_id, id, epoch, holder, clock_timestamp() + make_interval(secs => :lease) FROM runs
)
SELECT claimed.id AS job_id, runs.id AS run_id, runs.epoch, runs.holder, claimed.attempt, claimed.spec, claimed.owner,
    claimed.created_at
FROM claimed JOIN runs ON runs.job_id = claimed.id ORDER BY claimed.turn
"""
CLAIM_FIRST = text(f"WITH RECURSIVE {LANES}, {FIRST_READY}, {TAKE}")
CLAIM_THIS = text(f"WITH {THIS_ONE}, {TAKE}")

MAY_CLAIM = text(f"""
WITH RECURSIVE {LANES}
SELECT (SELECT count(*) FROM job_leases) < :in_all
    AND EXISTS (SELECT FROM lanes WHERE due <= statement_timestamp())
""")

# One claim at a time counts what runs, in a statement of its own, whose snapshot comes after the lock. Who hangs while
# he holds the lock is thrown out, so that the others do not hang as well.
ONE_AT_A_TIME = text("""
SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
    pg_advisory_xact_lock(hashtextextended('dataproc claims', 0))
""")


@dataclass(frozen=True, slots=True)
class Claiming:
    """Who claims, for how long, what, and within which limits."""

    conn: AsyncConnection
    holder: str
    lease: timedelta
    limits: RunningLimits = NO_LIMITS
    execution: str = "shared"

    async def first_ready(self, limit: int) -> Sequence[Claim]:
        """Claim up to `limit` ready jobs."""
        if not await self.conn.scalar(MAY_CLAIM, self.params()):
            return []
        if self.limits != NO_LIMITS:
            await self.conn.execute(ONE_AT_A_TIME)
        return await self.until_none_is_left(limit)

    async def until_none_is_left(self, limit: int) -> Sequence[Claim]:
        """Claim in rounds: what is behind a job that its target or source holds back is seen by the next one."""
        claims: list[Claim] = []
        while len(claims) < limit and (more := await self.round(limit - len(claims))):
            claims.extend(more)
        return claims

    async def round(self, limit: int) -> Sequence[Claim]:
        """Claim up to `limit` of the jobs that are first in their lanes."""
        rows = await self.conn.execute(CLAIM_FIRST, self.params() | {"limit": limit})
        return [to_claim(row) for row in rows.mappings()]

    async def this_one(self, job_id: JobId) -> Claim | None:
        """Claim this job, if it is PENDING."""
        rows = await self.conn.execute(CLAIM_THIS, self.params() | {"job": job_id})
        row = rows.mappings().one_or_none()
        return None if row is None else to_claim(row)

    def params(self) -> dict[str, object]:
        """Return the parameters of the statements."""
        return {
            "holder": self.holder,
            "lease": in_seconds(self.lease),
            "executions": [self.execution],
            "in_all": bound(self.limits.in_all),
            "per_owner": bound(self.limits.per_owner),
            "per_source": bound(self.limits.per_source),
            "per_target": bound(self.limits.per_target),
        }


def bound(limit: int | None) -> int:
    """Return a limit as a number."""
    return UNLIMITED if limit is None else limit
