"""Orders from a table of PostgreSQL into the warehouse: the whole product, a pipe of COPY, ingestr and dlt, in turn.

`make bench-database`, or `python -m bench.database --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from bench.environments import CACHE, Peer
from bench.errors import PeerError
from bench.orders import Orders, orders_on_disk
from bench.product import Product, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians, ratios
from bench.server import Database, psql

PIPE_LIMIT = 1.5
INGESTR_LIMIT = 0.35
INGESTR, DLT = Peer("ingestr"), Peer("dlt_database")
SOURCE = "shop"


@dataclass(frozen=True, slots=True)
class Loads:
    """How each contender loads the orders, from a table of the same server; only the load itself is timed."""

    product: Product
    orders: Orders

    @property
    def database(self) -> Database:
        """The server."""
        return self.product.database

    def contenders(self) -> tuple[Contender, ...]:
        """Return who takes part."""
        return (
            Contender("dataproc", self.dataproc),
            Contender("copy_pipe", self.pipe),
            Contender("ingestr", self.ingestr),
            Contender("dlt", self.dlt),
        )

    def prepare(self) -> None:
        """Make the table that all of them read, and register it with the product."""
        self.database.make_table(SOURCE)
        self.database.copy_csv(SOURCE, self.orders.csv)
        with self.database.connect() as conn:
            conn.execute(f"ALTER TABLE {SOURCE}.orders ADD PRIMARY KEY (order_id)".encode())
            conn.execute(f"VACUUM ANALYZE {SOURCE}.orders".encode())
        parts = urlsplit(self.database.url)
        host = parse_qs(parts.query)["host"][0]
        config = {"host": host, "database": parts.path.lstrip("/"), "user": parts.username, "tls": "disable"}
        self.product.ask("POST", "/sources", json={"name": "legacy", "kind": "postgresql", "config": config})

    def dataproc(self, number: int) -> float:
        """Load through the product, which makes the table itself."""
        schema = f"dataproc_{number}"
        self.database.settle()
        source = {"kind": "database", "connection": "legacy", "table": f"{SOURCE}.orders"}
        spec: dict[str, object] = {
            "name": "copy-orders",
            "source": source,
            "destination": {"table": f"{schema}.orders"},
        }
        ended = self.product.run(spec)
        self.database.verify(schema, self.orders)
        return ended.seconds

    def pipe(self, number: int) -> float:
        """Load by `COPY TO | COPY FROM`, both binary, into a table that is made before."""
        schema = f"pipe_{number}"
        self.database.make_table(schema)
        self.database.settle()
        started = time.perf_counter()
        piped(self.database.url, f"{SOURCE}.orders", f"{schema}.orders")
        seconds = time.perf_counter() - started
        self.database.verify(schema, self.orders)
        return seconds

    def ingestr(self, number: int) -> float:
        """Load with ingestr, which makes the table itself; the start of the program is in its time."""
        schema, url = f"ingestr_{number}", self.database.url
        self.database.settle()
        told = INGESTR.run("ingestr_table.py", f"{SOURCE}.orders", f"{schema}.orders", secret=f"{url} {url}")
        self.database.verify(schema, self.orders)
        return float(str(told["seconds"]))

    def dlt(self, number: int) -> float:
        """Load with dlt, which makes the table itself and takes its own time."""
        schema = f"dlt_{number}"
        urls = f"{self.database.url} {self.database.host_url}"
        self.database.settle()
        told = DLT.run("dlt_database.py", f"{SOURCE}.orders", schema, secret=urls)
        self.database.verify(schema, self.orders)
        return float(str(told["seconds"]))


def piped(url: str, source: str, target: str) -> None:
    """Copy a table by two psql and a pipe between them."""
    words = [psql(), url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command"]
    reading = [*words, f"COPY {source} TO STDOUT (FORMAT binary)"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as reader:
        writing = [*words, f"COPY {target} FROM STDIN (FORMAT binary)"]
        done = subprocess.run(writing, stdin=reader.stdout, text=True, capture_output=True, check=False)
    if done.returncode != 0 or reader.returncode != 0:
        raise PeerError(f"psql failed; it said: {done.stderr.strip()}")


def race(rows: int, rounds: int) -> None:
    """Let them load in turn, and publish how long each took."""
    tell("preparing the peers and the data set")
    INGESTR.install()
    DLT.install()
    orders = orders_on_disk(CACHE / "data", rows, 8)
    with product(orders.parts) as running:
        loads = Loads(running, orders)
        loads.prepare()
        versions = {"ingestr": INGESTR.version("ingestr"), "dlt": DLT.version("dlt")}
        where = machine(postgres=loads.database.version, **versions)
        seconds = alternate(loads.contenders(), rounds, tell)
    show(rows, seconds, where)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="bench.database", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


def show(rows: int, seconds: Mapping[str, list[float]], where: dict[str, object]) -> None:
    """Publish the result."""
    ratio = ratios(medians(seconds), "dataproc")
    lines = [(*line, f"{ratio[name]:.2f}" if name in ratio else "") for name, line in lines_of(rows, seconds).items()]
    columns = ("", "median s", "least s", "most s", "rows/s", "dataproc / it")
    marks = (
        Mark("dataproc / copy_pipe", ratio["copy_pipe"], PIPE_LIMIT),
        Mark("dataproc / ingestr", ratio["ingestr"], INGESTR_LIMIT),
    )
    figures = {**figures_of(rows, seconds), "ratio": ratio, "machine": where}
    publish("database", figures, table_of(f"table of {rows:,} rows", columns, lines), marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a run left wrong rows."""
    options = options_of(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
