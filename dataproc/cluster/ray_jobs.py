"""Ray Jobs, by the REST API of the Ray dashboard.

Ray's own client is synchronous, has no timeout, and lets `RAY_ADDRESS` in the environment override the address it
is given: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

from dataproc.cluster.capacity import datasets_at_once
from dataproc.cluster.messages import last_line
from dataproc.domain.errors import ClusterUnavailableError, SetupError
from dataproc.ports.cluster import Submission, SubmissionId

STOP_WAIT = "60"
"""Seconds between SIGTERM and SIGKILL for a stopped runner, so that it can finish what it has."""
MOST_NODES = 10_000
"""The largest answer that Ray gives; without a limit it tells of 100 nodes."""


@dataclass(frozen=True, slots=True)
class RayJobs:
    """The Ray Jobs of the cluster behind `client`, whose base URL is that of the dashboard."""

    client: httpx2.AsyncClient = field(repr=False)

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        """Submit a Ray Job; one of that id that is there already is left alone."""
        known = await self.client_call("GET", f"/api/jobs/{submission_id}", allowed=(404,))
        if known is None:
            # No secret goes here: Ray shows all of this to everybody who can see the dashboard.
            env_vars = {"RAY_JOB_STOP_WAIT_TIME_S": STOP_WAIT}
            job = {"entrypoint": entrypoint, "submission_id": submission_id, "runtime_env": {"env_vars": env_vars}}
            await self.client_call("POST", "/api/jobs/", json=job)

    async def list(self, prefix: str) -> Sequence[Submission]:
        """Return the Ray Jobs whose submission id begins with `prefix`, by id."""
        jobs = await self.client_call("GET", "/api/jobs/") or []
        found = [submission_of(job) for job in jobs if job["submission_id"]]
        return sorted((job for job in found if job.id.startswith(prefix)), key=lambda job: job.id)

    async def stop(self, submission_id: SubmissionId) -> None:
        """Ask a Ray Job to end; one that has ended is left alone."""
        await self.client_call("POST", f"/api/jobs/{submission_id}/stop", allowed=(404,))

    async def slots(self) -> int:
        """Return how many Datasets may run at once in the cluster."""
        answer = await self.client_call("GET", "/api/v0/nodes", params={"detail": "1", "limit": str(MOST_NODES)})
        try:
            nodes = answer["data"]["result"]["result"]
            alive = [node["resources_total"] for node in nodes if node["state"] == "ALIVE"]
        except (KeyError, TypeError) as exc:
            raise ClusterUnavailableError("the Ray dashboard does not tell of its nodes") from exc
        return datasets_at_once(resources.get("CPU", 0) for resources in alive)

    async def client_call(self, method: str, path: str, *, allowed: tuple[int, ...] = (), **options: Any) -> Any:
        """Return the answer's JSON; `None` for an allowed status."""
        try:
            response = await self.client.request(method, path, **options)
            if response.status_code in allowed:
                return None
            return response.raise_for_status().json()
        except httpx2.HTTPStatusError as exc:
            status = exc.response.status_code
            advice = "; RAY_AUTH_MODE or RAY_AUTH_TOKEN differs from the cluster's" if status in {401, 403} else ""
            raise ClusterUnavailableError(f"the Ray dashboard answered {status} to {method} {path}{advice}") from exc
        except httpx2.HTTPError as exc:
            raise ClusterUnavailableError(f"the Ray dashboard at {self.client.base_url} does not answer") from exc
        except ValueError as exc:
            raise ClusterUnavailableError(
                f"what answers at {self.client.base_url} is no Ray dashboard; see DATAPROC_RAY_DASHBOARD_URL"
            ) from exc


def submission_of(job: Mapping[str, Any]) -> Submission:
    """Return a Ray Job of an answer; its times are milliseconds since 1970, or 0 or null where there is none."""
    started, ended = (moment_of(job.get(name)) for name in ("start_time", "end_time"))
    message = last_line(job.get("message") or "")
    return Submission(SubmissionId(job["submission_id"]), job["status"], message, started, ended)


def moment_of(milliseconds: int | None) -> datetime | None:
    """Return a time of an answer."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def dashboard_client(url: str, token: str | None) -> httpx2.AsyncClient:
    """Return a client for the Ray dashboard at `url`, which sends `token` if there is one."""
    if not url.startswith(("http://", "https://")):
        raise SetupError(f"DATAPROC_RAY_DASHBOARD_URL is {url!r}: write http://host:8265")
    headers: Mapping[str, str] = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=httpx2.Timeout(10.0), trust_env=False)
