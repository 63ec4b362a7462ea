"""Many jobs submitted at once: how long each waits from its record to its commit, and whether any is lost or doubled.

`make bench-concurrent`, or `python -m bench.concurrent --jobs 50` for a quick look. The first batch is mixed: half of
the jobs load 1,000 rows, the others 10,000 to 500,000. In the second batch every job loads 1,000 rows.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from bench.environments import CACHE
from bench.errors import WrongRowsError
from bench.orders import orders_on_disk
from bench.product import Product, append_job, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import percentile
from bench.server import Database
from dataproc.domain.status import RunStatus

JOBS, TABLES, CLIENTS = 500, 20, 16
SMALL = 1_000
SHARES = {SMALL: 0.5, 10_000: 0.2, 20_000: 0.12, 50_000: 0.08, 100_000: 0.05, 200_000: 0.03, 500_000: 0.02}
"""Which share of the jobs in the mixed batch load so many rows."""
ROWS_IN_PART = 100_000
MIXED_LIMIT, SMALL_LIMIT = 300.0, 60.0
EDGES = (1, 2, 5, 10, 20, 30, 60, 120, 180, 300)
"""Seconds at which the bars of the histogram end."""
PATIENCE = 900.0
"""Seconds after which jobs that have not ended count as lost."""
LOOK = 0.5
OPEN = tuple(status for status in RunStatus if not status.is_final)
DATA = CACHE / "data"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that are submitted at once: how many rows each loads; each of the tables takes its share of them."""

    name: str
    sizes: Sequence[int]

    def specs(self) -> list[dict[str, object]]:
        """Return the specs of the jobs."""
        return [
            append_job(self.name, f"{folder_of(rows)}/*.parquet", f"{self.name}.{table_of_job(number)}")
            for number, rows in enumerate(self.sizes)
        ]


@dataclass(frozen=True, slots=True)
class Commit:
    """A job that was completed: its table and its rows, when it was recorded, and when its ledger row was written."""

    table: str
    rows: int
    recorded: datetime
    published: datetime

    @property
    def seconds(self) -> float:
        """The time from its record to its commit."""
        return (self.published - self.recorded).total_seconds()


def mixed(jobs: int) -> Batch:
    """Return a batch of mixed sizes, in an order that is the same each time."""
    sizes = [rows for rows, share in SHARES.items() for _ in range(round(jobs * share))]
    sizes = (sizes + [SMALL] * jobs)[:jobs]
    random.Random(1).shuffle(sizes)  # noqa: S311 - it only mixes the sizes
    return Batch("mixed", sizes)


