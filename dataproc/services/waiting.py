"""Waiting for jobs to end: however many wait, the metadata database is asked one question for all of them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dataproc.domain.job import Job, JobId
from dataproc.ports.clock import Clock
from dataproc.ports.store import Store

logger = logging.getLogger(__name__)

SHORTEST = 0.02
"""Seconds between two looks, at least."""
LONGEST = 1.0
"""Seconds between two looks, at most."""
BLUR = 0.02
"""By which share of its age a job may be told too late: a look costs processors that the job may need."""
MOST = 100
"""How many may wait at once; Serve lets a replica work on twice as many requests."""


@dataclass(slots=True, eq=False)
class Wait:
    """Somebody who waits for a job, which is as old as if it had begun at `begun` of the clock."""

    job_id: JobId
    begun: float
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def gap(self, now: float) -> float:
        """Return the seconds between two looks at the job."""
        return min(max(SHORTEST, BLUR * (now - self.begun)), LONGEST)


@dataclass(slots=True)
class WaitService:
    """Lets callers wait for jobs, up to `most` at once; belongs to one event loop.

    It looks, and is not told (LISTEN), because pgBouncer may pool its connections by transaction.
    """

    store: Store
    clock: Clock = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    most: int = MOST
    waits: set[Wait] = field(default_factory=set)
    looker: asyncio.Task[None] | None = None

    async def end_of(self, job: Job, *, within: timedelta) -> Job:
        """Return the job as soon as it has ended, or as it stands after that time; at once, if too many wait."""
        if job.status.is_final or len(self.waits) >= self.most:
            return job
        await self.wait(Wait(job.id, self.clock() - age_of(job, datetime.now(UTC))), within)
        async with self.store.begin() as tables:
            return await tables.jobs.get(job.id)

    async def wait(self, wait: Wait, within: timedelta) -> None:
        """Wait until the job has ended, but no longer than that time."""
        self.waits.add(wait)
        if self.looker is None:
            # In a context of its own, for what it logs is not about the request that came first.
            self.looker = asyncio.create_task(self.watch(), context=Context())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within.total_seconds()):
                    await wait.over.wait()
        finally:
            self.waits.discard(wait)

    async def watch(self) -> None:
        """Look again and again, until nobody waits."""
        looked = self.clock()
        try:
            while self.waits:
                await self.pause(SHORTEST)
                if self.waits and self.clock() - looked > self.gap() - SHORTEST / 2:
                    await self.look()
                    looked = self.clock()
        except Exception:
            logger.exception("looking at jobs failed; those who wait are answered as it is now")
        finally:
            self.looker = None
            self.end(self.waits)

    def gap(self) -> float:
        """Return the seconds between two looks, as the youngest job asks for."""
        return min(wait.gap(self.clock()) for wait in self.waits)

    async def look(self) -> None:
        """End the waits for jobs that have ended."""
        async with self.store.looking() as tables:
            ended = await tables.jobs.ended(list({wait.job_id for wait in self.waits}))
        self.end({wait for wait in self.waits if wait.job_id in ended})

    def end(self, waits: set[Wait]) -> None:
        """Let these go on."""
        for wait in waits:
            wait.over.set()


def age_of(job: Job, now: datetime) -> float:
    """Return for how many seconds a job has been running or waiting for a runner."""
    # One that is due later is taken to be as old as that is far away: it will not end soon either.
    return abs((now - (job.started_at or job.scheduled_for)).total_seconds())
