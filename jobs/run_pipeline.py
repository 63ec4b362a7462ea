"""One job as a Ray Job of its own: `ray job submit -- python -m jobs.run_pipeline job.yaml` (or a job's id).

The job is recorded like any other; this process claims it before any runner sees it, retries it by its policy, and
exits with 0 when it is COMPLETED, 1 when it ended otherwise, 2 when the specification is wrong.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import ray

from dataproc.bootstrap import Workshop, open_workshop
from dataproc.cluster.engine import RayEngine
from dataproc.domain.document import read_spec
from dataproc.domain.errors import DataprocError, IllegalMoveError, InvalidSpecError, Problem
from dataproc.domain.identity import LOCAL
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings

OK, FAILED, WRONG = 0, 1, 2
PAUSE = 0.2
"""Seconds between two looks at a job that waits for its next attempt."""


async def run(what: JobSpec | JobId, workshop: Workshop, lease: timedelta) -> Job:
    """Run a job to its end; return it."""
    holder = f"pipeline-{uuid4()}"
    claim = await first_claim(workshop, what, holder, lease)
    job_id = JobId(UUID(str(what))) if claim is None else claim.job_id
    while True:
        if claim is not None:
            await workshop.runs.execute(claim)
        job = await workshop.jobs.get(job_id)
        if job.status.is_final:
            return job
        await asyncio.sleep(PAUSE)
        claim = await claim_of(workshop, job_id, holder, lease) if is_due(job) else None


async def first_claim(workshop: Workshop, what: JobSpec | JobId, holder: str, lease: timedelta) -> Claim | None:
    """Claim a job; a spec is recorded and claimed in one transaction, so that no runner takes it."""
    if isinstance(what, JobSpec):
        return await workshop.jobs.create_claimed(what, holder, lease=lease, by=LOCAL)
    return await claim_of(workshop, what, holder, lease)


async def claim_of(workshop: Workshop, job_id: JobId, holder: str, lease: timedelta) -> Claim | None:
    """Claim a job that waits; `None` when it does not, for a runner was faster."""
    with suppress(IllegalMoveError):
        async with workshop.store.begin() as tables:
            return await tables.jobs.claim_one(job_id, holder, lease=lease)
    return None


def is_due(job: Job) -> bool:
    """Whether a job waits, and its delay is over."""
    return job.status is RunStatus.PENDING and job.scheduled_for <= datetime.now(UTC)


def read_target(text: str) -> JobSpec | JobId:
    """Return the spec in the file of that name, or the id."""
    try:
        return JobId(UUID(text))
    except ValueError:
        return read_spec(Path(text).read_text())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job; the exit code tells Ray how it went."""
    parser = argparse.ArgumentParser(prog="jobs.run_pipeline", description=__doc__)
    parser.add_argument("job", help="a file with a job's specification (YAML or JSON), or the id of a job that waits")
    try:
        what = read_target(parser.parse_args(argv).job)
    except InvalidSpecError as exc:
        return refused(exc)
    except (OSError, UnicodeDecodeError) as exc:
        sys.stderr.write(f"cannot read the job: {exc}; name a file of UTF-8 text, or the id of a job\n")
        return WRONG
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError as exc:
        sys.stderr.write(f"{exc}\nthere is no Ray cluster here: submit this by `ray job submit`\n")
        return FAILED
    return told(what)


def refused(exc: InvalidSpecError) -> int:
    """Say what is wrong with a specification, and where."""
    for problem in exc.problems or (Problem("", str(exc)),):
        place = f"{problem.line}:{problem.column}" if problem.line is not None else ""
        where = " ".join(part for part in (place, problem.pointer) if part)
        sys.stderr.write(f"{where}: {problem.message}\n" if where else f"{problem.message}\n")
    return WRONG


def told(what: JobSpec | JobId) -> int:
    """Run a job and say how it ended."""
    try:
        job = asyncio.run(with_workshop(what, Settings()))
    except StuckPipelineError:
        sys.stderr.write("the pipeline did not stop in time; its run is settled, see the job's status\n")
        sys.stderr.flush()
        # Its thread would keep the process alive.
        os._exit(FAILED)
    except InvalidSpecError as exc:
        return refused(exc)
    except DataprocError as exc:
        sys.stderr.write(f"{exc}\n")
        return FAILED
    reason = f": {job.failure.message}" if job.failure else ""
    sys.stdout.write(f"{job.id} {job.status}{reason}\n")
    return OK if job.status is RunStatus.COMPLETED else FAILED


async def with_workshop(what: JobSpec | JobId, settings: Settings) -> Job:
    """Run a job to its end with the databases of the settings."""
    workshop = open_workshop(settings, RayEngine())
    try:
        return await run(what, workshop, settings.lease)
    finally:
        await workshop.store.close()


if __name__ == "__main__":
    sys.exit(main())
