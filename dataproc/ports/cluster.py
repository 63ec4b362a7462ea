"""What the services need of a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol

SubmissionId = NewType("SubmissionId", str)


@dataclass(frozen=True, slots=True)
class Submission:
    """A Ray Job in the list of the cluster: the last line of its message, the time of its submission, and its end."""

    id: SubmissionId
    status: str
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs or will run."""
        return self.status in ("PENDING", "RUNNING")


class Cluster(Protocol):
    """The Ray Jobs of a cluster."""

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        """Submit a Ray Job; one of that id that is there already is left alone."""

    async def list(self, prefix: str) -> Sequence[Submission]:
        """Return the Ray Jobs whose submission id begins with `prefix`."""

    async def stop(self, submission_id: SubmissionId) -> None: ...

    async def slots(self) -> int:
        """Return how many Datasets may run at once in the cluster."""
