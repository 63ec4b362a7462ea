"""Many objects of one row each from an S3 server into the warehouse: the whole product, and boto3 alone reading them.

`make bench-small`, or `python -m bench.small --objects 500 --rounds 1` for a quick look.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from bench.environments import CACHE
from bench.errors import WrongRowsError
from bench.lake import BUCKET, Lake, lake
from bench.product import Product, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians

FOLDER = "small"
LIMIT = 30.0
"""Seconds for 10,000 objects; for other numbers of them the same share."""
USUAL = 10_000
WAYS = ("direct", "staged")


@dataclass(frozen=True, slots=True)
class Loads:
    """The work of each contender: all objects."""

    product: Product
    lake: Lake
    objects: int

    def contenders(self) -> tuple[Contender, ...]:
        """Return the contenders."""
        ways = [Contender(f"dataproc {load}", partial(self.load, load)) for load in WAYS]
        return (*ways, Contender("boto3, reading", lambda _: self.lake.fetch(FOLDER)))

    def load(self, load: str, number: int) -> float:
        """Load through the product, which makes the table itself."""
        table = f"small_{load}_{number}.rows"
        source = {"kind": "s3", "path": f"{self.lake.url(FOLDER)}/*.csv"}
        self.product.database.settle()
        ended = self.product.run({"name": "small", "source": source, "destination": {"table": table, "load": load}})
        with self.product.database.connect() as conn:
            self.verify(conn, table)
        return ended.seconds

    def verify(self, conn: psycopg.Connection, table: str) -> None:
        """Raise unless a table holds each row once, and drop it."""
        row = conn.execute(f"SELECT count(*), count(DISTINCT id), sum(id) FROM {table}".encode()).fetchone()
        if row != (self.objects, self.objects, sum(range(self.objects))):
            raise WrongRowsError(f"{table} has (rows, ids, sum of ids) {row}, of {self.objects} objects")
        conn.execute(f"DROP TABLE {table}".encode())


def objects_on_disk(folder: Path, objects: int) -> Path:
    """Return the folder of the server's buckets, written if it is not there yet."""
    place = folder / f"small-{objects}"
    if not place.exists():
        half = place.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        (half / BUCKET / FOLDER).mkdir(parents=True)
        for n in range(objects):
            (half / BUCKET / FOLDER / f"{n:07}.csv").write_text(f"id,name,amount\n{n},name {n},{n}.50\n")
        half.rename(place)
    return place


def race(objects: int, rounds: int) -> None:
    """Let them load in turn, and publish how long each took."""
    tell("writing the objects")
    folder = objects_on_disk(CACHE / "data", objects)
    with lake(folder) as server, product(CACHE / "data") as running:
        loads = Loads(running, server, objects)
        where = machine(postgres=running.database.version)
        seconds = alternate(loads.contenders(), rounds, tell)
    middle = medians(seconds)
    lines = list(lines_of(objects, seconds).values())
    table = table_of(f"{objects:,} objects of one row", ("", "median s", "least s", "most s", "objects/s"), lines)
    limit = LIMIT * objects / USUAL
    marks = [Mark(f"dataproc {load}, {objects:,} objects", middle[f"dataproc {load}"], limit, " s") for load in WAYS]
    publish("small", {**figures_of(objects, seconds), "machine": where}, table, marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a run left wrong rows."""
    parser = argparse.ArgumentParser(prog="bench.small", description=__doc__)
    parser.add_argument("--objects", type=int, default=USUAL)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    return exit_code(lambda: race(options.objects, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
