"""The `validate` step: rules over rows, which are expressions, JSON Schemas, models of pydantic, and keys."""

import json
import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.chunk import POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.errors import BadDataError, ContractViolationError, InvalidSpecError
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.transforms.factory import transform_for
from dataproc.transforms.looking import LookingKeyed
from dataproc.transforms.validate import Validate
from tests.builders import around_transforms


def a_chunk(**columns: Any) -> Chunk:
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), 0), no_rejects()), last=True)


def validate(**options: Any) -> LookingKeyed:
    spec = ValidateTransform.model_validate({"kind": "validate", **options})
    step = transform_for(spec, around_transforms(python_modules=("tests",)))
    assert isinstance(step, LookingKeyed)
    assert isinstance(step.step, Validate)
    return step


def broken(chunk: Chunk) -> list[tuple[int, str, str, str]]:
    return [(row["position"], row["rule"], row["column"], row["reason"]) for row in chunk.rejects.to_pylist()]


ENDS = {"name": "ends_after_start", "expect": "end_at >= start_at"}


def test_a_rule_between_columns_sees_the_declared_types_and_null_holds() -> None:
    step = validate(columns={"start_at": "date", "end_at": "date"}, rules=[ENDS])
    chunk = a_chunk(
        start_at=["2024-01-02", "2024-01-02", None, "x"],
        end_at=["2024-01-10", "2024-01-01", "2024-01-01", "2024-01-01"],
    )

    after = step.apply(chunk)

    assert after.rows["end_at"].to_pylist() == [date(2024, 1, 10), date(2024, 1, 1)]
    assert broken(after) == [
        (1, "ends_after_start", "end_at, start_at", "end_at >= start_at does not hold"),
        (3, "type", "start_at", "column 'start_at' is no date"),
    ]


def test_every_rule_that_a_row_breaks_is_told_whatever_its_kind() -> None:
    step = validate(
        columns={"n": "int64 < 5"},
        rules=[{"name": "even", "expect": "n % 2 = 0"}, {"name": "small", "expect": "n < 7"}],
        json_schema={"properties": {"n": {"maximum": 8}}},
    )

    after = step.apply(a_chunk(n=["9", "4"]))

    assert [(at, rule) for at, rule, _, _ in broken(after)] == [(0, "lt"), (0, "even"), (0, "small"), (0, "maximum")]
    assert after.rejected == 1


def test_a_row_for_which_a_rule_cannot_be_computed_is_set_aside() -> None:
    step = validate(rules=[{"name": "positive", "expect": "cast(n as int) > 0"}])

    after = step.apply(a_chunk(n=["1", "x", None, "-1"]))

    assert after.rows["n"].to_pylist() == ["1", None]
    assert broken(after) == [
        (1, "positive", "n", "cast(n as int) > 0 cannot be computed"),
        (3, "positive", "n", "cast(n as int) > 0 does not hold"),
    ]


ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "note": {"type": "string", "maxLength": 3},
        "maybe": {"$ref": "#/$defs/maybe"},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "$defs": {"maybe": {"type": ["string", "null"]}},
}


def test_rows_are_held_against_a_json_schema_and_no_reason_shows_a_value() -> None:
    chunk = a_chunk(id=[1, 0, None], note=["abc", "sesame", None], tags=[["a"], [None], []])

    after = validate(json_schema=ORDER).apply(chunk)

    assert after.rows["id"].to_pylist() == [1]
    assert broken(after) == [
        (1, "minimum", "id", "column 'id': the value is less than the minimum of 1"),
        (1, "maxLength", "note", "column 'note': the value is longer than 3 characters"),
        (1, "type", "tags", "column 'tags': the value is not of type \"string\""),
        (2, "required", "id", "column 'id': \"id\" is a required property"),
    ]


def test_null_is_missing_unless_the_property_may_be_null() -> None:
    required = {**ORDER, "required": ["maybe"]}

    after = validate(json_schema=required).apply(a_chunk(maybe=["x", None], note=pa.array([None, None], pa.string())))

    assert after.rows.num_rows == 2


def test_a_json_schema_sees_dates_and_numbers_as_json_has_them() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    document = {
        "properties": {
            "at": {"type": "string", "format": "date-time"}, "d": {"const": "2024-01-02"},
            "amount": {"type": "number", "minimum": 1.5}, "b": {"const": "ff"},
            "r": {"properties": {"d": {"type": "string"}}},
        },
        "minProperties": 5,
    }  # fmt: skip

    chunk = a_chunk(at=[moment], d=[moment.date()], amount=[Decimal("1.50")], b=[b"\xff"], r=[{"d": moment.date()}])

    assert broken(validate(json_schema=document).apply(chunk)) == []


