"""What a model of the life cycle knows: jobs as they should stand, and the attempts at them, alive or not."""

from dataclasses import dataclass, field

import pyarrow as pa

from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.job import Claim, JobId
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Load, LoadId, Published
from dataproc.services.monitor import Monitor
from tests.builders import a_spec
from tests.warehouses import a_unit, chunks_of

ATTEMPTS = 3
TABLES = ("model.one", "model.two")


@dataclass(slots=True, eq=False)
class Life:
    """A job as it should stand in both databases."""

    id: JobId
    number: int
    table: str
    way: str
    status: RunStatus = RunStatus.PENDING
    epoch: int = 0
    attempt: int = 0
    cancel_requested: bool = False
    holder: "Attempt | None" = None
    is_expired: bool = False
    fence: int = 0
    is_forbidden: bool = False
    dropped: int = 0
    is_published: bool = False
    ends: list[RunStatus] = field(default_factory=list)

    @property
    def rows(self) -> list[int]:
        """What the job brings into its table: rows that no other job has."""
        return [self.number * 10 + n for n in range(6)]

    @property
    def plan(self) -> SourcePlan:
        """Two units."""
        return SourcePlan((a_unit("u0", 4), a_unit("u1", 2)), pa.schema({"id": pa.int64()}))

    @property
    def chunks(self) -> list[Chunk]:
        """Two chunks of the first unit, and one of the second."""
        pieces = [pa.table({"id": pa.array(self.rows[n : n + 2], pa.int64())}) for n in (0, 2, 4)]
        return [*chunks_of("u0", *pieces[:2]), *chunks_of("u1", pieces[2])]

    def may_publish(self, epoch: int) -> bool:
        """Whether the fence lets this epoch publish."""
        return self.fence == epoch and not self.is_forbidden

    def raise_fence(self, epoch: int) -> bool:
        """Let an epoch publish; return whether that is allowed."""
        if epoch < self.fence or (epoch == self.fence and self.is_forbidden):
            return False
        self.fence, self.is_forbidden = epoch, False
        return True

    def forbid(self, epoch: int) -> None:
        """Let no epoch up to this one publish."""
        if epoch >= self.fence:
            self.fence, self.is_forbidden = epoch, True

    def drop(self, epoch: int) -> None:
        """Drop what was staged up to an epoch."""
        self.dropped = max(self.dropped, epoch)

    def move(self, status: RunStatus) -> None:
        """Go on to a status; with an end or a wait the lease is over."""
        self.status = status
        if not status.is_running:
            self.holder = None
        if status.is_final:
            self.ends.append(status)


@dataclass(slots=True, eq=False)
class Attempt:
    """What a runner that has claimed a job believes: it may be a zombie, and does not know it."""

    life: Life
    claim: Claim
    monitor: Monitor = field(default_factory=Monitor)
    is_fenced: bool = False
    load: Load | None = None
    staged: list[LoadedChunk] = field(default_factory=list)
    published: Published | None = None
    is_over: bool = False

    @property
    def load_id(self) -> LoadId:
        """Which load."""
        return LoadId(self.claim.job_id, self.claim.epoch, self.claim.run_id)

    @property
    def is_live(self) -> bool:
        """Whether its lease lets it move the job."""
        return self.life.holder is self and not self.life.is_expired

    @property
    def may_publish(self) -> bool:
        """Whether the fence lets it publish."""
        return self.life.may_publish(self.claim.epoch)

    @property
    def left(self) -> list[Chunk]:
        """The chunks that it has not staged, and that no earlier epoch has staged as part of a whole unit."""
        assert self.load is not None
        units = {chunk.unit for chunk in self.load.staged_before}
        known = {(chunk.unit, chunk.seq) for chunk in self.staged}
        return [c for c in self.life.chunks if c.unit not in units and (c.unit, c.seq) not in known]

    @property
    def has_staging(self) -> bool:
        """Whether nobody has dropped or taken what it stages."""
        return self.life.way == "direct" or self.claim.epoch > self.life.dropped


def spec_of(table: str, way: str) -> JobSpec:
    """Return the specification of a job that may be tried again at once."""
    destination = {"table": table, "load": way}
    return JobSpec.model_validate(
        a_spec().model_dump() | {"destination": destination, "retry": RetryPolicy(attempts=ATTEMPTS).model_dump()}
    )
