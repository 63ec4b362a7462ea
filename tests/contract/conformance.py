"""What every source keeps to, whatever its kind: a kind's test class inherits these tests and gives a `subject`."""

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pytest

from dataproc.domain.chunk import POSITION, Chunk, LoadedChunk
from dataproc.domain.errors import RetryableError, SourceNotFoundError, SourceRefusedError
from dataproc.domain.memory import Boundary
from dataproc.domain.tally import Tally
from dataproc.domain.unit import Begun, SourcePlan, Unit
from dataproc.ports.pipeline import Source
from tests.fakes.warehouse import FakeMemory
from tests.file_kinds import with_prices
from tests.waiting import wait_until

Row = tuple[object, ...]


class Subject(Protocol):
    """A source with rows in it, and what may go wrong with it."""

    def source(self) -> Source:
        """Return a source of more than one row."""

    def rows(self) -> Sequence[Row]:
        """Return the rows that it holds, in the order of its columns."""

    def empty(self) -> Source:
        """Return a source of the same kind and shape without rows."""

    def refused(self) -> Source:
        """Return a source whose credentials are wrong."""

    def missing(self) -> Source:
        """Return a source that names nothing."""

    def change(self) -> None:
        """Change what `source()` reads, so that units planned before are no longer right."""

    def away(self) -> Source:
        """Return a source of which nobody answers."""

    def open_connections(self) -> int:
        """Return how many connections this process has open to the source, apart from a plan's `hold`."""


def in_a_worker(source: Source, units: Sequence[Unit]) -> Iterator[Chunk]:
    """Yield the chunks of units, read by a copy of the source as a worker has it."""
    copy, planned = pickle.loads(pickle.dumps((source, tuple(units))))  # noqa: S301  # our own values
    for unit in planned:
        yield from copy.read(unit)


def rows_of(chunks: Sequence[Chunk]) -> list[Row]:
    """Return the rows of chunks."""
    tables = [with_prices(chunk.rows.drop_columns([POSITION])) for chunk in chunks]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def read_next(source: Source, memory: FakeMemory) -> list[Row]:
    """Read what is new as the next run of a job does; return the rows."""
    plan, tally = source.plan(memory), Tally()
    with plan.hold:
        chunks = list(in_a_worker(source, plan.units))
    for chunk in chunks:
        account = (chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered)
        tally.add(LoadedChunk(chunk.unit, chunk.seq, chunk.last, *account, high=chunk.high, edge=chunk.edge))
    tally.verify(plan)
    memory.change(plan, tally)
    return rows_of(chunks)


READ_ONCE, READ_BY_KEY = [[0], [1], [], [3], [4]], [[0], [0, 1], [0, 1], [0, 1, 3], [3, 4]]
"""The rows that the five runs of `read_late_rows` read: each row once, and all rows at the watermark again."""


def read_late_rows(source: Source, add: Callable[[int, str], object], last: str, beyond: str, *, by_key: bool) -> bool:
    """Add rows with the value of the watermark between five runs; return whether each run read the right rows."""
    memory, found = FakeMemory(kept=Boundary(by_key)), []
    for number, value in enumerate([last, last, "", beyond, beyond]):
        if value:
            add(number, value)
        found.append([row[0] for row in read_next(source, memory)])
    return found == (READ_BY_KEY if by_key else READ_ONCE)


