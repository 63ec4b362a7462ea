"""Lookups from where they really are: the warehouse, files, registered databases, and Redis in between."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import redis

from dataproc.domain.errors import (
    ContractViolationError,
    DataprocError,
    SetupError,
    SourceNotFoundError,
)
from dataproc.domain.transforms.enrich import EnrichTransform, LookupTable
from dataproc.ports.pipeline import Transform
from dataproc.sources.lookups import SourceLookups
from dataproc.transforms.enrich_cache import CachedLookups, Shelf
from dataproc.transforms.factory import transform_for
from tests.builders import a_connection, around_transforms, surroundings
from tests.processes import reserved_port, server_process
from tests.steps import a_chunk, applied, columns, schema_of
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)
PLACE = LookupTable(table="ref.countries")


@pytest.fixture
def warehouse_url(empty_database_url: str) -> str:
    """Return a warehouse with a table of countries."""
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("CREATE SCHEMA ref")
        conn.execute(
            'CREATE TABLE ref.countries (code text, name text, rate numeric(6,3), since timestamptz, "odd ""name" int)'
        )
        conn.execute(
            "INSERT INTO ref.countries VALUES ('DE', 'Germany', 19.000, '2007-01-01Z', 1), ('CH', NULL, 8.1, NULL, 2)"
        )
    return empty_database_url


def enrich(lookups: Any, **fields: Any) -> Transform:
    document = {"kind": "enrich", "from": {"table": PLACE.table}, "on": {"c": "code"}, "columns": {"rate": "rate"}}
    return transform_for(EnrichTransform.model_validate(document | fields), around_transforms(lookups=lookups))


def of_warehouse(url: str | None) -> SourceLookups:
    return SourceLookups(surroundings(), url)


def test_a_table_of_the_warehouse_is_joined_with_its_own_types(warehouse_url: str) -> None:
    step = enrich(of_warehouse(warehouse_url), columns={"rate": "rate", "land": "name", "n": 'odd "name'})

    after = applied(step, a_chunk(c=["CH", "FR", "DE"]))

    assert columns(after) == {
        "c": ["CH", "FR", "DE"],
        "rate": [Decimal("8.100"), None, Decimal("19.000")],
        "land": [None, None, "Germany"],
        "n": [2, None, 1],
    }


def test_a_view_is_a_table_as_well(warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as conn:
        conn.execute("CREATE VIEW ref.lands AS SELECT code, lower(name) AS name FROM ref.countries")

    step = enrich(of_warehouse(warehouse_url), **{"from": {"table": "ref.lands"}, "columns": {"land": "name"}})

    assert columns(applied(step, a_chunk(c=["DE"])))["land"] == ["germany"]


def test_a_key_that_the_lookup_has_twice_is_refused_by_name(warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as conn:
        conn.execute("INSERT INTO ref.countries (code) VALUES ('CH')")

    with pytest.raises(ContractViolationError, match=r"2 rows of the lookup share their key \('code'\)"):
        enrich(of_warehouse(warehouse_url)).schema(schema_of(a_chunk(c=["DE"])))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"from": {"table": "ref.none"}}, SourceNotFoundError, "none"),
        ({"columns": {"x": "none"}}, DataprocError, "none"),
        ({"max_bytes": 20}, ContractViolationError, "more than 20 bytes; raise `max_bytes`"),
    ],
)
def test_a_lookup_that_cannot_be_read_is_told_by_name(
    warehouse_url: str, fields: dict[str, Any], error: type[DataprocError], message: str
) -> None:
    with pytest.raises(error, match=message):
        enrich(of_warehouse(warehouse_url), **fields).schema(schema_of(a_chunk(c=["DE"])))


def test_without_a_warehouse_there_is_no_table_to_look_up() -> None:
    with pytest.raises(SetupError, match="DATAPROC_WAREHOUSE_URL"):
        enrich(of_warehouse(None)).schema(schema_of(a_chunk(c=["DE"])))


def test_a_file_is_joined(tmp_path: Path) -> None:
    (tmp_path / "countries.csv").write_text("code,rate\nDE,19.0\nCH,8.1\n")
    lookups = SourceLookups(surroundings(files_root=tmp_path))

    step = enrich(lookups, **{"from": {"source": {"kind": "files", "path": "countries.csv"}}})

    assert columns(applied(step, a_chunk(c=["CH", "FR"])))["rate"] == [Decimal("8.1"), None]


def test_a_table_of_a_registered_database_is_joined(warehouse_url: str) -> None:
    told = psycopg.conninfo.conninfo_to_dict(warehouse_url)
    config = {"host": told["host"], "database": told["dbname"], "user": told.get("user", "postgres")}
    known = {"erp": a_connection(name="erp", kind="postgresql", config=config)}
    source = {
        "kind": "database",
        "connection": "erp",
        "query": "SELECT code, (rate * 2)::numeric(7,3) AS rate FROM ref.countries",
    }

    step = enrich(SourceLookups(surroundings(), None, known), **{"from": {"source": source}})

    assert columns(applied(step, a_chunk(c=["CH"])))["rate"] == [Decimal("16.2")]


def test_what_was_read_stays_the_same_for_a_run_and_is_new_for_one_that_keeps_nothing(warehouse_url: str) -> None:
    cached = CachedLookups(of_warehouse(warehouse_url), shelf=Shelf())
    first, chunk = enrich(cached), a_chunk(c=["DE"])
    before = columns(applied(first, chunk))

    with psycopg.connect(warehouse_url) as conn:
        conn.execute("UPDATE ref.countries SET rate = 20")

    assert columns(applied(first, chunk)) == before
    assert columns(applied(enrich(cached), chunk)) == before
    assert columns(applied(enrich(cached, keep_for="0s"), chunk))["rate"] == [Decimal("20.000")]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a real Redis."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    folder = str(tmp_path_factory.mktemp("redis"))

    def words(port: int) -> list[str]:
        return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]

    with server_process(words) as port:
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: answers(url))
        yield url


def answers(url: str) -> bool:
    """Whether a Redis is up."""
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_what_one_process_has_read_another_one_has_from_redis_for_as_long_as_it_may_be(
    warehouse_url: str, redis_url: str
) -> None:
    lookups, columns_read = of_warehouse(warehouse_url), ("code", "rate", "since")
    one, other = (CachedLookups(lookups, warehouse_url, redis_url, Shelf()) for _ in range(2))
    found = one.read(PLACE, columns_read, 10_000, MINUTE)

    with psycopg.connect(warehouse_url) as conn:
        conn.execute("DELETE FROM ref.countries")

    assert other.read(PLACE, columns_read, 10_000, MINUTE) == found
    assert other.read(PLACE, columns_read, 10_000, 2 * MINUTE).num_rows == 0
    assert (
        CachedLookups(lookups, "elsewhere", redis_url, Shelf()).read(PLACE, columns_read, 10_000, MINUTE).num_rows == 0
    )
    with redis.Redis.from_url(redis_url) as client:
        assert all(0 < ttl <= 120 for ttl in map(client.ttl, client.scan_iter("dataproc:lookup:*")))


def test_a_redis_that_does_not_answer_or_holds_rubbish_fails_no_job(
    warehouse_url: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with reserved_port() as port:
        away = CachedLookups(of_warehouse(warehouse_url), "", f"redis://127.0.0.1:{port}/0", Shelf())
        assert away.read(PLACE, ("code",), 10_000, MINUTE).num_rows == 2
    assert [record.getMessage() for record in caplog.records] == [
        "lookup not had from redis", "lookup not put into redis"
    ]  # fmt: skip

    here = CachedLookups(of_warehouse(warehouse_url), "rubbish", redis_url, Shelf())
    found = here.read(PLACE, ("code",), 10_000, MINUTE)
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("dataproc:lookup:*"):
            client.set(key, b"rubbish")
    again = CachedLookups(of_warehouse(warehouse_url), "rubbish", redis_url, Shelf())

    assert again.read(PLACE, ("code",), 10_000, MINUTE) == found
    assert isinstance(found, pa.Table)
