"""What a job has set aside, as the API shows it, gives it away, and lets it be replayed."""

import csv
import io
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from pydantic import SecretStr

from dataproc.domain.job import JobId
from dataproc.domain.status import RunStatus
from dataproc.repositories.store import PostgresStore
from dataproc.security.ciphers import DataKeyCipher
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from serve_app.routes.rejects import wanted
from tests.api_app import Api, errors, problem, started
from tests.fakes.secrets import FakeSecrets
from tests.rejected import orders, rejected, replayed, set_aside

pytestmark = pytest.mark.anyio

AWAY = "postgresql://nobody@/warehouse?host=/nonexistent"
CORRECTED = """
name: orders-again
transforms: [{kind: clean, trim: true}]
destination: {table: sales.replayed}
"""


@pytest.fixture
async def paging_api(postgres_store: PostgresStore, warehouse: PostgresWarehouse) -> AsyncIterator[Api]:
    """Give the API with that warehouse, which holds two rejects at once."""
    settings = Settings(warehouse_url=SecretStr(warehouse.url))
    async with started(postgres_store, settings, rejects_at_once=2) as running:
        yield running


async def a_job_with(
    api: Api, warehouse: PostgresWarehouse, rows: pa.Table, *rules: str, **fields: Any
) -> dict[str, Any]:
    """Create a job, and let it end with all rows set aside."""
    job = await api.created(**fields)
    set_aside(warehouse, rows, *rules, job=JobId(UUID(job["id"])))
    await api.ended(job, RunStatus.COMPLETED)
    return job


async def test_rejects_are_listed_page_by_page_with_their_reasons(
    loading_api: Api, warehouse: PostgresWarehouse
) -> None:
    job = await a_job_with(loading_api, warehouse, orders(1, 2), "ge", "le")
    path = f"/jobs/{job['id']}/rejects"

    first = (await loading_api.client.get(path, params={"limit": 3})).json()
    second = (await loading_api.client.get(path, params={"limit": 3, "after": first["next"]})).json()
    of_rule = (await loading_api.client.get(path, params={"rule": "le", "column": "amount"})).json()

    assert [each["rule"] for each in first["rejects"] + second["rejects"]] == ["ge", "le", "ge", "le"]
    assert second["next"] is None
    assert [each["position"] for each in of_rule["rejects"]] == [0, 1]
    told = first["rejects"][0]
    assert json.loads(told.pop("row")) == {"id": 1, "amount": "-1.50"}
    assert (told["reason"], told["code"], told["attempt"], told["whole"]) == (
        "column 'amount' is not ge 0",
        "ge",
        1,
        True,
    )


async def test_counts_tell_how_often_each_rule_was_broken(loading_api: Api, warehouse: PostgresWarehouse) -> None:
    job = await a_job_with(loading_api, warehouse, orders(1, 2))
    replayed(warehouse, rejected(warehouse.url, UUID(job["id"])))

    response = await loading_api.client.get(f"/jobs/{job['id']}/rejects/counts")

    assert response.json() == [{"rule": "ge", "column": "amount", "rejects": 2, "replayed": 2}]