def test_rows_are_held_against_a_model_field_by_field() -> None:
    chunk = a_chunk(
        order_id=["1", "0", "3", "4", "5"],
        status=["new", "gone", "paid", "new", None],
        amount=[1.5, -1.0, 0.0, 1.0, 1.0],
        day=[date(2024, 1, 2), None, None, None, None],
        note=[None, "sesame", "x", "open", None],
        other=[1, 2, 3, 4, 5],
    )

    after = validate(model="tests.pydantic_models:Order").apply(chunk)

    assert after.rows["order_id"].to_pylist() == ["1"]
    assert [found[:3] for found in broken(after)] == [
        (1, "greater_than", "order_id"), (1, "literal_error", "status"), (1, "greater_than_equal", "amount"),
        (1, "string_too_long", "note"), (2, "value_error", ""), (3, "value_error", "note"),
        (4, "literal_error", "status"),
    ]  # fmt: skip
    assert not any("sesame" in reason or "open" in reason for _, _, _, reason in broken(after))
    assert after.rows.schema == chunk.rows.schema


def test_a_strict_model_refuses_other_columns_and_other_types() -> None:
    after = validate(model="tests.pydantic_models:Strict").apply(a_chunk(n=["1"], more=[2]))

    assert [found[:3] for found in broken(after)] == [(0, "int_type", "n"), (0, "extra_forbidden", "more")]


@pytest.mark.parametrize(("model", "error"), [("Broken", "KeyError"), ("Exiting", "SystemExit")])
def test_a_model_with_a_mistake_of_its_own_ends_the_run_without_values(
    caplog: pytest.LogCaptureFixture, model: str, error: str
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(BadDataError, match=f"pydantic_models:{model} failed with {error}") as caught,
    ):
        validate(model=f"tests.pydantic_models:{model}").apply(a_chunk(n=[1]))

    assert "sesame" not in str(caught.value) + caplog.text


