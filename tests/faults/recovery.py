"""How long an installation needs from the death of everything to the end of all its jobs: `make test-recovery`.

Twenty jobs of mixed sizes are submitted. While some run and others wait, all processes are killed at once (`kill -9`):
the API, the runners and their workers, the dispatcher, all of Ray, all of PostgreSQL. Nobody helps. In the end each job
must be completed with every row there once, and one ledger row.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psycopg
from rich.console import Console

from dataproc.cli.stack import url_of
from dataproc.embedded.orders import orders
from tests.acceptance.installation import Installation, installed, new_table, until
from tests.conftest import open_folder
from tests.faults.outcome import markdown_of, table_of
from tests.faults.victims import everything, kill_all

JOBS, SIZES, FILES = 20, (50_000, 100_000, 400_000, 800_000), 4
LIMIT = 600.0
"""Seconds within which all jobs must have ended."""
LOOK = 0.1
ENDED = "SELECT count(*) FROM jobs WHERE status IN ('COMPLETED', 'FAILED', 'CANCELLED')"
RUNNING = "SELECT count(*) FROM jobs WHERE status IN ('INGESTING', 'TRANSFORMING', 'LOADING')"
COMPLETED = "SELECT count(*) FROM jobs WHERE status = 'COMPLETED'"


@dataclass(slots=True)
class Disaster:
    """An installation with jobs under way; `tables` tells for each job its table and its rows."""

    place: Installation
    tables: dict[str, tuple[str, int]] = field(default_factory=dict)

    def submit(self, jobs: int) -> None:
        """Submit jobs of mixed sizes, each into a table of its own."""
        for rows in SIZES:
            whole, share = orders(rows), rows // FILES
            self.place.put_parts(f"orders-{rows}", [whole.slice(number * share, share) for number in range(FILES)])
        for number in range(jobs):
            rows, table = SIZES[number % len(SIZES)], new_table()
            job = self.place.submit(self.place.spec(f"orders-{rows}/*.parquet", table))
            self.tables[job["id"]] = (table, rows)

    def strike(self) -> tuple[int, int]:
        """Kill everything once jobs run and others have ended; return how many processes, and jobs ended before."""
        until(lambda: True if self.count(RUNNING) and self.count(ENDED) else None)
        ended, processes = self.count(ENDED), everything(self.place)
        return kill_all(processes), ended

    def count(self, statement: str) -> int:
        """Return a count from the metadata database; -1 while it does not answer."""
        try:
            with psycopg.connect(url_of(self.place.stack.settings.metadata_url), connect_timeout=5) as conn:
                row = conn.execute(statement.encode()).fetchone()
        except psycopg.OperationalError:
            return -1
        return row[0] if row else 0

    def wrong(self) -> list[str]:
        """Return the tables that do not hold every row once, or whose job has not one ledger row."""
        return [table for job, (table, rows) in self.tables.items() if not self.is_right(job, table, rows)]

    def is_right(self, job_id: str, table: str, rows: int) -> bool:
        """Whether a job has loaded each of its rows once."""
        if not self.place.exists(table) or len(self.place.ledger(job_id)) != 1:
            return False
        return self.place.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}") == [(rows, rows)]


def moments(conditions: Mapping[str, Callable[[], bool]]) -> dict[str, float]:
    """Return after how many seconds each condition first held; those that did not within the limit are missing."""
    began, met = time.monotonic(), dict[str, float]()
    while len(met) < len(conditions) and time.monotonic() - began < LIMIT:
        for name, holds in conditions.items():
            if name not in met and holds():
                met[name] = time.monotonic() - began
        time.sleep(LOOK)
    return met


def recover(place: Installation, jobs: int, console: Console) -> bool:
    """Strike, watch the installation recover, and tell; return whether all is right."""
    disaster = Disaster(place)
    disaster.submit(jobs)
    killed, before = disaster.strike()
    console.print(f"killed {killed} processes when {before} of {jobs} jobs had ended", soft_wrap=True)
    conditions = {
        "PostgreSQL answers": lambda: disaster.count(ENDED) >= 0,
        "the API answers": place.is_ready,
        "the first of the remaining jobs ended": lambda: disaster.count(ENDED) > before,
        f"all {jobs} jobs ended": lambda: disaster.count(ENDED) == jobs,
    }
    met = moments(conditions)
    wrong, completed = disaster.wrong(), disaster.count(COMPLETED)
    rows = [(name, f"{met[name]:.1f}" if name in met else f"not within {LIMIT:.0f}") for name in conditions]
    rows += [("jobs completed", str(completed)), ("jobs with rows lost or doubled", str(len(wrong)))]
    heads = ("from the death of everything until", "seconds")
    console.print(table_of(rows, *heads))
    console.print(markdown_of(rows, *heads), markup=False, soft_wrap=True)
    return len(met) == len(conditions) and not wrong and completed == jobs


def main() -> int:
    """Measure the recovery; return 0 when every job was completed in time, with every row once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = parser.parse_args()
    with open_folder() as folder, installed(folder) as place:
        return 0 if recover(place, options.jobs, Console()) else 1


if __name__ == "__main__":
    sys.exit(main())
