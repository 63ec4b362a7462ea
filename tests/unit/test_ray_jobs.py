"""How the Ray Jobs REST API is spoken to, and what its refusals become."""

from collections.abc import AsyncIterator

import pytest
from pytest_httpserver import HTTPServer

from dataproc.cluster.ray_jobs import RayJobs, dashboard_client
from dataproc.domain.errors import ClusterUnavailableError, SetupError
from dataproc.ports.cluster import SubmissionId

pytestmark = pytest.mark.anyio

RUNNER = SubmissionId("dataproc-runner-1")


@pytest.fixture
async def ray_jobs(httpserver: HTTPServer) -> AsyncIterator[RayJobs]:
    async with dashboard_client(httpserver.url_for(""), "t0ken") as client:
        yield RayJobs(client)


def nodes(*of: tuple[str, float]) -> dict[str, object]:
    """Return what the state API says of nodes with these states and CPUs."""
    told = [{"state": state, "resources_total": {"CPU": cpus} if cpus else {}} for state, cpus in of]
    return {"data": {"result": {"result": told}}}


async def test_a_job_goes_out_without_secrets_and_with_time_to_end(ray_jobs: RayJobs, httpserver: HTTPServer) -> None:
    sent = {
        "entrypoint": "python -m jobs.runner",
        "submission_id": RUNNER,
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}},
    }
    httpserver.expect_ordered_request(f"/api/jobs/{RUNNER}", method="GET").respond_with_data("no such job", 404)
    httpserver.expect_ordered_request("/api/jobs/", method="POST", json=sent).respond_with_json({})

    await ray_jobs.submit(RUNNER, "python -m jobs.runner")

    httpserver.check()
    assert len(httpserver.log) == 2


async def test_every_request_brings_the_token_and_the_log_does_not_show_it(
    ray_jobs: RayJobs, httpserver: HTTPServer
) -> None:
    bearer = {"Authorization": "Bearer t0ken"}
    httpserver.expect_request("/api/jobs/", headers=bearer).respond_with_json([])

    assert await ray_jobs.list("dataproc-runner-") == []
    assert "t0ken" not in repr(ray_jobs)


async def test_jobs_that_nobody_submitted_are_not_listed(ray_jobs: RayJobs, httpserver: HTTPServer) -> None:
    told = [
        {"submission_id": None, "status": "RUNNING"},
        {"submission_id": "somebody-else", "status": "RUNNING"},
        {"submission_id": RUNNER, "status": "PENDING"},
    ]
    httpserver.expect_request("/api/jobs/").respond_with_json(told)

    [runner] = await ray_jobs.list("dataproc-runner-")

    assert (runner.id, runner.is_alive) == (RUNNER, True)


@pytest.mark.parametrize(
    ("status", "is_alive"),
    [("PENDING", True), ("RUNNING", True), ("STOPPED", False), ("SUCCEEDED", False), ("FAILED", False)],
)
async def test_a_job_lives_until_it_has_ended(
    ray_jobs: RayJobs, httpserver: HTTPServer, status: str, *, is_alive: bool
) -> None:
    httpserver.expect_request("/api/jobs/").respond_with_json([{"submission_id": RUNNER, "status": status}])

    assert [job.is_alive for job in await ray_jobs.list("")] == [is_alive]


async def test_the_smallest_node_that_lives_and_has_cpus_says_how_many_datasets_may_run(
    ray_jobs: RayJobs, httpserver: HTTPServer
) -> None:
    told = nodes(("ALIVE", 0), ("ALIVE", 8), ("ALIVE", 4), ("DEAD", 1))
    asked = {"detail": "1", "limit": "10000"}
    httpserver.expect_request("/api/v0/nodes", query_string=asked).respond_with_json(told)

    assert await ray_jobs.slots() == 4


@pytest.mark.parametrize("status", [401, 403])
async def test_a_dashboard_that_wants_another_token_is_told_with_the_setting(
    ray_jobs: RayJobs, httpserver: HTTPServer, status: int
) -> None:
    httpserver.expect_request("/api/jobs/").respond_with_data("who are you?", status)

    with pytest.raises(ClusterUnavailableError, match="RAY_AUTH_TOKEN"):
        await ray_jobs.list("")


@pytest.mark.parametrize("answer", ["", "<html>", "[", "moved"])
async def test_what_is_no_dashboard_is_unavailable(ray_jobs: RayJobs, httpserver: HTTPServer, answer: str) -> None:
    httpserver.expect_request("/api/jobs/").respond_with_data(answer, 302 if answer == "moved" else 200)

    with pytest.raises(ClusterUnavailableError):
        await ray_jobs.list("")


async def test_a_dashboard_with_a_fault_is_unavailable(ray_jobs: RayJobs, httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/api/jobs/{RUNNER}/stop").respond_with_data("boom", 500)

    with pytest.raises(ClusterUnavailableError, match=f"answered 500 to POST /api/jobs/{RUNNER}/stop"):
        await ray_jobs.stop(RUNNER)


async def test_nodes_that_are_told_in_another_way_are_unavailable(ray_jobs: RayJobs, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/v0/nodes").respond_with_json({"result": False, "msg": "overloaded", "data": None})

    with pytest.raises(ClusterUnavailableError):
        await ray_jobs.slots()


async def test_a_dashboard_that_is_not_there_is_unavailable() -> None:
    async with dashboard_client("http://127.0.0.1:1", None) as client:
        with pytest.raises(ClusterUnavailableError, match="does not answer"):
            await RayJobs(client).list("")


@pytest.mark.parametrize("url", ["127.0.0.1:8265", "ray://head:10001", ""])
def test_an_address_that_is_no_url_is_named(url: str) -> None:
    with pytest.raises(SetupError, match="DATAPROC_RAY_DASHBOARD_URL"):
        dashboard_client(url, None)
