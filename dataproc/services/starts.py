"""How runners have started of late: when the next one may be started, and what the jobs that wait are shown."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataproc.ports.cluster import Submission

SETTLED = timedelta(minutes=1)
"""A runner that lived so long has started; what ends it later is not in the way of the next one."""
SLOW_START = timedelta(minutes=2)
"""A Ray Job that Ray has not started for so long is shown."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
"""Pauses after runners that did not start: the first one, and the limit of its doubling."""
FEW = 2
"""Runners that did not start, one after the other, that waiting jobs show; a single one may have been killed."""
LONGEST_REASON = 300
"""Characters of Ray's message that are shown."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
PASSWORD = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Starts:
    """The runners that ended before they had started, the last one last, and those that Ray does not start.

    `is_trying`: a runner is alive of which it is open whether it has started well.
    """

    failed: Sequence[Submission]
    pending: Sequence[Submission]
    is_trying: bool
    now: datetime

    @classmethod
    def of(cls, runners: Iterable[Submission], now: datetime) -> "Starts":
        """Return what the runners that Ray knows say of starting."""
        runners = list(runners)
        since = max((moment for runner in runners if (moment := started_well(runner, now))), default=LONG_AGO)
        failed = [runner for runner in runners if has_not_started(runner) and (runner.ended or now) > since]
        late = [
            runner for runner in runners if runner.status == "PENDING" and now - (runner.started or now) > SLOW_START
        ]
        is_trying = any(runner.is_alive and started_well(runner, now) is None for runner in runners)
        return cls(sorted(failed, key=lambda runner: runner.ended or now), late, is_trying, now)

    @property
    def next_at(self) -> datetime:
        """When the next runner may be started: the pause doubles with each that did not start."""
        if not self.failed:
            return LONG_AGO
        doublings = min(len(self.failed) - 1, 10)
        pause = min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)
        return (self.failed[-1].ended or self.now) + pause

    def allowed(self, missing: int) -> int:
        """Return how many of the missing runners may be started now; after a few that failed, one at a time."""
        if missing <= 0 or self.now < self.next_at:
            return 0
        if len(self.failed) < FEW:
            return missing
        return 0 if self.is_trying else 1

    @property
    def obstacle(self) -> str | None:
        """What is in the way of runners, for the jobs that wait for one; `None`: nothing."""
        if self.pending:
            first = min(self.pending, key=lambda runner: runner.started or self.now)
            since = first.started or self.now
            return f"a runner: Ray has not started {first.id} since {since:%Y-%m-%dT%H:%M:%SZ}: {reason_of(first)}"
        if len(self.failed) < FEW:
            return None
        last = self.failed[-1]
        return (
            f"a runner: the last {len(self.failed)} ended before they had started; try again at "
            f"{self.next_at:%Y-%m-%dT%H:%M:%SZ}; {last.id}: {reason_of(last)}"
        )


def started_well(runner: Submission, now: datetime) -> datetime | None:
    """Return the last moment at which a runner is known to have started well; `None`: it is not known to have."""
    if runner.status == "PENDING" or runner.started is None:
        return None
    if runner.is_alive:
        return runner.started + SETTLED if now - runner.started >= SETTLED else None
    return None if has_not_started(runner) else runner.ended


def has_not_started(runner: Submission) -> bool:
    """Return whether a runner failed so early that it cannot have worked."""
    if runner.status != "FAILED" or runner.started is None or runner.ended is None:
        return False
    return runner.ended - runner.started < SETTLED


def reason_of(runner: Submission) -> str:
    """Return the last line of Ray's message, which is the error of the program where it has one, without passwords."""
    lines = [line.strip() for line in COLOURS.sub("", runner.message).splitlines() if line.strip()]
    told = PASSWORD.sub("***@", lines[-1]) if lines else "it failed without a message"
    return told if len(told) <= LONGEST_REASON else f"{told[:LONGEST_REASON]}…"
