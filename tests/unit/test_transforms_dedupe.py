"""The `dedupe` step within a chunk, and the keys that it gives along."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.transforms.dedupe import Dedupe


def a_chunk(**columns: Any) -> Chunk:
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), 0), no_rejects()), last=True)


def dedupe(*keys: str, keep: Any = "first") -> Dedupe:
    return Dedupe(DedupeTransform.model_validate({"kind": "dedupe", "keys": keys, "keep": keep}))


def positions(chunk: Chunk) -> Any:
    return chunk.rows[POSITION].to_pylist()


@pytest.mark.parametrize(
    ("keep", "stays"),
    [("first", [0, 1]), ("last", [1, 3]), ({"latest": "v"}, [1, 2]), ({"earliest": "v"}, [0, 1])],
)
def test_one_row_stays_for_each_key_in_the_order_of_the_source(keep: Any, stays: list[int]) -> None:
    chunk = a_chunk(k=["a", "b", "a", "a"], v=[1, None, 3, None])

    after = dedupe("k", keep=keep).apply(chunk)

    assert positions(after) == stays
    assert after.deduplicated == 2
    assert after.read == 4


def test_the_keys_of_the_rows_that_stay_go_along_with_their_positions() -> None:
    after = dedupe("k", "v", keep={"latest": "n"}).apply(a_chunk(k=["a", "a"], v=[1, 1], n=[1.5, float("nan")]))

    assert [table.to_pylist() for table in after.keys] == [[{"k0": "a", "k1": 1, "by": 1.5, POSITION: 0}]]
    assert dedupe("k").rules(pa.schema([("k", pa.string())]))[0].schema == pa.schema([("k0", pa.string())])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0.0, -0.0]),
        pa.array(["a", "a"]).dictionary_encode(),
        pa.array([b"\0" * 16, b"\0" * 16], pa.uuid()),
        pa.array([None, None], pa.decimal256(50, 2)),
        pa.array([float("nan"), float("nan")]),
    ],
)
def test_values_that_are_equal_are_the_same_key(values: Any) -> None:
    assert positions(dedupe("k").apply(a_chunk(k=values))) == [0]


def test_a_chunk_without_rows_gives_no_keys_but_their_table() -> None:
    after = dedupe("k").apply(a_chunk(k=pa.array([], pa.int64())))

    assert [table.schema.names for table in after.keys] == [["k0", POSITION]]


@pytest.mark.parametrize("fields", [{"keys": ["x"]}, {"keys": ["k"], "keep": {"latest": "x"}}, {"keys": ["list"]}])
def test_a_column_that_is_missing_or_has_no_order_is_named(fields: Any) -> None:
    schema = pa.schema([("k", pa.int64()), ("list", pa.list_(pa.int64()))])

    with pytest.raises(ContractViolationError, match=r"'(x|list)'"):
        dedupe(*fields["keys"], keep=fields.get("keep", "first")).schema(schema)


values = st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)), max_size=12)


@given(rows=values, keep=st.sampled_from(["first", "last", {"latest": "v"}, {"earliest": "v"}]))
def test_it_keeps_each_key_once_balances_and_changes_nothing_the_second_time(rows: Any, keep: Any) -> None:
    chunk = a_chunk(k=pa.array([k for k, _ in rows], pa.int64()), v=pa.array([v for _, v in rows], pa.int64()))

    after = dedupe("k", keep=keep).apply(chunk)

    assert sorted(map(str, after.rows["k"].to_pylist())) == sorted({str(k) for k, _ in rows})
    assert positions(after) == sorted(positions(after))
    assert after.read == after.rows.num_rows + after.deduplicated
    assert dedupe("k", keep=keep).apply(after).rows == after.rows
    assert dedupe("k", keep=keep).apply(chunk).rows == after.rows
