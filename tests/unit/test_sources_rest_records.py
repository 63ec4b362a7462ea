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
from dataproc.sources.json_values import Raw
from dataproc.sources.rest.columns import declared, sampled
from dataproc.sources.rest.cursor import Window, asked
from dataproc.sources.rest.jsonpaths import all_at
from dataproc.sources.rest.paging import Spot
from dataproc.sources.rest.records import Gathered, Shape


def parsed(text: str) -> list[Raw]:
    """Return the records of a body."""
    return all_at("$[*]", text.encode())


def records_with(*values: str) -> list[Raw]:
    """Return records with a field `a`, whose values are written as they are in JSON."""
    return [f'{{"a": {value}}}'.encode() for value in values]


def piece(
    records: Sequence[Raw], types: pa.Schema | None = None, *, unknown: bool = True, window: Window | None = None
) -> Piece:
    found = types if types is not None else EVERYTHING_INFERRED.schema(sampled(records))
    gathered = Gathered(Shape(found, types is not None, unknown, window, "/orders"))
    gathered.add(records, {}, 0)
    return gathered.piece(Spot())


def rows(found: Piece) -> list[dict[str, Any]]:
    return found.rows.drop_columns([POSITION]).to_pylist()


def test_types_are_those_that_a_sample_shows() -> None:
    kinds = sampled(parsed('[{"a": 1, "b": 1.5, "c": "x", "d": true, "e": {"x": []}, "f": null}, {"a": 2.5, "g": 1}]'))

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


JUDGED = [
    ("int64", ["1", "-5", '"7"', "null"], ["1.5", '"x"', "true", str(2**63), "{}", "1" * 5000]),
    ("int16", ["1", '"7"'], ["40000"]),
    ("float64", ["1", "2.5", '"3"'], ['"x"', "[]", "true", "1e400"]),
    ("bool", ["true", '"false"'], ['"maybe"', "{}"]),
    ("decimal(5,2)", ["1", "2.50", '"3.25"', "1E+2"], ["1.239", "1000", '"x"']),
    ("string", ['"x"', "1", "1.50", "true", '{"a":1}', r'"\u00e9\n"'], []),
    ("json", ['{"a":1}', '"x"', "1", "[null]"], []),
    ("date", ['"2026-01-31"'], ['"2026-02-30"', "5"]), ("time", ['"23:59:59"'], ['"25:00"']),
    ("timestamp", ['"2026-01-31T01:02:03.5"'], ['"2026-01-31T01:02:03Z"', "1700000000"]),
    ("timestamptz", ['"2026-01-31T01:02:03Z"', '"2026-01-31T01:02:03+02:00"'], ['"2026-01-31T01:02:03"', '"never"']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad"), JUDGED)
@pytest.mark.parametrize("others", [0, 2000])
def test_declared_values_fit_or_are_set_aside_by_name(kind: str, good: list[str], bad: list[str], others: int) -> None:
    found = piece([*records_with(*good, *bad), *records_with(*good[:1]) * others], declared({"a": kind}))

    assert found.rows.num_rows == len(good) + others
    assert found.rejects["position"].to_pylist() == [len(good) + n for n in range(len(bad))]
    assert set(found.rejects["column"].to_pylist()) <= {"a"}


@pytest.mark.parametrize(("kind", "good", "bad"), JUDGED)
def test_a_value_is_the_same_beside_one_that_is_set_aside(kind: str, good: list[str], bad: list[str]) -> None:
    types = declared({"a": kind})

    fitting, sifted = piece(records_with(*good), types), piece([*records_with(*good, *bad), b"5"], types)

    assert fitting.rows.equals(sifted.rows)
    assert sifted.rejects.num_rows == len(bad) + 1


def test_records_without_columns_are_counted() -> None:
    found = piece(parsed("[{}, 5, {}]"))

    assert found.rows[POSITION].to_pylist() == [0, 2]
    assert found.rejects["position"].to_pylist() == [1]


def test_a_value_beyond_the_sample_is_set_aside_with_its_record() -> None:
    sample = parsed('[{"a": 1, "b": true}]')
    types = EVERYTHING_INFERRED.schema(sampled(sample))
    gathered = Gathered(Shape(types, is_declared=False, refuses_unknown=True, window=None, path="/orders"))
    odd = '{"a" : "x","b": 1}'
    gathered.add([*sample, odd.encode(), b'{"a": null}', b'"no object"'], {}, 100)

    found = gathered.piece(Spot())

    assert rows(found) == [{"a": 1, "b": True}, {"a": None, "b": None}]
    assert found.rows[POSITION].to_pylist() == [100, 102]
    assert [(one["position"], one["rule"], one["column"], one["row"]) for one in found.rejects.to_pylist()] == [
        (101, "type", "a", odd), (101, "type", "b", odd), (103, "parse", None, '"no object"'),
    ]  # fmt: skip
    assert [one["reason"] for one in found.rejects.to_pylist()] == [
        "record 102: column 'a' does not fit type int64", "record 102: column 'b' does not fit type bool",
        "record 104: the record is not a JSON object",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sample", "bad"),
    [
        ("1", ['"7"', "1.0", "true", str(2**63), "[]"]), ("true", ["1", '"true"', "{}"]),
        ("1.5E3", ["12345678901234567891E3", "0.1234567890123456789e1", "1e400", '"1.5"', "false"]),
        ("1.5", ['"x"', "true", "[]"]),
    ],
)  # fmt: skip
def test_a_value_that_a_sampled_column_would_change_is_set_aside(sample: str, bad: list[str]) -> None:
    types = EVERYTHING_INFERRED.schema(sampled(records_with(sample)))
    gathered = Gathered(Shape(types, is_declared=False, refuses_unknown=True, window=None, path="/orders"))
    gathered.add([*records_with(*[sample] * 100), *records_with(*bad), *records_with(*[sample] * 100)], {}, 0)

    found = gathered.piece(Spot())

    assert found.rejects["position"].to_pylist() == [100 + n for n in range(len(bad))]
    assert found.rows.num_rows == 200


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ('{"a": 1}', {"a": 1, "b": "x"}), ('{ "b": 5, "a": 1 }', {"a": 1, "b": "x"}), ("{}", {"a": None, "b": "x"}),
        ("{ }", {"a": None, "b": "x"}),
    ],
)  # fmt: skip
def test_values_of_a_parent_count_over_fields_of_the_same_name(record: str, row: dict[str, object]) -> None:
    gathered = Gathered(
        Shape(
            declared({"a": "int64", "b": "string"}), is_declared=True, refuses_unknown=True, window=None, path="/orders"
        )
    )
    gathered.add([record.encode(), b"5"], {"b": b'"x"'}, 0)

    found = gathered.piece(Spot())

    assert rows(found) == [row]
    assert found.rejects["row"].to_pylist() == ["5"]


