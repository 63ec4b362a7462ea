"""A job as a Ray Job of its own: started by the dispatcher, stopped by Ray, and its log kept."""

from typing import Any

import httpx2
import pytest

from dataproc.embedded.orders import orders
from tests.acceptance.installation import Installation, new_table, until
from tests.waiting import PATIENCE

MANY, FILES = 1_200_000, 8


@pytest.fixture(scope="module")
def some_orders(installation: Installation) -> str:
    """Put orders into the bucket; return their path."""
    table, share = orders(MANY), MANY // FILES
    installation.put_parts("dedicated", [table.slice(number * share, share) for number in range(FILES)])
    return "dedicated/*.parquet"


def ray_jobs_of(installation: Installation, job_id: str) -> dict[str, str]:
    """Return the Ray Jobs of a job, and their status."""
    url = f"{installation.stack.settings.ray_dashboard_url}/api/jobs/"
    found = httpx2.get(url, timeout=PATIENCE, trust_env=False).json()
    return {ray["submission_id"]: ray["status"] for ray in found if f"dataproc-job-{job_id}" in ray["submission_id"]}


def log_of(installation: Installation, job_id: str) -> list[tuple[int, str]]:
    """Return the attempts and lines of a job's log."""
    runs: list[dict[str, Any]] = installation.api.get(f"/jobs/{job_id}/logs").raise_for_status().json()
    return [(run["attempt"], line["message"]) for run in runs for line in run["lines"]]


def test_a_dedicated_job_runs_as_a_ray_job_of_its_own_and_its_log_is_kept(
    installation: Installation, some_orders: str
) -> None:
    table = new_table()

    job = installation.run(installation.spec(some_orders, table, execution="dedicated"))

    assert (job["status"], job["attempt"]) == ("COMPLETED", 1), job["error"]
    assert installation.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(MANY, MANY)]
    name = f"dataproc-job-{job['id']}-1"
    until(lambda: ray_jobs_of(installation, job["id"]) == {name: "SUCCEEDED"} or None)
    events = [line.partition(" job_id")[0] for _, line in log_of(installation, job["id"])]
    assert (events[0], events[-1]) == ('event="run started"', 'event="run ended"')
    proof = installation.api.get(f"/jobs/{job['id']}/reconciliation").raise_for_status().json()
    assert (len(proof["units"]), proof["rows"]["read"], proof["rows"]["staged"]) == (FILES, MANY, MANY)


def test_a_dedicated_job_that_ray_stops_ends_its_run_cleanly_and_gets_another_one(
    installation: Installation, some_orders: str
) -> None:
    table = new_table()
    job = installation.submit(installation.spec(some_orders, table, execution="dedicated", load="staged"))
    until(lambda: installation.copying() or None)

    [name] = ray_jobs_of(installation, job["id"])
    url = f"{installation.stack.settings.ray_dashboard_url}/api/jobs/{name}/stop"
    httpx2.post(url, timeout=PATIENCE, trust_env=False).raise_for_status()

    ended = installation.wait(job["id"])
    assert (ended["status"], ended["attempt"]) == ("COMPLETED", 1), ended["error"]
    assert installation.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(MANY, MANY)]
    runs = installation.api.get(f"/jobs/{job['id']}/runs").json()
    assert [(run["status"], (run["error"] or {}).get("code")) for run in runs] == [
        ("FAILED", "runner-stopped"),
        ("COMPLETED", None),
    ]
    assert len(ray_jobs_of(installation, job["id"])) == 2
    assert installation.left_over() == []


def test_a_dedicated_job_that_is_cancelled_before_its_ray_job_is_up_ends_cancelled(
    installation: Installation, some_orders: str
) -> None:
    table = new_table()
    job = installation.submit(installation.spec(some_orders, table, execution="dedicated"))
    until(lambda: ray_jobs_of(installation, job["id"]) or None)

    installation.api.delete(f"/jobs/{job['id']}").raise_for_status()

    assert installation.wait(job["id"])["status"] == "CANCELLED"
    assert not installation.exists(table)
