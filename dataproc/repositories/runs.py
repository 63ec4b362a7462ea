"""The history of attempts, and what they have logged."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.job import JobId, JobRun, RunId
from dataproc.ports.queue import LogLine
from dataproc.repositories.rows import storable, to_line, to_run
from dataproc.repositories.tables import job_runs, run_logs

USUAL_ROWS = text("""
SELECT rows_loaded FROM (
    SELECT CAST(job_runs.progress ->> 'rows_loaded' AS bigint) AS rows_loaded, latest.created_at, latest.id
    FROM (
        SELECT other.id, other.epoch, other.created_at FROM jobs AS this JOIN jobs AS other USING (name, owner)
        WHERE this.id = :job AND other.id <> :job AND other.status = 'COMPLETED'
        ORDER BY other.created_at DESC, other.id DESC LIMIT 50
    ) AS latest JOIN job_runs ON job_runs.job_id = latest.id AND job_runs.epoch = latest.epoch
) AS loaded
WHERE rows_loaded > 0 ORDER BY created_at DESC, id DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class PostgresRuns:
    """The runs of jobs; claims write them."""

    conn: AsyncConnection

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        """Return the runs of a job, the first attempt first."""
        query = select(job_runs).where(job_runs.c.job_id == job_id).order_by(job_runs.c.epoch)
        return [to_run(row) for row in (await self.conn.execute(query)).mappings()]

    async def usual_rows(self, job_id: JobId) -> int | None:
        """Return how many rows the latest completed job of the same name and owner has loaded, if any."""
        row = (await self.conn.execute(USUAL_ROWS, {"job": job_id})).first()
        return None if row is None else int(row.rows_loaded)


@dataclass(frozen=True, slots=True)
class PostgresRunLogs:
    """What runs have logged."""

    conn: AsyncConnection

    async def add(self, run_id: RunId, lines: Sequence[LogLine]) -> None:
        """Append lines to the log of a run."""
        rows = [{"run_id": run_id, "logged_at": line.logged_at, **texts(line)} for line in lines]
        if rows:
            await self.conn.execute(insert(run_logs), rows)

    async def of(self, run_id: RunId, *, limit: int) -> Sequence[LogLine]:
        """Return the last `limit` lines of a run, in order."""
        query = select(run_logs).where(run_logs.c.run_id == run_id).order_by(run_logs.c.seq.desc()).limit(limit)
        return [to_line(row) for row in reversed((await self.conn.execute(query)).mappings().all())]


def texts(line: LogLine) -> dict[str, str]:
    """Return the texts of a line, as PostgreSQL can hold them."""
    return {"level": storable(line.level), "message": storable(line.message)}
