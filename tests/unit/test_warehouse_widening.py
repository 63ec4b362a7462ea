"""Laws of widening: the least type that holds the values of two others, and what a column pays to become it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.warehouse.widening import base_of, cost_of, widened

DECIMALS = st.integers(1, 60).flatmap(lambda p: st.integers(0, p).map(lambda s: f"numeric({p},{s})"))
NUMBERS = st.one_of(st.sampled_from(["smallint", "integer", "bigint", "real", "double precision", "numeric"]), DECIMALS)
TEXTS = st.one_of(
    st.sampled_from(["text", "character varying"]),
    st.builds("{}({})".format, st.sampled_from(["character", "character varying"]), st.integers(1, 300)),
)
OTHERS = st.sampled_from(
    ["date", "timestamp without time zone", "timestamp with time zone", "boolean", "jsonb", "uuid", "bytea", "bigint[]"]
)
TYPES = st.one_of(NUMBERS, TEXTS, OTHERS)


@given(TYPES)
def test_a_type_widened_by_itself_is_itself(one: str) -> None:
    assert widened(one, one) == one


@given(TYPES, TYPES)
def test_the_order_of_two_types_does_not_matter(one: str, other: str) -> None:
    assert widened(one, other) == widened(other, one)


@given(TYPES, TYPES)
def test_what_was_widened_holds_both(one: str, other: str) -> None:
    both = widened(one, other)

    if both is not None:
        assert widened(both, one) == widened(both, other) == both


@given(NUMBERS, NUMBERS, NUMBERS)
def test_the_order_in_which_numbers_are_widened_does_not_matter(one: str, two: str, three: str) -> None:
    left = widened(widened(one, two) or "", three)

    assert left == widened(one, widened(two, three) or "")
    assert left is not None


@given(TEXTS, TEXTS, TEXTS)
def test_the_order_in_which_texts_are_widened_does_not_matter(one: str, two: str, three: str) -> None:
    left = widened(widened(one, two) or "", three)

    assert left == widened(one, widened(two, three) or "")
    assert left is not None


@given(NUMBERS, st.one_of(TEXTS, OTHERS))
def test_numbers_have_no_type_in_common_with_anything_else(number: str, other: str) -> None:
    assert widened(number, other) is None


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("smallint", "integer", "integer"),
        ("integer", "bigint", "bigint"),
        ("bigint", "numeric", "numeric"),
        ("bigint", "numeric(12,2)", "numeric(21,2)"),
        ("smallint", "numeric(3,0)", "numeric(5,0)"),
        ("numeric(12,2)", "numeric(10,4)", "numeric(14,4)"),
        ("numeric(1000,0)", "numeric(5,5)", "numeric"),
        ("real", "double precision", "double precision"),
        ("smallint", "real", "real"),
        ("integer", "real", "double precision"),
        ("bigint", "double precision", "numeric"),
        ("numeric(12,2)", "double precision", "numeric"),
        ("character varying(5)", "character varying(9)", "character varying(9)"),
        ("character varying(5)", "text", "text"),
        ("character(5)", "character varying(9)", "text"),
        ("date", "timestamp", "timestamp without time zone"),
        ("timestamp", "timestamp with time zone", None),
        ("date", "timestamp with time zone", None),
        ("text", "bigint", None),
        ("jsonb", "text", None),
    ],
)
def test_types_widen_as_the_documentation_says(one: str, other: str, both: str | None) -> None:
    assert widened(one, other) == both


@pytest.mark.parametrize(
    ("before", "after", "cost"),
    [
        ("character varying(5)", "character varying(9)", "catalog"),
        ("character varying(5)", "text", "catalog"),
        ("numeric(12,2)", "numeric(14,2)", "catalog"),
        ("numeric(12,2)", "numeric", "catalog"),
        ("numeric(12,2)", "numeric(14,4)", "rewrite"),
        ("character(5)", "text", "rewrite"),
        ("integer", "bigint", "rewrite"),
        ("real", "double precision", "rewrite"),
        ("date", "timestamp", "rewrite"),
        ("double precision", "numeric", None),
        ("real", "numeric", None),
    ],
)
def test_a_column_pays_for_what_postgresql_has_to_do(before: str, after: str, cost: str | None) -> None:
    assert cost_of(before, after) == cost


@given(TYPES, TYPES)
def test_every_type_that_comes_out_of_two_others_is_known_by_its_internal_name(one: str, other: str) -> None:
    both = widened(one, other)

    if both not in (None, one, other):
        assert base_of(both or "")
