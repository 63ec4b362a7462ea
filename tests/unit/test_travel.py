"""Laws of travel: a chunk that Ray carries as a row comes out as it went in."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.cluster.travel import CHUNKS, LOADED, pack, pack_failure, pack_loaded, unpack, unpack_loaded
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.errors import ContractViolationError, FatalError
from tests.warehouses import loaded, rejects_at

ROWS = pa.table({"x": pa.array([1, None], pa.int64()), "s": pa.array(["ë", None]).dictionary_encode()})
COUNTS = st.integers(0, 2**40)


def a_chunk(**fields: Any) -> Chunk:
    values: dict[str, Any] = {"unit": "u", "seq": 0, "last": True, "read": 3, "rows": ROWS} | fields
    return Chunk(**values)


@pytest.mark.parametrize(
    "chunk",
    [
        a_chunk(),
        a_chunk(seq=7, last=False, filtered=1),
        a_chunk(deduplicated=2, mark="page 3", high="2026-01-31"),
        a_chunk(discarded=(("x", 1), ("y", 2), ("x", 3))),
        a_chunk(rejects=rejects_at(0, 5)),
        a_chunk(rows=ROWS.slice(0, 0), read=0),
        a_chunk(rows=ROWS.slice(1)),
        a_chunk(rows=pa.table({}), read=0),
        a_chunk(rows=pa.concat_tables([ROWS.select(["x"])] * 2)),
        a_chunk(rows=pa.table({}), wire=b"rows as COPY has them"),
        a_chunk(rows=pa.table({}), wire=b""),
    ],
    ids=[
        "plain",
        "in between",
        "of a stream",
        "discarded",
        "rejects",
        "empty",
        "slice",
        "no columns",
        "two pieces",
        "as they are",
        "none as they are",
    ],
)
def test_a_chunk_comes_out_as_it_went_in(chunk: Chunk) -> None:
    [out] = unpack(pack(chunk))

    assert out.rows.equals(chunk.rows)
    assert out.rows.schema == chunk.rows.schema
    assert out.rejects.equals(chunk.rejects)
    rest = {"rows": None, "rejects": None}
    assert replace(out, **rest) == replace(chunk, **rest)  # type: ignore[arg-type]  # compared above


def test_rows_as_they_are_are_neither_copied_into_a_block_nor_out_of_it() -> None:
    wire = bytes(5_000_000)
    before = pa.total_allocated_bytes()

    [out] = unpack(pack(a_chunk(rows=pa.table({}), wire=wire)))

    assert out.wire == wire
    assert pa.total_allocated_bytes() - before < len(wire) // 10


@given(
    st.builds(
        LoadedChunk, st.text(), st.integers(0, 2**31 - 1), st.booleans(), COUNTS, COUNTS, COUNTS, COUNTS,
        st.binary(), st.binary(), st.binary(), COUNTS, st.text(), st.none() | st.text(),
        discarded=st.lists(st.tuples(st.text(), COUNTS)).map(tuple),
    )
)  # fmt: skip
def test_a_loaded_chunk_comes_out_as_it_went_in(chunk: LoadedChunk) -> None:
    [out] = unpack_loaded(pack_loaded(chunk))

    assert replace(out, payload=bytes(out.payload)) == chunk


def test_blocks_may_be_joined_and_cut_between_chunks() -> None:
    chunks = [loaded(seq=i, last=i == 3, payload=bytes([i])) for i in range(4)]
    joined = pa.concat_tables([pack_loaded(chunk) for chunk in chunks])

    assert list(unpack_loaded(joined)) == chunks
    assert list(unpack_loaded(joined.slice(1, 2))) == chunks[1:3]
    assert list(unpack_loaded(joined.slice(0, 0))) == []


def test_rows_are_read_where_they_lie() -> None:
    big = pa.table({"x": pa.array(range(200_000), pa.int64())})
    block = pack(a_chunk(rows=big, read=big.num_rows))
    before = pa.total_allocated_bytes()

    [out] = unpack(block)

    assert out.rows.num_rows == big.num_rows
    assert pa.total_allocated_bytes() - before < big.nbytes // 10


@pytest.mark.parametrize("schema", [CHUNKS, LOADED], ids=["read", "loaded"])
def test_an_error_comes_out_as_it_went_in_between_chunks(schema: pa.Schema) -> None:
    error = ContractViolationError("column x does not fit", column="x")
    good = pack(a_chunk()) if schema is CHUNKS else pack_loaded(loaded())
    block = pa.concat_tables([good, pack_failure(schema, error)])
    found: Iterator[Chunk | LoadedChunk] = unpack(block) if schema is CHUNKS else unpack_loaded(block)

    assert next(found).seq == 0
    with pytest.raises(ContractViolationError, match="column x does not fit") as raised:
        next(found)
    assert raised.value.context == {"column": "x"}


def test_an_error_that_is_not_ours_comes_out_as_ours_with_a_note_of_where_it_was() -> None:
    block = pack_failure(LOADED, KeyError("secret"))

    with pytest.raises(FatalError, match="with KeyError") as raised:
        list(unpack_loaded(pack_failure(LOADED, caught(block))))

    assert "secret" not in str(raised.value)
    assert "KeyError: 'secret'" in raised.value.__notes__[0]


def caught(block: pa.Table) -> FatalError:
    """Return the error in a block, as a second worker gets it."""
    with pytest.raises(FatalError) as raised:
        list(unpack_loaded(block))
    return raised.value
