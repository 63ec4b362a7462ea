"""JSON Lines: types, text, and what is set aside."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import LONGEST_ROW
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.files import FilesSource
from dataproc.sources.factory import source_for
from dataproc.sources.files import lines
from dataproc.sources.files.json_lines import readable_objects, text_of
from dataproc.sources.files.json_rows import RecordReader, kinds_in
from dataproc.sources.inference import Sample, kinds_of
from dataproc.sources.json_values import object_of
from tests.builders import surroundings


def read(folder: Path, text: str | bytes, *names: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the rejects of a file; `names` come as text."""
    (folder / "a.jsonl").write_bytes(text.encode() if isinstance(text, str) else text)
    spec = FilesSource(kind="files", path="a.jsonl")
    source = source_for(spec, surroundings(files_root=folder, columns=SourceColumns(declared=frozenset(names))))
    chunks = [chunk for unit in source.plan().units for chunk in source.read(unit)]
    rows = [row for chunk in chunks for row in chunk.rows.drop_columns(["__position"]).to_pylist()]
    return rows, [row for chunk in chunks for row in chunk.rejects.to_pylist()]


def test_nested_values_become_json_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, '{"a": {"b": [1, "ü"]}}\n{"a": "x"}\n{"a": null}\n')

    assert [row["a"] for row in rows] == ['{"b": [1, "ü"]}', '"x"', None]


def test_a_column_of_many_kinds_is_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, '{"a": 1}\n{"a": "x"}\n{"a": true}\n{"a": 2.0}\n')

    assert [row["a"] for row in rows] == ["1", "x", "true", "2.0"]


def test_text_is_the_same_in_a_block_with_and_without_bad_lines(tmp_path: Path) -> None:
    good = '{"a": 100.0, "b": 1e21, "c": true, "d": 0.1}\n'

    clean, _ = read(tmp_path, good, "a", "b", "c", "d")
    dirty, rejects = read(tmp_path, good + "oh\n", "a", "b", "c", "d")

    assert clean == dirty == [{"a": "100.0", "b": "1e21", "c": "true", "d": "0.1"}]
    assert len(rejects) == 1


def test_a_value_that_is_no_number_can_be_left_to_a_later_step(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, '{"id": 1}\n{"id": "x"}\n', "id")

    assert [row["id"] for row in rows] == ["1", "x"]
    assert rejects == []


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b"5", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": 1} {"a": 2}', b"[" * 100_000, b'{"a": "\\ud83d"}'],
)
def test_a_line_that_is_no_object_is_set_aside(tmp_path: Path, line: bytes) -> None:
    rows, rejects = read(tmp_path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')

    assert rows == [{"a": 1}, {"a": 3}]
    assert [(r["position"], r["rule"]) for r in rejects] == [(1, "parse")]
    assert rejects[0]["reason"].startswith("line 2: ")
    assert len(rejects[0]["row"].encode()) <= LONGEST_ROW


def test_a_key_that_the_sample_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    many = lines.SAMPLE // 8

    with pytest.raises(ContractViolationError, match=rf"a\.jsonl: line {many + 1}: the key 'b' is not"):
        read(tmp_path, '{"a":1}\n' * many + '{"a":2,"b":3}\n')


@pytest.mark.parametrize(
    ("values", "sql_type"),
    [
        (["1", "-5", "9223372036854775807"], "bigint"),
        (["9223372036854775808"], "numeric"),
        (["1", "2.5"], "numeric"),
        (["0.1"], "numeric"),
        (["1.5e3", "1e5"], "double precision"),
        (["1e400"], "numeric"),
        (["1.00000000000000000001e2"], "numeric"),
        (["1e5", "1"], "numeric"),
        (["1", "[]"], "jsonb"),
        (["{}", "null"], "jsonb"),
        (["true", "null"], "boolean"),
        (['"x"', "1"], "text"),
        (["null"], "null"),
    ],
)
def test_a_kind_holds_every_value_without_a_change(values: list[str], sql_type: str) -> None:
    found = readable_objects([*(f'{{"a": {value}}}'.encode() for value in values), b"oh", b""])

    assert kinds_in(found)["a"].sql_type == sql_type


numbers = st.sampled_from(["0", "-1", "1.50", "9223372036854775808", "1e5", "1.5E-3", "1e400", "0.1"])
texts = st.text(alphabet='aü\n"{\\5', max_size=5).map(json.dumps)
values = st.one_of(st.sampled_from(["null", "true", "false", "[1.10]", '{"a": 1e400}']), numbers, texts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(values, values, numbers), min_size=1, max_size=20), st.sampled_from([(), ("a",), ("a", "b")]))
def test_the_fast_way_gives_what_the_slow_way_gives(rows: list[tuple[str, ...]], declared: tuple[str, ...]) -> None:
    lines = [f'{{"a": {a}, "b": {b}, "c": {c}}}'.encode() for a, b, c in rows]
    block = b"\n".join(lines)
    schema = SourceColumns(declared=frozenset(declared)).schema(
        kinds_of([Sample(kinds_in(readable_objects(lines)), 1)])
    )
    fast, slow = (RecordReader("files://a.jsonl", schema, str) for _ in range(2))
    assert fast.decoder is not None

    decoded, of_array = fast.decoder.rows_of_lines(block), fast.decoder.rows_of_array(b",".join(lines))

    assert fast.piece(decoded, lines, object_of, text_of)[0].to_pylist() == (
        slow.piece(None, lines, object_of, text_of)[0].to_pylist()
    )
    assert fast.count == slow.count == len(rows)
    assert of_array == decoded
