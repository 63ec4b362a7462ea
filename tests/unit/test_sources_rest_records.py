"""Records of REST APIs as rows: nothing is lost, and what does not fit is set aside."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import POSITION, Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import EVERYTHING_INFERRED
from dataproc.domain.sources.rest import RestIncremental
from dataproc.sources.rest.answer import Answer, Written
from dataproc.sources.rest.columns import declared, json_text, kinds_in
from dataproc.sources.rest.cursor import Window, asked
from dataproc.sources.rest.paging import Spot
from dataproc.sources.rest.records import Gathered, Shape


def parsed(text: str) -> Any:
    """Return what the client makes of a body."""
    return Answer("https://api.test/", 200, {"content-type": ["application/json"]}, text.encode()).json()


def piece(
    records: Sequence[Any], types: pa.Schema | None = None, *, unknown: bool = True, window: Window | None = None
) -> Piece:
    found = types if types is not None else EVERYTHING_INFERRED.schema(kinds_in(records))
    gathered = Gathered(Shape(found, types is not None, unknown, window, "/orders"))
    gathered.add(records, {}, 0)
    return gathered.piece(Spot())


def rows(found: Piece) -> list[dict[str, Any]]:
    return found.rows.drop_columns([POSITION]).to_pylist()


def test_types_are_those_that_a_sample_shows() -> None:
    kinds = kinds_in(parsed('[{"a": 1, "b": 1.5, "c": "x", "d": true, "e": {"x": []}, "f": null}, {"a": 2.5, "g": 1}]'))

    assert {name: kind.sql_type for name, kind in kinds.items()} == {
        "a": "numeric", "b": "numeric", "c": "text", "d": "boolean", "e": "jsonb", "f": "text", "g": "bigint",
    }  # fmt: skip


def test_numbers_keep_every_digit_in_decimals_in_text_and_inside_json() -> None:
    body = '[{"a": 12345678901234567890.12, "b": 0.10000000000000000001, "c": {"x": [1.50, 1e400, 12345678901234567]}}]'

    found = piece(parsed(body), declared({"a": "decimal(38,2)", "b": "string", "c": "json"}))

    assert rows(found) == [
        {
            "a": Decimal("12345678901234567890.12"),
            "b": "0.10000000000000000001",
            "c": '{"x": [1.50, 1e400, 12345678901234567]}',
        }
    ]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int64", [1, -5, "7", None], [1.5, "x", True, 2**63, {}]), ("int16", [1, "7"], [40_000]),
        ("float64", [1, Written("2.5"), "3"], ["x", [], True, Written("1e400")]),
        ("bool", [True, "false"], ["maybe", {}]),
        ("decimal(5,2)", [1, Written("2.50"), "3.25", Written("1E+2")], [Written("1.239"), 1000, "x"]),
        ("string", ["x", 1, Written("1.50"), True, {"a": 1}], []), ("json", [{"a": 1}, "x", 1, [None]], []),
        ("date", ["2026-01-31"], ["2026-02-30", 5]), ("time", ["23:59:59"], ["25:00"]),
        ("timestamp", ["2026-01-31T01:02:03.5"], ["2026-01-31T01:02:03Z", 1_700_000_000]),
        ("timestamptz", ["2026-01-31T01:02:03Z", "2026-01-31T01:02:03+02:00"], ["2026-01-31T01:02:03", "never"]),
    ],
)  # fmt: skip
def test_declared_values_fit_or_are_set_aside_by_name(kind: str, good: list[Any], bad: list[Any]) -> None:
    found = piece([{"a": value} for value in [*good, *bad]], declared({"a": kind}))

    assert found.rows.num_rows == len(good)
    assert found.rejects["position"].to_pylist() == [len(good) + n for n in range(len(bad))]
    assert set(found.rejects["column"].to_pylist()) <= {"a"}


def test_a_value_beyond_the_sample_is_set_aside_with_its_record() -> None:
    types = EVERYTHING_INFERRED.schema(kinds_in([{"a": 1, "b": True}]))
    gathered = Gathered(Shape(types, is_declared=False, refuses_unknown=True, window=None, path="/orders"))
    gathered.add([{"a": 1, "b": True}, {"a": "x", "b": 1}, {"a": None}, "no object"], {}, 100)

    found = gathered.piece(Spot())

    assert rows(found) == [{"a": 1, "b": True}, {"a": None, "b": None}]
    assert found.rows[POSITION].to_pylist() == [100, 102]
    assert [(one["position"], one["rule"], one["column"]) for one in found.rejects.to_pylist()] == [
        (101, "type", "a"), (101, "type", "b"), (103, "parse", None),
    ]  # fmt: skip
    assert json.loads(found.rejects["row"][0].as_py()) == {"a": "x", "b": 1}


@pytest.mark.parametrize("kind", ["string", "json", "int64"])
def test_half_a_character_is_set_aside_or_replaced_and_never_a_crash(kind: str) -> None:
    found = piece(parsed('[{"a": "\\ud800"}, {"a": null}]'), declared({"a": kind}))

    assert found.rows.num_rows == 1
    assert found.rejects.num_rows == 1


def test_a_field_that_is_no_column_is_refused_by_name_or_ignored() -> None:
    types = declared({"a": "int64"})

    with pytest.raises(ContractViolationError, match="'b'"):
        piece([{"a": 1, "b": 2}], types)
    assert rows(piece([{"a": 1, "b": 2}], types, unknown=False)) == [{"a": 1}]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
            | st.lists(st.integers()) | st.dictionaries(st.text(), st.text()),
        ),
        max_size=20,
    )
)  # fmt: skip
def test_every_record_that_was_sampled_fits(records: list[dict[str, Any]]) -> None:
    body = parsed(json.dumps(records))

    found = piece(body)

    lost = [one for one in records if "\\ud" in json.dumps(one)]
    assert found.rows.num_rows >= len(records) - len(lost)
    assert found.rows.num_rows + len(set(found.rejects["position"].to_pylist())) == len(records)
    assert found.rows.schema.remove(len(found.rows.schema) - 1) == EVERYTHING_INFERRED.schema(kinds_in(body))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_json_text_means_what_was_read(value: object) -> None:
    assert json.loads(json_text(parsed(json.dumps(value)))) == value


@pytest.mark.parametrize("body", ["[1.5, 1e400]", "[1.5, 9007199254740993]"])
def test_a_number_that_a_float_would_change_keeps_its_digits(body: str) -> None:
    found = piece([{"a": value} for value in parsed(body)])

    assert [one["a"] for one in rows(found)] == body.strip("[]").split(", ")
    assert found.rejects.num_rows == 0


WINDOW = Window("at", "timestamp", "2026-01-01T00:00:02+00:00", "2026-01-01T00:00:04+00:00")


def test_records_at_and_before_the_watermark_and_after_the_end_are_counted_as_filtered() -> None:
    moments = ["2026-01-01T00:00:01Z", "2026-01-01T01:00:02+01:00", "2026-01-01T00:00:03", "2026-01-01T00:00:04.5Z"]

    found = piece([{"at": at} for at in moments], window=WINDOW)

    assert (rows(found), found.filtered) == ([{"at": moments[2]}], 3)
    assert found.high == "2026-01-01T00:00:03+00:00"


@pytest.mark.parametrize("value", [None, "soon", True, [], {}])
def test_a_record_whose_cursor_says_nothing_is_set_aside(value: object) -> None:
    found = piece([{"at": value}], declared({"at": "json"}), window=WINDOW)

    assert found.rejects["rule"].to_pylist() == ["cursor"]
    assert (found.rows.num_rows, found.filtered, found.high) == (0, 0, None)


def test_numbers_are_ordered_as_numbers() -> None:
    window = Window("id", "number", "9", None)

    found = piece(
        parsed('[{"id": 9}, {"id": 10}, {"id": "100"}, {"id": 9.5}]'), declared({"id": "string"}), window=window
    )

    assert (found.rows.num_rows, found.filtered, found.high) == (3, 1, "100")


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("iso", "2026-01-01T00:00:02.500000Z"), ("date", "2026-01-01"), ("unix", "1767225602"),
        ("unix_ms", "1767225602500"),
    ],
)  # fmt: skip
def test_the_api_is_asked_from_the_watermark_on_and_never_from_later(form: str, written: str) -> None:
    incremental = RestIncremental.model_validate({"cursor": "at", "parameter": "since", "format": form})

    assert asked(incremental, "2026-01-01T00:00:02.500000+00:00") == (("since", written),)
    assert asked(incremental, None) == ()
