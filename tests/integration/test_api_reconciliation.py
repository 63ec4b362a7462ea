"""Where the rows of a load went, as the API tells it out of the warehouse."""

import asyncio
import socket
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from dataproc.domain.job import JobId
from dataproc.domain.unit import SourcePlan
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.api_app import Api, problem, started
from tests.warehouses import TABLE, LoadTrial, a_load_id, a_unit, chunks_of, planned, rejects_at

pytestmark = pytest.mark.anyio

ORDERS = pa.table({"id": [1, 2, 3]})
AWAY = "postgresql://nobody@/warehouse?host=/nonexistent"


def settings_for(warehouse_url: str) -> Settings:
    return Settings(warehouse_url=SecretStr(warehouse_url))


@pytest.mark.parametrize("way", ["direct", "staged"])
async def test_a_published_load_tells_where_every_row_went(
    loading_api: Api, warehouse: PostgresWarehouse, way: str
) -> None:
    job = await loading_api.created()
    units = (a_unit("orders-1", 3), a_unit("orders-2"))
    plan = SourcePlan(units, ORDERS.schema)
    [first] = chunks_of("orders-1", ORDERS)
    [second] = chunks_of("orders-2", ORDERS)
    first = first.keep(first.rows.slice(0, 1), filtered=1, rejects=rejects_at(2))
    second = second.keep(second.rows.slice(0, 2), deduplicated=1)
    LoadTrial(warehouse, way, load_id=a_load_id(1, JobId(UUID(job["id"])))).publish(plan, [first, second])

    response = await loading_api.client.get(f"/jobs/{job['id']}/reconciliation")

    told = response.json()
    assert (response.status_code, told["target"], told["load"]) == (200, TABLE, way)
    names = ("announced", "read", "staged", "rejected", "deduplicated", "filtered")
    assert {unit["unit"]: tuple(unit["rows"][name] for name in names) for unit in told["units"]} == {
        "orders-1": (3, 3, 1, 1, 0, 1),
        "orders-2": (None, 3, 2, 0, 1, 0),
    }
    assert tuple(told["rows"][name] for name in names[1:]) == (6, 3, 1, 1, 1)
    assert told["published_at"] >= job["created_at"]


async def test_what_the_source_announced_is_told_when_every_unit_did(
    loading_api: Api, warehouse: PostgresWarehouse
) -> None:
    job = await loading_api.created()
    plan, chunks = planned(ORDERS, ORDERS)
    LoadTrial(warehouse, load_id=a_load_id(1, JobId(UUID(job["id"])))).publish(plan, chunks)

    told = (await loading_api.client.get(f"/jobs/{job['id']}/reconciliation")).json()

    assert (told["rows"]["announced"], told["rows"]["read"]) == (6, 6)


async def test_what_a_load_has_done_to_its_target_is_told(loading_api: Api, warehouse: PostgresWarehouse) -> None:
    job = await loading_api.created()
    terms = {"mode": "merge", "keys": ["id"]}
    LoadTrial(warehouse, terms=terms).run(ORDERS.slice(0, 2))
    LoadTrial(warehouse, load_id=a_load_id(1, JobId(UUID(job["id"]))), terms=terms).run(ORDERS)

    told = (await loading_api.client.get(f"/jobs/{job['id']}/reconciliation")).json()

    assert told["effect"] == {"inserted": 1, "updated": 0, "deleted": 0, "unchanged": 2, "notes": []}


async def test_a_job_that_has_published_nothing_tells_its_status(loading_api: Api) -> None:
    job = await loading_api.created()

    response = await loading_api.client.get(f"/jobs/{job['id']}/reconciliation")

    assert "PENDING and has published nothing" in problem(response, 404, "not-found")["detail"]


@pytest.fixture
def reader_url(warehouse: PostgresWarehouse) -> Iterator[str]:
    """Give the warehouse as a role sees it that may read the two tables that the API asks, and nothing else."""
    role = sql.Identifier(name := f"reader_{uuid4().hex[:12]}")
    with psycopg.connect(warehouse.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA dataproc_load TO {}").format(role))
        tables = sql.SQL("GRANT SELECT ON dataproc_load.load_ledger, dataproc_load.load_unit TO {}")
        conn.execute(tables.format(role))
        try:
            yield make_conninfo(warehouse.url, user=name)
        finally:
            conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
            conn.execute(sql.SQL("DROP ROLE {}").format(role))


async def test_a_role_that_may_only_read_the_ledger_and_its_units_is_enough(
    postgres_store: PostgresStore, warehouse: PostgresWarehouse, reader_url: str
) -> None:
    async with started(postgres_store, settings_for(reader_url)) as api:
        job = await api.created()
        plan, chunks = planned(ORDERS)
        LoadTrial(warehouse, load_id=a_load_id(1, JobId(UUID(job["id"])))).publish(plan, chunks)
        response = await api.client.get(f"/jobs/{job['id']}/reconciliation")

    assert (response.status_code, response.json()["rows"]["staged"]) == (200, 3)


async def test_a_warehouse_that_hangs_keeps_nobody_from_making_jobs(postgres_store: PostgresStore) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/warehouse"
    async with started(postgres_store, settings_for(url)) as api:
        job = await api.created()
        asked = [asyncio.create_task(api.client.get(f"/jobs/{job['id']}/reconciliation")) for _ in range(12)]
        done, _ = await asyncio.wait(asked, timeout=0.5)
        async with asyncio.timeout(8):
            await api.created()
        silent.close()
        replies = await asyncio.gather(*asked)

    assert done == set()
    for reply in replies:
        problem(reply, 503, "warehouse-unavailable")


async def test_without_its_warehouse_the_api_asks_to_come_back_and_still_accepts_jobs(
    postgres_store: PostgresStore,
) -> None:
    async with started(postgres_store, settings_for(AWAY)) as api:
        job = await api.created()
        response = await api.client.get(f"/jobs/{job['id']}/reconciliation")
        unknown = await api.client.get(f"/jobs/{uuid4()}/reconciliation")

    problem(response, 503, "warehouse-unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert "nobody@" not in response.text
    problem(unknown, 404, "not-found")


async def test_an_api_that_knows_no_warehouse_names_the_setting(api: Api) -> None:
    job = await api.created()

    response = await api.client.get(f"/jobs/{job['id']}/reconciliation")

    assert "DATAPROC_WAREHOUSE_URL is not set" in problem(response, 503, "not-ready")["detail"]


async def test_a_warehouse_before_the_migrations_is_not_ready(
    postgres_store: PostgresStore, empty_database_url: str
) -> None:
    async with started(postgres_store, settings_for(empty_database_url)) as api:
        job = await api.created()
        response = await api.client.get(f"/jobs/{job['id']}/reconciliation")

    assert "dataproc migrate" in problem(response, 503, "not-ready")["detail"]
