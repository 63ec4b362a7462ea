"""Failed starts of runners: the pause before the next start, and the obstacle that waiting jobs show."""

from datetime import UTC, datetime, timedelta

import pytest

from dataproc.ports.cluster import Submission, SubmissionId
from dataproc.services.starts import LONGEST_REASON, Starts

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def runner(
    name: str, status: str, *, started: float | None = None, ended: float | None = None, message: str = ""
) -> Submission:
    """Return a runner that was started and ended so many seconds ago."""
    moments = [None if ago is None else NOW - ago * SECOND for ago in (started, ended)]
    return Submission(SubmissionId(name), status, message, *moments)


def failed(number: int, *, ended: float = 0, lived: float = 5, message: str = "no module") -> list[Submission]:
    """Return runners that failed one after the other, the last one so many seconds ago."""
    each = lived + 1
    return [
        runner(f"r{n}", "FAILED", started=ended + lived + n * each, ended=ended + n * each, message=message)
        for n in range(number)
    ]


@pytest.mark.parametrize(
    ("number", "pause"), [(0, None), (1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (8, 60), (40, 60)]
)
def test_the_pause_doubles_with_each_runner_that_did_not_start(number: int, pause: float | None) -> None:
    starts = Starts.of(failed(number), NOW)

    assert starts.next_at - NOW == pause * SECOND if pause else starts.next_at < NOW


@pytest.mark.parametrize(
    ("number", "ended", "missing", "allowed"),
    [
        (0, 0, 4, 4),
        (0, 0, 0, 0),
        (0, 0, -2, 0),
        (1, 0, 4, 0),
        (1, 1, 4, 4),
        (2, 1, 4, 0),
        (2, 2, 4, 1),
        (2, 2, 0, 0),
        (5, 15, 4, 0),
        (5, 16, 4, 1),
    ],
)
def test_after_a_few_that_failed_one_is_tried_at_a_time(number: int, ended: float, missing: int, allowed: int) -> None:
    assert Starts.of(failed(number, ended=ended), NOW).allowed(missing) == allowed


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_while_one_is_tried_no_other_is_started(status: str) -> None:
    trying = runner("new", status, started=3)

    assert Starts.of([*failed(3, ended=10), trying], NOW).allowed(4) == 0
    assert Starts.of([trying], NOW).allowed(4) == 4


@pytest.mark.parametrize(
    "later",
    [
        runner("r", "RUNNING", started=61),
        runner("r", "STOPPED", started=30, ended=2),
        runner("r", "SUCCEEDED", started=30, ended=2),
        runner("r", "FAILED", started=70, ended=2),
    ],
)
def test_a_runner_that_started_well_clears_the_failures_before_it(later: Submission) -> None:
    starts = Starts.of([*failed(5, ended=10), later], NOW)

    assert (starts.failed, starts.obstacle, starts.allowed(4)) == ([], None, 4)


def test_runners_that_fail_beside_one_that_works_are_tried_less_and_less() -> None:
    starts = Starts.of([runner("old", "RUNNING", started=3600), *failed(5, ended=1)], NOW)

    assert (len(starts.failed), starts.allowed(4)) == (5, 0)


def test_a_runner_of_which_ray_keeps_no_times_counts_for_nothing() -> None:
    starts = Starts.of([runner("r1", "FAILED"), runner("r2", "RUNNING"), runner("r3", "STOPPED")], NOW)

    assert (starts.failed, starts.allowed(4)) == ([], 4)


def test_jobs_show_the_message_of_ray_without_passwords() -> None:
    message = "SetupError: cannot reach postgresql://me:hunter2@db/jobs; write postgresql://me@db/jobs"

    shown = Starts.of(failed(3, message=message), NOW).obstacle

    assert shown == (
        "a runner: the last 3 ended before they had started; try again at 2026-01-01T12:00:04Z; "
        "r0: SetupError: cannot reach postgresql://***@db/jobs; write postgresql://me@db/jobs"
    )


def test_a_long_reason_is_cut_and_a_missing_one_is_named() -> None:
    long, none = (Starts.of(failed(2, message=each), NOW).obstacle or "" for each in ("x" * 1000, ""))

    assert long.endswith("x" * LONGEST_REASON + "…")
    assert none.endswith("it failed without a message")


def test_a_single_failure_is_not_shown() -> None:
    assert Starts.of(failed(1), NOW).obstacle is None


def test_a_runner_that_ray_does_not_start_is_shown() -> None:
    waiting = runner("r1", "PENDING", started=121, message="Job has not started yet.")

    assert Starts.of([runner("r2", "PENDING", started=119)], NOW).obstacle is None
    assert Starts.of([waiting], NOW).obstacle == (
        "a runner: Ray has not started r1 since 2026-01-01T11:57:59Z: Job has not started yet."
    )
