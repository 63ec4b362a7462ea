"""Units: the deterministic pieces a source is cut into."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import pyarrow as pa

from dataproc.domain.memory import CursorMove, SourceObject
from dataproc.domain.replay import Replay


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a stream was staged before: the number of its next chunk, and the mark of the last one."""

    seq: int
    mark: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a source that is read, retried and counted as one.

    `span` is half-open: row groups of a Parquet file, bytes of a text file, or `None` for all of it.
    The same source in the same version always gives the same units with the same ids. `schema` is what
    the source needs to read every unit alike (the types its files hold), `detail` whatever else it needs; only the
    source looks at them. A stream that was staged in part before is read on from where it `begun`. A unit that is
    wanted `as_is` comes in the binary form that its plan's `wire` tells. Units that are `is_small` may be read by one
    task, one after the other. The bytes of an `isolated` unit are decoded in a process that may die: an earlier attempt
    to read it ended its process, or this process must live on.
    """

    id: str
    uri: str
    version: str
    size: int
    span: tuple[int, int] | None = None
    rows: int | None = None
    schema: pa.Schema | None = field(default=None, repr=False, compare=False)
    detail: object = field(default=None, repr=False, compare=False)
    begun: Begun | None = field(default=None, compare=False)
    as_is: bool = field(default=False, compare=False)
    is_small: bool = field(default=False, compare=False)
    isolated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """All units of a source in order, and the Arrow schema of the rows they give.

    `announced` is what the source says of all its rows together, where it says nothing of single units. `move` and
    `objects` are what the job remembers once this is published. A source that `streams` marks its chunks, so that a
    staged load goes on after the last one. `hold` keeps what the units need, such as a snapshot; a run enters it.
    `notes` are warnings about the plan, `choices` sentences on how the source is read where the specification leaves
    that open. `wire` is there where units can also be read in the binary form of PostgreSQL's COPY: each column's name,
    and its type in PostgreSQL's words. `replay` tells which rejects are marked as replayed once this is published.
    """

    units: tuple[Unit, ...]
    schema: pa.Schema
    announced: int | None = None
    move: CursorMove | None = None
    objects: tuple[SourceObject, ...] = ()
    streams: bool = False
    notes: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    wire: tuple[tuple[str, str], ...] = ()
    replay: Replay | None = None
    hold: AbstractContextManager[object] = field(default_factory=nullcontext, repr=False, compare=False)

    def decoded(self) -> "SourcePlan":
        """Return this plan for rows that somebody looks at on their way, so that none can be read as they are."""
        return replace(self, wire=())

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(unit.size for unit in self.units)

    @property
    def rows(self) -> int | None:
        """Rows announced by the source, for all units together or for every one of them; `None`: it does not say."""
        if self.announced is not None:
            return self.announced
        counts = [unit.rows for unit in self.units]
        return None if None in counts else sum(count for count in counts if count is not None)
