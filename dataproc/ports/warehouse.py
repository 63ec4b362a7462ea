"""Where the data go, together with fence, chunks, ledger and rejects. Sync, as the pipeline is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import pyarrow as pa

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.chunk import Account, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.job import JobId
from dataproc.domain.memory import Window
from dataproc.domain.tally import Totals
from dataproc.domain.unit import SourcePlan
from dataproc.ports.memory import Memory
from dataproc.ports.pipeline import Step


@dataclass(frozen=True, slots=True)
class LoadId:
    """Which load: the job, the claim's epoch, the run and its attempt, and the name by which the job remembers.

    `replans` counts how often the run was planned again because of late columns.
    """

    job_id: JobId
    epoch: int
    run_id: UUID
    name: str = ""
    attempt: int = 1
    replans: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a load has done to the rows of its target, and what somebody should know of how it did that.

    `deleted` is `None` where nobody counted: the table was swapped. `unchanged` rows were there just as they came. The
    statistics of the table are `stale` if so much has changed that they no longer tell what it holds. A table that a
    new one has replaced is `set_aside`, and still to be dropped.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int | None = 0
    unchanged: int = 0
    notes: tuple[str, ...] = ()
    stale: bool = field(default=False, compare=False)
    set_aside: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Published:
    """A load as its ledger row tells it."""

    target: str
    account: Account
    way: str
    effect: Effect = field(default_factory=Effect, compare=False)


@dataclass(frozen=True, slots=True)
class UnitAccount:
    """What became of the rows of a unit; `announced` is what the source said, if it did."""

    unit: str
    announced: int | None
    account: Account


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The proof that a load is complete: for each unit, where every row that was read has gone.

    `window` tells which rows these were, where the source is incremental.
    """

    target: str
    way: str
    published_at: datetime
    account: Account
    announced: int | None
    units: Sequence[UnitAccount]
    window: Window | None = None
    effect: Effect | None = field(default=None, compare=False)


class Load(Protocol):
    """One load on its way into a target."""

    @property
    def way(self) -> str:
        """`direct` or `staged`."""

    @property
    def staged_before(self) -> Sequence[LoadedChunk]:
        """The chunks that earlier runs of the job have staged, and that need not be loaded again.

        Those of whole units, and of streams the ones up to the last that is marked.
        """

    @property
    def as_is(self) -> bool:
        """Whether units are wanted in the binary form that the plan's `wire` tells."""

    @property
    def step(self) -> Step:
        """What each worker does with a transformed chunk; it pickles."""

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Totals], None]) -> Published:
        """Take all results and publish them in one transaction; `check` may refuse the totals before commit."""


class Warehouse(Protocol):
    """Where the data go, together with fence, chunks, ledger and rejects."""

    def fence(self, load_id: LoadId) -> Published | None:
        """Let this epoch publish, and no earlier one; return what an earlier one published."""

    def memory(self, name: str, target: str, *, by_key: bool = False) -> Memory:
        """Return the memory of the jobs of this name for a target, which may be filled `by_key`."""

    def open(
        self,
        load_id: LoadId,
        destination: Destination,
        schema: pa.Schema,
        plan: SourcePlan,
        across: Across = NOTHING,
    ) -> Load:
        """Look at the target and choose the way of the load; nothing is changed in the target.

        What is done `across` all rows of the run is done in the publish.

        A staged load goes on with what earlier epochs have staged, if plan and target are still the same.
        """

    def published(self, job_id: JobId) -> Published | None:
        """Return what the ledger says of a job; `None`: nothing was published."""

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        """Forbid any publish of this epoch or an earlier one; return what was published, if a publish won."""

    def refresh(self, target: str) -> None:
        """Bring the statistics of a target up to date, by which its readers' queries are planned."""

    def clean(self, job_id: JobId, epoch: int) -> None:
        """Drop the staging tables of an epoch that is over, and of every earlier one."""

    def staged(self) -> Sequence[JobId]:
        """Return the jobs that have staging tables."""

    def reconciliation(self, job_id: JobId) -> Reconciliation | None:
        """Return the account of a published load, unit by unit; `None`: nothing was published."""

    def check(self) -> str:
        """Return the server's version, or raise `WarehouseUnavailableError`."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Something that a load must be allowed to do, whether it is, and what to do if not."""

    what: str
    granted: bool
    advice: str


@dataclass(frozen=True, slots=True)
class Alteration:
    """A statement that changes a target which is there; `unsafe` tells why somebody should accept it first."""

    statement: str
    unsafe: str | None = None


@dataclass(frozen=True, slots=True)
class TargetPreview:
    """A target as a load would find it: its columns (name and type), or the statements that would make it.

    `changes` are those that its contract asks for: they run in the publish, and their `fingerprint` accepts the unsafe
    ones. `left_out` are columns of the source that it does not take.
    """

    table: str
    exists: bool
    columns: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]
    way: str
    changes: tuple[Alteration, ...] = ()
    fingerprint: str | None = None
    accepted: bool = True
    left_out: tuple[str, ...] = ()
    permissions: tuple[Permission, ...] = ()


class TargetPreviewer(Protocol):
    """What planning needs of a warehouse."""

    def preview(
        self, destination: Destination, schema: pa.Schema, plan: SourcePlan, queries: Sequence[str] = ()
    ) -> TargetPreview:
        """Return what a load of rows of `schema` would meet; nothing is changed."""
