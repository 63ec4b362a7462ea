r"""Orders from 8 Parquet files into the warehouse: the whole product, `psql \copy` and dlt, in turn.

`make bench-append`, or `python -m bench.append --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bench.environments import CACHE, Peer
from bench.orders import Orders, orders_on_disk
from bench.product import Product, append_job, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians, ratios
from bench.server import Database

PARTS = 8
PSQL_LIMIT = 1.1
DLT_LIMIT = 0.6
DLT = Peer("dlt")


@dataclass(frozen=True, slots=True)
class Loads:
    """How each contender loads the orders, with fresh tables on the same server; only the load itself is timed."""

    product: Product
    orders: Orders

    @property
    def database(self) -> Database:
        """The server."""
        return self.product.database

    def contenders(self) -> tuple[Contender, ...]:
        """Return who takes part; dlt in its fastest way, and in the one that looks at the rows."""
        return (
            Contender("dataproc", self.dataproc),
            Contender("psql_copy", self.psql),
            Contender("dlt_parquet", partial(self.dlt, way="arrow")),
            Contender("dlt_import", partial(self.dlt, way="import")),
        )

    def dataproc(self, number: int) -> float:
        """Load through the product, which makes the table itself."""
        schema = f"dataproc_{number}"
        self.database.settle()
        ended = self.product.run(append_job("append", "*.parquet", f"{schema}.orders"))
        self.database.verify(schema, self.orders)
        return ended.seconds

    def psql(self, number: int) -> float:
        """Load the CSV with psql."""
        schema = f"psql_{number}"
        self.database.make_table(schema)
        self.database.settle()
        started = time.perf_counter()
        self.database.copy_csv(schema, self.orders.csv)
        seconds = time.perf_counter() - started
        self.database.verify(schema, self.orders)
        return seconds

    def dlt(self, number: int, way: str) -> float:
        """Load the Parquet files with dlt, which makes the table itself and takes its own time."""
        schema = f"dlt_{way}_{number}"
        arguments = (str(self.orders.parts), schema, f"--way={way}")
        self.database.settle()
        told = DLT.run("dlt_append.py", *arguments, secret=self.database.host_url)
        self.database.verify(schema, self.orders)
        return float(str(told["seconds"]))


def race(rows: int, rounds: int) -> None:
    """Let them load in turn, and publish how long each took."""
    tell("preparing the peers and the data set")
    DLT.install()
    orders = orders_on_disk(CACHE / "data", rows, PARTS)
    with product(orders.parts) as running:
        loads = Loads(running, orders)
        where = machine(postgres=loads.database.version, dlt=DLT.version("dlt"))
        seconds = alternate(loads.contenders(), rounds, tell)
    show(rows, seconds, where)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="bench.append", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


def show(rows: int, seconds: Mapping[str, list[float]], where: dict[str, object]) -> None:
    """Publish the result."""
    ratio = ratios(medians(seconds), "dataproc")
    lines = [(*line, f"{ratio[name]:.2f}" if name in ratio else "") for name, line in lines_of(rows, seconds).items()]
    columns = ("", "median s", "least s", "most s", "rows/s", "dataproc / it")
    marks = (
        Mark("dataproc / psql_copy", ratio["psql_copy"], PSQL_LIMIT),
        Mark("dataproc / dlt_parquet", ratio["dlt_parquet"], DLT_LIMIT),
    )
    figures = {**figures_of(rows, seconds), "ratio": ratio, "machine": where}
    publish("append", figures, table_of(f"append of {rows:,} rows", columns, lines), marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a run left wrong rows."""
    options = options_of(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
