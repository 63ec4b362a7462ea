"""How a job on its way is shown: lines now and then, or bars."""

import io
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx2
import pytest
from rich.console import Console

from dataproc.cli.api_client import USUAL, ApiClient
from dataproc.cli.output import console, shown
from dataproc.cli.show import job_details, job_list
from dataproc.cli.views import JobView, job_of
from dataproc.cli.watch import LOOK, Bars, Lines, wait_for

JOB = UUID("00000000-0000-0000-0000-000000000001")


def a_view(status: str = "INGESTING", **fields: Any) -> JobView:
    return job_of(a_document(status, **fields))


def a_document(status: str, *, units: int = 2, rows: int = 1000, **fields: Any) -> dict[str, Any]:
    stage = {"units": units, "rows": rows}
    progress: dict[str, Any] = {
        "units_planned": 4,
        "rows_announced": None,
        "rows_rejected": 3,
        "rows_filtered": 0,
        "rows_deduplicated": 0,
        "units_resumed": 0,
        "load": "direct",
        "warnings": [],
    }
    progress |= {name: fields.pop(name) for name in progress.keys() & fields.keys()}
    document: dict[str, Any] = {
        "id": str(JOB),
        "name": "orders-daily",
        "status": status,
        "cancel_requested": False,
        "attempt": 1,
        "attempts": 5,
        "created_at": "2026-01-01T00:00:00Z",
        "scheduled_for": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:00:01Z",
        "finished_at": None,
        "duration_seconds": 2.5,
        "rows_per_second": 400.0,
        "progress": progress | {"ingesting": stage, "transforming": stage, "loading": stage},
        "error": None,
    }
    return document | fields


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the width that the test's own surroundings may tell."""
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(*parts: Any) -> str:
    file = io.StringIO()
    for part in parts:
        console(file).print(part)
    return file.getvalue()


@dataclass(slots=True)
class Server:
    """An API whose job ends with the fourth answer, and the time that passes while it is waited for."""

    does_wait: bool
    now: float = 0.0
    asked: list[tuple[float, float]] = field(default_factory=list)
    patience: list[float] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        wait = float(request.url.params.get("wait", 0))
        self.asked.append((self.now, wait))
        self.patience.append(request.extensions["timeout"]["read"] - wait)
        if self.does_wait:
            self.now += wait
        return httpx2.Response(200, json=a_document("COMPLETED" if len(self.asked) == 4 else "LOADING"))

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def wait_for_job(self) -> list[str]:
        """Wait for the job; return the statuses that were seen."""
        seen: list[str] = []
        with httpx2.Client(base_url="http://api", transport=httpx2.MockTransport(self)) as http:
            wait_for(
                ApiClient(http), JOB, lambda job: seen.append(job.status), clock=lambda: self.now, pause=self.pause
            )
        return seen


def test_a_job_is_looked_at_at_once_and_then_its_end_is_waited_for() -> None:
    server = Server(does_wait=True)

    seen = server.wait_for_job()

    assert seen == ["LOADING", "LOADING", "LOADING", "COMPLETED"]
    assert server.asked == [(0.0, 0.0), (0.0, LOOK), (LOOK, LOOK), (2 * LOOK, LOOK)]
    assert server.patience == [USUAL] * 4


def test_an_api_that_does_not_wait_is_asked_now_and_then() -> None:
    server = Server(does_wait=False)

    server.wait_for_job()

    assert [time for time, _ in server.asked] == [0.0, 0.0, LOOK, 2 * LOOK]


def test_a_line_is_said_when_the_status_changes_and_then_every_five_seconds() -> None:
    said: list[str] = []
    times = iter([0.0, 4.9, 4.95, 9.9, 9.96])
    lines = Lines(said.append, lambda: next(times))

    for status in ("PENDING", "PENDING", "LOADING", "LOADING", "LOADING"):
        lines(a_view(status))

    assert [line.split(",")[0].split()[1] for line in said] == ["PENDING", "LOADING", "LOADING"]


def test_a_line_tells_units_rows_and_speed() -> None:
    said: list[str] = []

    Lines(said.append)(a_view())

    assert said == [f"{JOB} INGESTING, 2 of 4 units, 1,000 rows read, 1,000 loaded, 3 rejected, 400 rows/s"]


def test_there_is_a_bar_for_each_stage_with_its_units_and_rows() -> None:
    file = io.StringIO()
    with Bars.on(Console(file=file, force_terminal=True, width=120)) as bars:
        bars(a_view("PENDING", units=0, rows=0))
        bars(a_view(units=3, rows=1234))

    for stage in ("ingesting", "transforming", "loading"):
        assert f"{stage:<12}" in file.getvalue()
    assert [task.completed for task in bars.progress.tasks] == [3, 3, 3]
    assert "3/4 units" in file.getvalue()
    assert "1,234 rows" in file.getvalue()
    assert "400 rows/s" in file.getvalue()


def test_a_failed_job_shows_its_error_in_words() -> None:
    job = a_view("FAILED", error={"code": "source-not-found", "message": "There is no [red]such[/red] file."})

    assert "There is no [red]such[/red] file. (source-not-found)" in printed(job_details(job))


def test_warnings_and_units_of_an_earlier_attempt_are_shown_when_there_are_some() -> None:
    plain = printed(job_details(a_view()))
    told = printed(job_details(a_view(warnings=["no row [red]today[/red]"], units_resumed=2, rows_deduplicated=7)))

    assert "warning" not in plain
    assert "2 of 4" in plain
    assert "earlier attempt" not in plain
    assert "no row [red]today[/red]" in told
    assert "2 of 4, 2 of them by an earlier attempt" in told
    assert "7 found doubled" in told


def test_a_job_that_waits_for_its_time_says_which() -> None:
    later = "2030-01-01T00:00:00Z"

    assert "not before" in printed(job_details(a_view("PENDING", scheduled_for=later)))
    assert "not before" not in printed(job_details(a_view("PENDING")))
    assert "not before" not in printed(job_details(a_view("LOADING", scheduled_for=later)))


def test_a_cancel_that_was_asked_for_is_shown_until_the_job_ends() -> None:
    assert "(cancel requested)" in printed(job_list([a_view("LOADING", cancel_requested=True)]))
    assert "(cancel requested)" not in printed(job_list([a_view("CANCELLED", cancel_requested=True)]))


def test_a_list_that_is_piped_is_not_broken_into_pieces() -> None:
    lines = printed(job_list([a_view(name="n" * 100)])).splitlines()

    assert [line for line in lines if str(JOB) in line and "n" * 100 in line]


def test_a_terminal_obeys_nothing_that_a_server_says() -> None:
    assert shown("red \x1b[31m, bell \a").plain == "red �[31m, bell �"
