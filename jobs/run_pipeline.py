"""One job as a Ray Job of its own: `ray job submit -- python -m jobs.run_pipeline job.yaml` (or a job's id).

The job is recorded like any other; this process claims it before any runner sees it, retries it by its policy, and
exits with 0 when it is COMPLETED, 1 when it ended otherwise, 2 when the specification is wrong. SIGTERM, as of
`ray job stop`, ends the run cleanly and lets the job wait for another run: whoever wants no other cancels the job.

With `--epoch` it goes on with the claim that the dispatcher has made for it, and runs it once.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import ray

from dataproc.bootstrap import open_workshop
from dataproc.cluster.engine import RayEngine
from dataproc.domain.document import read_spec
from dataproc.domain.errors import DataprocError, InvalidSpecError, Problem
from dataproc.domain.job import Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings
from jobs.driver import Dispatched, Driver, What

OK, FAILED, WRONG = 0, 1, 2
Run = Callable[[What, Settings], Coroutine[Any, Any, Job]]
"""Runs a job to its end, or until the process is told to end."""


def main(argv: Sequence[str] | None = None, *, join: Callable[[], object] | None = None, run: Run | None = None) -> int:
    """Run one job; the exit code tells Ray how it went. `join` connects to the cluster that this Ray Job belongs to."""
    parser = argparse.ArgumentParser(prog="jobs.run_pipeline", description=__doc__)
    parser.add_argument("job", help="a file with a job's specification (YAML or JSON), or the id of a job that waits")
    parser.add_argument("--epoch", type=int, help="that of the claim on the job, which the dispatcher has made for us")
    options = parser.parse_args(argv)
    try:
        what = read_target(options.job, options.epoch)
    except InvalidSpecError as exc:
        return refused(exc)
    except (OSError, UnicodeDecodeError) as exc:
        sys.stderr.write(f"cannot read the job: {exc}; name a file of UTF-8 text, or the id of a job\n")
        return WRONG
    try:
        (join or join_cluster)()
    except ConnectionError as exc:
        sys.stderr.write(f"{exc}\nthere is no Ray cluster here: submit this by `ray job submit`\n")
        return FAILED
    return told(what, run or with_workshop)


def join_cluster() -> None:
    """Connect to the cluster that this Ray Job belongs to."""
    ray.init(address="auto", log_to_driver=False)


def read_target(text: str, epoch: int | None = None) -> What:
    """Return the spec in the file of that name, or the id, with its epoch if there is one."""
    try:
        job_id = JobId(UUID(text))
    except ValueError:
        return read_spec(Path(text).read_text())
    return job_id if epoch is None else Dispatched(job_id, epoch)


def refused(exc: InvalidSpecError) -> int:
    """Say what is wrong with a specification, and where."""
    for problem in exc.problems or (Problem("", str(exc)),):
        place = f"{problem.line}:{problem.column}" if problem.line is not None else ""
        where = " ".join(part for part in (place, problem.pointer) if part)
        sys.stderr.write(f"{where}: {problem.message}\n" if where else f"{problem.message}\n")
    return WRONG


def told(what: What, run: Run) -> int:
    """Run a job and say how it ended."""
    try:
        job = asyncio.run(run(what, Settings()))
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


async def with_workshop(what: What, settings: Settings) -> Job:
    """Run a job to its end, or until SIGTERM, with the databases of the settings."""
    workshop = open_workshop(settings, RayEngine())
    driver = Driver(workshop, settings.lease)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, driver.end)
    try:
        return await driver.run(what)
    finally:
        await workshop.store.close()


if __name__ == "__main__":
    sys.exit(main())
