"""`plan` and `migrate`, on real files and a real PostgreSQL."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from dataproc.cli.app import app
from dataproc.repositories.migrate import head_revision, revision_of
from dataproc.warehouse.setup import STEPS
from dataproc.warehouse.warehouse import PostgresWarehouse
from jobs import migrate as command
from tests.conftest import DEFAULT_MAJOR, EMPTY, PostgresServers
from tests.s3 import S3Server, s3_server

SPEC = """\
name: orders-daily
source: {kind: files, path: "*.parquet"}
transforms:
  - {kind: clean, rename: {amount: total}, cast: {total: "decimal(12,2)"}}
destination: {table: analytics.orders}
"""
TABLES = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_|^info'"


@pytest.fixture
def warehouse_url(postgres_servers: PostgresServers) -> Iterator[str]:
    with postgres_servers.database(DEFAULT_MAJOR, EMPTY) as url:
        yield url


@pytest.fixture
def spec(tmp_path: Path, warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a job that reads two files of 3 orders each, in an environment where it can be planned."""
    for name in ("a", "b"):
        table = pa.table({"order_id": pa.array([1, 2, 3], pa.int64()), "amount": pa.array([1.0, 2.0, 3.0])})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    monkeypatch.setenv("DATAPROC_FILES_ROOT", str(tmp_path))
    monkeypatch.setenv("DATAPROC_WAREHOUSE_URL", warehouse_url)
    monkeypatch.setenv("DATAPROC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATAPROC_METADATA_URL", raising=False)
    file = tmp_path / "job.yaml"
    file.write_text(SPEC)
    return file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def planned(spec: Path) -> dict[str, Any]:
    done = run("plan", spec, "--json")
    assert done.exit_code == 0, done.stdout
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def relations(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute(TABLES.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_plan_tells_units_rows_schema_and_target(spec: Path) -> None:
    plan = planned(spec)

    assert plan["source"]["rows"] == 6
    assert len(plan["source"]["units"]) == 2
    assert plan["schema"] == [
        {"name": "order_id", "type": "int64"},
        {"name": "total", "type": "decimal128(12, 2)"},
    ]
    assert plan["target"]["exists"] is False
    assert plan["target"]["columns"] == [
        {"name": "order_id", "type": "bigint"},
        {"name": "total", "type": "numeric(12,2)"},
    ]
    assert plan["load"] == "direct"


def test_a_plan_tells_how_a_step_is_done_for_which_that_is_open(spec: Path) -> None:
    rows = "{rows: [{id: 1, name: one}]}"
    step = f"  - {{kind: enrich, from: {rows}, on: {{order_id: id}}, columns: {{name: name}}}}\n"
    assert planned(spec)["choices"] == []

    spec.write_text(SPEC.replace("destination:", f"{step}destination:"))

    (told,) = planned(spec)["choices"]
    assert told.startswith("enrich: the lookup in the job has ")
    assert told.endswith(" bytes, and goes to the workers")
    assert "and goes to the workers" in run("plan", spec).stdout


def test_a_plan_changes_nothing(spec: Path, warehouse_url: str) -> None:
    planned(spec)

    assert relations(warehouse_url) == 0


def test_the_statements_of_a_plan_make_the_target_that_later_plans_find(spec: Path, warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as conn:
        for statement in planned(spec)["target"]["statements"]:
            conn.execute(statement)

    target = planned(spec)["target"]

    assert target["exists"] is True
    assert target["statements"] == []


def test_a_plan_for_people_shows_the_same(spec: Path) -> None:
    shown = run("plan", spec).stdout

    for part in ("6", "analytics.orders, will be made", "direct", "decimal128(12, 2)", "numeric(12,2)"):
        assert part in shown
    assert 'CREATE TABLE "analytics"."orders" ("order_id" bigint, "total" numeric(12,2));' in shown


def test_the_way_follows_the_specification(spec: Path) -> None:
    spec.write_text(SPEC.replace("analytics.orders", "analytics.orders, load: staged"))

    assert planned(spec)["load"] == "staged"


def test_a_target_that_does_not_fit_fails_the_plan(spec: Path, warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as conn:
        conn.execute("CREATE SCHEMA analytics")
        conn.execute("CREATE TABLE analytics.orders (order_id bigint)")

    done = run("plan", spec)

    assert done.exit_code == 1
    assert "analytics.orders has no column" in done.stderr
    assert "total" in done.stderr


def test_a_plan_tells_the_change_that_the_contract_asks_for(spec: Path, warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as conn:
        conn.execute("CREATE SCHEMA analytics")
        conn.execute("CREATE TABLE analytics.orders (order_id date)")
    text = f"{SPEC.partition('destination')[0]}  - {{kind: derive, columns: {{order_id: make_timestamp(order_id)}}}}\n"
    text += "destination: {table: analytics.orders}\n"
    spec.write_text(text.replace("analytics.orders", "analytics.orders, contract: evolve"))

    plan, shown = planned(spec), run("plan", spec).stdout

    assert [change["safe"] for change in plan["target"]["changes"]] == [False, True]
    assert plan["target"]["accepted"] is False
    assert plan["target"]["fingerprint"] in plan["warnings"][-1]
    assert 'ALTER TABLE "analytics"."orders" ADD COLUMN "total" numeric(12,2);' in shown
    assert "days become moments" in shown


def test_a_plan_tells_the_mode_and_what_our_role_may_do(spec: Path) -> None:
    plan = planned(spec)

    assert plan["mode"] == "append"
    assert plan["access"]["permissions"] == [
        {
            "what": "make the schema analytics",
            "granted": True,
            "advice": "GRANT CREATE ON DATABASE to our role",
        },
        {
            "what": "keep the ledger in dataproc_load",
            "granted": False,
            "advice": "run `dataproc migrate`, or GRANT ALL ON the schema and its tables to our role",
        },
    ]
    assert plan["access"]["allowed"] is False
    assert plan["warnings"][0].startswith("our role may not keep the ledger in dataproc_load: run `dataproc migrate`")


def test_a_source_with_nothing_in_it_fails_the_plan(spec: Path) -> None:
    spec.write_text(SPEC.replace("*.parquet", "missing/*.parquet"))

    done = run("plan", spec, "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["code"] == "source-not-found"


def test_a_warehouse_that_does_not_answer_is_code_3(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPROC_WAREHOUSE_URL", "postgresql://nobody@/warehouse?host=/nonexistent")

    assert run("plan", spec).exit_code == 3


def test_a_plan_without_a_warehouse_says_which_setting_is_missing(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPROC_WAREHOUSE_URL")

    done = run("plan", spec)

    assert done.exit_code == 2
    assert "DATAPROC_WAREHOUSE_URL is not set" in done.stderr


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_a_bucket_is_planned_through_the_environment(spec: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.make_bucket("lake")
    s3.client().upload_file(str(spec.with_name("a.parquet")), "lake", "orders/a.parquet")
    spec.write_text(SPEC.replace('files, path: "*.parquet"', 's3, path: "s3://lake/orders/*.parquet"'))

    assert planned(spec)["source"]["rows"] == 3


def test_a_connection_that_is_not_registered_is_refused(
    spec: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPROC_METADATA_URL", database_url)
    spec.write_text(SPEC.replace('files, path: "*.parquet"', 's3, connection: lake, path: "*.parquet"'))

    done = run("plan", spec)

    assert done.exit_code == 4
    assert "lake" in done.stderr


@pytest.fixture
def both_empty(empty_database_url: str, warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("DATAPROC_METADATA_URL", empty_database_url)
    monkeypatch.setenv("DATAPROC_WAREHOUSE_URL", warehouse_url)
    return empty_database_url, warehouse_url


def test_migrate_brings_both_databases_to_the_newest_schema(both_empty: tuple[str, str]) -> None:
    done = run("migrate", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"metadata": head_revision(), "warehouse": len(STEPS)}
    assert revision_of(both_empty[0]) == head_revision()
    assert PostgresWarehouse(both_empty[1], 0).prepare() == len(STEPS)


def test_migrating_again_does_no_harm(both_empty: tuple[str, str]) -> None:
    assert run("migrate").exit_code == 0
    assert run("migrate").exit_code == 0


def test_the_job_migrates_both_databases_too(both_empty: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main() == 0

    said = capsys.readouterr().out
    assert head_revision() in said
    assert f"dataproc_load is at version {len(STEPS)}" in said
    assert relations(both_empty[1]) > 0


@pytest.mark.parametrize("name", ["DATAPROC_METADATA_URL", "DATAPROC_WAREHOUSE_URL"])
def test_the_job_says_which_database_is_not_named(
    both_empty: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.delenv(name)

    assert command.main() == 2

    assert f"{name} is not set" in capsys.readouterr().err
    assert relations(both_empty[0]) == 0


def test_migrate_says_when_a_server_does_not_answer(
    both_empty: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPROC_METADATA_URL", "postgresql://nobody@/dataproc?host=/nonexistent")

    done = run("migrate")

    assert done.exit_code == 3
    assert "the metadata database does not answer" in done.stderr
