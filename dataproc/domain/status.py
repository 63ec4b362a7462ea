"""The life of a run, as one ordered list."""

from enum import StrEnum


class RunStatus(StrEnum):
    """The furthest stage that a run has begun; declared in order, so the rule is a comparison."""

    PENDING = "PENDING"
    INGESTING = "INGESTING"
    TRANSFORMING = "TRANSFORMING"
    LOADING = "LOADING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)

    @property
    def is_running(self) -> bool:
        """Whether a runner is at work on it."""
        return self is not RunStatus.PENDING and not self.is_final

    def may_become(self, new: "RunStatus") -> bool:
        """Return whether a run may go from this status to `new`."""
        if self.is_final:
            return False
        order = list(RunStatus)
        return order.index(new) > order.index(self)

    def reachable_from(self) -> tuple["RunStatus", ...]:
        """Return every status from which a run may become this one."""
        return tuple(status for status in RunStatus if status.may_become(self))
