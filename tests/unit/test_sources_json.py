"""JSON files: where the records are, what they become, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.sources.files.json_elements import DEEPEST, ElementReader
from dataproc.sources.files.json_structure import Structure
from tests.places import Folder


def read(folder: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the rejects of a file."""
    Folder(folder).put("a.json", text.encode() if isinstance(text, str) else text)
    source = Folder(folder).source("a.json", **options)
    chunks = [chunk for unit in source.plan().units for chunk in source.read(unit)]
    rows = [row for chunk in chunks for row in chunk.rows.to_pylist()]
    return rows, [row for chunk in chunks for row in chunk.rejects.to_pylist()]


def test_values_become_what_they_become_in_json_lines(tmp_path: Path) -> None:
    records = [{"n": 2**63, "f": 1.5, "j": {"b": [1.25, "ü"]}, "t": "x", "b": True}, {"f": 2, "t": None, "b": False}]

    rows, rejects = read(tmp_path, json.dumps(records))

    assert rows == [
        {"n": str(2**63), "f": "1.5", "j": '{"b": [1.25, "\\u00fc"]}', "t": "x", "b": True, "__position": 0},
        {"n": None, "f": "2", "j": None, "t": None, "b": False, "__position": 1},
    ]
    assert rejects == []


def test_records_can_lie_deeper_in_the_file(tmp_path: Path) -> None:
    text = '{"meta": {"items": [{"no": 1}]}, "data": {"items": [{"a": 1}, {"a": 2}], "next": null}}'

    rows, _ = read(tmp_path, text, records="/data/items")

    assert [row["a"] for row in rows] == [1, 2]


@pytest.mark.parametrize("text", ['{"data": {"a": 1}}', '{"a": 1}\n{"a": 2}', "5", '{"data": {"item": {"a": 1}}}'])
def test_a_file_without_an_array_where_the_records_should_be_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadDataError, match=r"a\.json.* (no array at '/data'|cannot be read as json)"):
        read(tmp_path, text, records="/data")


@pytest.mark.parametrize("text", ["5", '"x"', "{} {}", '{"a": 1'])
def test_a_file_without_an_array_or_an_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadDataError, match=r"a\.json.* (no array in the file itself|cannot be read as json)"):
        read(tmp_path, text)


def test_a_record_that_is_no_object_or_does_not_fit_is_set_aside(tmp_path: Path) -> None:
    good = [{"a": n, "b": "x" * 1000} for n in range(1500)]

    rows, rejects = read(tmp_path, json.dumps([*good, 5, {"a": "y"}, [], {"a": 7}]))

    assert [row["a"] for row in rows] == [*range(1500), 7]
    assert [(row["position"], row["rule"], row["row"]) for row in rejects] == [
        (1500, "parse", "5"), (1501, "type", '{"a": "y"}'), (1502, "parse", "[]"),
    ]  # fmt: skip
    assert rejects[0]["reason"] == "record 1501: the record is not a JSON object"


def test_a_key_that_the_sample_lacks_is_named_with_its_record(tmp_path: Path) -> None:
    good = [{"a": n, "b": "x" * 1000} for n in range(1500)]

    with pytest.raises(ContractViolationError, match=r"a\.json: record 1501: the key 'c' is not"):
        read(tmp_path, json.dumps([*good, {"c": 1}]))


def test_an_empty_array_gives_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, "[]") == ([], [])


@pytest.mark.parametrize("deep", ["[" * 100_000, '[{"a":' * 100_000, "[" + '{"a": [' * DEEPEST])
def test_what_is_nested_too_deep_is_refused_by_name(tmp_path: Path, deep: str) -> None:
    with pytest.raises(BadDataError, match=r"a\.json: objects and arrays are nested deeper than 200"):
        read(tmp_path, '[{"a": 1}, ' + deep)


def elements(text: bytes, size: int, *, pointer: str = "", **limits: int) -> list[bytes]:
    """Return the elements of the array of a text that comes in parts of some bytes."""
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return [each for block in ElementReader("a.json", pointer, **limits).blocks(parts) for each in block]


