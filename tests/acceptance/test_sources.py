"""From every kind of source to the warehouse, by the API and Ray: all rows once, and then only what is new."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dataproc.embedded.orders import orders
from tests.acceptance.installation import Installation, new_table
from tests.rest_api import Call, Reply, rest_api

TOKEN = "t0p-s3cret"
PAGE = 100
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def counts(installation: Installation, table: str) -> list[tuple[Any, ...]]:
    """Return how many rows a table has, and how many of them differ."""
    return installation.query(f"SELECT count(*), count(DISTINCT id) FROM {table}")


def completed(installation: Installation, source: dict[str, Any], table: str) -> dict[str, Any]:
    """Run a job, which must be completed."""
    spec = {"name": f"sources-{source['kind']}", "source": source, "destination": {"table": table}}
    job = installation.run(spec)
    assert job["status"] == "COMPLETED", job["error"]
    return job


def test_a_table_is_read_in_pieces_on_one_snapshot_and_then_only_what_is_new(installation: Installation) -> None:
    table = new_table()
    installation.execute("CREATE SCHEMA shop")
    installation.execute(
        "CREATE TABLE shop.orders AS SELECT n AS id, n % 97 AS customer, (n / 4.0)::numeric(12,2) AS amount "
        "FROM generate_series(1, 50000) AS n"
    )
    installation.execute("ALTER TABLE shop.orders ADD PRIMARY KEY (id)")
    installation.execute("ANALYZE shop.orders")
    where = urlsplit(installation.warehouse_url)
    config = {"host": parse_qs(where.query)["host"][0], "database": where.path.lstrip("/"), "user": "postgres"}
    installation.api.put("/sources/shop", json={"kind": "postgresql", "config": config}).raise_for_status()

    tested = installation.api.post("/sources/shop/test").json()
    found = {each["name"] for each in installation.api.get("/sources/shop/discover").json()}
    source = {"kind": "database", "connection": "shop", "table": "shop.orders", "incremental": {"cursor": "id"}}
    first = completed(installation, source | {"split": {"column": "id", "units": 4}}, table)
    installation.execute("INSERT INTO shop.orders SELECT n, 1, 1 FROM generate_series(50001, 50100) AS n")
    second = completed(installation, source, table)

    assert tested["works"], tested
    assert "shop.orders" in found
    assert first["progress"]["units_planned"] >= 4
    assert (first["progress"]["loading"]["rows"], second["progress"]["loading"]["rows"]) == (50_000, 100)
    assert counts(installation, table) == [(50_100, 50_100)]
    proof = installation.api.get(f"/jobs/{second['id']}/reconciliation").json()
    assert proof["window"] == {"cursor": "id", "after": "50000", "up_to": "50100"}


def contact(number: int) -> dict[str, Any]:
    """Return a record of the API."""
    return {"id": number, "name": f"Zoë {number}", "changed_at": (BEGINNING + timedelta(minutes=number)).isoformat()}


def test_an_api_is_read_page_by_page_with_a_secret_and_then_only_what_is_new(installation: Installation) -> None:
    table, records = new_table(), [contact(n) for n in range(1, 951)]

    def page(call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply({"error": "who are you?"}, 401)
        number = int(call.query.get("page", "1"))
        found = records[(number - 1) * PAGE : number * PAGE]
        return Reply({"total": len(records), "data": found})

    with rest_api() as api:
        api.routes["/contacts"] = page
        auth = {"kind": "bearer", "token": "secret://acceptance#token"}
        config = {"base_url": api.url, "auth": auth, "allow_private": True}
        installation.api.put("/sources/crm", json={"kind": "rest", "config": config}).raise_for_status()
        source = {
            "kind": "rest",
            "connection": "crm",
            "path": "/contacts",
            "records": "$.data[*]",
            "paging": {"kind": "page", "size": PAGE, "total": {"path": "$.total"}},
            "unit_pages": 3,
            "incremental": {"cursor": "changed_at"},
        }
        first = completed(installation, source, table)
        records += [contact(n) for n in range(951, 1001)]
        second = completed(installation, source, table)

    assert first["progress"]["units_planned"] > 1
    assert (first["progress"]["loading"]["rows"], second["progress"]["loading"]["rows"]) == (950, 50)
    assert counts(installation, table) == [(1000, 1000)]


def test_an_object_is_loaded_once_and_a_late_one_the_next_time(installation: Installation) -> None:
    table = new_table()
    source = {"kind": "s3", "connection": "lake", "path": "tracked/**/*.parquet", "track": "objects"}
    rows = orders(3_000).rename_columns(["id", *orders(1).column_names[1:]])

    installation.put_parts("tracked/b", [rows.slice(0, 1_000), rows.slice(1_000, 1_000)])
    first = completed(installation, source, table)
    installation.put_parts("tracked/a", [rows.slice(2_000, 1_000)])
    second = completed(installation, source, table)
    third = completed(installation, source, table)

    loaded = [job["progress"]["loading"]["rows"] for job in (first, second, third)]
    assert loaded == [2_000, 1_000, 0]
    assert counts(installation, table) == [(3_000, 3_000)]


def test_a_resource_of_dlt_is_loaded(installation: Installation) -> None:
    table = new_table()

    job = completed(installation, {"kind": "dlt", "resource": "tests.dlt_resources:tables"}, table)

    assert job["progress"]["loading"]["rows"] == 2
    assert counts(installation, table) == [(2, 2)]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"kind": "dlt", "resource": "os:system"}, "invalid-spec"),
        ({"kind": "plugin", "plugin": "nobody-has-it"}, "invalid-spec"),
    ],
)
def test_code_that_the_installation_does_not_allow_is_not_run(
    installation: Installation, source: dict[str, Any], code: str
) -> None:
    spec = {"name": "refused", "source": source, "destination": {"table": new_table()}}

    job = installation.run(spec)

    assert (job["status"], job["error"]["code"], job["attempt"]) == ("FAILED", code, 1)
