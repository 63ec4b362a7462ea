"""JSON Lines: types, text, and what is set aside."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import LONGEST_ROW
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.sources.files import FilesSource
from dataproc.sources.factory import source_for
from dataproc.sources.files import lines
from dataproc.sources.files.json_lines import BlockReader, readable_objects
from dataproc.sources.files.json_rows import schema_of
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.json_values import JSON
from tests.builders import surroundings


def read(folder: Path, text: str | bytes, *names: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the rejects of a file; `names` come as text."""
    (folder / "a.jsonl").write_bytes(text.encode() if isinstance(text, str) else text)
    spec = FilesSource(kind="files", path="a.jsonl")
    source = source_for(spec, surroundings(files_root=folder, text_columns=frozenset(names)))
    chunks = [chunk for unit in source.plan().units for chunk in source.read(unit)]
    rows = [row for chunk in chunks for row in chunk.rows.drop_columns(["__position"]).to_pylist()]
    return rows, [row for chunk in chunks for row in chunk.rejects.to_pylist()]


def test_nested_values_become_json_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, '{"a": {"b": [1, "ü"]}}\n{"a": "x"}\n{"a": null}\n')

    assert [row["a"] for row in rows] == ['{"b": [1, "ü"]}', '"x"', None]


def test_a_column_of_many_kinds_is_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, '{"a": 1}\n{"a": "x"}\n{"a": true}\n{"a": 2.0}\n')

    assert [row["a"] for row in rows] == ["1", "x", "true", "2"]


def test_text_is_the_same_in_a_block_with_and_without_bad_lines(tmp_path: Path) -> None:
    good = '{"a": 100.0, "b": 1e21, "c": true, "d": 0.1}\n'

    clean, _ = read(tmp_path, good, "a", "b", "c", "d")
    dirty, rejects = read(tmp_path, good + "oh\n", "a", "b", "c", "d")

    assert clean == dirty == [{"a": "100", "b": "1e+21", "c": "true", "d": "0.1"}]
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


def test_a_key_that_the_sample_lacks_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SAMPLE", 9)

    with pytest.raises(ContractViolationError, match=r"a\.jsonl: line 2 has the key 'b'"):
        read(tmp_path, '{"a": 1}\n{"a": 2, "b": 3}\n')


def test_whole_numbers_beyond_64_bits_are_text() -> None:
    assert schema_of([{"a": 2**63}]).field("a").type == pa.string()
    found = readable_objects([b'{"a": 1}', b'{"a": 2.5}', b"oh", b"", b'{"b": null}'])
    assert schema_of(found).types == [pa.float64(), pa.string()]
    assert schema_of([{"a": 1}, {"a": []}]).field("a").type == JSON


values = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(alphabet='aü\n"{', max_size=5), st.booleans(), st.just([1])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"a": values, "b": st.integers(0, 9)}), min_size=1, max_size=20))
def test_the_fast_way_gives_what_the_slow_way_gives(rows: list[dict[str, object]]) -> None:
    block = "".join(json.dumps(row) + "\n" for row in rows).encode()
    types = schema_of(rows)
    schema = pa.schema([(f.name, pa.string() if f.type == JSON else f.type) for f in types])
    unit = FoundFile("files://a.jsonl", "1", 1).unit(types, size=1, rows=None)

    fast, slow = BlockReader(unit, types, schema), BlockReader(unit, types, schema)

    assert fast.read(block)[0].to_pylist() == slow.read_slowly(block)[0].to_pylist()
    assert fast.count == slow.count == len(rows)