class SourceConformance:
    """The tests; pytest runs them for each class that inherits this one."""

    def test_every_row_comes_once(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()

        with plan.hold:
            found = rows_of(list(in_a_worker(source, plan.units)))

        assert len(found) > 1
        assert Counter(map(repr, found)) == Counter(map(repr, subject.rows()))

    def test_the_same_source_gives_the_same_plan(self, subject: Subject) -> None:
        def planned_alike() -> bool:
            one, other = subject.source().plan(), subject.source().plan()
            with one.hold, other.hold:
                assert len({unit.id for unit in one.units}) == len(one.units) > 0
                return one == other

        # Whatever another session of the server commits between two plans is another state of the source.
        wait_until(planned_alike)

    def test_a_unit_read_twice_gives_the_same_chunks(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()

        with plan.hold:
            for unit in plan.units:
                assert list(source.read(unit)) == list(source.read(unit))

    def test_chunks_are_numbered_and_have_the_schema_of_the_plan(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()

        with plan.hold:
            for unit in plan.units:
                chunks = list(source.read(unit))
                positions = [p for chunk in chunks for p in chunk.rows[POSITION].to_pylist()]
                assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
                assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
                assert len(set(positions)) == len(positions)
                for chunk in chunks:
                    assert chunk.rows.schema.remove(len(plan.schema)).equals(plan.schema)
                    assert chunk.read == chunk.rows.num_rows + chunk.rejected + chunk.filtered

    def test_what_is_announced_is_what_is_read(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()

        with plan.hold:
            read = {unit.id: sum(chunk.read for chunk in source.read(unit)) for unit in plan.units}

        assert all(unit.rows in (None, read[unit.id]) for unit in plan.units)
        assert plan.rows in (None, sum(read.values()))

    def test_a_source_without_rows_gives_its_columns_and_no_row(self, subject: Subject) -> None:
        source = subject.empty()
        plan = source.plan()

        with plan.hold:
            chunks = list(in_a_worker(source, plan.units))

        assert rows_of(chunks) == []
        assert all(chunk.rows.schema.names == [*plan.schema.names, POSITION] for chunk in chunks)

    def test_a_stream_goes_on_after_any_chunk_that_was_staged(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()

        with plan.hold:
            for unit in plan.units if plan.streams else ():
                chunks = list(source.read(unit))
                for at, chunk in enumerate(chunks[:-1]):
                    assert chunk.mark
                    rest = list(source.read(replace(unit, begun=Begun(chunk.seq + 1, chunk.mark))))
                    assert rows_of(rest) == rows_of(chunks[at + 1 :])
                    assert [each.seq for each in rest] == [each.seq for each in chunks[at + 1 :]]

    def test_a_reader_that_is_closed_half_way_leaves_no_connection(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()
        with plan.hold:
            for unit in plan.units:
                before = subject.open_connections()
                reader = source.read(unit)
                list(islice(reader, 1))
                reader.close()  # type: ignore[attr-defined]  # all of them are generators
                assert subject.open_connections() <= before

    def test_wrong_credentials_are_told_and_not_tried_again(self, subject: Subject) -> None:
        with pytest.raises(SourceRefusedError):
            read_all(subject.refused())

    def test_a_source_that_names_nothing_is_told_and_not_tried_again(self, subject: Subject) -> None:
        with pytest.raises(SourceNotFoundError):
            read_all(subject.missing())

    def test_a_source_that_does_not_answer_is_tried_again(self, subject: Subject) -> None:
        with pytest.raises(RetryableError):
            read_all(subject.away())

    def test_a_source_that_changed_after_the_plan_is_noticed_or_read_as_it_was(self, subject: Subject) -> None:
        source = subject.source()
        plan = source.plan()
        before = Counter(map(repr, subject.rows()))

        with plan.hold:
            subject.change()
            try:
                found = rows_of([chunk for unit in plan.units for chunk in source.read(unit)])
            except RetryableError:
                return

        assert Counter(map(repr, found)) == before


def read_all(source: Source) -> tuple[SourcePlan, list[Chunk]]:
    """Plan and read a source."""
    plan = source.plan()
    with plan.hold:
        return plan, [chunk for unit in plan.units for chunk in source.read(unit)]


def loaded(chunk: Chunk) -> LoadedChunk:
    """Return the account of a chunk of which every row was loaded."""
    return LoadedChunk(
        chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered,
        mark=chunk.mark, high=chunk.high,
    )  # fmt: skip


def one_table(chunks: Sequence[Chunk]) -> pa.Table:
    """Return the rows of chunks as one table."""
    return with_prices(pa.concat_tables([chunk.rows.drop_columns([POSITION]) for chunk in chunks]))
