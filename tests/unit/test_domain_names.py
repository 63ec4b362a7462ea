"""Names that become identifiers of PostgreSQL are limited by their bytes, for PostgreSQL cuts longer ones."""

import json
from typing import Any

import pytest

from dataproc.domain.document import read_spec
from dataproc.domain.errors import ContractViolationError, InvalidSpecError
from dataproc.domain.sources.database import DatabaseSource
from dataproc.sources.database.relation import refuse_long_names

LONG, FITS = "é" * 32, "é" * 31 + "x"
FILES = {"kind": "files", "path": "orders/*.parquet"}


def job(step: dict[str, Any] | None = None, **destination: Any) -> dict[str, Any]:
    """Return a job with a transform, and with options of its destination."""
    whole = {"table": "sales.orders", **destination}
    return {"name": "n", "source": FILES, "transforms": [step] if step else [], "destination": whole}


def lookup(place: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an enrich step."""
    return {"kind": "enrich", "from": place, "on": {"a": "b"}, "columns": {"c": "d"}, **fields}


SOME_TABLE = {"table": "sales.countries"}


def jobs_with(name: str) -> dict[str, dict[str, Any]]:
    """Return jobs in which a name becomes an identifier, by the pointer to it."""
    return {
        "/destination/table": job(table=f"{name}.orders"),
        "/destination/table#table": job(table=f"sales.{name}"),
        "/destination/keys/0": job(mode="merge", keys=[name]),
        "/destination/delete_flag": job(mode="merge", keys=["id"], delete_flag=name),
        "/destination/partition/by/0": job(mode="replace_partition", partition={"by": [name]}),
        "/destination/versions/valid_from": job(mode="scd2", keys=["id"], versions={"valid_from": name}),
        "/destination/versions/effective": job(mode="scd2", keys=["id"], versions={"effective": name}),
        f"/destination/contract/columns/{name}": job(contract={"columns": {name: "evolve"}}),
        "/transforms/0/rename/a": job({"kind": "clean", "rename": {"a": name}}),
        f"/transforms/0/parse_json/a/{name}": job({"kind": "clean", "parse_json": {"a": {name: "$.b"}}}),
        "/transforms/0/split/a/into/0": job({"kind": "clean", "split": {"a": {"by": ",", "into": [name]}}}),
        f"/transforms/0/key/{name}": job({"kind": "clean", "key": {name: ["a"]}}),
        f"/transforms/0/columns/{name}": job({"kind": "derive", "columns": {name: "a + 1"}}),
        "/transforms/0/columns/a/encrypt/blind_index": job(
            {"kind": "mask", "columns": {"a": {"encrypt": {"blind_index": name}}}}
        ),
        f"/transforms/0/returns/{name}": job({"kind": "python", "call": "a.b:c", "returns": {name: "int64"}}),
        "/transforms/0/from/table": job(lookup({"table": f"sales.{name}"})),
        f"/transforms/0/columns/{name}#enrich": job(lookup(SOME_TABLE, columns={name: "d"})),
        "/transforms/0": job(lookup(SOME_TABLE, columns={"c": name})),
        "/transforms/0#on": job(lookup(SOME_TABLE, on={"a": name})),
        f"/transforms/0/missing/default/{name}": job(lookup(SOME_TABLE, missing={"default": {name: 1}})),
    }


@pytest.mark.parametrize("pointer", jobs_with(LONG), ids=str)
def test_a_name_that_postgresql_would_cut_is_refused_where_it_stands(pointer: str) -> None:
    with pytest.raises(InvalidSpecError, match="has 64 bytes in UTF-8, and PostgreSQL cuts names after 63") as raised:
        read_spec(json.dumps(jobs_with(LONG)[pointer]))

    assert [problem.pointer for problem in raised.value.problems] == [pointer.partition("#")[0]]


@pytest.mark.parametrize("pointer", jobs_with(FITS), ids=str)
def test_a_name_of_63_bytes_is_taken(pointer: str) -> None:
    assert read_spec(json.dumps(jobs_with(FITS)[pointer])).name == "n"


def test_a_column_of_files_may_have_a_name_that_is_changed_later() -> None:
    assert read_spec(json.dumps(job({"kind": "clean", "rename": {LONG: "a"}}))).transforms


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("table", {"table": f"public.{LONG}"}),
        ("columns", {"table": "t", "columns": [LONG]}),
        ("as_text", {"table": "t", "as_text": [LONG]}),
        ("split", {"table": "t", "split": {"column": LONG}}),
        ("incremental", {"table": "t", "incremental": {"cursor": LONG}}),
    ],
)
def test_a_source_in_postgresql_is_not_asked_for_a_name_that_it_would_cut(field: str, fields: dict[str, Any]) -> None:
    spec = DatabaseSource.model_validate({"kind": "database", "connection": "crm", **fields})

    with pytest.raises(ContractViolationError, match=f"^{field}: .* has 64 bytes"):
        refuse_long_names(spec)
