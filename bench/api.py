"""Requests a second through Ray Serve, each with its database work: look at a job, create a job.

`make bench-api`, or `python -m bench.api --seconds 2` for a quick look. Clients and servers share the machine.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from datetime import timedelta

from bench.environments import CACHE
from bench.errors import AnswerError
from bench.orders import orders_on_disk
from bench.product import Product, append_job, product
from bench.report import exit_code, machine, publish, table_of
from bench.requests import Answers, Load, get, post
from bench.rounds import percentile

CLIENTS = 32
WARM_UP_SECONDS = 1.0
NEVER = timedelta(hours=1)
"""The runner looks for work once and then not again, so that the jobs created here do not compete for the processor."""


def measure(seconds: float) -> None:
    """Publish how many requests a second are answered, over so many seconds each."""
    small = orders_on_disk(CACHE / "data", 1_000, 1)
    with product(small.parts, poll=NEVER) as running:
        where = machine(postgres=running.database.version)
        measured = requests(running, seconds)
    show(measured, where)


def requests(running: Product, seconds: float) -> dict[str, Answers]:
    """Return the answers to each kind of request."""
    spec = append_job("api", "*.parquet", "api.orders")
    job = running.ask("POST", "/jobs", json=spec)
    look, create = get(f"/jobs/{job['id']}"), post("/jobs", spec)
    return {
        "GET /jobs/{id}": answered(running, look, seconds, 200),
        "POST /jobs": answered(running, create, seconds, 202),
    }


def answered(running: Product, message: bytes, seconds: float, status: int) -> Answers:
    """Return the answers to one request, asked again and again; each must have that status."""
    url = str(running.client.base_url)
    Load(url, CLIENTS, WARM_UP_SECONDS).run(message)
    answers = Load(url, CLIENTS, seconds).run(message)
    if set(answers.statuses) != {status}:
        raise AnswerError(f"expected only {status}, and got {dict(answers.statuses)}")
    return answers


def figures_of(answers: Answers) -> dict[str, float]:
    """Return what is told of one kind of request."""
    return {
        "per_second": round(answers.per_second, 1),
        "median_ms": round(statistics.median(answers.seconds) * 1000, 1),
        "p99_ms": round(percentile(answers.seconds, 0.99) * 1000, 1),
    }


def show(measured: dict[str, Answers], where: dict[str, object]) -> None:
    """Publish the result."""
    requests = {name: figures_of(answers) for name, answers in measured.items()}
    lines = [(name, *(f"{figure:,.1f}" for figure in figures.values())) for name, figures in requests.items()]
    table = table_of(f"{CLIENTS} clients", ("", "requests/s", "median ms", "p99 ms"), lines)
    publish("api", {"clients": CLIENTS, "requests": requests, "machine": where}, table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit with 1 when a request was not answered as it should be."""
    parser = argparse.ArgumentParser(prog="bench.api", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    return exit_code(lambda: measure(options.seconds))


if __name__ == "__main__":
    sys.exit(main())