def folder_of(rows: int) -> str:
    """Return the folder of a data set of that size, below the one that jobs may read, written if it is missing."""
    return str(orders_on_disk(DATA, rows, -(-rows // ROWS_IN_PART)).parts.relative_to(DATA))


def table_of_job(number: int) -> str:
    """Return the table that the job of that number loads into."""
    return f"orders_{number % TABLES}"


def run(batch: Batch, running: Product) -> list[Commit]:
    """Submit all jobs at once and wait for all ends; return those that were completed, having compared their rows."""
    specs = batch.specs()
    tell(f"{batch.name}: {len(specs)} jobs, {sum(batch.sizes):,} rows")
    with ThreadPoolExecutor(CLIENTS) as clients:
        accepted = list(clients.map(lambda spec: str(running.ask("POST", "/jobs", json=spec)["id"]), specs))
    jobs = {job["id"]: job for job in when_ended(batch, running) if job["status"] == RunStatus.COMPLETED}
    published = published_at(running.database, accepted)
    commits = [
        Commit(table_of_job(number), rows, datetime.fromisoformat(jobs[job]["created_at"]), published[job])
        for number, (job, rows) in enumerate(zip(accepted, batch.sizes, strict=True))
        if job in jobs and job in published
    ]
    verify(batch.name, commits, running.database)
    return commits


def when_ended(batch: Batch, running: Product) -> list[dict[str, Any]]:
    """Return the jobs of a batch once all have ended, or as they stand when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        # One look at an open job is cheap; the whole list is asked for only when there seems to be none.
        if not any(page(running, name=batch.name, status=status, limit=1)["jobs"] for status in OPEN):
            jobs = all_jobs(batch, running)
            if all(RunStatus(job["status"]).is_final for job in jobs):
                return jobs
        time.sleep(LOOK)
    return all_jobs(batch, running)


def all_jobs(batch: Batch, running: Product) -> list[dict[str, Any]]:
    """Return all jobs of a batch as they stand."""
    found = page(running, name=batch.name, limit=JOBS)
    jobs = list(found["jobs"])
    while found["next"]:
        found = page(running, name=batch.name, limit=JOBS, after=found["next"])
        jobs += found["jobs"]
    return jobs


def page(running: Product, **which: object) -> dict[str, Any]:
    """Return one page of the list of jobs."""
    return running.ask("GET", "/jobs", params=which)


def published_at(database: Database, jobs: Sequence[str]) -> dict[str, datetime]:
    """Return when each job was published; a job that was published twice is an error."""
    query = "SELECT job_id::text, published_at FROM dataproc_load.load_ledger WHERE job_id::text = ANY(%s)"
    with database.connect() as conn:
        rows: list[tuple[str, datetime]] = conn.execute(query, [list(jobs)]).fetchall()
    if len(rows) != len(dict(rows)):
        raise WrongRowsError("a job has two rows in the ledger")
    return dict(rows)


def verify(schema: str, commits: Sequence[Commit], database: Database) -> None:
    """Raise `WrongRowsError` unless each table holds each order exactly as often as jobs loaded it; then drop them."""
    query = sql.SQL("SELECT n, count(*) FROM (SELECT count(*) AS n FROM {} GROUP BY order_id) AS orders GROUP BY n")
    with database.connect() as conn:
        for table in sorted({commit.table for commit in commits}):
            expected = repeats([commit.rows for commit in commits if commit.table == table])
            rows: list[tuple[int, int]] = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
            if dict(rows) != expected:
                words = f"{schema}.{table} holds orders so many times: {dict(rows)}, expected is {expected}"
                raise WrongRowsError(words)
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def repeats(sizes: Sequence[int]) -> dict[int, int]:
    """Return how many orders are there how many times, after loads of the first so many orders each."""
    found: Counter[int] = Counter()
    falling = sorted(sizes, reverse=True)
    for times, (rows, fewer) in enumerate(zip(falling, [*falling[1:], 0], strict=True), start=1):
        found[times] += rows - fewer
    return {times: orders for times, orders in found.items() if orders}


def summary(batch: Batch, commits: Sequence[Commit]) -> dict[str, Any]:
    """Return how many jobs were completed and lost, and how fast it all went."""
    seconds = (max(c.published for c in commits) - min(c.recorded for c in commits)).total_seconds()
    return {
        "jobs": len(batch.sizes),
        "completed": len(commits),
        "lost": len(batch.sizes) - len(commits),
        "p50_s": round(percentile([c.seconds for c in commits], 0.5), 2),
        "p95_s": round(percentile([c.seconds for c in commits], 0.95), 2),
        "jobs_per_s": round(len(commits) / seconds, 1),
        "seconds": round(seconds, 2),
        "rows": sum(batch.sizes),
        "rows_per_s": round(sum(c.rows for c in commits) / seconds),
    }


def histogram(seconds: Sequence[float]) -> dict[str, int]:
    """Return how many values end in each bar; the last one has no end."""
    bars = Counter(next((f"<= {edge} s" for edge in EDGES if value <= edge), f"> {EDGES[-1]} s") for value in seconds)
    return {bar: bars[bar] for bar in (*(f"<= {edge} s" for edge in EDGES), f"> {EDGES[-1]} s") if bars[bar]}


def by_size(commits: Sequence[Commit]) -> dict[str, dict[str, float]]:
    """Return for each size how many jobs it had, and how long they took."""
    sizes = sorted({commit.rows for commit in commits})
    groups = {rows: [commit.seconds for commit in commits if commit.rows == rows] for rows in sizes}
    return {
        f"{rows:,} rows": {
            "jobs": len(group),
            "p50_s": round(percentile(group, 0.5), 2),
            "p95_s": round(percentile(group, 0.95), 2),
        }
        for rows, group in groups.items()
    }


def measure(jobs: int) -> None:
    """Publish how a mixed batch and a batch of small jobs went, each on an installation that is warm."""
    batches = (mixed(jobs), Batch("small", [SMALL] * jobs))
    found = {}
    with product(DATA) as running:
        where = machine(postgres=running.database.version)
        run(Batch("warm", [SMALL] * TABLES), running)
        for batch in batches:
            running.database.settle()
            found[batch.name] = (batch, run(batch, running))
    show({name: summary(*one) for name, one in found.items()}, found["mixed"][1], where)


def show(batches: Mapping[str, dict[str, Any]], commits: Sequence[Commit], where: dict[str, object]) -> None:
    """Publish the result."""
    bars, small = histogram([commit.seconds for commit in commits]), batches["small"]
    columns = ("jobs", "completed", "lost", "rows", "seconds", "p50_s", "p95_s", "jobs_per_s", "rows_per_s")
    lines = [(name, *(f"{figures[column]:,}" for column in columns)) for name, figures in batches.items()]
    table = table_of(f"{small['jobs']} jobs submitted at once", ("batch", *columns), lines)
    tell("submit to commit: " + ", ".join(f"{bar}: {jobs}" for bar, jobs in bars.items()))
    marks = (
        Mark("mixed, p95", batches["mixed"]["p95_s"], MIXED_LIMIT, " s"),
        Mark("small, all", small["seconds"], SMALL_LIMIT, " s"),
        *(Mark(f"{name}, lost", figures["lost"], 0) for name, figures in batches.items()),
    )
    figures = {**batches["mixed"], "histogram": bars, "by_size": by_size(commits), "small": small, "machine": where}
    publish("concurrent", figures, table, marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit with 1 when rows were lost or doubled."""
    parser = argparse.ArgumentParser(prog="bench.concurrent", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = parser.parse_args(arguments)
    return exit_code(lambda: measure(options.jobs))


if __name__ == "__main__":
    sys.exit(main())
