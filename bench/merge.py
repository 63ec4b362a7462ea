"""Orders merged by their key: into no table, into a table that has them all, and with half of them changed; and dlt.

`make bench-merge`, or `python -m bench.merge --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from bench.environments import CACHE, Peer
from bench.errors import WrongRowsError
from bench.orders import Orders, orders_on_disk
from bench.product import Product, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import figures_of, lines_of, medians
from bench.server import Database

PARTS = 8
LIMITS = {"empty": 0.5, "unchanged": 0.25, "half_changed": 0.5}
"""The most of dlt's time that each merge may take, in the order in which they are made."""
DLT = Peer("dlt")

Merges = Callable[[int], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Folders:
    """The orders, and the same with another quantity in half of them."""

    orders: Orders
    changed: Path

    @property
    def root(self) -> Path:
        """The folder that holds both."""
        return self.orders.parts.parent

    @property
    def in_turn(self) -> tuple[Path, Path, Path]:
        """The folders, as they are merged one after the other."""
        return (self.orders.parts, self.orders.parts, self.changed)


@dataclass(frozen=True, slots=True)
class Race:
    """How each contender merges, with a fresh schema on the same server; only the merges themselves are timed."""

    product: Product
    folders: Folders

    @property
    def database(self) -> Database:
        """The server."""
        return self.product.database

    def dataproc(self, number: int) -> Sequence[float]:
        """Merge through the product, which makes the table itself."""
        schema = f"dataproc_{number}"
        seconds = []
        for folder in self.folders.in_turn:
            self.database.settle()
            job = merge_job(f"{folder.name}/*.parquet", f"{schema}.orders")
            seconds.append(self.product.run(job).seconds)
        self.verify(schema)
        return seconds

    def dlt(self, number: int) -> Sequence[float]:
        """Merge with dlt, which makes the table itself and takes its own time."""
        schema = f"dlt_{number}"
        self.database.settle()
        told = DLT.run("dlt_merge.py", schema, *map(str, self.folders.in_turn), secret=self.database.host_url)
        self.verify(schema)
        seconds = told["seconds"]
        return [float(one) for one in seconds] if isinstance(seconds, list) else []

    def verify(self, schema: str) -> None:
        """Raise `WrongRowsError` unless each order is there once, as it is in the changed files; then drop all."""
        wanted = sum(
            pc.sum(pq.read_table(file, columns=["qty"])["qty"]).as_py() for file in files(self.folders.changed)
        )
        with self.database.connect() as conn:
            query = sql.SQL("SELECT sum(qty) FROM {}").format(sql.Identifier(schema, "orders"))
            found = (conn.execute(query).fetchone() or (None,))[0]
        if found != wanted:
            raise WrongRowsError(f"the quantities in {schema}.orders add up to {found}, and not to {wanted}")
        self.database.verify(schema, self.folders.orders)


def merge_job(path: str, table: str) -> dict[str, object]:
    """Return the spec of a job that merges Parquet files into a table."""
    source = {"kind": "files", "path": path}
    return {"name": "merge", "source": source, "destination": {"table": table, "mode": "merge", "keys": ["order_id"]}}


def files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder."""
    return sorted(folder.glob("*.parquet"))


def folders_on_disk(rows: int) -> Folders:
    """Return the data sets, written if they are not there yet."""
    orders = orders_on_disk(CACHE / "data", rows, PARTS)
    changed = orders.parts.parent / "changed"
    if not changed.exists():
        half = changed.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        for file in files(orders.parts):
            pq.write_table(with_half_changed(pq.read_table(file)), half / file.name, compression="snappy")
        half.rename(changed)
    return Folders(orders, changed)


def with_half_changed(orders: pa.Table) -> pa.Table:
    """Return orders of which every other one has one piece more."""
    odd = pc.bit_wise_and(orders["order_id"], pa.scalar(1, pa.int64())).cast(pa.int32())
    at = orders.schema.get_field_index("qty")
    return orders.set_column(at, "qty", pc.add(orders["qty"], odd))


def alternated(contenders: Mapping[str, Merges], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender's merges in `rounds` rounds; those of a warm-up before are not kept."""
    seconds: dict[str, list[float]] = {f"{name}_{case}": [] for case in LIMITS for name in contenders}
    for number in range(rounds + 1):
        for name, merges in contenders.items():
            for case, measured in zip(LIMITS, merges(number), strict=True):
                tell(f"{f'round {number} of {rounds}' if number else 'warm-up'}: {name} {case} {measured:.2f} s")
                if number:
                    seconds[f"{name}_{case}"].append(measured)
    return seconds


def race(rows: int, rounds: int) -> None:
    """Let both merge in turn, and publish how long each took."""
    tell("preparing the peer and the data sets")
    DLT.install()
    folders = folders_on_disk(rows)
    with product(folders.root) as running:
        merges = Race(running, folders)
        where = machine(postgres=merges.database.version, dlt=DLT.version("dlt"))
        seconds = alternated({"dataproc": merges.dataproc, "dlt": merges.dlt}, rounds)
    show(rows, seconds, where)


def show(rows: int, seconds: Mapping[str, list[float]], where: dict[str, object]) -> None:
    """Publish the result."""
    middle = medians(seconds)
    ratio = {case: round(middle[f"dataproc_{case}"] / middle[f"dlt_{case}"], 3) for case in LIMITS}
    lines = [(*line, share_of(name, ratio)) for name, line in lines_of(rows, seconds).items()]
    columns = ("", "median s", "least s", "most s", "rows/s", "dataproc / it")
    marks = [Mark(f"dataproc / dlt, {case}", ratio[case], limit) for case, limit in LIMITS.items()]
    figures = {**figures_of(rows, seconds), "ratio": ratio, "machine": where}
    publish("merge", figures, table_of(f"merge of {rows:,} rows", columns, lines), marks)


def share_of(name: str, ratio: Mapping[str, float]) -> str:
    """Return our share of a peer's time, beside the peer."""
    peer, _, case = name.partition("_")
    return f"{ratio[case]:.2f}" if peer == "dlt" else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a merge left wrong rows."""
    parser = argparse.ArgumentParser(prog="bench.merge", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
