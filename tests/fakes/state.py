"""What a metadata database in memory holds, and its clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dataproc.domain.job import Claim, Job, JobId, JobRun, RunId
from dataproc.ports.events import Event
from dataproc.ports.queue import LogLine
from dataproc.ports.store import Connection, StoredReply
from tests.builders import SOME_TIME


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a job, and until when."""

    claim: Claim
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Duty:
    """Who does a work, and until when."""

    holder: str
    expires_at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what."""

    action: str
    by: str
    subject: str
    details: Mapping[str, object]


@dataclass(slots=True)
class State:
    """All rows."""

    jobs: dict[JobId, Job] = field(default_factory=dict)
    runs: dict[RunId, JobRun] = field(default_factory=dict)
    leases: dict[JobId, Lease] = field(default_factory=dict)
    lines: list[tuple[RunId, LogLine]] = field(default_factory=list)
    duties: dict[str, Duty] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    keys: dict[tuple[str, str], StoredReply] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    events: dict[UUID, Event] = field(default_factory=dict)
    due: dict[UUID, datetime] = field(default_factory=dict)
    delivered: set[UUID] = field(default_factory=set)


@dataclass(slots=True)
class Memory:
    """Rows, and a clock that stands still until a test moves `now`."""

    now: datetime = SOME_TIME
    state: State = field(default_factory=State)
    on_look: Callable[[Sequence[JobId]], object] = list
    """Called with the jobs whenever it is asked which of them have ended."""

    def tick(self) -> datetime:
        """Return the time, a microsecond later than the last one, so that things have an order."""
        self.now += timedelta(microseconds=1)
        return self.now
