"""JSON files: where the records are, what they become, and what is refused."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.sources.files import json_feed
from dataproc.sources.files.json_feed import DEEPEST, Feed
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
        {"n": str(2**63), "f": "1.5", "j": '{"b":[1.25,"ü"]}', "t": "x", "b": True, "__position": 0},
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

    with pytest.raises(ContractViolationError, match=r"a\.json: record 1501 has the key 'c'"):
        read(tmp_path, json.dumps([*good, {"c": 1}]))


def test_an_empty_array_gives_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, "[]") == ([], [])


@pytest.mark.parametrize("deep", ["[" * 100_000, '[{"a":' * 100_000, "[" + '{"a": [' * DEEPEST])
def test_what_is_nested_too_deep_is_refused_by_name(tmp_path: Path, deep: str) -> None:
    with pytest.raises(BadDataError, match=r"a\.json: objects and arrays are nested deeper than 200"):
        read(tmp_path, '[{"a": 1}, ' + deep)


def test_a_record_that_never_ends_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_feed, "LONGEST_LINE", 200_000)

    with pytest.raises(BadDataError, match=r"a\.json: a record is longer"):
        read(tmp_path, '[{"a": "' + "x" * 2_000_000 + '"}]')


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


@given(nested, st.integers(1, 9))
def test_the_depth_is_that_of_the_value_wherever_the_text_is_cut(value: object, size: int) -> None:
    data = json.dumps(value).encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_feed, "DEEPEST", depth_of(value))
        feed = Feed("a", iter([data]))
        assert b"".join(iter(lambda: feed.read(size), b"")) == data
        assert feed.depth == 0
        if depth_of(value):
            patch.setattr(json_feed, "DEEPEST", depth_of(value) - 1)
            other = Feed("a", iter([data]))
            with pytest.raises(BadDataError, match="deeper"):
                list(iter(lambda: other.read(size), b""))


def test_columns_asked_for_as_text_come_as_text(tmp_path: Path) -> None:
    Folder(tmp_path).put("a.json", b'[{"a": 1, "b": 1.50}, {"a": "x", "b": 2}]')
    source = Folder(tmp_path).source("a.json", text=frozenset({"a", "b"}))

    rows = [row for unit in source.plan().units for chunk in source.read(unit) for row in chunk.rows.to_pylist()]

    assert source.plan().schema == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert [(row["a"], Decimal(row["b"])) for row in rows] == [("1", Decimal("1.5")), ("x", Decimal(2))]
