"""Laws of a cluster's Ray Jobs, for the fake cluster and for the REST client before a small dashboard."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from dataproc.cluster.ray_jobs import RayJobs, dashboard_client
from dataproc.ports.cluster import Cluster, Submission, SubmissionId
from tests.fakes.cluster import FakeCluster

pytestmark = pytest.mark.anyio

ONE, TWO, OTHER = SubmissionId("runner-1"), SubmissionId("runner-2"), SubmissionId("backup-1")
ENTRYPOINT = "python -m jobs.runner"


@dataclass(slots=True)
class Dashboard:
    """A dashboard that answers as Ray's does; it refuses an id that it knows."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        """Answer a request to the Ray Jobs REST API."""
        match request.method, request.path.strip("/").split("/")[2:]:
            case "GET", []:
                return told(list(self.jobs.values()))
            case "POST", []:
                return self.submit(request.get_json())
            case "GET", [name] if name in self.jobs:
                return told(self.jobs[name])
            case "POST", [name, "stop"] if name in self.jobs:
                self.jobs[name]["status"] = "STOPPED"
                return told({"stopped": True})
            case _:
                return Response("no such job", 404)

    def submit(self, job: dict[str, Any]) -> Response:
        """Start a job."""
        name = job["submission_id"]
        if name in self.jobs:
            return Response("already exists", 500)
        self.jobs[name] = {"submission_id": name, "status": "RUNNING", "entrypoint": job["entrypoint"]}
        return told({"submission_id": name})


def told(answer: object) -> Response:
    return Response(json.dumps(answer), content_type="application/json")


@pytest.fixture(params=["fake", "rest"])
async def cluster(request: pytest.FixtureRequest, httpserver: HTTPServer) -> AsyncIterator[Cluster]:
    """Give a cluster on which nothing runs, and whose smallest node has 8 CPUs."""
    if request.param == "fake":
        yield FakeCluster(bears=8)
        return
    nodes = [{"state": "ALIVE", "resources_total": {"CPU": 8}}]
    httpserver.expect_request("/api/v0/nodes").respond_with_json({"data": {"result": {"result": nodes}}})
    dashboard = Dashboard()
    for path in ("/api/jobs/", f"/api/jobs/{ONE}", f"/api/jobs/{TWO}", f"/api/jobs/{OTHER}", f"/api/jobs/{ONE}/stop"):
        httpserver.expect_request(path).respond_with_handler(dashboard.answer)
    async with dashboard_client(httpserver.url_for(""), None) as client:
        yield RayJobs(client)


async def alive(cluster: Cluster, prefix: str) -> dict[SubmissionId, bool]:
    return {job.id: job.is_alive for job in await cluster.list(prefix)}


async def test_a_submitted_job_is_listed_and_alive(cluster: Cluster) -> None:
    await cluster.submit(ONE, ENTRYPOINT)

    assert await alive(cluster, "runner-") == {ONE: True}


async def test_a_job_submitted_twice_runs_once(cluster: Cluster) -> None:
    await cluster.submit(ONE, ENTRYPOINT)
    await cluster.submit(ONE, ENTRYPOINT)

    assert await alive(cluster, "runner-") == {ONE: True}


async def test_jobs_are_listed_by_prefix_in_the_order_of_their_ids(cluster: Cluster) -> None:
    for name in (TWO, OTHER, ONE):
        await cluster.submit(name, ENTRYPOINT)

    assert [job.id for job in await cluster.list("runner-")] == [ONE, TWO]
    assert [job.id for job in await cluster.list("nothing-")] == []


async def test_a_stopped_job_is_listed_and_not_alive_and_is_not_started_again(cluster: Cluster) -> None:
    await cluster.submit(ONE, ENTRYPOINT)

    await cluster.stop(ONE)
    await cluster.stop(ONE)
    await cluster.submit(ONE, ENTRYPOINT)

    assert await alive(cluster, "runner-") == {ONE: False}


async def test_stopping_a_job_that_nobody_submitted_changes_nothing(cluster: Cluster) -> None:
    await cluster.stop(ONE)

    assert await alive(cluster, "") == {}


async def test_a_cluster_says_how_many_datasets_it_bears(cluster: Cluster) -> None:
    assert await cluster.slots() == 8


async def test_a_ray_job_has_its_times_and_the_last_line_of_its_message(httpserver: HTTPServer) -> None:
    message = (
        "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n"
        "Traceback …\n\x1b[31mSetupError: no module\x1b[0m\n\n"
    )
    jobs = [
        {"submission_id": ONE, "status": "FAILED", "message": message, "start_time": 1_500, "end_time": 2_500},
        {"submission_id": TWO, "status": "PENDING", "message": None, "start_time": 3_000, "end_time": 0},
    ]
    httpserver.expect_request("/api/jobs/").respond_with_json(jobs)
    async with dashboard_client(httpserver.url_for(""), None) as client:
        first, second = await RayJobs(client).list("runner-")

    assert first == Submission(ONE, "FAILED", "SetupError: no module", at(1.5), at(2.5))
    assert second == Submission(TWO, "PENDING", "", at(3), None)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