def test_objects_and_lists_may_come_as_json_text() -> None:
    chunk = a_chunk(
        place=['{"city": "Bonn"}', "{}", None, "{"], tags=['["a"]', None, "[1]", "[]"], note=["[x", "[]", None, "y"]
    )
    document = {
        "properties": {
            "place": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}, {"$ref": "#/$defs/again"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "$defs": {"place": {"type": "object", "required": ["city"]}, "again": {"anyOf": [{"$ref": "#/$defs/place"}]}},
    }  # fmt: skip

    by_model = validate(model="tests.pydantic_models:Nested").apply(chunk)
    by_schema = validate(json_schema=document).apply(chunk)

    assert by_model.rows.to_pylist() == by_schema.rows.to_pylist() == chunk.rows.slice(0, 1).to_pylist()
    assert [found[:3] for found in broken(by_model)] == [
        (1, "missing", "place"), (2, "string_type", "tags"), (3, "model_type", "place"),
    ]  # fmt: skip
    assert [found[:3] for found in broken(by_schema)] == [
        (1, "anyOf", "place"),
        (2, "type", "tags"),
        (3, "anyOf", "place"),
    ]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("os:system", "the module 'os' is not allowed; add its package to DATAPROC_PYTHON_MODULES"),
        ("testsuite.models:Order", "the module 'testsuite.models' is not allowed"),
        ("tests.nowhere:Order", "the module 'tests.nowhere' is not installed"),
        ("tests.pydantic_models:Nothing", "has nothing that is called 'Nothing'"),
        ("tests.pydantic_models:no_model", "is no model of pydantic"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_before_there_are_rows(model: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        validate(model=model).schema(pa.schema([("n", pa.int64())]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"x": "int64", "y": "int64", "r": "int64"}}, "no columns 'x', 'y'.*; .*column 'r' is struct"),
        ({"rules": [{"name": "a", "expect": "m > 1"}, {"name": "b", "expect": "n"}]}, "no column 'm'.*; .*'b'.*int64"),
        ({"rules": [{"name": "a", "expect": "(select true)"}]}, "'a'.*a query within an expression is not allowed"),
        ({"unique": [["n", "m"]]}, "validate.unique: the rows have no column 'm'"),
        ({"unique": [["r"]]}, "validate.unique: column 'r' is struct"),
        ({"json_schema": {"type": "nonsense"}}, "validate.json_schema: type: .*nonsense"),
        ({"json_schema": {"$ref": "http://127.0.0.1:1/order.json"}}, "127.0.0.1.*nothing outside"),
        ({"json_schema": {"$ref": "file:///etc/hostname"}}, "validate.json_schema: .*nothing outside"),
        ({"json_schema": {"pattern": "(?=a)"}}, "validate.json_schema"),
        ({"json_schema": {"required": ["n", "m"]}}, "the rows have no column 'm', which is required"),
        ({"model": "tests.pydantic_models:Order"}, "no column 'order_id', 'status', 'amount', 'day', which"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_go_with_the_columns_names_each(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        validate(**options).schema(pa.table({"n": [1], "r": [{"q": 1}]}).schema)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there is none of them; declare what rows must be"),
        ({"rules": [ENDS, ENDS]}, "'ends_after_start' is there twice"),
        ({"model": "os.system"}, "String should match pattern"),
    ],
)
def test_a_step_that_asks_for_nothing_or_twice_is_refused_when_it_is_read(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        validate(**options)


def test_keys_that_must_be_unique_travel_with_the_good_rows_in_the_declared_types() -> None:
    step = validate(columns={"id": "int64! unique", "n": "int64"}, unique=[["n", "id"], ["id"]], on_error="drop")
    chunk = a_chunk(id=["1", "x", "1"], n=["5", "6", "7"])

    after, rules = step.apply(chunk), step.rules(chunk.rows.drop_columns([POSITION]).schema)

    assert [(rule.columns, rule.others, rule.keep) for rule in rules] == [
        (("id",), "drop", "first"), (("n", "id"), "drop", "first"),
    ]  # fmt: skip
    assert [keys.to_pydict() for keys in after.keys] == [
        {"k0": [1, 1], POSITION: [0, 2]},
        {"k0": [5, 7], "k1": [1, 1], POSITION: [0, 2]},
    ]
    assert [keys.schema.remove(len(rule.names)) for keys, rule in zip(after.keys, rules, strict=True)] == [
        r.schema for r in rules
    ]


def test_a_step_without_such_keys_has_no_rules_over_the_run() -> None:
    step = validate(columns={"id": "int64"})

    assert step.rules(pa.schema([("id", pa.int64())])) == ()
    assert step.apply(a_chunk(id=[1])).keys == ()


EVERYTHING = {
    "columns": {"id": "int64! >= 1 unique", "name": "string length 1..4 ~ /^[a-z]/", "mail": "email?"},
    "rules": [{"name": "named", "expect": "id > 2 or name <> 'bad'"}],
    "unique": [["name", "mail"]],
    "json_schema": {"properties": {"mail": {"maxLength": 6}}},
    "model": "tests.pydantic_models:Named",
}


@pytest.mark.parametrize("options", [EVERYTHING, {"unique": [["id"]]}])
def test_what_is_written_down_of_a_step_is_read_as_the_same_step(options: dict[str, Any]) -> None:
    spec = ValidateTransform.model_validate({"kind": "validate", **options})

    assert ValidateTransform.model_validate_json(spec.model_dump_json()) == spec


SCHEMA = pa.schema([("id", pa.string()), ("name", pa.string()), ("mail", pa.string())])
rows_of_everything = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from([None, "0", "1", "2", "3", "x"]),
            "name": st.sampled_from([None, "", "bad", "ann", "Ann", "annabel"]),
            "mail": st.sampled_from([None, "a@b.de", "aa@bb.de", "@"]),
        }
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(rows_of_everything, st.integers(0, 25), st.sampled_from(["quarantine", "drop"]))
def test_all_of_it_is_pure_counts_every_row_and_gives_the_same_in_pieces(
    rows: list[dict[str, Any]], cut: int, on_error: str
) -> None:
    step, table = validate(**EVERYTHING, on_error=on_error), with_positions(pa.Table.from_pylist(rows, SCHEMA), 100)

    def after(piece: pa.Table) -> Chunk:
        found = step.apply(chunk_of("unit-1", 0, Piece(piece, no_rejects()), last=True))
        assert found.read == piece.num_rows == found.rows.num_rows + found.rejected + found.filtered
        assert all(keys[POSITION].equals(found.rows[POSITION]) for keys in found.keys)
        return found

    whole, again, pieces = after(table), after(table), [after(table.slice(0, cut)), after(table.slice(cut))]

    assert (whole.rows, whole.rejects, whole.keys) == (again.rows, again.rejects, again.keys)
    assert pa.concat_tables([piece.rows for piece in pieces]).equals(whole.rows)
    assert sorted(map(json.dumps, pa.concat_tables([p.rejects for p in pieces]).to_pylist())) == sorted(
        map(json.dumps, whole.rejects.to_pylist())
    )
    assert (np.diff(np.asarray(whole.rows[POSITION])) > 0).all()
    assert whole.rows.schema.remove(len(whole.rows.schema) - 1) == step.schema(SCHEMA)
