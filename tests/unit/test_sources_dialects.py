"""CSV as people write it: delimiters, encodings, headers and empty cells; DuckDB reads the same files."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.source_columns import SourceColumns, TargetColumn
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.unit import SourcePlan
from dataproc.ports.memory import Blank
from dataproc.sources.factory import source_for
from tests.builders import surroundings

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Known(Blank):
    """A first run into a table with these columns."""

    columns: Mapping[str, TargetColumn]

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return self.columns


def plan_and_rows(
    folder: Path, files: dict[str, str | bytes], columns: SourceColumns | None = None, **options: Any
) -> tuple[SourcePlan, Rows, Rows]:
    """Return the plan, the rows and the rejects of files in a folder."""
    for name, text in files.items():
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    spec = FilesSource.model_validate({"kind": "files", "path": "*", **options})
    source = source_for(spec, surroundings(files_root=folder, columns=columns or SourceColumns()))
    plan = source.plan()
    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]
    rows = [row for chunk in chunks for row in chunk.rows.drop_columns(["__position"]).to_pylist()]
    return plan, rows, [row for chunk in chunks for row in chunk.rejects.to_pylist()]


DIVIDED = {
    "commas": "id,name\n1,a\n2,b\n",
    "semicolons": 'id;name;amount\n1;Müller;1,50\n2;"a;b";2,75\n',
    "tabs": "id\tname\n1\ta, b\n2\tc; d\n",
    "bars": "id|name|note\n1|a|x,y\n2|b|z\n",
    "quoted newlines": 'id;text\n1;"a\nb, c"\n2;"d"\n',
    "doubled quotes": 'id;text\n1;"a ""b"" c"\n2;d\n',
    "decimal commas": "a;b;c\n1,5;2,5;3\n4,0;5,5;6\n",
    "commas in half of the texts": "id;text\n1;a, b\n2;c\n3;d, e, f\n4;g\n",
    "times and addresses": "at|who\n2026-01-01 10:00:00|a;b@x\n2026-01-02 11:00:00|c@y\n",
}
SIGNS = {"semicolons": ";", "tabs": "\t", "bars": "|", "times and addresses": "|"}


@pytest.mark.parametrize("name", DIVIDED)
def test_cells_are_divided_by_the_sign_that_duckdb_finds(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": DIVIDED[name]})

    with duckdb.connect() as conn:
        found = conn.execute("SELECT * FROM read_csv(?, all_varchar = true)", [str(path)])
        names = [str(each[0]) for each in found.description or ()]
        expected = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert rejects == []
    assert plan.schema.names == names
    assert [{key: str(value) for key, value in row.items()} for row in rows] == expected
    assert "CSV: cells are separated by " in plan.choices[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numbers", "id\n1\n2\n"),
        ("texts with commas", "note\nHello, world\nno sign here\na, b, c\n"),
        ("texts with bars", "note\na|b|c\nd\ne|f\n"),
    ],
)
def test_a_file_without_a_sign_has_one_column(tmp_path: Path, name: str, text: str) -> None:
    del name
    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": text})

    assert rejects == []
    assert [str(row[plan.schema.names[0]]) for row in rows] == text.splitlines()[1:]


def test_rows_with_other_numbers_of_cells_are_set_aside_and_not_read_as_one_cell(tmp_path: Path) -> None:
    _, rows, rejects = plan_and_rows(tmp_path, {"a.csv": "a,b,c\n1,2,3,x\n4,5,6,x\n"})

    assert rows == []
    assert [each["reason"] for each in rejects] == ["line 2: 4 cells instead of 3", "line 3: 4 cells instead of 3"]


@pytest.mark.parametrize("records", [5, 2000, 60_000])
def test_a_few_broken_rows_do_not_change_the_sign(tmp_path: Path, records: int) -> None:
    text = "id;name\n" + "".join(f"{n};x, y\n" for n in range(records)) + "7\n"

    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": text})

    assert plan.schema.names == ["id", "name"]
    assert (len(rows), len(rejects)) == (records, 1)


def test_the_sign_of_the_first_file_with_a_record_holds_for_all(tmp_path: Path) -> None:
    files = {"a.csv": "", "b.csv": "\n", "c.csv": "id;name\n1;x, y\n", "d.csv": "id;name\n2;z\n"}

    plan, rows, _ = plan_and_rows(tmp_path, dict(files))

    assert rows == [{"id": 1, "name": "x, y"}, {"id": 2, "name": "z"}]
    assert plan.choices[0].endswith("c.csv")


def test_the_sign_that_is_given_wins(tmp_path: Path) -> None:
    plan, rows, _ = plan_and_rows(tmp_path, {"a.csv": "a;b\n1;2\n"}, csv={"delimiter": ","}, encoding="utf-8")

    assert rows == [{"a;b": "1;2"}]
    assert plan.choices == ()


HF = {"header": False}
DIVIDED_BY: dict[str, tuple[str, dict[str, Any], str]] = {
    "quoted lists": ('id,"a;b;c"\n1,"x;y;z"\n', {}, ","),
    "quoted lists without a header": ('1,"a;b;c"\n2,"d;e;f"\n', HF, ","),
    "quoted cells with a comma": ('"Datum";"Betrag, EUR"\n"2026";"1,50"\n"2027";"3,50"\n', {}, ";"),
    "quoted cells with a comma, no header": ('"a";"1,50"\n"b";"2,50"\n', HF, ";"),
    "names with commas": ('"Name, Vorname";"Ort, Land"\n"M, A";"B, D"\n', {}, ";"),
    "names and decimal commas": ("Datum;Betrag, EUR;Saldo, EUR\n2026;1,50;2,50\n2027;3,50;4,00\n", {}, ";"),
    "decimal commas without a header": ("2026;1,50\n2027;2,50\n", HF, ";"),
    "decimal commas in all cells": ("1,5;2,5;3,5\n4,5;5,5;6,5\n", HF, ";"),
    "a regular list": ("id,lat|lon|alt\n1,2|3|4\n2,5|6|7\n", {}, ","),
    "a regular list without a header": ("1,a|b|c\n2,d|e|f\n", HF, ","),
    "ragged commas": ("id,name,notes;etc\n1,a,b;c\n2,a,b,c;d\n3,x,y,z;w\n", {}, ","),
    "ragged commas without a header": ("1,a\n2,b,c\n3,d\n4,e,f\n", HF, ","),
    "names that are given": ("x\n1,2,3\n4,5,6\n", {"columns": ["a", "b", "c"]}, ","),
    "names that are given, no header": ("1\n4,5,6\n7,8,9\n", HF | {"columns": ["a", "b", "c"]}, ","),
    "a title before the header": ("Report\nid,name\n1,a\n", {}, ","),
    "carriage returns": ("a;b\r1;2\r3;4\r", {}, ";"),
}


@pytest.mark.parametrize("name", DIVIDED_BY)
def test_the_sign_is_the_one_that_a_reader_would_see(tmp_path: Path, name: str) -> None:
    text, options, sign = DIVIDED_BY[name]

    plan, _, _ = plan_and_rows(tmp_path, {"a.csv": text}, csv=options)

    expected = {",": "commas", ";": "semicolons"}[sign]
    assert plan.choices[0].startswith(f"CSV: cells are separated by {expected}")


def test_no_row_of_a_file_with_a_title_or_ragged_rows_is_read_as_one_cell(tmp_path: Path) -> None:
    _, rows, rejects = plan_and_rows(tmp_path, {"a.csv": "Report\nid,name\n1,a\n"})
    assert (rows, len(rejects)) == ([], 2)

    _, rows, rejects = plan_and_rows(tmp_path, {"a.csv": "1,a\n2,b,c\n3,d\n4,e,f\n"}, csv=HF)
    assert (len(rows), len(rejects)) == (2, 2)


def test_a_packed_text_table_prefers_tabs(tmp_path: Path) -> None:
    data = b"day\tprice, EUR\n1\t1,50\n2\t2,50\n"

    plan, _, _ = plan_and_rows(tmp_path, {"a.tsv.gz": gzip.compress(data)})

    assert plan.schema.names == ["day", "price, EUR"]


def test_files_without_a_header_have_the_same_cells(tmp_path: Path) -> None:
    with pytest.raises(ContractViolationError, match=r"b\.csv has 1 cells in a record, but files://a\.csv has 2"):
        plan_and_rows(tmp_path, {"a.csv": "1,2\n", "b.csv": "1;2\n"}, csv=HF)


def test_a_first_file_with_only_a_header_does_not_decide(tmp_path: Path) -> None:
    plan, _, _ = plan_and_rows(tmp_path, {"a.csv": "id\n", "b.csv": "id;x\n1;2\n"})
    assert plan.choices[0].endswith("b.csv")


def test_an_empty_array_does_not_decide_the_form_of_json(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.json": "[]\n", "b.json": '{"id": 1}\n{"id": 2}\n'}

    _, rows, _ = plan_and_rows(tmp_path, files)

    assert rows == [{"id": 1}, {"id": 2}]


def test_a_broken_first_line_does_not_hide_json_lines(tmp_path: Path) -> None:
    _, rows, rejects = plan_and_rows(tmp_path, {"a.json": '{"id": 1,}\n{"id": 2}\n{"id": 3}\n'})

    assert (rows, len(rejects)) == ([{"id": 2}, {"id": 3}], 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"PK\x03\x04" + bytes(range(256)), "a zip archive"), (b"\xfd7zXZ\0" + bytes(range(256)), "an xz archive")],
)
def test_files_that_are_not_text_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BadDataError, match=words):
        plan_and_rows(tmp_path, {"a.csv": data})


def test_many_blank_lines_before_a_header_take_no_time(tmp_path: Path) -> None:
    _, rows, _ = plan_and_rows(tmp_path, {"a.csv": "\n" * 80_000 + "a;b\n1;2\n"})

    assert rows == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.txt", "a.TSV", "a.csv"])
def test_text_tables_are_known_by_their_names(tmp_path: Path, name: str) -> None:
    assert plan_and_rows(tmp_path, {name: "id\tname\n1\tx\n"})[1] == [{"id": 1, "name": "x"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_byte_order_mark_decides_the_encoding(tmp_path: Path, encoding: str, name: str) -> None:
    texts = {
        "a.csv": "id;name\n1;Müller 😀\n",
        "a.jsonl": '{"id": 1, "name": "Müller 😀"}\n',
        "a.json": '[{"id": 1, "name": "Müller 😀"}]',
    }

    _, rows, rejects = plan_and_rows(tmp_path, {name: texts[name].encode(encoding)})

    assert (rows, rejects) == ([{"id": 1, "name": "Müller 😀"}], [])


def test_the_encoding_found_is_shown(tmp_path: Path) -> None:
    plan, _, _ = plan_and_rows(tmp_path, {"a.csv": "a;b\n1;2\n".encode("utf-16")})

    assert plan.choices == ("CSV: cells are separated by semicolons, the encoding is utf-16, as in files://a.csv",)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp437", "shift_jis"])
def test_other_encodings_are_refused_with_what_to_do(tmp_path: Path, encoding: str) -> None:
    data = ("id;name\n" + "1;x\n" * 100 + "2;ü\n").encode(encoding, "replace").replace(b"?", b"\x83\x41")

    with pytest.raises(BadDataError, match=r"files://a\.csv is not UTF-8 at byte \d+.*`encoding: cp1252`"):
        plan_and_rows(tmp_path, {"a.csv": data})
    _, rows, _ = plan_and_rows(tmp_path, {"a.csv": data}, encoding=encoding)
    assert len(rows) == 101


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_a_file_in_another_encoding_is_skipped_as_a_whole_where_damage_is(tmp_path: Path, encoding: str) -> None:
    other = "id;name\n1;x\n2;ü\n3;y\n".encode(encoding)

    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": other, "b.csv": "id;name\n4;ü\n"}, on_bad_file="skip")

    assert rows == [{"id": 4, "name": "ü"}]
    assert "a.csv" in plan.notes[0]
    assert [(each["rule"], "none of its rows was read" in each["reason"]) for each in rejects] == [("file", True)]


HEADERS: dict[str, tuple[str, list[str], list[list[Any]], str]] = {
    "unnamed first": (",a,b\n0,1,2\n1,3,4\n", ["c0", "a", "b"], [[0, 1, 2], [1, 3, 4]], "c0"),
    "unnamed between": ("a,,b\n1,x,2\n", ["a", "c1", "b"], [[1, "x", 2]], "c1"),
    "names that are taken": ("c1,,b\n1,x,2\n", ["c1", "c1_", "b"], [[1, "x", 2]], "c1_"),
    "an end without cells": ("a,b,\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]], ""),
    "an end with cells": ("a,b,\n1,2,\n3,4,\n", ["a", "b", "c2"], [[1, 2, None], [3, 4, None]], "c2"),
    "only a header": ("a,b,\n", ["a", "b"], [], ""),
    "an end without cells in most records": ("a,b,\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]], ""),
    "two ends without cells": ("a,b,,\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]], ""),
}


@pytest.mark.parametrize("name", HEADERS)
def test_columns_without_a_name_get_one(tmp_path: Path, name: str) -> None:
    text, names, expected, generated = HEADERS[name]

    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": text})

    assert rejects == []
    assert plan.schema.names == names
    assert [list(row.values()) for row in rows] == expected
    assert [f"read as {generated};" in note for note in plan.notes] == [True] * bool(generated)


QUOTED = '"id","amt","d","note"\n"1","2.50","2026-01-01","a"\n"2","","",""\n"3","7.25","2026-02-01","NULL"\n'


def test_empty_cells_in_quotes_are_null_but_for_text(tmp_path: Path) -> None:
    plan, rows, rejects = plan_and_rows(tmp_path, {"a.csv": QUOTED})

    assert rejects == []
    assert [str(each.type) for each in plan.schema] == ["int64", "string", "date32[day]", "string"]
    assert [(row["amt"], str(row["d"]), row["note"]) for row in rows] == [
        ("2.50", "2026-01-01", "a"), (None, "None", ""), ("7.25", "2026-02-01", "NULL")
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "notes", "kind"), [("null", [None], pa.date32()), ("text", [""], pa.string())])
def test_what_empty_cells_in_quotes_mean_can_be_given(tmp_path: Path, mode: str, notes: list[Any], kind: Any) -> None:
    plan, rows, _ = plan_and_rows(tmp_path, {"a.csv": QUOTED}, csv={"quoted_empty": mode})

    assert plan.schema.field("d").type == kind
    assert [row["note"] for row in rows][1:2] == notes


@pytest.mark.parametrize("sql_type", ["date", "integer", "numeric(10,2)", "boolean", "uuid", "jsonb", "integer[]"])
def test_an_existing_column_decides_what_an_empty_cell_in_quotes_is(tmp_path: Path, sql_type: str) -> None:
    for kind, expected in ((sql_type, None), ("text", ""), ("character varying(5)", "")):
        columns = SourceColumns(target={"v": TargetColumn(kind, None)})
        source = FilesSource(kind="files", path="a.csv")
        (tmp_path / "a.csv").write_text('id,v\n1,""\n')
        found = source_for(source, surroundings(files_root=tmp_path, columns=columns))
        plan = found.plan(Known(columns.target))
        rows = [row for unit in plan.units for chunk in found.read(unit) for row in chunk.rows.to_pylist()]
        assert [row["v"] for row in rows] == [expected], kind


@pytest.mark.parametrize(("declared", "expected"), [(True, None), (False, "")])
def test_a_declared_type_decides_what_an_empty_cell_in_quotes_is(
    tmp_path: Path, declared: bool, expected: str | None
) -> None:
    columns = SourceColumns(declared=frozenset("v"), valued=frozenset("v" if declared else ""))

    _, rows, _ = plan_and_rows(tmp_path, {"a.csv": 'id,v\n1,""\n'}, columns)

    assert rows == [{"id": 1, "v": expected}]


JSON_TEXTS = {
    "lines": ('{"id": 1}\n{"id": 2}\n', [{"id": 1}, {"id": 2}]),
    "one line": ('{"id": 1}', [{"id": 1}]),
    "an object over lines": ('{\n "id": 1,\n "name": "x"\n}\n', [{"id": 1, "name": "x"}]),
    "an array": ('[{"id": 1},\n {"id": 2}]', [{"id": 1}, {"id": 2}]),
    "an array after blanks": ('\n\n [{"id": 1}]', [{"id": 1}]),
    "with a mark": ('\ufeff{\n"id": 1}', [{"id": 1}]),
}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_is_recognised_by_its_content(tmp_path: Path, name: str, text: str) -> None:
    if name == "a.jsonl" and text in ("an object over lines", "with a mark"):
        return  # lines of a file that is called JSON Lines
    data, expected = JSON_TEXTS[text]

    _, rows, rejects = plan_and_rows(tmp_path, {name: data})

    assert (rows, rejects) == (expected, [])


def test_a_packed_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    data = gzip.compress(b"id;name\n1;x\n") + bytes(512)

    for name in ("a.csv", "a.csv.gz"):
        assert plan_and_rows(tmp_path, {name: data})[1] == [{"id": 1, "name": "x"}] * (1 + (name == "a.csv.gz"))


@pytest.mark.parametrize("kind", ["parquet", "avro"])
def test_a_file_without_a_byte_is_damaged(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BadDataError, match=rf"files://a\.{kind} is empty, so it is not a {kind} file"):
        plan_and_rows(tmp_path, {f"a.{kind}": b""})
