"""What jobs have set aside: looked at, and replayed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from dataproc.domain.errors import IllegalMoveError, NotFoundError, RequestError
from dataproc.domain.identity import Caller
from dataproc.domain.job import Job, JobId
from dataproc.domain.replay import Selection
from dataproc.domain.replay_spec import read_replay
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.status import RunStatus
from dataproc.ports.rejects import RejectCount, RejectPage, Rejects, StoredReject
from dataproc.services.jobs import JobService

AT_ONCE = 1000
"""Rejects that are held at once while all of them are given."""

P = ParamSpec("P")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class RejectService:
    """Shows what was set aside, and loads it by new jobs; the rows are in the warehouse."""

    jobs: JobService
    open_rejects: Callable[[], Rejects]
    # A warehouse that hangs may take these threads, and none of those that the API's own database needs.
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "rejects"))
    held_at_once: int = AT_ONCE

    async def page(self, selection: Selection, *, after: int, limit: int) -> RejectPage:
        """Return a page of rejects, or raise `NotFoundError` when the job has published nothing yet."""
        await self.published(selection)
        return await self.ask(self.open_rejects().page, selection, after=after, limit=limit)

    async def counts(self, selection: Selection) -> Sequence[RejectCount]:
        """Return how often each rule was broken; as `page` for a job that has published nothing."""
        await self.published(selection)
        return await self.ask(self.open_rejects().counts, selection.job)

    async def all(self, selection: Selection) -> AsyncIterator[Sequence[StoredReject]]:
        """Return all rejects, some at a time; what cannot be had is raised before the first of them is given."""
        page = await self.page(selection, after=0, limit=self.held_at_once)
        return self.following(selection, page)

    async def following(self, selection: Selection, page: RejectPage) -> AsyncIterator[Sequence[StoredReject]]:
        """Yield the rejects of a page, and of all pages after it."""
        yield page.rejects
        while page.after is not None:
            page = await self.ask(self.open_rejects().page, selection, after=page.after, limit=self.held_at_once)
            yield page.rejects

    async def replay(self, selection: Selection, text: str, *, by: Caller, key: str | None = None) -> Job:
        """Record a job that loads these rejects by the corrected specification in `text`, which names no source."""
        job = await self.published(selection, IllegalMoveError)
        told = {"kind": "rejects", "job": selection.job, "rule": selection.rule, "column": selection.column}
        source = RejectsSource.model_validate(told | {"personal": job.spec.source.personal})
        return await self.jobs.create(read_replay(text, source), by=by, key=key)

    async def published(self, selection: Selection, refusal: type[RequestError] = NotFoundError) -> Job:
        """Return the job whose rejects are meant; one that is not completed has none."""
        job = await self.jobs.get(JobId(selection.job))
        if job.status is not RunStatus.COMPLETED:
            raise refusal(f"job {job.id} is {job.status}: rejects are there once a job is completed")
        return job

    async def ask(self, question: Callable[P, Found], *args: P.args, **kwargs: P.kwargs) -> Found:
        """Return what the warehouse answers."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: question(*args, **kwargs))
