"""Types told from the characters of values: the table of the documentation, and laws of joining."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import SourceColumns, TargetColumn
from dataproc.domain.sources.files import FilesSource
from dataproc.ports.memory import Blank
from dataproc.sources.factory import source_for
from dataproc.sources.files.lines import SAMPLE
from dataproc.sources.inference import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    JSON,
    NULL,
    TEXT,
    TIMESTAMP,
    Sample,
    joined,
    kinds_of,
    number_kind,
    numeric,
)
from tests.builders import surroundings
from tests.places import Folder

PAGE = Path(__file__).parents[2] / "docs/sources/files.md"
ROW = re.compile(r"^\| (CSV, JSON|CSV|JSON) \| (.+) \| `([^`]+)` \|$", re.MULTILINE)
EXAMPLES = [
    (form, re.findall(r"`([^`]+)`", cells), sql_type)
    for forms, cells, sql_type in ROW.findall(PAGE.read_text(encoding="utf-8"))
    for form in forms.split(", ")
]
NAMES = {
    "int64": "bigint", "double": "double precision", "string": "text", "bool": "boolean", "date32[day]": "date",
    "time64[us]": "time without time zone", "timestamp[us]": "timestamp without time zone",
    "timestamp[us, tz=UTC]": "timestamp with time zone",
}  # fmt: skip
"""What PostgreSQL calls the types in which columns travel that need no other name."""

KINDS = st.sampled_from([NULL, TEXT, BIGINT, DOUBLE, BOOLEAN, JSON, DATE, TIMESTAMP, numeric(0), numeric(12)])


def test_the_page_has_the_table() -> None:
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(("form", "cells", "sql_type"), EXAMPLES)
def test_a_new_column_has_the_type_that_the_page_tells(
    tmp_path: Path, form: str, cells: list[str], sql_type: str
) -> None:
    if form == "CSV":
        Folder(tmp_path).put("a.csv", "\n".join(["v", *cells]).encode())
    else:
        records = ", ".join(f'{{"v": {cell}}}' for cell in cells)
        Folder(tmp_path).put("a.json", f"[{records}]".encode())

    [column] = Folder(tmp_path).source("a.csv" if form == "CSV" else "a.json").plan().schema

    told = (column.metadata or {}).get(b"sql_type", b"").decode()
    assert (told or NAMES[str(column.type)]) == sql_type


@given(KINDS, KINDS)
def test_the_order_of_values_does_not_matter(one: object, other: object) -> None:
    assert joined(one, other) == joined(other, one)  # type: ignore[arg-type]  # kinds


@given(KINDS)
def test_a_kind_joined_with_itself_or_with_nothing_is_the_same(kind: object) -> None:
    assert joined(kind, kind) == joined(kind, NULL) == joined(NULL, kind) == kind  # type: ignore[arg-type]  # kinds


@given(st.from_regex(r"\A[0-9.eE+x-]{1,12}\Z"))
def test_whole_numbers_are_told_only_where_the_number_is_written_the_same_way(text: str) -> None:
    if number_kind(text, powers_are_numbers=False) == BIGINT:
        assert str(int(text)) == text or text == "-0"


def test_a_contract_that_freezes_or_discards_keeps_the_first_kind() -> None:
    samples = [Sample({"a": BIGINT, "b": BIGINT, "c": BIGINT}, 1), Sample({"a": TEXT, "b": TEXT, "c": TEXT}, 1)]
    contract = Contract.model_validate({"columns": {"a": "freeze", "b": "discard_row", "c": "evolve"}})

    assert kinds_of(samples, contract) == {"a": BIGINT, "b": BIGINT, "c": TEXT}


@dataclass(frozen=True)
class Targeted(Blank):
    """A memory of a target with some columns."""

    columns: Mapping[str, TargetColumn]

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return self.columns


def test_a_column_of_later_samples_is_taken_if_it_is_known_or_may_evolve() -> None:
    later = {"a": BIGINT, "b": BIGINT, "c": TEXT, "d": TEXT}
    samples = [Sample({"a": BIGINT}, 1), Sample(later, 1), Sample({"b": TEXT}, 1)]
    contract = Contract.model_validate({"columns": {"c": "evolve"}})

    assert kinds_of(samples, contract, SourceColumns(declared=frozenset("b"))) == {"a": BIGINT, "b": TEXT, "c": TEXT}
    assert kinds_of(samples) == {"a": BIGINT}


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("way", ["declared", "target", "evolve", "unknown"])
def test_a_column_that_only_a_later_file_has_is_loaded_where_something_is_known_of_it(
    tmp_path: Path, form: str, way: str
) -> None:
    folder = Folder(tmp_path)
    for name, rows in (("a", [{"id": "1"}]), ("b", [{"id": "2", "more": "x"}])):
        header = ",".join(rows[0])
        lines = {
            "csv": "\n".join([header, *(",".join(row.values()) for row in rows)]),
            "jsonl": "\n".join(map(json.dumps, rows)),
            "json": json.dumps(rows),
        }
        folder.put(f"{name}.{form}", lines[form].encode())
    known = SourceColumns(declared=frozenset({"more"} if way == "declared" else ()))
    memory = Targeted({"more": TargetColumn("text", pa.string())} if way == "target" else {})
    contract = Contract.model_validate({"columns": {"more": "evolve"}}) if way == "evolve" else NO_CONTRACT
    spec = FilesSource.model_validate({"kind": "files", "path": f"*.{form}"})
    source = source_for(spec, surroundings(files_root=folder.root, columns=known, contract=contract))

    plan = source.plan(memory)
    if way == "unknown":
        with pytest.raises(ContractViolationError, match="'more' is not among the columns of the source"):
            [chunk for unit in plan.units for chunk in source.read(unit)]
        return

    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]
    assert [value for chunk in chunks for value in chunk.rows["more"].to_pylist()] == [None, "x"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("number", ["0.12345678901234567890", "9007199254740993"])
def test_a_number_that_a_double_would_round_is_set_aside_beyond_the_sample(
    tmp_path: Path, form: str, number: str
) -> None:
    cells = ["1.5E10"] * (SAMPLE // 16) + [number, "2.5"]
    records = [f'{{"a": {cell}, "b": "x"}}' for cell in cells]
    text = {
        "csv": "a,b\n" + "".join(f"{cell},xxxxxxxxxx\n" for cell in cells),
        "jsonl": "\n".join(records),
        "json": f"[{','.join(records)}]",
    }[form]
    Folder(tmp_path).put(f"a.{form}", text.encode())
    source = Folder(tmp_path).source(f"a.{form}")
    plan = source.plan()
    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]

    assert plan.schema.field("a").type == pa.float64()
    assert [value for chunk in chunks for value in chunk.rows["a"].to_pylist()][-2:] == [1.5e10, 2.5]
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
    assert [(row["position"], row["rule"], row["column"]) for row in rejects] == [(len(cells) - 2, "type", "a")]


@pytest.mark.parametrize(
    ("usual", "wrong", "fits"),
    [
        ("1", ["00501", "01067", "-07", "0x1F", "1E5", "+5", "1.0"], ["0", "-0", "7"]),
        (
            "1.5",
            ["00501.5", "007", "-01.5", "0x1F", "+49301", "+1.5", "1E5", "-1e+5"],
            ["0.5", "-0.5", "7", ".5", "0"],
        ),
        (
            "1.5E10",
            ["00501", "007.5", "01E5", "1E5", "0e5", "-0E-7", "+1.5E3"],
            ["0.5", "-0.5", "7", "-1.5e-3"],
        ),
        ("true", ["1", "0", "yes"], ["TRUE", "False"]),
        ("2026-01-31", ["0000-01-01", "2026-1-1"], ["0001-01-01"]),
        ("2026-01-31 10:00:00", ["0000-01-01 10:00:00", "10:00"], ["0001-01-01 10:00:00"]),
        ("2026-01-31 10:00:00Z", ["0000-01-01 10:00:00Z"], ["0001-01-01 10:00:00Z"]),
    ],
)
def test_a_cell_of_a_csv_file_that_is_written_otherwise_is_set_aside_beyond_the_sample(
    tmp_path: Path, usual: str, wrong: Sequence[str], fits: Sequence[str]
) -> None:
    before = SAMPLE // (len(usual) + 2) + 1
    cells = [usual] * before + [*fits, *wrong]
    Folder(tmp_path).put("a.csv", b"a,b\n" + "".join(f"{cell},x\n" for cell in cells).encode())
    source = Folder(tmp_path).source("a.csv")
    plan = source.plan()
    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]

    assert sum(chunk.rows.num_rows for chunk in chunks) == before + len(fits)
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
    expected = [(at, "type", "a") for at in range(before + len(fits), len(cells))]
    assert [(row["position"], row["rule"], row["column"]) for row in rejects] == expected


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_zero_with_an_exponent_is_a_number_of_json_beyond_the_sample(tmp_path: Path, form: str) -> None:
    records = [f'{{"a": {cell}}}' for cell in [*["1.5E10"] * (SAMPLE // 12), "0e5", "-0E-7", "0.5"]]
    text = "\n".join(records) if form == "jsonl" else f"[{','.join(records)}]"
    Folder(tmp_path).put(f"a.{form}", text.encode())
    source = Folder(tmp_path).source(f"a.{form}")
    chunks = [chunk for unit in source.plan().units for chunk in source.read(unit)]

    assert [value for chunk in chunks for value in chunk.rows["a"].to_pylist()][-3:] == [0.0, 0.0, 0.5]
    assert [chunk.rejects.num_rows for chunk in chunks] == [0] * len(chunks)
