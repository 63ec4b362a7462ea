"""Small jobs on a warm runner, one after another: how long a caller waits for each.

`make bench-latency`, or `python -m bench.latency --jobs 5` for a quick look.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

from bench.environments import CACHE
from bench.orders import orders_on_disk
from bench.product import Ended, append_job, product
from bench.report import Mark, exit_code, machine, publish, table_of
from bench.rounds import percentile

ROWS = 1_000
MEDIAN_LIMIT = 0.5
WARM_UPS = 3

SPANS: dict[str, Callable[[Ended], float]] = {
    "posted to COMPLETED": lambda ended: ended.seconds,
    "of it, queued": lambda ended: ended.queued,
    "of it, running": lambda ended: ended.ran,
}


def measure(jobs: int) -> None:
    """Publish how `jobs` jobs went after some warm-ups; every row is counted afterwards."""
    small = orders_on_disk(CACHE / "data", ROWS, 1)
    spec = append_job("latency", "*.parquet", "latency.orders")
    with product(small.parts) as running:
        where = machine(postgres=running.database.version)
        ended = [running.run(spec) for _ in range(WARM_UPS + jobs)][WARM_UPS:]
        running.database.verify("latency", small, times=WARM_UPS + jobs)
    show(ended, where)


def figures_of(ended: Sequence[Ended]) -> dict[str, dict[str, float]]:
    """Return median and 95th percentile of each span."""
    spans = {name: [length(one) for one in ended] for name, length in SPANS.items()}
    return {
        name: {"median": round(statistics.median(values), 3), "p95": round(percentile(values, 0.95), 3)}
        for name, values in spans.items()
    }


def show(ended: Sequence[Ended], where: dict[str, object]) -> None:
    """Publish the result."""
    spans = figures_of(ended)
    whole = next(iter(spans.values()))
    lines = [(name, f"{span['median']:.3f}", f"{span['p95']:.3f}") for name, span in spans.items()]
    table = table_of(f"{len(ended)} jobs of {ROWS:,} rows, one after another", ("", "median s", "p95 s"), lines)
    figures = {
        "rows": ROWS, "jobs": len(ended), "seconds": whole, "spans": spans,
        "all": [round(one.seconds, 3) for one in ended], "machine": where,
    }  # fmt: skip
    publish("latency", figures, table, (Mark("median", whole["median"], MEDIAN_LIMIT, " s"),))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit with 1 when a job or a row was lost."""
    parser = argparse.ArgumentParser(prog="bench.latency", description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    options = parser.parse_args(arguments)
    return exit_code(lambda: measure(options.jobs))


if __name__ == "__main__":
    sys.exit(main())
