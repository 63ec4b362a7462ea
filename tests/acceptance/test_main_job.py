"""From a bucket to the warehouse, through the HTTP API."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow.compute as pc
import pytest

from dataproc.embedded.orders import orders, parts
from tests.acceptance.installation import Installation, new_table
from tests.waiting import PATIENCE

RULES = {
    "kind": "validate",
    "columns": {
        "order_id": "int64!",
        "amount": "decimal(12,2)! >= 0",
        "email": "email?",
        "status": "string in (new, paid, shipped, returned)",
    },
}


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_right_rows_are_loaded_and_wrong_rows_are_set_aside(installation: Installation, way: str) -> None:
    table = new_table()
    installation.put_parts(f"main-{way}", list(parts(20_000, 40, 4)))

    job = installation.run(installation.spec(f"main-{way}/*.parquet", table, load=way, transforms=[RULES]))

    assert job["status"] == "COMPLETED", job["error"]
    assert job["progress"]["load"] == way
    assert job["progress"]["rows_announced"] == job["progress"]["ingesting"]["rows"] == 20_040
    count = f"SELECT count(*), count(DISTINCT order_id), min(order_id), max(order_id), sum(qty) FROM {table}"
    quantities = pc.sum(orders(20_000)["qty"]).as_py()
    assert installation.query(count) == [(20_000, 20_000, 0, 19_999, quantities)]
    assert installation.ledger(job["id"]) == [(20_040, 20_000, 40, way)]
    rejects = "SELECT rule, count(*) FROM dataproc_load.reject WHERE job_id = %s GROUP BY rule ORDER BY rule"
    found = installation.query(rejects, UUID(job["id"]))
    assert found == [("email", 10), ("ge", 10), ("one_of", 10), ("required", 10)]
    assert installation.left_over() == []


def test_a_second_job_appends(installation: Installation) -> None:
    table = new_table()
    installation.put_parts("append", [orders(1_000)])

    for _ in range(2):
        assert installation.run(installation.spec("append/*.parquet", table))["status"] == "COMPLETED"

    assert installation.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(2_000, 1_000)]


def test_text_files_are_loaded_with_their_bad_rows_set_aside(installation: Installation) -> None:
    table = new_table()
    installation.put("text/a.csv", b"id,amount\n1,1.50\n2,many\n3,2.25\n")
    lines = [json.dumps({"id": number, "amount": "3.00"}) for number in (4, 5)]
    installation.put("text/b.jsonl.gz", gzip.compress("\n".join(lines).encode()))
    rules = {"kind": "validate", "columns": {"id": "int64!", "amount": "decimal(9,2)"}}

    first = installation.run(installation.spec("text/*.csv", table, transforms=[rules]))
    second = installation.run(installation.spec("text/*.jsonl.gz", table, transforms=[rules]))

    assert (first["status"], second["status"]) == ("COMPLETED", "COMPLETED"), (first["error"], second["error"])
    assert installation.query(f"SELECT id, amount::text FROM {table} ORDER BY id") == [
        (1, "1.50"), (3, "2.25"), (4, "3.00"), (5, "3.00"),
    ]  # fmt: skip
    reject = "SELECT position, rule, column_name, raw_row FROM dataproc_load.reject WHERE job_id = %s"
    [(position, rule, column, raw)] = installation.query(reject, UUID(first["id"]))
    assert (position, rule, column, json.loads(raw)) == (1, "type", "amount", {"id": "2", "amount": "many"})


def test_a_row_that_the_warehouse_refuses_is_set_aside_and_the_rest_loaded(installation: Installation) -> None:
    table = new_table()
    installation.execute(f"CREATE SCHEMA IF NOT EXISTS acceptance; CREATE TABLE {table} (id bigint, word varchar(3))")
    installation.execute(f"GRANT USAGE, CREATE ON SCHEMA acceptance TO loader; ALTER TABLE {table} OWNER TO loader")
    installation.put("refused/a.csv", b"id,word\n1,one\n2,three\n3,six\n")

    job = installation.run(installation.spec("refused/a.csv", table))

    assert job["status"] == "COMPLETED", job["error"]
    assert job["progress"]["load"] == "staged"
    assert installation.query(f"SELECT id FROM {table} ORDER BY id") == [(1,), (3,)]
    reject = "SELECT position, rule FROM dataproc_load.reject WHERE job_id = %s"
    assert installation.query(reject, UUID(job["id"])) == [(1, "warehouse")]


def test_the_same_idempotency_key_gives_one_job(installation: Installation) -> None:
    table, key = new_table(), str(uuid4())
    installation.put_parts("once", [orders(100)])
    spec = installation.spec("once/*.parquet", table)

    first, second = (installation.submit(spec, Idempotency_Key=key) for _ in range(2))
    other = installation.api.post("/jobs", json=spec | {"name": "other"}, headers={"Idempotency-Key": key})

    assert first["id"] == second["id"]
    assert other.status_code == 422
    assert installation.wait(first["id"])["status"] == "COMPLETED"
    assert installation.query(f"SELECT count(*) FROM {table}") == [(100,)]


def test_a_pipeline_runs_as_a_ray_job_of_its_own(installation: Installation, tmp_path: Path) -> None:
    table = new_table()
    installation.put_parts("own", [orders(500)])
    (tmp_path / "job.yaml").write_text(json.dumps(installation.spec("own/*.parquet", table)))
    ray = [str(Path(sys.executable).with_name("ray")), "job", "submit"]
    address = ["--address", installation.stack.settings.ray_dashboard_url, "--working-dir", str(tmp_path)]

    done = subprocess.run(
        [*ray, *address, "--", "python", "-m", "jobs.run_pipeline", "job.yaml"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={"RAY_AUTH_MODE": "disabled", "PATH": "/bin"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert installation.query(f"SELECT count(*) FROM {table}") == [(500,)]
    newest = installation.api.get("/jobs", params={"limit": 1}).json()["jobs"][0]
    assert (newest["status"], newest["spec"]["destination"]["table"]) == ("COMPLETED", table)
