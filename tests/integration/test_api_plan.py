"""`POST /jobs/plan`, on real files and a real PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from dataproc.domain.destination import Destination
from dataproc.domain.errors import SourceUnavailableError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.memory import BLANK, Memory
from dataproc.repositories.store import PostgresStore
from dataproc.services.plan import Planner, PlanService
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.api_app import Api, problem, started
from tests.builders import a_spec
from tests.fakes.store import FakeStore
from tests.waiting import PATIENCE
from tests.warehouses import Query

pytestmark = pytest.mark.anyio

SPEC = {
    "name": "orders-daily",
    "source": {"kind": "files", "path": "*.parquet"},
    "destination": {"table": "sales.orders", "contract": "evolve"},
}
CATALOG = """
SELECT (SELECT string_agg(c::text, '|' ORDER BY c.oid) FROM pg_class c WHERE relkind <> 't'),
       (SELECT string_agg(concat(attrelid, attname, atttypid), '|' ORDER BY attrelid, attnum) FROM pg_attribute)
"""


@pytest.fixture
async def api(warehouse: PostgresWarehouse, tmp_path: Path) -> AsyncIterator[Api]:
    """Give the API with a folder of two files and a warehouse."""
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"id": pa.array([1, 2, 3], pa.int64()), "note": ["a", "b", "c"]}), tmp_path / f"{name}.parquet"
        )
    settings = Settings(warehouse_url=SecretStr(warehouse.url), files_root=tmp_path)
    async with started(FakeStore(), settings) as running:
        yield running


async def planned(api: Api, **fields: object) -> dict[str, Any]:
    response = await api.client.post("/jobs/plan", json=SPEC | fields)
    assert response.status_code == 200, response.text
    return cast("dict[str, Any]", response.json())


async def test_a_plan_tells_what_would_be_read_made_and_loaded(api: Api) -> None:
    plan = await planned(api)

    assert (plan["source"]["units"], plan["source"]["rows"], len(plan["source"]["first_units"])) == (2, 6, 2)
    assert plan["columns"] == [{"name": "id", "type": "int64"}, {"name": "note", "type": "string"}]
    target = plan["target"]
    assert (target["exists"], target["mode"], target["load"]) == (False, "append", "direct")
    assert target["statements"][1] == 'CREATE TABLE "sales"."orders" ("id" bigint, "note" text)'
    assert plan["access"]["allowed"] is True
    assert plan["warnings"] == []


async def test_a_plan_tells_the_change_that_the_contract_asks_for_and_makes_none(api: Api, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id integer)")
    before = query(CATALOG)

    target = (await planned(api))["target"]

    assert [change["statement"] for change in target["changes"]] == [
        'ALTER TABLE "sales"."orders" ALTER COLUMN "id" TYPE bigint',
        'ALTER TABLE "sales"."orders" ADD COLUMN "note" text',
    ]
    assert (target["accepted"], len(target["fingerprint"])) == (True, 16)
    assert query(CATALOG) == before


async def test_an_unsafe_change_is_accepted_by_the_fingerprint_of_its_plan(
    api: Api, query: Query, tmp_path: Path
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id bigint, note date)")
    for name in ("a", "b"):
        pq.write_table(pa.table({"id": [1], "note": pa.array([0], pa.timestamp("us"))}), tmp_path / f"{name}.parquet")

    plan = await planned(api)
    accepting = {**cast("dict[str, str]", SPEC["destination"]), "accept": plan["target"]["fingerprint"]}
    accepted = await planned(api, destination=accepting)

    assert (plan["target"]["accepted"], accepted["target"]["accepted"]) == (False, True)
    assert "needs an unsafe change: write `accept: " in plan["warnings"][0]
    assert accepted["warnings"] == []


async def test_a_plan_tells_how_a_step_is_done_for_which_that_is_open(api: Api, query: Query) -> None:
    query("CREATE SCHEMA ref")
    query("CREATE TABLE ref.notes AS SELECT n::text AS note, n AS number FROM generate_series(1, 1000) AS n")
    step = {"kind": "enrich", "from": {"table": "ref.notes"}, "on": {"note": "note"}, "columns": {"number": "number"}}

    small, large = [await planned(api, transforms=[step | more]) for more in ({}, {"max_bytes": 1000})]

    (told,) = small["choices"]
    assert told.startswith("enrich: the lookup ref.notes has ")
    assert told.endswith(" bytes, and goes to the workers")
    assert "more than 1,000 bytes (`max_bytes`), and is joined in the warehouse" in large["choices"][0]
    assert (small["target"]["load"], large["target"]["load"]) == ("direct", "staged")
    assert (small["warnings"], (await planned(api))["choices"]) == ([], [])


async def test_a_column_that_only_the_contract_knows_is_told(api: Api) -> None:
    contract = {"default": "evolve", "columns": {"ntoe": "freeze"}}

    plan = await planned(api, destination={"table": "sales.orders", "contract": contract})

    assert plan["warnings"] == ["the contract names column ntoe, and no row has it"]


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"source": {"kind": "files", "path": "missing/*.parquet"}}, "/source", "missing"),
        ({"transforms": [{"kind": "clean", "cast": {"gone": "int64"}}]}, "/transforms/0", "gone"),
        ({"destination": {"table": "sales.orders", "contract": "freeze"}}, "/destination", "has no column 'note'"),
        ({"destination": {"table": "pg_catalog.orders"}}, "/destination", "is not for targets"),
    ],
)
async def test_what_would_fail_the_job_is_answered_with_its_place(
    api: Api, query: Query, fields: dict[str, object], pointer: str, detail: str
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id bigint)")

    response = await api.client.post("/jobs/plan", json=SPEC | fields)

    [wrong] = problem(response, 422, "invalid-spec")["errors"]
    assert wrong["pointer"] == pointer
    assert detail in wrong["detail"]


async def test_a_job_with_mistakes_is_refused_before_it_is_planned(api: Api) -> None:
    response = await api.client.post(
        "/jobs/plan", json=SPEC | {"destination": {"table": "sales.orders", "accept": "x"}}
    )

    [wrong] = problem(response, 422, "invalid-spec")["errors"]
    assert wrong["pointer"] == "/destination/accept"


async def test_a_connection_that_is_not_registered_is_not_found(
    postgres_store: PostgresStore, database_url: str, tmp_path: Path
) -> None:
    settings = Settings(metadata_url=SecretStr(database_url), files_root=tmp_path)
    source = {"kind": "s3", "connection": "lake", "path": "*.parquet"}
    async with started(postgres_store, settings) as running:
        response = await running.client.post("/jobs/plan", json=SPEC | {"source": source})

    problem(response, 404, "not-found")


async def test_a_warehouse_that_is_not_named_is_not_ready(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    async with started(FakeStore(), Settings(files_root=tmp_path)) as running:
        response = await running.client.post("/jobs/plan", json=SPEC)

    problem(response, 503, "not-ready")


@dataclass(frozen=True, slots=True)
class Silent:
    """A source that does not answer until it is told to."""

    told: Event

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Wait, and fail."""
        del memory
        assert self.told.wait(PATIENCE)
        raise SourceUnavailableError("too late")

    def read(self, unit: object) -> Any:
        """Read nothing."""
        raise NotImplementedError(unit)


async def test_a_plan_that_takes_too_long_says_so(warehouse: PostgresWarehouse) -> None:
    told = Event()

    async def open_planner(_: object) -> Planner:
        return Planner(Silent(told), (), Destination(table="sales.orders"), warehouse, BLANK)

    with pytest.raises(SourceUnavailableError, match="DATAPROC_PLAN_TIMEOUT"):
        await PlanService(open_planner, timedelta(milliseconds=100)).plan(a_spec())

    told.set()
