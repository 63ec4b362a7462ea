"""Orders from an S3 server into the warehouse, as CSV, gzipped CSV, JSON Lines and Parquet: the whole product and dlt.

Events with nested values from a local file of JSON Lines as well: the whole product and ingestr.

`make bench-files`, or `python -m bench.files --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil  # type: ignore[import-untyped] # it has no types

from bench.environments import CACHE, Peer
from bench.events import Events, events_on_disk
from bench.lake import FORMATS, Lake, lake, lake_on_disk
from bench.orders import Orders, orders_on_disk
from bench.product import Product, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians

PARTS = 8
LIMIT = 1.0
"""Our seconds as a share of dlt's."""
LOOK = 0.2
MEBI = 1024 * 1024
NESTED, NESTED_LIMIT = "nested jsonl", 0.3
"""The file with nested values, and our seconds as a share of ingestr's."""
DLT, INGESTR = Peer("dlt_files"), Peer("ingestr_files")


@dataclass(slots=True)
class Peak:
    """The most memory that a process of a kind took, without pages that it shares."""

    most: int = 0

    def see(self, used: int) -> None:
        """Take a figure into account."""
        self.most = max(self.most, used)


@dataclass(frozen=True, slots=True)
class Loads:
    """How each contender loads the orders of each format; only the load itself is timed."""

    product: Product
    lake: Lake
    orders: Orders
    events: Events
    peaks: dict[str, Peak] = field(default_factory=dict)

    def contenders(self) -> tuple[Contender, ...]:
        """Return who takes part."""
        both = (("dataproc", self.dataproc), ("dlt", self.dlt))
        plain = [Contender(f"{name} {form}", partial(run, form=form)) for form in FORMATS for name, run in both]
        return (*plain, Contender(f"dataproc {NESTED}", self.nested), Contender(f"ingestr {NESTED}", self.ingestr))

    def dataproc(self, number: int, form: str) -> float:
        """Load through the product, which makes the table itself."""
        schema = f"dataproc_{form.replace('.', '_')}_{number}"
        source = {"kind": "s3", "path": f"{self.lake.url(form)}/*"}
        spec: dict[str, object] = {"name": "files", "source": source, "destination": {"table": f"{schema}.orders"}}
        self.product.database.settle()
        with watched(self.peaks.setdefault(f"dataproc {form}", Peak())):
            ended = self.product.run(spec)
        self.product.database.verify(schema, self.orders)
        return ended.seconds

    def nested(self, number: int) -> float:
        """Load the file with nested values through the product."""
        schema, path = f"dataproc_nested_{number}", self.events.path
        source = {"kind": "files", "path": str(path.relative_to(CACHE / "data"))}
        spec: dict[str, object] = {"name": "nested", "source": source, "destination": {"table": f"{schema}.events"}}
        self.product.database.settle()
        with watched(self.peaks.setdefault(f"dataproc {NESTED}", Peak())):
            ended = self.product.run(spec)
        self.verify_events(schema)
        return ended.seconds

    def ingestr(self, number: int) -> float:
        """Load the file with nested values with ingestr; the start of the program is in its time."""
        schema = f"ingestr_nested_{number}"
        self.product.database.settle()
        addresses = f"jsonl://{self.events.path} {self.product.database.url}"
        told = INGESTR.run("ingestr_table.py", "events", f"{schema}.events", secret=addresses)
        self.verify_events(schema)
        return float(str(told["seconds"]))

    def verify_events(self, schema: str) -> None:
        """Raise unless a table holds the events, and drop it."""
        with self.product.database.connect() as conn:
            self.events.verify(conn, schema)

    def dlt(self, number: int, form: str) -> float:
        """Load with dlt, which makes the table itself and takes its own time."""
        schema = f"dlt_{form.replace('.', '_')}_{number}"
        self.product.database.settle()
        told = DLT.run(
            "dlt_files.py", self.lake.url(form), self.lake.endpoint, schema, secret=self.product.database.host_url
        )
        self.product.database.verify(schema, self.orders)
        self.peaks.setdefault(f"dlt {form}", Peak()).see(int(str(told["peak"])))
        return float(str(told["seconds"]))


@contextmanager
def watched(peak: Peak) -> Iterator[None]:
    """Look at the memory of Ray's workers, of which each is a process, until the end of the block."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK):
            for process in psutil.process_iter(["cmdline", "memory_info"]):
                words, memory = process.info["cmdline"] or [""], process.info["memory_info"]
                if words[0].startswith("ray::") and memory is not None:
                    peak.see(memory.rss - memory.shared)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def race(rows: int, rounds: int) -> None:
    """Let them load in turn, and publish how long each took."""
    tell("preparing the peers and the data sets")
    DLT.install()
    INGESTR.install()
    orders, events = orders_on_disk(CACHE / "data", rows, PARTS), events_on_disk(CACHE / "data", rows // 2)
    with lake(lake_on_disk(orders)) as server, product(CACHE / "data") as running:
        server_seconds = {form: round(server.fetch(form), 3) for form in FORMATS}
        loads = Loads(running, server, orders, events)
        versions = {"dlt": DLT.version("dlt"), "ingestr": INGESTR.version("ingestr")}
        where = machine(postgres=loads.product.database.version, **versions)
        seconds = alternate(loads.contenders(), rounds, tell)
        sizes = {**{form: server.size(form) for form in FORMATS}, NESTED: events.path.stat().st_size}
    peaks = {name: peak.most // MEBI for name, peak in loads.peaks.items()}
    show(rows, seconds, peaks, {"bytes": sizes, "fetch_seconds": server_seconds, "machine": where})


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="bench.files", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


def show(rows: int, seconds: Mapping[str, list[float]], peaks: Mapping[str, int], more: Mapping[str, object]) -> None:
    """Publish the result."""
    middle = medians(seconds)
    ratio = {form: round(middle[f"dataproc {form}"] / middle[f"dlt {form}"], 3) for form in FORMATS}
    nested = round(middle[f"dataproc {NESTED}"] / middle[f"ingestr {NESTED}"], 3)
    counted = {name: rows // 2 if name.endswith(NESTED) else rows for name in seconds}
    lines = [
        (*lines_of(counted[name], {name: seconds[name]})[name], f"{peaks[name]:,}" if name in peaks else "")
        for name in seconds
    ]
    columns = ("", "median s", "least s", "most s", "rows/s", "peak MiB")
    figures = {**figures_of(rows, seconds), "ratio": {**ratio, NESTED: nested}, "peak_mib": dict(peaks), **more}
    marks = [Mark(f"dataproc / dlt, {form}", share, LIMIT) for form, share in ratio.items()]
    marks.append(Mark(f"dataproc / ingestr, {NESTED}", nested, NESTED_LIMIT))
    publish("files", figures, table_of(f"{rows:,} orders from S3, {rows // 2:,} nested events", columns, lines), marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a run left wrong rows."""
    options = options_of(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
