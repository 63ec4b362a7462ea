"""The bytes of a binary COPY: cut between rows, and at the same places however they arrive."""

from collections.abc import Sequence
from itertools import pairwise
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.errors import SourceRefusedError
from dataproc.sources.database.copy_rows import HEADER, TRAILER, RowCutter

Cells = Sequence[bytes | None]
ROWS = st.lists(st.lists(st.none() | st.binary(max_size=40), min_size=2, max_size=2), max_size=30)


def row_of(cells: Cells) -> bytes:
    """Return a row as COPY writes it."""
    sent = (pack("!i", -1) if cell is None else pack("!i", len(cell)) + cell for cell in cells)
    return pack("!h", len(cells)) + b"".join(sent)


def messages_of(rows: Sequence[Cells]) -> list[bytes]:
    """Return what a server sends: the header comes with the first row, or with the trailer if there is none."""
    first, *others = [*map(row_of, rows), TRAILER]
    return [HEADER + first, *others]


def joined(messages: Sequence[bytes], cuts: set[int]) -> list[bytes]:
    """Return messages as they arrive: each with those before it, back to a cut."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(messages)), len(messages)]
    return [b"".join(messages[low:high]) for low, high in pairwise(edges)]


def pieces_of(arrivals: Sequence[bytes], size: int, columns: int = 2) -> list[bytes]:
    """Return the pieces of what arrives."""
    cutter = RowCutter(columns, size)
    return [*(piece for data in arrivals for piece in cutter.take(data)), cutter.rest()]


@given(ROWS, st.integers(1, 200), st.sets(st.integers(0, 40)))
def test_pieces_are_whole_rows_and_the_same_however_they_arrive(rows: list[Cells], size: int, cuts: set[int]) -> None:
    messages = messages_of(rows)

    found = pieces_of(joined(messages, cuts), size)

    assert found == pieces_of(messages, size)
    assert b"".join(found) == b"".join(map(row_of, rows))
    ends = {sum(len(row_of(row)) for row in rows[:count]) for count in range(len(rows) + 1)}
    assert {sum(map(len, found[:count])) for count in range(len(found) + 1)} <= ends
    assert all(size <= len(piece) < size + 100 for piece in found[:-1])
    assert len(found[-1]) < size


def test_a_copy_without_rows_is_one_empty_piece() -> None:
    assert pieces_of(messages_of([]), 100) == [b""]


WHOLE = b"".join(messages_of([[b"a", None]]))


@pytest.mark.parametrize(
    ("arrivals", "size", "told"),
    [
        ([WHOLE[1:]], 5, "no header"),
        ([WHOLE[:-2]], 5, "no end"),
        ([HEADER + row_of([b"a"]) + TRAILER], 5, "other pieces than rows"),
        ([WHOLE[:24], WHOLE[24:]], 100, "other pieces than rows"),
        ([WHOLE[:24], WHOLE[24:]], 5, "ends within a row"),
        ([WHOLE, row_of([b"a", None])], 5, "other pieces than rows"),
        ([HEADER + row_of([b"a", b"b"])[:-2] + TRAILER], 5, "ends within a row"),
    ],
)
def test_what_no_postgresql_sends_is_refused(arrivals: list[bytes], size: int, told: str) -> None:
    with pytest.raises(SourceRefusedError, match=told):
        pieces_of(arrivals, size)
