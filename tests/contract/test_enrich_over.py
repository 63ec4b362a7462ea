"""Who joins rows with a lookup, workers or the warehouse: chosen by its size, told, and the same rows either way."""

import asyncio
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from dataproc.bootstrap import open_planner, open_source, open_transforms
from dataproc.domain.errors import LookupTooLargeError
from dataproc.domain.spec import JobSpec
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.services.plan import JobPlan
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.warehouses import a_load_id

FILL = """
CREATE SCHEMA ref;
CREATE TABLE ref.countries (code text, name text);
INSERT INTO ref.countries VALUES ('DE', 'Germany'), ('CH', 'Switzerland'), ('XX', NULL);
INSERT INTO ref.countries SELECT 'X' || n, 'nowhere' FROM generate_series(1, 2000) AS n;
CREATE TABLE ref.capitals (code text, capital text);
INSERT INTO ref.capitals VALUES ('DE', 'Berlin');
"""
BOTH = [(1, "DE", "Germany"), (2, "FR", None), (3, None, None), (4, "XX", None), (5, "DE", "Germany")]
LARGE = {"max_bytes": 1000}


@dataclass(frozen=True, slots=True)
class Shop:
    """Jobs that read a file, and the warehouse that they load."""

    settings: Settings
    url: str
    monitor: Monitor

    def spec(self, *steps: dict[str, Any], **fields: Any) -> JobSpec:
        document = {
            "name": "sales",
            "source": {"kind": "files", "path": "sales.jsonl"},
            "transforms": list(steps),
            "destination": {"table": "shop.sales", "mode": "replace"},
        }
        return JobSpec.model_validate(document | fields)

    def plan(self, *steps: dict[str, Any]) -> JobPlan:
        planner = asyncio.run(open_planner(self.spec(*steps), self.settings))
        return planner.plan()

    def rows(self, *steps: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a job, and return what is in its table then."""
        spec = self.spec(*steps)
        source, transforms = open_source(spec, None, self.settings), open_transforms(spec, {}, self.settings)
        warehouse = PostgresWarehouse(self.url, self.settings.direct_limit)
        Pipeline(source, transforms, spec.destination, (), FakeEngine(), warehouse).run(a_load_id(), self.monitor)
        with psycopg.connect(self.url) as conn:
            return conn.execute("SELECT * FROM shop.sales ORDER BY id").fetchall()


@pytest.fixture
def shop(warehouse_url: str, tmp_path: Path) -> Shop:
    with psycopg.connect(warehouse_url) as conn:
        conn.execute(FILL)
    rows = [{"id": at, "code": code} for at, code in enumerate(["DE", "FR", None, "XX", "DE"], 1)]
    (tmp_path / "sales.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = Settings(warehouse_url=SecretStr(warehouse_url), files_root=tmp_path)
    return Shop(settings, warehouse_url, Monitor())


def enrich(**fields: Any) -> dict[str, Any]:
    document = {"kind": "enrich", "from": {"table": "ref.countries"}, "on": {"code": "code"}, "keep_for": "0s"}
    return document | {"columns": {"name": "name"}} | fields


CAPITALS = enrich(**{"from": {"table": "ref.capitals"}, "columns": {"capital": "capital"}})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["told"] for record in caplog.records if record.getMessage() == "transform settled"]


def test_a_small_lookup_goes_to_the_workers_and_that_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataproc")

    assert shop.rows(enrich()) == BOTH

    (line,) = told(caplog)
    assert line.startswith("enrich: the lookup ref.countries has ")
    assert line.endswith(" bytes, and goes to the workers")
    assert (shop.monitor.progress.load, shop.monitor.progress.warnings) == ("direct", ())


def test_a_large_table_is_joined_in_the_warehouse_and_that_is_noted(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dataproc")

    assert shop.rows(enrich(**LARGE)) == BOTH

    (line,) = told(caplog)
    assert line.startswith("enrich: the lookup ref.countries has about ")
    assert line.endswith(" bytes, more than 1,000 bytes (`max_bytes`), and is joined in the warehouse")
    assert (shop.monitor.progress.load, shop.monitor.progress.warnings) == ("staged", (line,))


@pytest.mark.parametrize("missing", ["null", {"default": {"name": "?"}}])
def test_the_rows_are_the_same_whoever_joins_them(shop: Shop, missing: Any) -> None:
    fields: tuple[dict[str, Any], ...] = ({"over": "batch"}, {"over": "run"}, {}, LARGE)

    first, *others = [shop.rows(enrich(missing=missing, **each)) for each in fields]

    assert others == [first] * 3
    assert [row[:2] for row in first] == [row[:2] for row in BOTH]


def test_a_table_that_is_larger_than_was_estimated_is_joined_in_the_warehouse_as_well(shop: Shop) -> None:
    with psycopg.connect(shop.url) as conn:
        conn.execute("CREATE TABLE ref.texts AS SELECT 'DE' AS code, repeat('x', 5000000) AS text")

    place = {"from": {"table": "ref.texts"}, "columns": {"text": "text"}}
    rows = shop.rows(enrich(**place, max_bytes=1_000_000))

    assert [len(text or "") for _, _, text in rows] == [5_000_000, 0, 0, 0, 5_000_000]
    assert shop.monitor.progress.warnings == (
        "enrich: the lookup ref.texts has more than 1,000,000 bytes (`max_bytes`), and is joined in the warehouse",
    )


def test_of_a_wide_table_only_the_columns_that_are_needed_count(shop: Shop) -> None:
    with psycopg.connect(shop.url) as conn:
        conn.execute(
            "CREATE TABLE ref.wide AS SELECT 'C' || n AS code, n, repeat('x', 1000) AS text "
            "FROM generate_series(1, 3000) AS n"
        )
        conn.execute("ANALYZE ref.wide")

    plan = shop.plan(enrich(**{"from": {"table": "ref.wide"}, "columns": {"n": "n"}, "max_bytes": 200_000}))

    assert "goes to the workers" in plan.choices[0]


def test_a_step_after_one_that_is_done_over_the_run_is_done_there_too(shop: Shop) -> None:
    rows = shop.rows(enrich(**LARGE), CAPITALS)

    assert rows == [(*row, "Berlin" if row[1] == "DE" else None) for row in BOTH]
    assert shop.monitor.progress.warnings[1] == (
        "enrich: the lookup ref.capitals is joined in the warehouse, for a step before it is done there"
    )


def test_a_small_lookup_after_a_query_over_the_run_is_joined_in_the_warehouse(shop: Shop) -> None:
    rows = shop.rows({"kind": "sql", "over": "run", "query": "SELECT * FROM staged WHERE id < 3"}, enrich())

    assert rows == BOTH[:2]


FILE = {"from": {"source": {"kind": "files", "path": "sales.jsonl"}}, "columns": {"n": "id"}, "max_bytes": 3}
OBSTACLES = [
    ([enrich(missing="reject", **LARGE)], 0, "a join over the run sets no rows aside"),
    ([enrich(**LARGE), {"kind": "filter", "where": "id > 0"}], 0, "step 2 comes after it, and is done before all rows"),
    ([enrich(**LARGE), CAPITALS | {"over": "batch"}], 0, "step 2 comes after it"),
    ([CAPITALS, enrich(**FILE)], 1, "only a table of the warehouse is joined there"),
]


@pytest.mark.parametrize(("steps", "at", "why"), OBSTACLES)
def test_a_large_lookup_that_the_warehouse_cannot_join_is_refused_with_the_reason(
    shop: Shop, steps: list[dict[str, Any]], at: int, why: str
) -> None:
    for run in (shop.plan, shop.rows):
        with pytest.raises(LookupTooLargeError, match="cannot be joined in the warehouse") as caught:
            run(*steps)

        assert f"bytes, and cannot be joined in the warehouse: {why}" in str(caught.value)
        assert caught.value.context["pointer"] == f"/transforms/{at}"


def test_what_the_warehouse_cannot_join_goes_to_the_workers_where_it_is_small(shop: Shop) -> None:
    rows = shop.rows(enrich(missing="reject"), {"kind": "filter", "where": "id > 1"})

    assert rows == [(4, "XX", None), (5, "DE", "Germany")]


def test_a_plan_tells_who_joins_and_what_comes_of_it(shop: Shop) -> None:
    small, large = shop.plan(enrich()), shop.plan(enrich(**LARGE))

    assert "goes to the workers" in small.choices[0]
    assert "is joined in the warehouse" in large.choices[0]
    assert (small.target.way, large.target.way) == ("direct", "staged")
    assert small.target.columns == large.target.columns
    assert [shop.plan(enrich(over=over)).choices for over in ("batch", "run")] == [(), ()]
