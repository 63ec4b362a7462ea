"""A Ray cluster in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataproc.ports.cluster import Submission, SubmissionId


@dataclass(slots=True)
class FakeCluster:
    """A cluster whose Ray Jobs run at once and until they are stopped."""

    bears: int = 8
    jobs: dict[SubmissionId, str] = field(default_factory=dict)
    entrypoints: dict[SubmissionId, str] = field(default_factory=dict)
    ended: dict[SubmissionId, Submission] = field(default_factory=dict)

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        if submission_id not in self.jobs:
            self.jobs[submission_id] = "RUNNING"
            self.entrypoints[submission_id] = entrypoint

    async def list(self, prefix: str) -> Sequence[Submission]:
        found = {name: Submission(name, status) for name, status in self.jobs.items()} | self.ended
        return [found[name] for name in sorted(found) if name.startswith(prefix)]

    def fail(self, submission: Submission) -> None:
        """Let a Ray Job end in this state."""
        self.jobs[submission.id] = submission.status
        self.ended[submission.id] = submission

    async def stop(self, submission_id: SubmissionId) -> None:
        if self.jobs.get(submission_id) == "RUNNING":
            self.jobs[submission_id] = "STOPPED"

    async def slots(self) -> int:
        return self.bears
