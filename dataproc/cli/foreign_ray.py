"""A Ray cluster that is not ours to end: what we put there is taken away again, and nothing else."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dataproc.cluster.ray_jobs import RayJobs, dashboard_client
from dataproc.embedded.serve_api import ServeApi
from dataproc.ports.cluster import SubmissionId
from dataproc.services.dispatch import PREFIX
from dataproc.settings import Settings

PATIENCE = 60.0
"""Seconds to wait for runners to end; so long Ray waits itself before it kills them."""


@contextmanager
def borrowed(settings: Settings, api: ServeApi) -> Iterator[None]:
    """Use the cluster for the length of the block; at the end stop the runners that came meanwhile, and the API."""
    api.refuse_others()
    before = asyncio.run(runners_of(settings))
    try:
        yield
    finally:
        asyncio.run(stop_all(settings, runners_of_ours=asyncio.run(runners_of(settings)) - before))
        api.remove()


async def runners_of(settings: Settings) -> set[SubmissionId]:
    """Return the runners that live on the cluster."""
    async with dashboard_client(settings.ray_dashboard_url, settings.ray_token) as client:
        return {runner.id for runner in await RayJobs(client).list(PREFIX) if runner.is_alive}


async def stop_all(settings: Settings, *, runners_of_ours: set[SubmissionId]) -> None:
    """Ask runners to finish what they have and end, and wait for them; those that take too long end by themselves."""
    async with dashboard_client(settings.ray_dashboard_url, settings.ray_token) as client:
        for runner in sorted(runners_of_ours):
            await RayJobs(client).stop(runner)
    deadline = time.monotonic() + PATIENCE
    while runners_of_ours & await runners_of(settings) and time.monotonic() < deadline:  # noqa: ASYNC110 - Ray tells nobody
        await asyncio.sleep(0.2)
