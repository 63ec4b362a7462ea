"""Random `kill -9` during loads, over and over: `make test-kill N=50 SEED=1`.

Each round submits a job into a table of its own and, at a random moment, kills one process: a worker, a slot, a
runner, the dispatcher, a replica of the API, the head of Ray, the postmaster, or all of PostgreSQL (`-m immediate`).
The mode is appended to a missing table, or merged into or put in place of one that has an older state of all rows.
Nobody helps. A reader polls the table all the while. At the end of the round the rows must be there once each, just as
they came, with one ledger row and one event, and the reader must have seen nothing or everything.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from rich.console import Console

from dataproc.cli.stack import url_of
from dataproc.embedded.orders import orders
from dataproc.repositories.audit import FIRST_BROKEN
from tests.acceptance.installation import QUICK, Installation, installed, new_table, patiently
from tests.conftest import open_folder
from tests.faults.invariants import broken_versions
from tests.faults.outcome import Outcome, markdown_of, table_of
from tests.faults.reading import Reader, reading
from tests.faults.victims import VICTIMS, kill_one

SIZES, FILES = (100_000, 400_000, 800_000), 8
LATEST_KILL = 2.0
PATIENCE = 300.0
CLEAN_PATIENCE = 30.0
"""Seconds that staging tables may outlive their job: the janitor comes now and then."""
MODES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "append": ({"mode": "append"}, ("direct", "staged")),
    "merge": ({"mode": "merge", "keys": ["order_id"]}, ("auto", "staged")),
    "replace": ({"mode": "replace"}, ("direct", "staged")),
    "replace in place": ({"mode": "replace", "replace": "in_place"}, ("direct", "staged")),
    "scd2": ({"mode": "scd2", "keys": ["order_id"], "versions": {"missing": "close"}}, ("auto", "staged")),
}
"""The options of each mode, and the ways that can be asked for; `auto` is direct here."""
OLDER = """
CREATE SCHEMA IF NOT EXISTS acceptance; CREATE TABLE {table} AS SELECT * FROM {loaded};
UPDATE {table} SET qty = -1; ALTER TABLE {table} ADD CONSTRAINT older PRIMARY KEY (order_id)
"""
OLDER_VERSIONS = """
ALTER TABLE {table} DROP CONSTRAINT older, ADD valid_from timestamptz NOT NULL DEFAULT '2026-01-01',
ADD valid_to timestamptz, ADD is_current boolean NOT NULL DEFAULT true; CREATE INDEX ON {table} (order_id)
"""
NEW_ROWS = (
    "CASE count(*) FILTER (WHERE {current}) WHEN {rows} THEN count(*) FILTER (WHERE {current} AND qty > 0) ELSE -1 END"
)
"""What a reader asks a table that has rows before: how many are new; -1 where some are missing."""
LOST = "SELECT count(*) FROM (SELECT {columns} FROM {loaded} EXCEPT SELECT {columns} FROM {table}) AS lost"
COLUMNS = ", ".join(orders(0).column_names)
RETRY = {"attempts": 20, "max_delay": "2s"}
COMPLETIONS = "SELECT count(*) FROM outbox WHERE job_id = %s AND kind = 'job.completed'"
HEADS = ("what", "count")


@dataclass(frozen=True, slots=True)
class KillLoop:
    """An installation, and the dice."""

    place: Installation
    dice: random.Random
    outcome: Outcome

    def prepare(self) -> None:
        """Put orders of each size into the bucket, and load them once undisturbed."""
        for rows in SIZES:
            table, share = orders(rows), rows // FILES
            self.place.put_parts(f"orders-{rows}", [table.slice(number * share, share) for number in range(FILES)])
            self.place.run(self.place.spec(f"orders-{rows}/*.parquet", loaded(rows)))

    def round(self) -> None:
        """Load once, kill once, and compare."""
        rows, table, mode = self.dice.choice(SIZES), new_table(), self.dice.choice(list(MODES))
        options, ways = MODES[mode]
        spec = self.place.spec(f"orders-{rows}/*.parquet", table, load=self.dice.choice(ways), retry=RETRY)
        spec["destination"] |= options
        if mode != "append":
            self.place.execute(OLDER.format(table=table, loaded=loaded(rows)))
        if mode == "scd2":
            self.place.execute(OLDER_VERSIONS.format(table=table))
        told = "count(*)" if mode == "append" else NEW_ROWS.format(rows=rows, current=current(mode))
        self.outcome.loads[mode] += 1
        with reading(self.place.warehouse_url, table, told) as reader:
            job_id = patiently(lambda: self.place.submit(spec), PATIENCE)["id"]
            time.sleep(self.dice.uniform(0, LATEST_KILL))
            self.kill()
            job = self.place.end_of(job_id, PATIENCE)
        # What was killed may be what the job had no more need of.
        patiently(lambda: self.ask_metadata("SELECT 1"), PATIENCE)
        self.compare(job, rows, reader, mode)

    def kill(self) -> None:
        """Kill one of the victims that live, at random."""
        for name in self.dice.sample(VICTIMS, len(VICTIMS)):
            if kill_one(self.place, name, self.dice):
                self.outcome.kills[name] += 1
                return

    def compare(self, job: dict[str, Any], expected: int, reader: Reader, mode: str) -> None:
        """Count what must not be."""
        found, table = self.outcome.found, reader.table
        found["jobs"] += 1
        found["stuck or failed"] += job["status"] != "COMPLETED"
        rows, distinct = self.counts(table, current(mode))
        found["duplicates"] += rows - distinct
        found["wrong versions"] += len(self.place.query(broken_versions(table, ["order_id"]))) if mode == "scd2" else 0
        found["losses"] += self.lost(table, expected)
        found["partial reads"] += len(reader.seen - {0, expected})
        found["wrong ledgers"] += len(self.place.ledger(job["id"])) != 1
        found["events lost or doubled"] += self.ask_metadata(COMPLETIONS, job["id"]) != [(1,)]
        found["audit chains broken"] += bool(self.ask_metadata(str(FIRST_BROKEN)))
        found["left-overs"] += self.left_over()
        self.place.execute(f"DROP TABLE IF EXISTS {table}")

    def counts(self, table: str, current: str) -> tuple[int, int]:
        """Return how many rows and how many orders a table has that hold; none when it is not there."""
        if not self.place.exists(table):
            return 0, 0
        [(rows, distinct)] = self.place.query(f"SELECT count(*), count(DISTINCT order_id) FROM {table} WHERE {current}")
        return rows, distinct

    def lost(self, table: str, expected: int) -> int:
        """Return how many rows are not there just as they came."""
        if not self.place.exists(table):
            return expected
        return int(self.place.query(LOST.format(columns=COLUMNS, table=table, loaded=loaded(expected)))[0][0])

    def left_over(self) -> int:
        """Return how many staging tables stay for good."""
        deadline = time.monotonic() + CLEAN_PATIENCE
        while (found := self.place.left_over()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return len(found)

    def ask_metadata(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the metadata database."""
        with psycopg.connect(url_of(self.place.stack.settings.metadata_url), autocommit=True) as conn:
            return conn.execute(statement.encode(), values).fetchall()


def current(mode: str) -> str:
    """Return the condition of the rows that hold: all, or the latest versions."""
    return "is_current" if mode == "scd2" else "true"


def loaded(rows: int) -> str:
    """Return the table with so many orders that were loaded undisturbed."""
    return f"kills.orders_{rows}"


def main() -> int:
    """Run the rounds; return 0 when nothing was found that must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console, outcome = Console(), Outcome()
    with open_folder() as folder, installed(folder, **QUICK) as place:
        loop = KillLoop(place, random.Random(options.seed), outcome)  # noqa: S311 - it only picks victims
        loop.prepare()
        began = time.monotonic()
        for number in range(options.rounds):
            loop.round()
            seconds = time.monotonic() - began
            console.print(f"round {number + 1}, {seconds:.0f} s: {outcome.found} {outcome.kills}", soft_wrap=True)
    console.print(table_of(outcome.rows, *HEADS))
    console.print(markdown_of(outcome.rows, *HEADS), markup=False, soft_wrap=True)
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
