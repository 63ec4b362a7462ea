"""Waiting for a job: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dataproc.cli.api_client import ApiClient, Document
from dataproc.cli.output import Output, shown
from dataproc.cli.show import aside
from dataproc.cli.views import JobView, StageView, job_of
from dataproc.ports.clock import Clock

LOOK = 0.5
"""Seconds between two looks at a job that goes on; its end is told at once."""
LINE = 5.0
"""Seconds between two lines, unless the status changes."""
PATIENCE = timedelta(minutes=1)
"""How long the API may be away while a job is waited for: it may be replaced by a new version meanwhile."""

Look = Callable[[JobView], None]


def wait_for(
    client: ApiClient,
    job_id: UUID,
    look: Look,
    *,
    clock: Clock = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Document:
    """Return the job as it ended; `look` sees it on the way."""
    wait = 0.0
    while True:
        asked = clock()
        document = client.job(job_id, wait=wait)
        job = job_of(document)
        look(job)
        if job.status.is_final:
            return document
        # Nothing is left of this time, unless the API did not wait.
        pause(max(0.0, asked + wait - clock()))
        wait = LOOK


@contextmanager
def looking(out: Output) -> Iterator[Look]:
    """Give what shows a job on its way."""
    if out.as_json or not out.aside.is_terminal:
        yield Lines(out.say)
        return
    with Bars.on(out.aside) as bars:
        yield bars


@dataclass(slots=True)
class Lines:
    """Says how a job stands when its status changes, and every few seconds."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    status: str = ""
    said_at: float = 0.0

    def __call__(self, job: JobView) -> None:
        """Look at the job."""
        now = self.clock()
        if job.status == self.status and now < self.said_at + LINE:
            return
        self.status, self.said_at = job.status, now
        self.say(line(job))


def line(job: JobView) -> str:
    """Return how a job stands."""
    progress = job.progress
    told = f"{job.id} {job.status}"
    if progress.waiting_for:
        told += f", waiting for {progress.waiting_for}"
    if progress.units_planned:
        told += f", {progress.loading.units:,} of {progress.units_planned:,} units"
        told += f", {progress.ingesting.rows:,} rows read, {progress.loading.rows:,} loaded{aside(job)}"
    return told + (f", {job.rows_per_second:,.0f} rows/s" if job.rows_per_second else "")


@dataclass(slots=True)
class Bars:
    """A bar for each stage: units done of those planned, rows, rows a second."""

    progress: Progress
    tasks: dict[str, TaskID] = field(default_factory=dict)
    waiting_for: str | None = None

    @classmethod
    @contextmanager
    def on(cls, console: Console) -> Iterator["Bars"]:
        """Give bars that stay on the console in the end."""
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.fields[units]} units"),
            TextColumn("{task.fields[rows]:>12,} rows"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as progress:
            yield cls(progress)

    def __call__(self, job: JobView) -> None:
        """Move the bars; print a new obstacle of the job above them."""
        stages = job.progress
        if stages.waiting_for != self.waiting_for:
            self.waiting_for = stages.waiting_for
            if stages.waiting_for:
                self.progress.console.print(shown(f"waiting for {stages.waiting_for}"))
        for name in ("ingesting", "transforming", "loading"):
            self.move(name, getattr(stages, name), job)

    def move(self, name: str, stage: StageView, job: JobView) -> None:
        """Move one bar; until the units are planned it only pulses."""
        planned = job.progress.units_planned
        speed = f"{job.rows_per_second:,.0f} rows/s" if job.rows_per_second else ""
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=None, units="?", rows=0, speed="")
        units = f"{planned:,}" if planned else "?"
        self.progress.update(
            self.tasks[name], total=planned or None, completed=stage.units, units=units, rows=stage.rows, speed=speed
        )