@pytest.mark.parametrize("how", [{"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}])
async def test_all_rejects_are_given_as_csv_that_no_spreadsheet_computes(
    paging_api: Api, warehouse: PostgresWarehouse, how: dict[str, Any]
) -> None:
    job = await a_job_with(paging_api, warehouse, orders(*range(5)), "=cmd|'/c calc'!A0")

    response = await paging_api.client.get(f"/jobs/{job['id']}/rejects", **how)

    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"] == f'attachment; filename="rejects-{job["id"]}.csv"'
    assert [row["position"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["rule"] for row in rows} == {"'=cmd|'/c calc'!A0"}
    assert json.loads(rows[3]["row"]) == {"id": 3, "amount": "-3.50"}


@pytest.mark.parametrize("how", [{"headers": {"Accept": "application/x-ndjson"}}, {"params": {"format": "ndjson"}}])
async def test_all_rejects_are_given_as_lines_of_json(
    paging_api: Api, warehouse: PostgresWarehouse, how: dict[str, Any]
) -> None:
    job = await a_job_with(paging_api, warehouse, orders(*range(5)))

    response = await paging_api.client.get(f"/jobs/{job['id']}/rejects", **how)

    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["position"] for line in response.text.splitlines()] == [0, 1, 2, 3, 4]


async def test_a_job_that_set_nothing_aside_gives_a_file_with_a_head_and_no_line(
    loading_api: Api, warehouse: PostgresWarehouse
) -> None:
    job = await a_job_with(loading_api, warehouse, orders())

    response = await loading_api.client.get(f"/jobs/{job['id']}/rejects", params={"format": "csv"})

    assert response.text.count("\n") == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", None),
        ("application/json, text/csv", None),
        ("text/csv;q=0.9, application/json", "text/csv"),
        ("text/html, Application/X-NDJSON", "application/x-ndjson"),
    ],
)
async def test_the_first_kind_that_is_known_is_given(accept: str, kind: str | None) -> None:
    assert wanted(accept) == kind


async def test_a_job_that_is_not_completed_has_no_rejects_yet(loading_api: Api) -> None:
    job = await loading_api.created()

    for path in ("rejects", "rejects/counts", "rejects?format=csv"):
        response = await loading_api.client.get(f"/jobs/{job['id']}/{path}")
        assert "is PENDING" in problem(response, 404, "not-found")["detail"]
    problem(await loading_api.client.get(f"/jobs/{uuid4()}/rejects"), 404, "not-found")
    refused = await loading_api.client.post(f"/jobs/{job['id']}/rejects/replay", content=CORRECTED)
    problem(refused, 409, "illegal-move")


async def test_without_its_warehouse_the_api_asks_to_come_back(postgres_store: PostgresStore) -> None:
    async with started(postgres_store, Settings(warehouse_url=SecretStr(AWAY))) as api:
        job = await api.created()
        await api.ended(job, RunStatus.COMPLETED)
        replies = [await api.client.get(f"/jobs/{job['id']}/{path}") for path in ("rejects", "rejects?format=csv")]

    for reply in replies:
        problem(reply, 503, "warehouse-unavailable")
        assert "nobody@" not in reply.text


async def test_an_api_that_knows_no_warehouse_is_not_ready(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.COMPLETED)

    response = await api.client.get(f"/jobs/{job['id']}/rejects/counts")

    assert "DATAPROC_WAREHOUSE_URL is not set" in problem(response, 503, "not-ready")["detail"]


async def test_a_replay_is_a_new_job_whose_source_is_what_was_set_aside(loading_api: Api) -> None:
    source = {"kind": "files", "path": "orders/*.parquet", "personal": True}
    job = await loading_api.created(source=source)
    await loading_api.ended(job, RunStatus.COMPLETED)

    response = await loading_api.client.post(
        f"/jobs/{job['id']}/rejects/replay", content=CORRECTED, params={"rule": "ge", "column": "amount"}
    )

    made = response.json()
    assert (response.status_code, response.headers["location"]) == (202, f"/jobs/{made['id']}")
    assert response.headers["etag"] == '"0-pending"'
    assert made["id"] != job["id"]
    assert (made["name"], made["status"]) == ("orders-again", "PENDING")
    told = {"kind": "rejects", "job": job["id"], "rule": "ge", "column": "amount", "personal": True}
    assert made["spec"]["source"] == told
    assert made["spec"]["transforms"][0]["kind"] == "clean"


async def test_personal_rows_are_shown_encrypted_only(loading_api: Api, warehouse: PostgresWarehouse) -> None:
    key = "secret://dataproc#key"
    cipher = DataKeyCipher((key,), FakeSecrets({key: b64encode(bytes(32)).decode()}))
    job = await a_job_with(loading_api, warehouse.hiding(cipher, personal=True), orders(7))
    path = f"/jobs/{job['id']}/rejects"

    [told] = (await loading_api.client.get(path)).json()["rejects"]
    file = (await loading_api.client.get(path, params={"format": "csv"})).text

    assert (told["encrypted"], told["row"][:4]) == (True, "dp1:")
    assert "-7.50" not in json.dumps(told) + file


async def test_the_same_key_gives_the_same_replay_and_for_other_rows_is_refused(loading_api: Api) -> None:
    job = await loading_api.created()
    await loading_api.ended(job, RunStatus.COMPLETED)
    path, headers = f"/jobs/{job['id']}/rejects/replay", {"Idempotency-Key": "again-1"}

    one, two = [await loading_api.client.post(path, content=CORRECTED, headers=headers) for _ in range(2)]
    other = await loading_api.client.post(path, content=CORRECTED, headers=headers, params={"rule": "ge"})

    assert one.json()["id"] == two.json()["id"]
    problem(other, 422, "idempotency")


async def test_mistakes_in_a_replay_are_told_with_their_places(loading_api: Api) -> None:
    job = await loading_api.created()
    await loading_api.ended(job, RunStatus.COMPLETED)
    path = f"/jobs/{job['id']}/rejects/replay"

    wrong = errors(await loading_api.client.post(path, content=CORRECTED.replace("kind: clean", "kind: cleen")))
    named = errors(await loading_api.client.post(path, content=CORRECTED + "source: {kind: files, path: a.csv}"))
    empty = await loading_api.client.post(path, content="[]")

    assert wrong["/transforms/0/kind"]["line"] == 3
    assert (named["/source"]["line"], "leave it out" in named["/source"]["detail"]) == (5, True)
    problem(empty, 422, "invalid-spec")
