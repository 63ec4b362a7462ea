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
from pathlib import Path
from uuid import UUID, uuid4

import ray

from dataproc.bootstrap import Workshop, open_workshop
from dataproc.cluster.engine import RayEngine
from dataproc.domain.document import read_spec
from dataproc.domain.errors import DataprocError, IllegalMoveError, InvalidSpecError
from dataproc.domain.identity import LOCAL
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings

PAUSE = 0.2
"""Seconds between two looks at a job that waits for its next attempt."""


async def run(what: JobSpec | JobId, settings: Settings) -> Job:
    """Run a job to its end; return it."""
    workshop = open_workshop(settings, RayEngine())
    holder = f"pipeline-{uuid4()}"
    try:
        claim = await first_claim(workshop, what, holder, settings)
        job_id = claim.job_id if claim else JobId(UUID(str(what)))
        while True:
            if claim is not None:
                await workshop.runs.execute(claim)
            job = await workshop.jobs.get(job_id)
            if job.status.is_final:
                return job
            await asyncio.sleep(PAUSE)
            claim = await next_claim(workshop, job_id, holder, settings)
    finally:
        await workshop.store.close()


async def first_claim(workshop: Workshop, what: JobSpec | JobId, holder: str, settings: Settings) -> Claim | None:
    """Claim a job; a spec is recorded and claimed in one transaction, so that no runner takes it."""
    if isinstance(what, JobSpec):
        return await workshop.jobs.create_claimed(what, holder, lease=settings.lease, by=LOCAL)
    return await next_claim(workshop, what, holder, settings)


async def next_claim(workshop: Workshop, job_id: JobId, holder: str, settings: Settings) -> Claim | None:
    """Claim a job that waits and is due; `None` when it is not, or when a runner was faster."""
    with suppress(IllegalMoveError):
        async with workshop.store.begin() as tables:
            return await tables.jobs.claim_one(job_id, holder, lease=settings.lease)
    return None


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
        for problem in exc.problems:
            sys.stderr.write(f"{problem.line}:{problem.column} {problem.pointer}: {problem.message}\n")
        return 2
    except OSError as exc:
        sys.stderr.write(f"cannot read the job: {exc}\n")
        return 2
    ray.init(address="auto", log_to_driver=False)
    return told(what)


def told(what: JobSpec | JobId) -> int:
    """Run a job and say how it ended."""
    try:
        job = asyncio.run(run(what, Settings()))
    except StuckPipelineError:
        # Its thread would keep the process alive; the status is settled.
        os._exit(1)
    except DataprocError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    reason = f": {job.failure.message}" if job.failure else ""
    sys.stdout.write(f"{job.id} {job.status}{reason}\n")
    return 0 if job.status is RunStatus.COMPLETED else 1


if __name__ == "__main__":
    sys.exit(main())
