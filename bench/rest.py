"""Records of a REST API into the warehouse, through the whole product, against what the API's latency allows.

`make bench-rest`, or `python -m bench.rest --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2

from bench.environments import CACHE
from bench.orders import Orders
from bench.product import Product, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate

SIZE = 500
LATENCY = 0.02
LIMIT = 2.0
PAGED = {"kind": "page", "size_parameter": "per_page", "size": SIZE, "total": {"path": "$.total"}}
STREAMED = {"kind": "page", "size_parameter": "per_page", "size": SIZE}


@dataclass(slots=True)
class Loads:
    """Loads of all pages, in parallel units or as one stream; `most` is how many pages were asked for at once."""

    product: Product
    url: str
    orders: Orders
    most: dict[str, int] = field(default_factory=dict)

    def contenders(self) -> tuple[Contender, ...]:
        """Return the ways of reading."""
        ways = {"parallel": PAGED, "stream": STREAMED}
        return tuple(Contender(name, partial(self.load, name, paging)) for name, paging in ways.items())

    def load(self, name: str, paging: dict[str, object], number: int) -> float:
        """Load all records into a table of its own."""
        schema = f"{name}_{number}"
        source = {"kind": "rest", "connection": "orders-api", "path": "/orders", "records": "$.data[*]"}
        destination = {"table": f"{schema}.orders"}
        ended = self.product.run(
            {"name": f"rest-{schema}", "source": source | {"paging": paging}, "destination": destination}
        )
        self.product.database.verify(schema, self.orders)
        counts = httpx2.get(f"{self.url}/counts", trust_env=False).json()
        self.most[name] = max(self.most.get(name, 0), int(counts["most_at_once"]))
        return ended.seconds


def measure(rows: int, rounds: int) -> None:
    """Publish how long it takes, and how long the API alone would make anybody wait."""
    # Nothing is read from the folder; the product wants one.
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Orders(CACHE, CACHE, rows, rows * (rows - 1) // 2)
    with api(rows) as url, product(Path(CACHE)) as running:
        running.client.put("/sources/orders-api", json=registered(url)).raise_for_status()
        where = machine(postgres=running.database.version)
        loads = Loads(running, url, made)
        seconds = alternate(loads.contenders(), rounds, tell)
    show(rows, seconds, loads.most, where)


def registered(url: str) -> dict[str, object]:
    """Return the connection."""
    return {"kind": "rest", "config": {"base_url": url, "allow_private": True}}


@contextmanager
def api(rows: int) -> Iterator[str]:
    """Give the URL of the API, in a process of its own."""
    words = [sys.executable, "-m", "bench.rest_server", f"--rows={rows}", f"--size={SIZE}", f"--latency={LATENCY}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - a narrowing for mypy
        assert process.stdin is not None  # noqa: S101 - the same
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def show(rows: int, seconds: dict[str, list[float]], most: dict[str, int], where: dict[str, object]) -> None:
    """Publish the result."""
    pages = -(-rows // SIZE)
    found = {name: round(statistics.median(all_of), 3) for name, all_of in seconds.items()}
    ideal = {name: round(pages * LATENCY / max(most[name], 1), 3) for name in found}
    lines = [
        (name, str(most[name]), f"{ideal[name]:.2f}", f"{found[name]:.2f}", f"{rows / found[name]:,.0f}")
        for name in found
    ]
    title = f"{rows:,} records, pages of {SIZE}, {LATENCY * 1000:.0f} ms a page"
    table = table_of(title, ("", "at once", "ideal s", "median s", "records/s"), lines)
    figures = {
        "rows": rows, "page": SIZE, "latency": LATENCY, "at_once": most, "ideal": ideal, "seconds": found,
        "all": {name: [round(one, 3) for one in all_of] for name, all_of in seconds.items()}, "machine": where,
    }  # fmt: skip
    alone = pages * LATENCY
    publish("rest", figures, table, (Mark("stream, to the latency of all pages", found["stream"] / alone, LIMIT),))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit with 1 when a job or a row was lost."""
    parser = argparse.ArgumentParser(prog="bench.rest", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    return exit_code(lambda: measure(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
