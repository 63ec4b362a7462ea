"""Resources of dlt keep to what every source keeps to."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataproc.domain.destination import Destination
from dataproc.domain.errors import BadDataError, InvalidSpecError, SourceNotFoundError
from dataproc.domain.job import JobId
from dataproc.domain.sources.external import DltSource
from dataproc.ports.pipeline import Source
from dataproc.ports.warehouse import LoadId
from dataproc.security.secrets import EnvironmentSecrets
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from tests.builders import surroundings
from tests.contract.conformance import Row, SourceConformance, in_a_worker, read_all, read_late_rows, rows_of
from tests.fakes.pipeline import FakeEngine
from tests.fakes.secrets import FakeSecrets
from tests.fakes.warehouse import FakeMemory, FakeWarehouse

TABLE = "analytics.orders"
MODULE = "tests.dlt_resources"
SECRETS = FakeSecrets({"secret://shop#token": "t0p-s3cret", "secret://old#token": "another"})
ROWS: list[dict[str, Any]] = [{"id": n, "name": f"Zoë {n}", "price": n / 4} for n in range(2500)]


def dlt_source(resource: str, modules: tuple[str, ...] = ("tests",), **fields: Any) -> Source:
    spec = DltSource.model_validate({"kind": "dlt", "resource": f"{MODULE}:{resource}", **fields})
    return source_for(spec, surroundings(secrets=SECRETS, python_modules=modules))


@dataclass(frozen=True)
class Orders:
    """A resource that reads a file."""

    path: Path

    def source(self, shop: str = "shop", **fields: Any) -> Source:
        secrets = {"token": f"secret://{shop}#token"}
        return dlt_source("orders", arguments={"path": str(self.path)}, secrets=secrets, **fields)

    def rows(self) -> Sequence[Row]:
        return [tuple(row.values()) for row in json.loads(self.path.read_text())]

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self.path.write_text(json.dumps(rows))

    def empty(self) -> Source:
        self.write([])
        return self.source()

    def refused(self) -> Source:
        return self.source("old")

    def missing(self) -> Source:
        self.path.unlink()
        return self.source()

    def change(self) -> None:
        """Nothing tells that it changed: a resource of dlt has no versions, and is read as it is then."""

    def away(self) -> Source:
        return dlt_source("unreachable")

    def open_connections(self) -> int:
        return 0


class TestDlt(SourceConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Orders:
        orders = Orders(tmp_path / "orders.json")
        orders.write(ROWS)
        return orders


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    found = Orders(tmp_path / "orders.json")
    found.write(ROWS)
    return found


def test_only_what_is_new_is_read_the_next_time(orders: Orders) -> None:
    source = orders.source(incremental={"cursor": "id"})
    memory = FakeMemory(value="2490", cursor="id")

    plan = source.plan(memory)
    chunks = list(in_a_worker(source, plan.units))

    assert [row[0] for row in rows_of(chunks)] == list(range(2491, 2500))
    assert plan.move is not None
    assert plan.move.moved(chunk.high for chunk in chunks if chunk.high) == "2499"
    assert all(chunk.read == chunk.rows.num_rows + chunk.filtered for chunk in chunks)


def test_the_first_run_begins_where_the_job_says(orders: Orders) -> None:
    source, warehouse = orders.source(incremental={"cursor": "id", "start": 2400}), FakeWarehouse()

    counts = [run(source, warehouse) for _ in range(2)]

    assert counts == [99, 0]
    assert warehouse.memory("orders", TABLE).watermark("id") == "2499"


def run(source: Source, warehouse: FakeWarehouse) -> int:
    """Load a source as the next run of its job does; return how many rows that brought."""
    pipeline = Pipeline(source, (), Destination(table=TABLE), (), FakeEngine(), warehouse)
    return pipeline.run(LoadId(JobId(uuid4()), 1, uuid4(), "orders"), Monitor()).account.loaded


@pytest.mark.parametrize("by_key", [False, True])
def test_rows_that_come_later_with_the_value_of_the_watermark_are_read_once_or_by_key_again(
    orders: Orders, *, by_key: bool
) -> None:
    source, rows = orders.source(incremental={"cursor": "at"}), list[dict[str, Any]]()

    def add(number: int, value: str) -> None:
        rows.append({"n": number, "at": int(value)})
        orders.write(rows)

    assert read_late_rows(source, add, "7", "8", by_key=by_key)


def test_a_row_without_a_cursor_is_set_aside(orders: Orders) -> None:
    orders.write([{"id": 1}, {"id": None}])

    [chunk] = read_all(orders.source(incremental={"cursor": "id"}))[1]

    assert (chunk.rows.num_rows, chunk.rejects["rule"].to_pylist()) == (1, ["cursor"])


def test_values_travel_without_loss_and_one_that_does_not_fit_is_set_aside() -> None:
    _, chunks = read_all(dlt_source("mixed"))
    rows = rows_of(chunks)

    assert rows[0][1:4] == ('{"a": [1, null]}', "[1]", str(2**70))
    assert rows[1][3] == "7"
    assert len(rows) == 1499
    assert [reason for chunk in chunks for reason in chunk.rejects["reason"].to_pylist()] == [
        "row 1500: column 'id' does not fit type int64"
    ]


def test_tables_of_arrow_are_rows_too() -> None:
    assert [row[0] for row in rows_of(read_all(dlt_source("tables"))[1])] == [1, 2]


def test_one_resource_of_a_source_is_selected(orders: Orders) -> None:
    arguments = {"path": str(orders.path)}

    assert len(rows_of(read_all(dlt_source("shop", arguments=arguments, select="orders"))[1])) == len(ROWS)
    with pytest.raises(InvalidSpecError, match="orders, tables"):
        dlt_source("shop", arguments=arguments).plan()


@pytest.mark.parametrize(("resource", "error"), [("broken", "KeyError"), ("exiting", "SystemExit")])
def test_what_fails_in_a_resource_is_told_by_its_name_and_never_with_its_text(resource: str, error: str) -> None:
    with pytest.raises(BadDataError, match=error) as caught:
        read_all(dlt_source(resource))

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("resource", "fields", "told"),
    [
        ("orders", {"modules": ()}, "DATAPROC_PYTHON_MODULES"),
        ("orders", {"modules": ("test",)}, "DATAPROC_PYTHON_MODULES"),
        ("nothing", {}, "nothing that is called 'nothing'"),
        ("not_a_resource", {}, "/source/select"),
        ("BEGINNING", {}, "neither a resource"),
        ("orders", {"arguments": {"colour": "red"}}, "/source/arguments"),
    ],
)
def test_a_resource_that_cannot_be_used_is_refused_by_the_field(resource: str, fields: Any, told: str) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        dlt_source(resource, **fields).plan()


def test_no_secret_is_in_what_travels(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPROC_SECRET_SHOP", json.dumps({"token": "t0p-s3cret"}))
    source = replace(orders.source(), secrets=EnvironmentSecrets())  # type: ignore[type-var]  # a dataclass of ours

    plan = source.plan()

    assert b"t0p-s3cret" not in pickle.dumps((source, plan.units)) + repr((source, plan)).encode()
    assert len(rows_of(read_all(source)[1])) == len(ROWS)


def test_a_file_that_is_gone_is_told(orders: Orders) -> None:
    orders.path.unlink()

    with pytest.raises(SourceNotFoundError):
        orders.source().plan()
