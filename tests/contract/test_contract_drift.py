"""Laws of drift in a run: the seventh of nine files looks different, in every format, under every contract."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.contract import Contract
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.job import JobId
from dataproc.domain.sources.files import FilesSource
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.fakes.pipeline import FakeEngine
from tests.file_kinds import as_avro, as_json, as_json_lines, as_parquet
from tests.warehouses import ALWAYS_DIRECT, Query

FORMATS = ("parquet", "avro", "csv", "jsonl", "json")
TOLD, SAMPLED = ("parquet", "avro"), ("csv", "jsonl", "json")
"""Formats whose files all tell their columns when a run is planned, and those of which only the first one does."""
NINE = range(1, 10)


def as_csv(rows: pa.Table) -> bytes:
    lines = [rows.column_names, *([str("" if v is None else v) for v in row.values()] for row in rows.to_pylist())]
    return "".join(",".join(line) + "\n" for line in lines).encode()


WRITERS = {"parquet": as_parquet, "avro": as_avro, "csv": as_csv, "jsonl": as_json_lines, "json": as_json}


@dataclass(slots=True)
class Nine:
    """A folder of nine files of two rows each, and a target for them."""

    folder: Path
    warehouse: PostgresWarehouse
    query: Query
    monitor: Monitor = field(default_factory=Monitor)

    def write(self, form: str, seventh: pa.Table | bytes) -> None:
        """Write the files; `seventh` is the one that looks different."""
        for number in NINE:
            usual = pa.table({"id": [number * 10, number * 10 + 1], "x": [number, number]})
            rows = seventh if number == 7 else usual
            data = rows if isinstance(rows, bytes) else WRITERS[form](rows)
            (self.folder / f"{number}.{form}").write_bytes(data)

    def run(self, form: str, contract: object, **more: object) -> Account:
        """Load all files."""
        destination = Destination.model_validate({"table": "sales.orders", "contract": contract, **more})
        spec = FilesSource(kind="files", path=f"*.{form}")
        around = surroundings(files_root=self.folder, contract=destination.terms)
        pipeline = Pipeline(source_for(spec, around), (), destination, (), FakeEngine(), self.warehouse)
        return pipeline.run(LoadId(JobId(uuid4()), 1, uuid4()), self.monitor).account

    def seventh(self) -> list[tuple[Any, ...]]:
        """Return what was loaded of the seventh file."""
        return self.query("SELECT * FROM sales.orders WHERE id BETWEEN 70 AND 79 ORDER BY id")

    def rejects(self) -> list[tuple[Any, ...]]:
        """Return what was set aside: position, rule and column."""
        return self.query("SELECT position, rule, column_name FROM dataproc_load.reject")


@pytest.fixture
def nine(warehouse_url: str, tmp_path: Path) -> Nine:
    warehouse, query = PostgresWarehouse(warehouse_url, ALWAYS_DIRECT), Query(warehouse_url)
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id bigint, x bigint)")
    return Nine(tmp_path, warehouse, query)


# ── a column of another type ─────────────────────────────────────────────────────────────────────


def of_another_type(form: str) -> pa.Table | bytes:
    """Return rows whose first `x` is a number, and whose second is none."""
    if form == "jsonl":
        return b'{"id": 70, "x": 7}\n{"id": 71, "x": "one"}\n'
    if form == "json":
        return b'[{"id": 70, "x": 7}, {"id": 71, "x": "one"}]'
    return pa.table({"id": [70, 71], "x": ["7", "one"]})


@pytest.mark.parametrize("form", FORMATS)
def test_values_of_another_type_are_null_under_discard_value(nine: Nine, form: str) -> None:
    nine.write(form, of_another_type(form))

    account = nine.run(form, "discard_value")

    assert account == Account(18, 18)
    assert (nine.seventh(), nine.rejects()) == ([(70, 7), (71, None)], [])
    [warning] = [text for text in nine.monitor.progress.warnings if text.startswith("column x")]
    assert warning == "column x: 1 values did not fit the target, and the contract left them out"


@pytest.mark.parametrize("form", FORMATS)
def test_rows_with_values_of_another_type_are_set_aside_under_discard_row(nine: Nine, form: str) -> None:
    nine.write(form, of_another_type(form))

    account = nine.run(form, "discard_row")

    assert account == Account(18, 17, 1)
    assert (nine.seventh(), nine.rejects()) == ([(70, 7)], [(1, "contract", "x")])


@pytest.mark.parametrize("form", FORMATS)
def test_values_of_another_type_fail_by_name_under_freeze(nine: Nine, form: str) -> None:
    nine.write(form, of_another_type(form))

    told = rf"7\.{form}.* column 'x' .*int64" if form in TOLD else rf"column x is bigint .*7\.{form}"
    with pytest.raises(ContractViolationError, match=told) as raised:
        nine.run(form, "freeze")

    assert raised.value.context["column"] == "x"
    assert (nine.query.table("sales.orders"), nine.query.count("load_ledger")) == ([], 0)


@pytest.mark.parametrize("contract", ["evolve", {}])
@pytest.mark.parametrize("form", TOLD)
def test_types_that_have_none_in_common_fail_by_name_before_anything_is_read(
    nine: Nine, form: str, contract: object
) -> None:
    nine.write(form, of_another_type(form))

    with pytest.raises(
        ContractViolationError, match=rf"7\.{form}: column 'x' is string, but int64 in the files before"
    ):
        nine.run(form, contract)


@pytest.mark.parametrize("contract", ["evolve", {}])
@pytest.mark.parametrize("form", SAMPLED)
def test_a_value_that_postgresql_cannot_read_as_its_column_is_set_aside(
    nine: Nine, form: str, contract: object
) -> None:
    nine.write(form, of_another_type(form))

    account = nine.run(form, contract)

    assert account == Account(18, 17, 1)
    assert nine.rejects() == [(1, "warehouse", "x")]


@pytest.mark.parametrize("form", TOLD)
def test_a_wider_type_that_the_plan_knows_widens_the_target_under_evolve(nine: Nine, form: str) -> None:
    nine.query("ALTER TABLE sales.orders ALTER x TYPE integer")
    nine.write(form, pa.table({"id": [70, 71], "x": [7.0, 7.5]}))

    nine.run(form, "evolve")

    assert nine.seventh() == [(70, 7.0), (71, 7.5)]
    assert nine.query("SELECT pg_typeof(x)::text FROM sales.orders LIMIT 1") == [("double precision",)]


OBJECTS: dict[str, pa.Table | bytes] = {
    "parquet": pa.table({"id": [70, 71], "x": [None, {"a": 1}]}),
    "jsonl": b'{"id": 70}\n{"id": 71, "x": {"a": 1}}\n',
    "json": b'[{"id": 70}, {"id": 71, "x": {"a": 1}}]',
}


@pytest.mark.parametrize("form", OBJECTS)
@pytest.mark.parametrize(
    ("contract", "left"), [("discard_value", [(70, None), (71, None)]), ("discard_row", [(70, None)])]
)
def test_an_object_in_place_of_a_number_is_what_the_contract_says(
    nine: Nine, form: str, contract: str, left: list[object]
) -> None:
    nine.write(form, OBJECTS[form])

    nine.run(form, contract)

    assert nine.seventh() == left


@pytest.mark.parametrize("form", TOLD)
def test_a_target_of_text_takes_columns_of_all_types(nine: Nine, form: str) -> None:
    nine.query("ALTER TABLE sales.orders ALTER x TYPE text")
    nine.write(form, of_another_type(form))

    nine.run(form, "discard_value")

    assert nine.seventh() == [(70, "7"), (71, "one")]


# ── a column more ────────────────────────────────────────────────────────────────────────────────

MORE = pa.table({"id": [70, 71], "x": [7, 7], "more": ["a", None]})


@pytest.mark.parametrize("form", FORMATS)
def test_a_column_more_is_left_out_under_discard_value(nine: Nine, form: str) -> None:
    nine.write(form, MORE)

    account = nine.run(form, "discard_value")

    assert (account, nine.seventh()) == (Account(18, 18), [(70, 7), (71, 7)])
    assert any(text.startswith("column more: 1 values") for text in nine.monitor.progress.warnings)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_with_a_column_more_are_set_aside_under_discard_row(nine: Nine, form: str) -> None:
    nine.write(form, MORE)

    account = nine.run(form, "discard_row")

    assert (account, nine.seventh()) == (Account(18, 17, 1), [(71, 7)])
    assert nine.rejects() == [(0, "contract", "more")]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("contract", ["freeze", {}])
def test_a_column_more_fails_by_name_under_freeze_and_without_a_contract(
    nine: Nine, form: str, contract: object
) -> None:
    nine.write(form, MORE)

    with pytest.raises(ContractViolationError, match="'more'"):
        nine.run(form, contract)

    assert nine.query.table("sales.orders") == []


@pytest.mark.parametrize("form", TOLD)
def test_a_column_more_that_the_plan_knows_is_added_under_evolve(nine: Nine, form: str) -> None:
    nine.write(form, MORE)

    nine.run(form, "evolve")

    assert nine.seventh() == [(70, 7, "a"), (71, 7, None)]
    assert nine.query("SELECT count(*) FROM sales.orders WHERE more IS NULL") == [(17,)]


@pytest.mark.parametrize("form", SAMPLED)
def test_a_column_more_is_loaded_under_evolve_though_the_first_file_lacks_it(nine: Nine, form: str) -> None:
    nine.write(form, MORE)

    assert nine.run(form, "evolve") == Account(18, 18)

    assert nine.seventh() == [(70, 7, "a"), (71, 7, None)]


@pytest.mark.parametrize("form", SAMPLED)
def test_a_column_more_of_which_nothing_is_known_fails_with_what_to_do(nine: Nine, form: str) -> None:
    nine.write(form, MORE)

    with pytest.raises(ContractViolationError, match=rf"7\.{form}.*'more' is not among .* declare the (column|key)"):
        nine.run(form, {})


# ── a column less ────────────────────────────────────────────────────────────────────────────────

LESS = pa.table({"id": [70, 71]})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("contract", ["evolve", "discard_value", "discard_row", {}])
def test_a_column_less_is_null(nine: Nine, form: str, contract: object) -> None:
    nine.write(form, LESS)

    assert nine.run(form, contract) == Account(18, 18)
    assert nine.seventh() == [(70, None), (71, None)]


@pytest.mark.parametrize("form", ["parquet", "avro", "csv"])
def test_a_column_less_fails_by_its_file_under_freeze(nine: Nine, form: str) -> None:
    nine.write(form, LESS)

    with pytest.raises(ContractViolationError, match=rf"7\.{form}.*'x'"):
        nine.run(form, "freeze")


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_key_less_is_null_under_freeze_too(nine: Nine, form: str) -> None:
    nine.write(form, LESS)

    nine.run(form, "freeze")

    assert nine.seventh() == [(70, None), (71, None)]


@pytest.mark.parametrize("form", FORMATS)
def test_the_contract_of_a_column_holds_where_others_are_frozen(nine: Nine, form: str) -> None:
    nine.write(form, of_another_type(form))

    nine.run(form, Contract(default="freeze", columns={"x": "discard_value"}))

    assert nine.seventh() == [(70, 7), (71, None)]
