"""What a pipeline needs: a source, transforms, and an engine that runs them, inside Ray tasks and a slot's thread."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.keys import KeyRule
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory


class Source(Protocol):
    """A source of rows. It travels to Ray workers, so it must pickle, and holds no open connection."""

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Cut what `memory` does not have yet into units; the same source and memory give the same plan."""

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit, each with the plan's schema and the column `POSITION` last.

        A unit that was begun is read on from there. A unit that is wanted `as_is` comes as `wire`, without rows.
        Closing the iterator ends connections and threads.
        """


@runtime_checkable
class Limited(Protocol):
    """A source that shares a rate limit with other jobs."""

    def waits_for(self) -> str | None:
        """Return the rate limit that delays the next request, and its end; `None`: by less than a second."""


class Transform(Protocol):
    """A pure function of a chunk. It travels to Ray workers, so it must pickle."""

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the schema that comes out, without `POSITION`, or raise `ContractViolationError` with the column."""

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk transformed; `POSITION` stays with its rows, and the account stays balanced."""


@runtime_checkable
class Keyed(Protocol):
    """A transform with rules over all rows of a run; `apply` adds a table to the chunk's `keys` for each of them."""

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        """Return the rules, always in the same order, for rows that come with the schema `before`."""


@runtime_checkable
class Shaping(Protocol):
    """A transform of all rows of a run at once; its `apply` and `schema` change nothing."""

    @property
    def over_run(self) -> str:
        """The query that is asked where the rows are staged, of the relation `staged`."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A transform for which it was found out how it is done, and what is told of that."""

    transform: Transform
    told: str


@runtime_checkable
class Unsettled(Protocol):
    """A transform that workers do, or else the load over all rows of the run (`Shaping`): planning settles it."""

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be done over the run; `None`: it can, when all other steps are done."""

    def settle(self, obstacle: str | None, *, after_run: bool) -> Settled:
        """Return what does it; `after_run`: a step before it is done over the run, so this one must be."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What each task needs: cores, and bytes that must be free; and how many tasks of a run there may be at once.

    With `actors`, a pool of so many does the work in place of tasks; each needs as much, for as long as the run takes.
    """

    cpus: float = 1
    memory: int | None = None
    concurrency: int | None = None
    actors: int | None = None


@runtime_checkable
class Demanding(Protocol):
    """A transform that says what its tasks need."""

    @property
    def needs(self) -> Needs:
        """What it needs; the tasks of a run have what all their transforms need."""


@runtime_checkable
class Preparing(Protocol):
    """A transform that keeps in each process what is costly to make."""

    def prepare(self) -> None:
        """Make it now; without this it is made when the first rows come."""


def needs_of(transforms: Sequence[Transform]) -> Needs:
    """Return what is needed to run all these transforms, one after the other: by the smallest of their actor pools."""
    needs = [each.needs for each in transforms if isinstance(each, Demanding)]
    at_once = min((each.concurrency for each in needs if each.concurrency is not None), default=None)
    actors = min((each.actors for each in needs if each.actors is not None), default=None)
    return Needs(
        max((each.cpus for each in needs), default=1),
        max((each.memory for each in needs if each.memory is not None), default=None),
        at_once,
        # Each does one thing at a time.
        actors if actors is None or at_once is None else min(actors, at_once),
    )


Step = Callable[[Chunk], LoadedChunk]


class Engine(Protocol):
    """Runs the work on every unit, in parallel."""

    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> AbstractContextManager[Iterator[LoadedChunk]]:
        """Read, transform and load all units; the results come in any order, and may come twice."""
