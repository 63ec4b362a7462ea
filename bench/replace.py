"""Orders that replace a table that is full of them, against the same orders appended to a new one, in turn.

`make bench-replace`, or `python -m bench.replace --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.environments import CACHE
from bench.orders import Orders, orders_on_disk
from bench.product import Product, append_job, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians, ratios
from bench.server import Database

PARTS = 8
APPEND_LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class Loads:
    """How the same rows are loaded in both modes, with fresh tables on the same server."""

    product: Product
    orders: Orders

    @property
    def database(self) -> Database:
        """The server."""
        return self.product.database

    def replace(self, number: int) -> float:
        """Replace the rows of a table; that it is filled first is not counted."""
        schema = f"replace_{number}"
        self.fill(schema)
        return self.load(schema, "replace")

    def append(self, number: int) -> float:
        """Load into a new table; another one is filled first, so that both find the server in the same state."""
        other = f"filled_{number}"
        self.fill(other)
        seconds = self.load(f"append_{number}", "append")
        self.database.verify(other, self.orders)
        return seconds

    def fill(self, schema: str) -> None:
        """Fill a table as people do."""
        self.database.make_table(schema)
        self.database.copy_csv(schema, self.orders.csv)

    def load(self, schema: str, mode: str) -> float:
        """Return how long a load takes."""
        job = append_job(mode, "*.parquet", f"{schema}.orders")
        self.database.settle()
        ended = self.product.run(job | {"destination": {"table": f"{schema}.orders", "mode": mode}})
        self.database.verify(schema, self.orders)
        return ended.seconds


def race(rows: int, rounds: int) -> None:
    """Load in both modes in turn, and publish how long each took."""
    tell("preparing the data set")
    orders = orders_on_disk(CACHE / "data", rows, PARTS)
    with product(orders.parts) as running:
        loads = Loads(running, orders)
        where = machine(postgres=loads.database.version)
        contenders = (Contender("replace", loads.replace), Contender("append", loads.append))
        seconds = alternate(contenders, rounds, tell)
    show(rows, seconds, where)


def show(rows: int, seconds: Mapping[str, list[float]], where: dict[str, object]) -> None:
    """Publish the result."""
    ratio = ratios(medians(seconds), "replace")
    lines = [(*line, f"{ratio[name]:.2f}" if name in ratio else "") for name, line in lines_of(rows, seconds).items()]
    columns = ("", "median s", "least s", "most s", "rows/s", "replace / it")
    figures = {**figures_of(rows, seconds), "ratio": ratio, "machine": where}
    marks = [Mark("replace / append", ratio["append"], APPEND_LIMIT)]
    publish("replace", figures, table_of(f"replace of {rows:,} rows", columns, lines), marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a load left wrong rows."""
    parser = argparse.ArgumentParser(prog="bench.replace", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
