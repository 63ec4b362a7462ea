"""The last starts of runners: when the next runner may start, and the obstacle that waiting jobs show."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataproc.domain.retry import RetryPolicy
from dataproc.ports.cluster import Submission

SETTLED = timedelta(minutes=1)
"""A runner that lived so long has started; a later failure does not delay the next runner."""
SLOW_START = timedelta(minutes=2)
"""Waiting jobs show a Ray Job that has been PENDING for longer."""
PAUSES = RetryPolicy(first_delay=timedelta(seconds=1), max_delay=timedelta(minutes=1))
"""Pauses after failed starts."""
FEW = 2
"""Waiting jobs show so many failed starts in a row; a single runner may have been killed."""
LONGEST_REASON = 300
"""Characters of Ray's message that a job shows."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
PASSWORD = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@")
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Starts:
    """Failed starts, the oldest first, and runners that have been PENDING for too long.

    `is_trying`: a runner is alive that may still fail to start.
    """

    failed: Sequence[Submission]
    pending: Sequence[Submission]
    is_trying: bool
    now: datetime

    @classmethod
    def of(cls, runners: Iterable[Submission], now: datetime) -> "Starts":
        """Return the starts since a runner last started well, of all runners in Ray's list of jobs."""
        runners = list(runners)
        well = {runner.id: started_well(runner, now) for runner in runners}
        since = max((moment for moment in well.values() if moment), default=LONG_AGO)
        failed = [runner for runner in runners if has_failed_to_start(runner) and ended(runner, now) > since]
        pending = [r for r in runners if r.status == "PENDING" and now - started(r, now) > SLOW_START]
        return cls(
            sorted(failed, key=lambda runner: ended(runner, now)),
            sorted(pending, key=lambda runner: started(runner, now)),
            any(runner.is_alive and well[runner.id] is None for runner in runners),
            now,
        )

    @property
    def next_at(self) -> datetime:
        """The earliest time of the next start."""
        if not self.failed:
            return LONG_AGO
        return ended(self.failed[-1], self.now) + PAUSES.backoff(len(self.failed), 1.0)

    def allowed(self, missing: int) -> int:
        """Return the number of missing runners that may start now: one at a time after a few failures."""
        if missing <= 0 or self.now < self.next_at:
            return 0
        if len(self.failed) < FEW:
            return missing
        return 0 if self.is_trying else 1

    @property
    def obstacle(self) -> str | None:
        """The obstacle that jobs show while they wait for a runner; `None`: there is none."""
        if self.pending:
            first = self.pending[0]
            since = started(first, self.now)
            return f"a runner: Ray has not started {first.id} since {since:{TIME}}: {reason_of(first)}"
        if len(self.failed) < FEW:
            return None
        last = self.failed[-1]
        return (
            f"a runner: the last {len(self.failed)} ended before they had started; try again at "
            f"{self.next_at:{TIME}}; {last.id}: {reason_of(last)}"
        )


def started(runner: Submission, now: datetime) -> datetime:
    """Return the start of a runner; now, where Ray does not keep it."""
    return runner.started or now


def ended(runner: Submission, now: datetime) -> datetime:
    """Return the end of a runner; now, where Ray does not keep it."""
    return runner.ended or now


def started_well(runner: Submission, now: datetime) -> datetime | None:
    """Return the last moment at which a runner worked; `None`: it may have failed to start."""
    if runner.status == "PENDING" or runner.started is None:
        return None
    if runner.is_alive:
        return runner.started + SETTLED if now - runner.started >= SETTLED else None
    return None if has_failed_to_start(runner) else runner.ended


def has_failed_to_start(runner: Submission) -> bool:
    """Return whether a runner failed so early that it cannot have worked."""
    if runner.status != "FAILED" or runner.started is None or runner.ended is None:
        return False
    return runner.ended - runner.started < SETTLED


def reason_of(runner: Submission) -> str:
    """Return Ray's message without passwords, up to a length."""
    message = PASSWORD.sub("***@", runner.message) or "it failed without a message"
    return message if len(message) <= LONGEST_REASON else f"{message[:LONGEST_REASON]}…"
