"""Fuzz tests of the readers of files: any bytes are rows, rejects, or an error that names the file.

`DATAPROC_FUZZ=long` runs each of them for about a minute, with other examples each time; else they are the same ones.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import Chunk, python_rows
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.ports.pipeline import Source
from dataproc.sources.files.isolated import IsolatedReaders
from dataproc.sources.files.source import FileSource
from tests.contract.conformance import read_all
from tests.file_kinds import AVRO_PACK, PACK, avro_file, encoded, some_rows
from tests.mutations import IS_LONG, Change, changed, changes
from tests.places import Folder

INNER = {"type": "record", "name": "inner_type", "fields": [{"name": "x", "type": "boolean"}]}
RECORD = {
    "type": "record", "name": "row", "fields": [
        {"name": "id", "type": ["null", "long"]}, {"name": "name", "type": "string"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
        {"name": "state", "type": {"type": "enum", "name": "state_type", "symbols": ["A", "B"]}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "rates", "type": {"type": "map", "values": "double"}},
        {"name": "digest", "type": {"type": "fixed", "name": "digest_type", "size": 16}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "inner", "type": INNER},
    ],
}  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {
        "id": n,
        "name": 'é "q" \U0001f600',
        "inner": {"a": [1, 2.50, None, True]},
        "rate": 1.5e3,
        "good": True,
        "none": None,
    }
    for n in range(30)
]


def avro_records() -> list[dict[str, Any]]:
    return [
        {
            "id": n, "name": "é", "price": Decimal("1.25"), "state": "A", "key": UUID(int=n), "tags": ["a", None],
            "rates": {"k": 1.0}, "digest": bytes(16), "at": n, "day": n, "inner": {"x": True},
        }
        for n in range(30)
    ]  # fmt: skip


def csv_file() -> bytes:
    lines = (f'{n},é{n},2026-01-0{n % 9 + 1},2026-01-01 00:00:0{n % 9},true,{n}.5,"a ""q""\nb"\n' for n in range(30))
    return f"id,name,day,at,good,price,note\n{''.join(lines)}".encode()


TEXTS: Mapping[str, Callable[[], bytes]] = {
    "csv": csv_file,
    "json": lambda: json.dumps(ROWS).encode(),
    "jsonl": lambda: "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS).encode(),
}
EXAMPLES = {"csv": 2000, "json": 4000, "jsonl": 4000}
SHORT = 150


def chunks_or_message(source: Source) -> tuple[list[Chunk], str]:
    """Return the chunks of a source, or the message of the error that names a file."""
    try:
        plan, chunks = read_all(source)
    except (BadDataError, ContractViolationError) as exc:
        return [], str(exc)
    return chunks, plan.units[0].uri


def demand_rows_or_a_named_error(folder: Path, name: str, data: bytes, on_bad_file: str = "fail") -> None:
    place = Folder(folder)
    place.put(name, data)
    chunks, message = chunks_or_message(place.source(name, on_bad_file=on_bad_file))
    assert name in message
    assert message.isprintable()
    for chunk in chunks:
        chunk.rows.validate(full=True)
        python_rows(chunk.rows)


@pytest.mark.parametrize("kind", TEXTS)
def test_any_text_is_rows_or_an_error_that_names_the_file(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    folder, whole = tmp_path_factory.mktemp(kind), TEXTS[kind]()

    @settings(max_examples=EXAMPLES[kind] if IS_LONG else SHORT, derandomize=not IS_LONG)
    @given(changes(), st.sampled_from(("fail", "skip")))
    def check(found: list[Change], on_bad_file: str) -> None:
        demand_rows_or_a_named_error(folder, f"a.{kind}", changed(whole, found), on_bad_file=on_bad_file)

    check()


@pytest.mark.parametrize("codec", AVRO_PACK)
def test_any_avro_is_rows_or_an_error_that_names_the_file(tmp_path_factory: pytest.TempPathFactory, codec: str) -> None:
    folder, whole = tmp_path_factory.mktemp("avro"), avro_file(RECORD, avro_records(), codec, each=10)

    @settings(max_examples=700 if IS_LONG else SHORT // 5, derandomize=not IS_LONG)
    @given(changes(), st.sampled_from(("fail", "skip")))
    def check(found: list[Change], on_bad_file: str) -> None:
        demand_rows_or_a_named_error(folder, "a.avro", changed(whole, found), on_bad_file=on_bad_file)

    check()


def test_any_parquet_is_rows_or_an_error_that_names_the_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, whole = tmp_path_factory.mktemp("parquet"), encoded(some_rows(0, 50), "parquet")
    place = Folder(folder)

    @settings(max_examples=1500 if IS_LONG else SHORT // 5, derandomize=not IS_LONG)
    @given(changes())
    def check(found: list[Change]) -> None:
        # Arrow ends its process for some damaged files, so both the plan and the read are those of another one.
        place.put("a.parquet", changed(whole, found))
        source = place.source("a.parquet")
        assert isinstance(source, FileSource)
        message = isolated_message(replace(source, readers=IsolatedReaders()))
        assert "a.parquet" in message
        assert message.isprintable()

    check()


def isolated_message(source: FileSource) -> str:
    """Return the name of the file if its rows are valid, else the message of the error; another process reads it."""
    try:
        plan = source.plan()
        for unit in plan.units:
            for chunk in source.read(replace(unit, isolated=True)):
                chunk.rows.validate(full=True)
    except (BadDataError, ContractViolationError) as exc:
        return str(exc)
    return plan.units[0].uri


@pytest.mark.parametrize("packing", [packing for packing in PACK if packing])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_any_packed_file_is_rows_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, kind: str, packing: str
) -> None:
    folder, whole = tmp_path_factory.mktemp("packed"), TEXTS[kind]()

    @settings(max_examples=400 if IS_LONG else SHORT // 5, derandomize=not IS_LONG)
    @given(changes(), st.one_of(st.just([]), changes()))
    def check(packed: list[Change], text: list[Change]) -> None:
        data = changed(PACK[packing](changed(whole, text)), packed)
        demand_rows_or_a_named_error(folder, f"a.{kind}.{packing}", data)

    check()
