"""A Ray cluster that is not ours to end: what we put there is taken away again, and nothing else."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dataproc.cluster.ray_jobs import RayJobs, dashboard_client
from dataproc.embedded.serve_api import ServeApi
from dataproc.ports.cluster import SubmissionId
from dataproc.services.dispatch import OURS
from dataproc.settings import Settings

PATIENCE = 60.0
"""Seconds to wait for Ray Jobs to end; so long Ray waits itself before it kills them."""


@contextmanager
def borrowed(settings: Settings, api: ServeApi) -> Iterator[None]:
    """Use the cluster for the length of the block; at the end stop the Ray Jobs that came meanwhile, and the API."""
    api.refuse_others()
    before = asyncio.run(ray_jobs_of(settings))
    try:
        yield
    finally:
        asyncio.run(stop_all(settings, jobs_of_ours=asyncio.run(ray_jobs_of(settings)) - before))
        api.remove()


async def ray_jobs_of(settings: Settings) -> set[SubmissionId]:
    """Return our Ray Jobs that live on the cluster: runners, and those of dedicated jobs."""
    async with dashboard_client(settings.ray_dashboard_url, settings.ray_token) as client:
        return {job.id for job in await RayJobs(client).list(OURS) if job.is_alive}


async def stop_all(settings: Settings, *, jobs_of_ours: set[SubmissionId]) -> None:
    """Ask Ray Jobs to let go of what they have, and wait for their end; those that take too long end by themselves."""
    async with dashboard_client(settings.ray_dashboard_url, settings.ray_token) as client:
        for job in sorted(jobs_of_ours):
            await RayJobs(client).stop(job)
    deadline = time.monotonic() + PATIENCE
    while jobs_of_ours & await ray_jobs_of(settings) and time.monotonic() < deadline:  # noqa: ASYNC110 - Ray tells nobody
        await asyncio.sleep(0.2)
