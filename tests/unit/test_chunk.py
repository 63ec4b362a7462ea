"""Laws of chunks: numbered from 0, the last one marked, and every row accounted for."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import (
    LONGEST_ROW,
    POSITION,
    REJECTS,
    Account,
    Chunk,
    broken_by,
    number,
    row_text,
    shortened,
    texts_of,
    with_positions,
)
from tests.warehouses import chunks_of, loaded, rejects_at

SCHEMA = pa.schema({"x": pa.int64()})


def rows_of(count: int) -> pa.Table:
    return pa.table({"x": pa.array(range(count), pa.int64())})


@given(st.lists(st.integers(0, 5), max_size=6))
def test_chunks_are_numbered_from_0_and_only_the_last_is_marked(sizes: list[int]) -> None:
    chunks = chunks_of("u", *map(rows_of, sizes), schema=SCHEMA)

    assert [chunk.seq for chunk in chunks] == list(range(max(1, len(sizes))))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(chunk.read for chunk in chunks) == sum(sizes)


@given(st.lists(st.integers(0, 5), max_size=6))
def test_positions_count_the_rows_of_a_unit_across_its_chunks(sizes: list[int]) -> None:
    chunks = chunks_of("u", *map(rows_of, sizes), schema=SCHEMA)

    assert [p for chunk in chunks for p in chunk.rows[POSITION].to_pylist()] == list(range(sum(sizes)))


def test_a_unit_without_rows_is_one_chunk_of_its_schema() -> None:
    [chunk] = number("u", SCHEMA, ())

    assert (chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows) == (0, True, 0, 0)
    assert chunk.rows.schema.names == ["x", POSITION]


def test_rows_that_cannot_be_read_count_as_read_and_rejected() -> None:
    [chunk] = number("u", SCHEMA, [(with_positions(rows_of(2), 0), rejects_at(2, 3))])

    assert (chunk.read, chunk.rejected) == (4, 2)


def test_a_row_that_broke_several_rules_is_rejected_once() -> None:
    chunk = Chunk("u", 0, last=True, read=3, rows=rows_of(1), rejects=rejects_at(0, 0, 1))

    assert chunk.rejected == 2


def test_keeping_adds_what_was_filtered_and_set_aside_before() -> None:
    chunk = Chunk("u", 0, last=True, read=5, rows=rows_of(4), rejects=rejects_at(0), filtered=0)

    kept = chunk.keep(rows_of(2), filtered=1, rejects=rejects_at(1)).keep(rows_of(1), filtered=1)

    assert (kept.rows.num_rows, kept.filtered, kept.rejected, kept.read) == (1, 2, 2, 5)


def test_the_account_of_a_chunk_is_balanced_when_every_row_is_somewhere() -> None:
    assert loaded(rows=4, loaded=1, rejected=1, filtered=2).is_balanced
    assert not loaded(rows=4, loaded=1, rejected=1, filtered=1).is_balanced


def test_accounts_add_up() -> None:
    assert Account(1, 1) + loaded(rows=5, loaded=2, rejected=2, filtered=1) == Account(6, 3, 2, 1)


@given(st.text(min_size=1, max_size=50))
def test_a_shortened_text_fits_a_reject_and_begins_alike(part: str) -> None:
    text = part * (LONGEST_ROW // len(part))

    short = shortened(text)

    assert len(short.encode(errors="replace")) <= LONGEST_ROW
    assert text.encode(errors="replace").startswith(short.encode(errors="replace"))


@pytest.mark.parametrize("text", [sign * (LONGEST_ROW + 1) for sign in "aé🎈"], ids=["a", "é", "🎈"])
def test_a_long_text_is_cut_between_two_characters(text: str) -> None:
    short = shortened(text)

    assert set(short) == set(text)
    assert LONGEST_ROW - 4 < len(short.encode()) <= LONGEST_ROW


def test_a_row_is_told_as_json_with_what_json_lacks_as_text() -> None:
    told = row_text({"a": 1, "b": b"\xff", "c": float("nan"), "d": None, "e": "Zoë\x00"})

    assert json.loads(told) == {"a": 1, "b": "\\xff", "c": "NaN", "d": None, "e": "Zoë\x00"}
    assert "\x00" not in told
    assert "Zoë" in told


def test_a_row_beyond_the_calendar_of_python_is_told_too() -> None:
    rows = pa.table({"d": pa.array([0, 2**31 - 1], pa.date32()), "t": pa.array([0, 2**62], pa.timestamp("us"))})

    first, second = texts_of(rows)

    assert json.loads(first) == {"d": "1970-01-01", "t": "1970-01-01 00:00:00"}
    assert json.loads(second) == {"d": 2**31 - 1, "t": 2**62}


def test_a_number_of_single_precision_is_written_with_its_own_digits() -> None:
    rows = pa.table({"x": pa.array([0.1, 3.4e38, None, 16777216.0], pa.float32())})

    assert texts_of(rows) == ['{"x": 0.1}', '{"x": 3.4e+38}', '{"x": null}', '{"x": 16777216.0}']


def test_rejects_are_counted_by_rule_and_column() -> None:
    broken = [("type", "qty", 2), ("type", "id", 1), ("row", None, 3)]
    rows = [{"position": 0, "rule": rule, "column": column} for rule, column, times in broken for _ in range(times)]

    assert broken_by(pa.Table.from_pylist(rows, schema=REJECTS)) == (("row", 3), ("type of qty", 2), ("type of id", 1))
    assert broken_by(REJECTS.empty_table()) == ()
