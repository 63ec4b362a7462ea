"""Random `kill -9` during loads, over and over: `make test-kill N=50 SEED=1`.

Each round submits a job into a table of its own and, at a random moment, kills one process: a worker, a slot, a
runner, the dispatcher, a replica of the API, or all of PostgreSQL (`-m immediate`). A reader polls the table all the
while. At the end of the round the rows must be there once each, with one ledger row, and the reader must have seen
nothing or everything.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psutil  # type: ignore[import-untyped] # it has no types
import psycopg
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from dataproc.cli.stack import running
from dataproc.embedded.orders import orders
from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.embedded.ray_head import free_port
from dataproc.embedded.s3_server import ACCESS, S3Server
from dataproc.settings import Settings
from tests.acceptance.installation import Installation, new_table
from tests.conftest import open_folder

ROWS, FILES = 800_000, 8
LATEST_KILL = 2.0
PATIENCE = 180.0
VICTIMS = {
    "worker": "ray::ReadUnit",
    "slot": "ray::Slot",
    "runner": "jobs.runner",
    "dispatcher": "jobs.dispatcher",
    "api": "ray::ServeReplica",
    "postgres": "",
}


@dataclass(slots=True)
class Outcome:
    """What a round must not have, and what happened in it."""

    kills: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Reader:
    """Polls a table and notes every count of rows that it sees."""

    url: str
    table: str
    seen: set[int] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until stopped; a server that is away is read again."""
        while not self.stopped.wait(0.05):
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as conn:
                    self.seen.add(rows_in(conn, self.table))
            except psycopg.OperationalError:
                continue


def rows_in(conn: psycopg.Connection, table: str) -> int:
    """Return how many rows a table has; none when it is not there."""
    try:
        row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return row[0] if row else 0


@contextmanager
def reading(url: str, table: str) -> Iterator[Reader]:
    """Read a table for the length of the block."""
    reader = Reader(url, table)
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        reader.stopped.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class KillLoop:
    """An installation, its PostgreSQL, and the dice."""

    place: Installation
    postgres: EmbeddedPostgres
    dice: random.Random
    outcome: Outcome

    def round(self) -> None:
        """Load once, kill once, and compare."""
        table, way = new_table(), self.dice.choice(["direct", "staged"])
        spec = self.place.spec("orders/*.parquet", table, load=way, retry={"attempts": 20, "max_delay": "2s"})
        with reading(self.postgres.warehouse_url, table) as reader:
            job_id = patiently(lambda: self.place.submit(spec))["id"]
            time.sleep(self.dice.uniform(0, LATEST_KILL))
            self.kill()
            job = self.wait(job_id)
        self.compare(job, table, reader)

    def kill(self) -> None:
        """Kill one of the victims that live, at random."""
        name = self.dice.choice(list(VICTIMS))
        if name == "postgres":
            self.postgres.pg_ctl("stop", "--mode=immediate")
            self.postgres.wait()
            self.outcome.kills[name] += 1
            return
        alive = self.place.processes(VICTIMS[name])
        if alive:
            victim = self.dice.choice(sorted(alive, key=lambda process: int(process.pid)))
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                return
            self.outcome.kills[name] += 1

    def wait(self, job_id: str) -> dict[str, Any]:
        """Wait for the job's end; return it as it stands when it takes too long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            job = patiently(lambda: self.place.job(job_id))
            if job["status"] in {"COMPLETED", "FAILED", "CANCELLED"} or time.monotonic() > deadline:
                return job
            time.sleep(0.1)

    def compare(self, job: dict[str, Any], table: str, reader: Reader) -> None:
        """Count what must not be."""
        found = self.outcome.found
        found["jobs"] += 1
        found["stuck or failed"] += job["status"] != "COMPLETED"
        rows, distinct = self.place.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table}")[0]
        found["duplicates"] += rows - distinct
        found["losses"] += ROWS - distinct
        found["partial reads"] += len(reader.seen - {0, ROWS})
        found["wrong ledgers"] += len(self.place.ledger(job["id"])) != 1
        found["left-overs"] += len(self.place.left_over())
        self.place.execute(f"DROP TABLE {table}")


def patiently(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return an answer of the API, asking again while it is away."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except (httpx2.HTTPError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextmanager
def installed() -> Iterator[tuple[Installation, EmbeddedPostgres]]:
    """Give an installation with a PostgreSQL that can be killed."""
    os.environ.update(ACCESS | {"RAY_AUTH_MODE": "disabled"})
    with open_folder() as folder, EmbeddedPostgres(folder) as postgres, S3Server(folder) as s3:
        settings = Settings(
            metadata_url=SecretStr(postgres.metadata_url),
            warehouse_url=SecretStr(postgres.warehouse_url),
            data_dir=folder,
            http_port=free_port(8000),
            lease=timedelta(seconds=6),
            heartbeat=timedelta(milliseconds=300),
        )
        with (
            running(settings, lambda _: None) as stack,
            httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as api,
        ):
            place = Installation(api, s3, stack, postgres.warehouse_url, Path(folder))
            place.register_lake()
            yield place, postgres


def table_of(outcome: Outcome) -> Table:
    """Return the outcome as a table."""
    table = Table("what", "count")
    for name, count in [*outcome.found.items(), *((f"killed: {name}", n) for name, n in sorted(outcome.kills.items()))]:
        table.add_row(name, f"{count:,}")
    return table


def main() -> int:
    """Run the rounds; return 0 when nothing was found that must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console, outcome = Console(), Outcome()
    with installed() as (place, postgres):
        table = orders(ROWS)
        place.put_parts("orders", [table.slice(n * ROWS // FILES, ROWS // FILES) for n in range(FILES)])
        loop = KillLoop(place, postgres, random.Random(options.seed), outcome)  # noqa: S311 - it only picks victims
        for number in range(options.rounds):
            loop.round()
            console.print(f"round {number + 1}: {dict(outcome.found)} {dict(outcome.kills)}", soft_wrap=True)
    console.print(table_of(outcome))
    return 1 if any(count for name, count in outcome.found.items() if name != "jobs") else 0


if __name__ == "__main__":
    sys.exit(main())
