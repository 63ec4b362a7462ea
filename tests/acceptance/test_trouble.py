"""What goes wrong is told clearly, and leaves the target as it was."""

import pytest

from dataproc.embedded.orders import orders
from tests.acceptance.installation import Installation, new_table, until

MANY, FILES = 1_200_000, 8


@pytest.fixture(scope="module")
def many_orders(installation: Installation) -> str:
    """Put enough orders into the bucket that a load of them can be disturbed; return their path."""
    table = orders(MANY)
    share = MANY // FILES
    installation.put_parts("many", [table.slice(number * share, share) for number in range(FILES)])
    return "many/*.parquet"


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_a_worker_killed_in_the_middle_of_copy_loses_and_doubles_nothing(
    installation: Installation, many_orders: str, way: str
) -> None:
    table = new_table()
    job = installation.submit(installation.spec(many_orders, table, load=way))
    until(lambda: installation.copying() or None)

    until(lambda: installation.processes("ray::ReadUnit") or None)[0].kill()

    ended = installation.wait(job["id"])
    assert ended["status"] == "COMPLETED", ended["error"]
    counts = f"SELECT count(*), count(DISTINCT order_id), min(order_id), max(order_id) FROM {table}"
    assert installation.query(counts) == [(MANY, MANY, 0, MANY - 1)]
    assert installation.left_over() == []


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_a_cancel_in_the_middle_leaves_no_row(installation: Installation, many_orders: str, way: str) -> None:
    table = new_table()
    job = installation.submit(installation.spec(many_orders, table, load=way))
    until(lambda: installation.copying() or None)

    installation.api.delete(f"/jobs/{job['id']}").raise_for_status()

    assert installation.wait(job["id"])["status"] == "CANCELLED"
    assert not installation.exists(table)
    assert installation.ledger(job["id"]) == []
    assert installation.left_over() == []


def test_a_runner_killed_in_the_middle_loses_and_doubles_nothing(installation: Installation, many_orders: str) -> None:
    table = new_table()
    job = installation.submit(installation.spec(many_orders, table))
    until(lambda: installation.copying() or None)

    for process in installation.processes("ray::Slot") + installation.processes("jobs.runner"):
        process.kill()

    ended = installation.wait(job["id"])
    assert (ended["status"], ended["attempt"]) == ("COMPLETED", 2), ended["error"]
    assert installation.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(MANY, MANY)]
    assert len(installation.ledger(job["id"])) == 1
    runs = installation.api.get(f"/jobs/{job['id']}/runs").json()
    assert [run["status"] for run in runs] == ["FAILED", "COMPLETED"]
    assert runs[0]["error"]["code"] == "runner-lost"


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_a_cancel_of_a_job_whose_runner_is_dead_leaves_no_row(
    installation: Installation, many_orders: str, way: str
) -> None:
    table = new_table()
    job = installation.submit(installation.spec(many_orders, table, load=way))
    until(lambda: installation.copying() or None)
    for process in installation.processes("ray::Slot") + installation.processes("jobs.runner"):
        process.kill()

    installation.api.delete(f"/jobs/{job['id']}").raise_for_status()

    assert installation.wait(job["id"])["status"] == "CANCELLED"
    assert not installation.exists(table)
    assert installation.ledger(job["id"]) == []
    until(lambda: not installation.left_over() or None)


def test_a_broken_file_fails_the_job_and_names_the_file(installation: Installation) -> None:
    table = new_table()
    installation.put_parts("broken", [orders(100)])
    installation.put("broken/part-1.parquet", b"PAR1 this is no Parquet file PAR1")

    job = installation.run(installation.spec("broken/*.parquet", table))

    assert (job["status"], job["error"]["code"]) == ("FAILED", "bad-data")
    assert "broken/part-1.parquet" in job["error"]["message"]
    assert job["attempt"] == 1
    assert not installation.exists(table)


def test_a_missing_bucket_fails_the_job_and_names_the_bucket(installation: Installation) -> None:
    table = new_table()
    endpoint = {"endpoint": installation.s3.endpoint}
    body = {"name": "nowhere", "kind": "s3", "config": {**endpoint, "bucket": "no-such-bucket"}}
    installation.api.post("/sources", json=body).raise_for_status()
    spec = installation.spec("*.parquet", table)

    job = installation.run(spec | {"source": spec["source"] | {"connection": "nowhere"}})

    assert (job["status"], job["error"]["code"]) == ("FAILED", "source-not-found")
    assert "no-such-bucket" in job["error"]["message"]
    assert not installation.exists(table)


def test_a_wrong_type_fails_the_job_and_names_the_column(installation: Installation) -> None:
    table = new_table()
    installation.execute(f"CREATE SCHEMA IF NOT EXISTS acceptance; CREATE TABLE {table} (order_id date, name text)")
    installation.execute(f"GRANT USAGE, CREATE ON SCHEMA acceptance TO loader; ALTER TABLE {table} OWNER TO loader")
    installation.execute(f"INSERT INTO {table} VALUES ('2026-01-01', 'a')")
    installation.put_parts("types", [orders(100).select(["order_id", "name"])])

    job = installation.run(installation.spec("types/*.parquet", table))

    assert (job["status"], job["error"]["code"]) == ("FAILED", "contract-violation")
    assert "column order_id" in job["error"]["message"]
    assert installation.query(f"SELECT name FROM {table}") == [("a",)]


@pytest.mark.parametrize("kind", ["another's table", "a view"])
def test_a_table_that_is_not_ours_is_refused(installation: Installation, kind: str) -> None:
    table = new_table()
    what = f"TABLE {table} (order_id bigint)" if kind == "another's table" else f"VIEW {table} AS SELECT 1 AS order_id"
    installation.execute(f"CREATE SCHEMA IF NOT EXISTS acceptance; CREATE {what}")
    installation.execute("GRANT USAGE ON SCHEMA acceptance TO loader")
    installation.put_parts("ours", [orders(10).select(["order_id"])])

    job = installation.run(installation.spec("ours/*.parquet", table))

    assert (job["status"], job["error"]["code"]) == ("FAILED", "target-refused")
    assert table in job["error"]["message"]


def test_too_many_rejects_publish_nothing(installation: Installation) -> None:
    table = new_table()
    installation.put("rejects/a.csv", b"id\n1\ntwo\nthree\n4\n")
    rules = {"kind": "validate", "columns": {"id": "int64!"}, "max_rejects": "25%"}

    job = installation.run(installation.spec("rejects/a.csv", table, transforms=[rules]))

    assert (job["status"], job["error"]["code"]) == ("FAILED", "too-many-rejects")
    assert "2 of 4" in job["error"]["message"]
    assert not installation.exists(table)


def test_a_failed_job_runs_again_when_it_is_retried(installation: Installation) -> None:
    table = new_table()
    job = installation.run(installation.spec("later/*.parquet", table))
    assert job["status"] == "FAILED"
    installation.put_parts("later", [orders(10)])

    installation.api.post(f"/jobs/{job['id']}/retry").raise_for_status()

    assert installation.wait(job["id"])["status"] == "COMPLETED"
    assert installation.query(f"SELECT count(*) FROM {table}") == [(10,)]
    assert installation.api.post(f"/jobs/{job['id']}/retry").status_code == 409