def test_a_record_that_never_ends_is_refused_by_name() -> None:
    with pytest.raises(BadDataError, match=r"a\.json: a record is longer"):
        elements(b'[{"a": "' + b"x" * 2_000_000 + b'"}]', 50_000, longest=200_000)


def test_an_array_is_not_looked_for_for_ever() -> None:
    with pytest.raises(BadDataError, match=r"no array at '/data' in the first 1 MiB; give its JSON Pointer"):
        elements(b'{"a": [' + b"1," * 2_000_000 + b'1], "data": [1]}', 50_000, pointer="/data", longest=2**20)


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ('[{"a": 1}, {"a": 2}', 2),
        ('[{"a": 1}, {"a": 2', 1),
        ('[{"a": 1}, {"a": 2}]]', 2),
        ('[{"a": 1}, {"a": 2},]', 2),
        ('[{"a": 1}, {"a": 2}}', 2),
        ('[{"a": 1}, {"a": 2} {"a": 3}]', 1),
        ('[{"a": 1}, {"a": NaN}, {"a": 3}]', 1),
        ('[{"a": 1}, {"a": 2]}, {"a": 3}]', 1),
        ('[{"a": 1}, {"a": "\x00"}, {"a": 3}]', 1),
    ],
)
def test_the_records_before_some_damage_are_read(tmp_path: Path, text: str, sound: int) -> None:
    rows, rejects = read(tmp_path, text, on_bad_file="skip")

    assert [row["a"] for row in rows] == list(range(1, sound + 1))
    assert [row["position"] for row in rejects] == [sound]
    assert f"what comes after its first {sound} rows is lost" in rejects[0]["reason"]
    with pytest.raises(BadDataError, match=r"a\.json cannot be read as json"):
        read(tmp_path, text)


def test_half_of_a_surrogate_pair_is_set_aside(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, '[{"a": "x"}, {"a": "\\ud800"}, {"a": "y"}]')

    assert [row["a"] for row in rows] == ["x", "y"]
    assert [(row["position"], row["rule"]) for row in rejects] == [(1, "parse")]
    assert "half of a surrogate pair" in rejects[0]["reason"]


def depth_of(value: object) -> int:
    """Return how deep a value is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


nested = st.recursive(
    st.text(alphabet='a"\\[]{}', max_size=6) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[{', max_size=3), inner, max_size=3)
    ),
)


@settings(max_examples=50)
@given(nested, st.integers(1, 9))
def test_the_depth_is_that_of_the_value_wherever_the_text_is_cut(value: object, size: int) -> None:
    data = json.dumps(value).encode()
    structure = Structure()
    depths = [structure.marks(data[at : at + size]).depths for at in range(0, len(data), size)]

    assert max((int(each.max()) for each in depths if len(each)), default=0) == depth_of(value)
    assert structure.depth == 0


@settings(max_examples=50)
@given(st.lists(nested, max_size=5), st.integers(1, 9), st.integers(1, 40))
def test_the_elements_are_those_of_the_array_wherever_the_text_is_cut(
    values: list[object], size: int, block: int
) -> None:
    text = json.dumps({"]": values, "data": {"in[": [], "a": values}, "[": values}).encode()

    found = elements(text, size, pointer="/data/a", block=block)

    assert [each.strip() for each in found] == [json.dumps(value).encode() for value in values]


def test_columns_asked_for_as_text_come_as_text(tmp_path: Path) -> None:
    Folder(tmp_path).put("a.json", b'[{"a": 1, "b": 1.50}, {"a": "x", "b": 2}]')
    source = Folder(tmp_path).source("a.json", text=frozenset({"a", "b"}))

    rows = [row for unit in source.plan().units for chunk in source.read(unit) for row in chunk.rows.to_pylist()]

    assert source.plan().schema == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert [(row["a"], row["b"]) for row in rows] == [("1", "1.50"), ("x", "2")]
