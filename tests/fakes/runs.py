"""Runs, their logs, and duties in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from dataproc.domain.errors import ConflictError
from dataproc.domain.job import Job, JobId, JobRun, RunId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import LogLine
from dataproc.repositories.runs import texts
from tests.fakes.state import Duty, Memory


@dataclass(frozen=True, slots=True)
class FakeRuns:
    """The history of attempts."""

    store: Memory

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        mine = [run for run in self.store.state.runs.values() if run.job_id == job_id]
        return sorted(mine, key=lambda run: run.epoch)

    async def usual_rows(self, job_id: JobId) -> int | None:
        this = self.store.state.jobs.get(job_id)
        alike = [job for job in self.store.state.jobs.values() if this is not None and is_alike(job, this)]
        alike.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        counts = [(await self.of(job.id))[-1].progress.rows_loaded for job in alike[:50]]
        return next((count for count in counts if count > 0), None)


def is_alike(job: Job, this: Job) -> bool:
    """Whether `job` is a completed one like `this`."""
    is_same = (job.spec.name, job.owner) == (this.spec.name, this.owner)
    return is_same and job.id != this.id and job.status is RunStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class FakeRunLogs:
    """What runs have logged."""

    store: Memory

    async def add(self, run_id: RunId, lines: Sequence[LogLine]) -> None:
        if lines and run_id not in self.store.state.runs:
            raise ConflictError(f"there is no run {run_id}")
        self.store.state.lines += [(run_id, LogLine(line.logged_at, **texts(line))) for line in lines]

    async def of(self, run_id: RunId, *, limit: int) -> Sequence[LogLine]:
        return [line for of, line in self.store.state.lines if of == run_id][-limit:]


@dataclass(frozen=True, slots=True)
class FakeDuties:
    """Who does what, until when."""

    store: Memory

    async def take(self, duty: str, holder: str, *, lease: timedelta) -> bool:
        held = self.store.state.duties.get(duty)
        if held is not None and held.holder != holder and held.expires_at > self.store.now:
            return False
        note = None if held is None else held.note
        self.store.state.duties[duty] = Duty(holder, self.store.now + lease, note)
        return True

    async def note(self, duty: str, text: str | None) -> None:
        held = self.store.state.duties.get(duty)
        if held is not None:
            self.store.state.duties[duty] = replace(held, note=text)

    async def give_back(self, duty: str, holder: str) -> None:
        held = self.store.state.duties.get(duty)
        if held is not None and held.holder == holder:
            del self.store.state.duties[duty]
