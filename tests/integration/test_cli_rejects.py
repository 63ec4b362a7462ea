"""What a job has set aside, on the command line: shown, taken away, replayed."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from dataproc.cli.app import app
from dataproc.domain.job import JobId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.api_app import LEASE
from tests.api_server import api_server
from tests.builders import a_job, a_spec, some_progress
from tests.rejected import orders, set_aside
from tests.warehouses import ALWAYS_DIRECT

CORRECTED = "name: orders-again\ndestination: {table: sales.replayed}\n"


@pytest.fixture
def api(database_url: str, warehouse_url: str) -> Iterator[str]:
    """Give the URL of an API with a warehouse."""
    with api_server(database_url, settings=Settings(warehouse_url=SecretStr(warehouse_url))) as url:
        yield url


@pytest.fixture
def job(database_url: str, warehouse_url: str, api: str) -> JobId:
    """Give a completed job with five rejects."""
    made = a_job(spec=a_spec())

    async def completed() -> None:
        store = PostgresStore.open(database_url, Settings())
        async with store.begin() as tables:
            await tables.jobs.add(made)
            claim = await tables.jobs.claim_one(made.id, "runner-1", lease=LEASE)
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=some_progress(), failure=None)
        await store.close()

    asyncio.run(completed())
    set_aside(PostgresWarehouse(warehouse_url, ALWAYS_DIRECT), orders(*range(5)), job=made.id)
    return made.id


def run(api: str, *words: object) -> Result:
    return CliRunner().invoke(app, ["jobs", *(str(word) for word in words), "--api", api])


def test_rejects_are_shown_page_by_page(api: str, job: JobId) -> None:
    first = run(api, "rejects", job, "--limit", 3, "--json")
    page = json.loads(first.stdout)
    shown = run(api, "rejects", job, "--after", page["next"], "--rule", "ge", "--column", "amount")
    none = run(api, "rejects", job, "--rule", "le")

    assert [each["position"] for each in page["rejects"]] == [0, 1, 2]
    assert [line.split()[2] for line in shown.stdout.splitlines() if "u0" in line] == ["3", "4"]
    assert "column 'amount' is not ge 0" in shown.stdout
    assert "no such rejects" in none.stdout
    assert {first.exit_code, shown.exit_code, none.exit_code} == {0}


def test_counts_are_shown(api: str, job: JobId) -> None:
    shown = run(api, "reject-counts", job)

    assert ["ge", "amount", "5", "0"] in [line.split() for line in shown.stdout.splitlines()]
    assert json.loads(run(api, "reject-counts", job, "--json").stdout)[0]["rejects"] == 5


def test_all_rejects_are_written_as_a_file(api: str, job: JobId) -> None:
    as_csv, as_lines = (run(api, "rejects", job, "--format", name) for name in ("csv", "ndjson"))

    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [row["position"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [json.loads(line)["position"] for line in as_lines.stdout.splitlines()] == [0, 1, 2, 3, 4]


def test_a_file_of_a_job_that_nobody_knows_is_refused(api: str) -> None:
    done = run(api, "rejects", uuid4(), "--format", "csv")

    assert (done.exit_code, done.stdout) == (4, "")


def test_a_replay_is_submitted_as_a_job(api: str, job: JobId, tmp_path: Path) -> None:
    file = tmp_path / "corrected.yaml"
    file.write_text(CORRECTED)

    done = run(api, "replay", job, file, "--rule", "ge", "--key", "again", "--json")
    again = run(api, "replay", job, file, "--rule", "ge", "--key", "again", "--json")
    wrong = run(api, "replay", job, "-", "--json")

    made = json.loads(done.stdout)
    assert JobSpec.model_validate(made["spec"]).source.kind == "rejects"
    assert UUID(made["id"]) == UUID(json.loads(again.stdout)["id"]) != job
    assert wrong.exit_code == 2
