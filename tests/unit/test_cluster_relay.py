"""Laws of units that are read where the rows are loaded, without workers."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from dataproc.cluster.relay import AHEAD, MOST_READERS, relayed
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.errors import FatalError, SourceUnavailableError
from dataproc.domain.unit import Unit
from tests.waiting import PATIENCE, wait_until
from tests.warehouses import a_unit

NO_ROWS = pa.table({})
CHUNKS = 5


@dataclass(slots=True)
class Reader:
    """Reads units of five chunks, and knows which of them, by whom, and which readings were ended."""

    before: Callable[[Chunk], None] = lambda _: None
    chunks: list[tuple[str, int]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    ended: list[str] = field(default_factory=list)

    def __call__(self, unit: Unit) -> Iterator[Chunk]:
        try:
            for seq in range(CHUNKS):
                chunk = Chunk(unit.id, seq, seq == CHUNKS - 1, 0, NO_ROWS, wire=f"{unit.id}-{seq}".encode())
                self.before(chunk)
                self.chunks.append((unit.id, seq))
                self.threads.add(threading.current_thread().name)
                yield chunk
        finally:
            self.ended.append(unit.id)


def loaded(chunk: Chunk) -> LoadedChunk:
    """Account for a chunk, and hand its bytes on."""
    return LoadedChunk(chunk.unit, chunk.seq, chunk.last, chunk.read, 0, 0, 0, b"", chunk.wire or b"")


def units(count: int) -> list[Unit]:
    """Return units."""
    return [a_unit(f"u{number}") for number in range(count)]


def test_every_chunk_of_every_unit_comes_once_in_the_order_of_its_unit() -> None:
    reader = Reader()

    with relayed(units(7), reader, loaded) as chunks:
        found = [(chunk.unit, chunk.seq, bytes(chunk.payload)) for chunk in chunks]

    wanted = [(f"u{number}", seq, f"u{number}-{seq}".encode()) for number in range(7) for seq in range(CHUNKS)]
    assert sorted(found) == wanted
    for number in range(7):
        assert [seq for unit, seq, _ in found if unit == f"u{number}"] == list(range(CHUNKS))


def test_a_source_that_keeps_pace_has_one_reader() -> None:
    reader = Reader()

    with relayed(units(4), reader, loaded) as chunks:
        assert len(list(chunks)) == 4 * CHUNKS

    assert len(reader.threads) == 1


def test_others_join_while_the_warehouse_waits() -> None:
    everybody = threading.Barrier(MOST_READERS)

    def wait_for_the_others(chunk: Chunk) -> None:
        if chunk.seq == 0:
            everybody.wait(timeout=PATIENCE)

    reader = Reader(wait_for_the_others)

    with relayed(units(2 * MOST_READERS), reader, loaded) as chunks:
        assert len(list(chunks)) == 2 * MOST_READERS * CHUNKS

    assert len(reader.threads) == MOST_READERS


def test_the_source_waits_while_the_warehouse_takes_nothing() -> None:
    reader = Reader()

    with relayed(units(20), reader, loaded) as chunks:
        next(chunks)
        wait_until(lambda: len(reader.chunks) == AHEAD + 2)
        threading.Event().wait(0.3)
        held = len(reader.chunks)
        rest = len(list(chunks))

    # One was taken, one waits for room.
    assert held == AHEAD + 2
    assert rest == 20 * CHUNKS - 1


def test_the_end_of_the_block_ends_all_reading() -> None:
    reader = Reader()

    with relayed(units(20), reader, loaded) as chunks:
        next(chunks)

    wait_until(lambda: not any(thread.name.startswith("reader") for thread in threading.enumerate()))
    assert "u0" in reader.ended
    assert len(reader.chunks) < 20


def test_what_goes_wrong_in_a_reader_is_raised_where_the_chunks_are_taken() -> None:
    def fail(chunk: Chunk) -> None:
        if (chunk.unit, chunk.seq) == ("u1", 2):
            raise SourceUnavailableError("the database went away")

    reader = Reader(fail)

    with relayed(units(9), reader, loaded) as chunks, pytest.raises(SourceUnavailableError, match="went away"):
        list(chunks)

    assert "u2" not in reader.ended


def test_what_nobody_expected_becomes_an_error_of_ours_that_tells_where_it_arose() -> None:
    def fail(_: Chunk) -> None:
        raise ZeroDivisionError

    with relayed(units(1), Reader(fail), loaded) as chunks, pytest.raises(FatalError) as failed:
        list(chunks)

    assert "ZeroDivisionError" in str(failed.value)
    assert "test_cluster_relay" in failed.value.__notes__[0]