@pytest.mark.parametrize("kind", ["string", "json", "int64"])
def test_half_a_character_is_set_aside_or_replaced_and_never_a_crash(kind: str) -> None:
    found = piece(parsed('[{"a": "\\ud800"}, {"a": null}]'), declared({"a": kind}))

    assert found.rows.num_rows == 1
    assert found.rejects.num_rows == 1


def test_a_field_that_is_no_column_is_refused_by_name_or_ignored() -> None:
    types = declared({"a": "int64"})

    with pytest.raises(ContractViolationError, match="'b'"):
        piece(parsed('[{"a": 1, "b": 2}]'), types)
    found = piece(parsed('[{"a": 1, "b": 2}, {"a": "x", "b": 3}]'), types, unknown=False)
    assert rows(found) == [{"a": 1}]
    assert found.discarded == ()


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

    lost = [one for one in body if not is_readable(one)]
    assert found.rows.num_rows == len(records) - len(lost)
    assert found.rejects["row"].to_pylist() == [one.decode() for one in lost]
    assert found.rows.schema.remove(len(found.rows.schema) - 1) == EVERYTHING_INFERRED.schema(sampled(body))


def is_readable(record: Raw) -> bool:
    """Return whether UTF-8 can hold all characters of a record."""
    try:
        json.dumps(json.loads(record), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("body", ["[1.5, 1e400]", "[1.5, 9007199254740993]"])
def test_a_number_that_a_float_would_change_keeps_its_digits(body: str) -> None:
    found = piece(records_with(*body.strip("[]").split(", ")))

    assert [one["a"] for one in rows(found)] == body.strip("[]").split(", ")
    assert found.rejects.num_rows == 0


WINDOW = Window("at", "timestamp", "2026-01-01T00:00:02+00:00", "2026-01-01T00:00:04+00:00")


def test_records_at_and_before_the_watermark_and_after_the_end_are_counted_as_filtered() -> None:
    moments = ["2026-01-01T00:00:01Z", "2026-01-01T01:00:02+01:00", "2026-01-01T00:00:03", "2026-01-01T00:00:04.5Z"]

    found = piece([json.dumps({"at": at}).encode() for at in moments], window=WINDOW)

    assert (rows(found), found.filtered) == ([{"at": moments[2]}], 3)
    assert found.high == "2026-01-01T00:00:03+00:00"


@pytest.mark.parametrize("value", [None, "soon", True, [], {}])
def test_a_record_whose_cursor_says_nothing_is_set_aside(value: object) -> None:
    found = piece([json.dumps({"at": value}).encode(), b"{}"], declared({"at": "json"}), window=WINDOW)

    assert found.rejects["rule"].to_pylist() == ["cursor", "cursor"]
    assert (found.rows.num_rows, found.filtered, found.high) == (0, 0, None)


def test_a_record_that_cannot_be_read_is_set_aside_where_there_is_a_cursor_as_well() -> None:
    found = piece([b"5", rb'{"at": "2026-01-01T00:00:03Z", "b": "\ud800"}'], declared({"at": "string"}), window=WINDOW)

    assert found.rejects["rule"].to_pylist() == ["parse", "parse"]
    assert found.rejects["position"].to_pylist() == [0, 1]
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
