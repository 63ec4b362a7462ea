"""Jobs as tables for people."""

from collections.abc import Iterator
from datetime import datetime

from rich import box
from rich.table import Table
from rich.text import Text

from dataproc.cli.output import shown
from dataproc.cli.views import JobView
from dataproc.domain.status import RunStatus

COLOURS = {RunStatus.COMPLETED: "green", RunStatus.FAILED: "red", RunStatus.CANCELLED: "yellow"}


def job_list(jobs: list[JobView]) -> Table:
    """Return jobs, one a line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("ID", "NAME", "STATUS", "CREATED"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ROWS", "REJECTED", "SECONDS"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job in jobs:
        done = job.progress
        figures = (f"{done.loading.rows:,}", f"{done.rows_rejected:,}", seconds(job))
        table.add_row(str(job.id), shown(job.name), status_of(job), when(job.created_at), *figures)
    return table


def job_details(job: JobView) -> Table:
    """Return one job, a fact a line."""
    table = fact_table()
    for name, value in facts(job):
        table.add_row(name, value)
    return table


def fact_table() -> Table:
    """Return a table of names and values."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def facts(job: JobView) -> Iterator[tuple[str, str | Text]]:
    """Yield what is told of a job."""
    progress = job.progress
    yield "job", str(job.id)
    yield "name", shown(job.name)
    yield "status", status_of(job)
    if progress.waiting_for:
        yield "waits for", shown(progress.waiting_for)
    yield "attempt", f"{job.attempt} of {job.attempts}"
    yield "created", when(job.created_at)
    if job.status is RunStatus.PENDING and job.scheduled_for > job.created_at:
        yield "not before", when(job.scheduled_for)
    yield "took", seconds(job) + " s" if job.duration_seconds is not None else "-"
    resumed = f", {progress.units_resumed:,} of them by an earlier attempt" if progress.units_resumed else ""
    yield "units", f"{progress.loading.units:,} of {progress.units_planned:,}{resumed}"
    yield "rows", f"{progress.ingesting.rows:,} read, {progress.loading.rows:,} loaded{aside(job)}"
    yield "speed", f"{job.rows_per_second:,.0f} rows/s" if job.rows_per_second else "-"
    yield "way", progress.load or "-"
    for choice in progress.choices:
        yield "choice", shown(choice)
    for warning in progress.warnings:
        yield "warning", shown(warning)
    if job.error is not None:
        yield "error", shown(f"{job.error.message} ({job.error.code})")


def aside(job: JobView) -> str:
    """Return how many rows were set aside, filtered out or found doubled, if there were any."""
    progress = job.progress
    counts = (
        ("rejected", progress.rows_rejected),
        ("filtered out", progress.rows_filtered),
        ("found doubled", progress.rows_deduplicated),
    )
    return "".join(f", {count:,} {name}" for name, count in counts if count)


def status_of(job: JobView) -> Text:
    """Return the status in its colour."""
    asked = " (cancel requested)" if job.cancel_requested and not job.status.is_final else ""
    return Text(job.status + asked, style=COLOURS.get(job.status, "cyan"))


def when(moment: datetime) -> str:
    """Return a time in the reader's own zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def seconds(job: JobView) -> str:
    """Return how long a job ran."""
    return "-" if job.duration_seconds is None else f"{job.duration_seconds:,.1f}"
