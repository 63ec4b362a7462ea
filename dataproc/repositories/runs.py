"""The history of attempts."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.job import JobId, JobRun
from dataproc.repositories.rows import to_run
from dataproc.repositories.tables import job_runs


@dataclass(frozen=True, slots=True)
class PostgresRuns:
    """The runs of jobs; claims write them."""

    conn: AsyncConnection

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        """Return the runs of a job, the first attempt first."""
        query = select(job_runs).where(job_runs.c.job_id == job_id).order_by(job_runs.c.epoch)
        return [to_run(row) for row in (await self.conn.execute(query)).mappings()]
