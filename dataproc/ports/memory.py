"""What the warehouse holds of a job before its run: what earlier runs have read, and the columns of the target."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from dataproc.domain.memory import Boundary, SourceObject
from dataproc.domain.source_columns import Kind, TargetColumn


class Memory(Protocol):
    """What the published runs of a job have read for one target."""

    def watermark(self, cursor: str) -> str | None:
        """Return the value up to which rows were read; `None`: this is the first run.

        Raises `ContractViolationError` when the value was kept for another cursor.
        """

    def boundary(self) -> Boundary:
        """Return the rows at the watermark that earlier runs have read."""

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        """Yield those objects of which this version was not loaded yet, in their order; asks in batches."""

    def has_objects(self) -> bool:
        """Return whether any object was loaded."""

    def target_columns(self) -> Mapping[str, TargetColumn]:
        """Return the columns of the target by name; none if the table does not exist yet."""

    def late_columns(self) -> Mapping[str, Kind]:
        """Return the columns that this run has met after the samples of its source, with the kinds of their values."""


@dataclass(frozen=True, slots=True)
class Blank:
    """The memory of a job that never ran."""

    def watermark(self, cursor: str) -> str | None:
        """Return nothing."""
        del cursor
        return None

    def boundary(self) -> Boundary:
        """Return that no row is known."""
        return Boundary()

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        """Yield all objects."""
        return iter(objects)

    def has_objects(self) -> bool:
        """Return that there are none."""
        return False

    def target_columns(self) -> Mapping[str, TargetColumn]:
        """Return no column."""
        return {}

    def late_columns(self) -> Mapping[str, Kind]:
        """Return no column."""
        return {}


@dataclass(frozen=True, slots=True)
class WithLateColumns:
    """A memory of a run that has met columns after the samples of its source."""

    memory: Memory
    columns: Mapping[str, Kind]

    def watermark(self, cursor: str) -> str | None:
        return self.memory.watermark(cursor)

    def boundary(self) -> Boundary:
        return self.memory.boundary()

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        return self.memory.unloaded(objects)

    def has_objects(self) -> bool:
        return self.memory.has_objects()

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return self.memory.target_columns()

    def late_columns(self) -> Mapping[str, Kind]:
        return self.columns


BLANK = Blank()
