"""Loads orders on a Ray of three nodes, takes one away at a bad moment, and prints what came of it as JSON.

`test_node_loss.py` runs it in a process of its own: a process can be connected to one Ray only.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

from dataproc.cluster.engine import RayEngine
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.job import JobId
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.unit import Unit
from dataproc.embedded.orders import orders, share
from dataproc.ports.pipeline import Step, Transform
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.files.local import LocalStorage
from dataproc.sources.files.source import FileSource
from dataproc.warehouse.warehouse import PostgresWarehouse

T = TypeVar("T")

ROWS, FILES = 540_000, 4
"""Each file has two chunks, so that a node can be lost in the middle of a unit."""
PATIENCE = 400.0
HASTE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
    "object_manager_pull_timeout_ms": 1000,
}
"""How soon Ray believes that a node is gone, and its objects with it; by default it takes up to half a minute."""


class Moment(StrEnum):
    """When the node is lost."""

    READING = "reading"
    """In the middle of a unit, whose first chunk is ready on that node, and has not come."""
    LOADING = "loading"
    """In the middle of a unit, whose first chunk has come; on the staged way it is in the staging table."""
    PUBLISHING = "publishing"
    """When everything has come, and nothing is published."""


CASES = (
    # The first needs both nodes at work, and Ray takes its time to find out that one which has worked before is free.
    (Moment.READING, "direct"),
    (Moment.LOADING, "direct"),
    (Moment.LOADING, "staged"),
    (Moment.PUBLISHING, "direct"),
    (Moment.PUBLISHING, "staged"),
)


@dataclass(frozen=True, slots=True)
class Trace:
    """A chunk that a node has begun to work on."""

    unit: str
    seq: int
    node: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A transform that changes nothing, and lets no second chunk of a unit through until it is opened."""

    folder: Path

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        self.note(Trace(chunk.unit, chunk.seq, ray.get_runtime_context().get_node_id()))
        if chunk.seq > 0:
            patiently(lambda: self.sign.exists() or None)
        return chunk

    def note(self, trace: Trace) -> None:
        """Tell the driver, whole or not at all."""
        half = self.folder / f"{uuid4()}.new"
        half.write_text(json.dumps(asdict(trace)))
        half.rename(half.with_suffix(".json"))

    def traces(self) -> list[Trace]:
        """Return what all nodes have told so far."""
        return [Trace(**json.loads(path.read_text())) for path in self.folder.glob("*.json")]

    def waiting(self, unit: str, *, told: bool) -> Trace | None:
        """Return the trace of a node that waits in this unit, of which the driver was told, or in another one."""
        return next((t for t in self.traces() if t.seq > 0 and (t.unit == unit) is told), None)

    def open(self) -> None:
        """Let all chunks through."""
        self.sign.touch()

    @property
    def sign(self) -> Path:
        """The file that tells all nodes that the gate is open."""
        return self.folder / "open"


def patiently(look: Callable[[], T | None]) -> T:
    """Look until there is something; return it."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
    return found


@dataclass(slots=True)
class Nodes:
    """The nodes of a Ray whose head works on nothing."""

    cluster: Cluster

    def lose(self, node_id: str) -> None:
        """Kill the processes of a node, without a word to the others."""
        [node] = [node for node in self.cluster.worker_nodes if node.node_id == node_id]
        self.cluster.remove_node(node, allow_graceful=False)

    def fill(self) -> None:
        """Add nodes until there are two that work."""
        while len(self.cluster.worker_nodes) < 2:
            self.cluster.add_node(num_cpus=1)
        self.cluster.wait_for_nodes()


@dataclass(slots=True)
class LossyEngine:
    """The real engine; a node is lost once, at the moment that a trial is about."""

    nodes: Nodes
    moment: Moment
    gate: Gate
    lost: Trace | None = None
    engine: RayEngine = field(default_factory=RayEngine)

    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        """Run, and lose a node on the way."""
        with self.engine.run(units, read, transforms, load) as results:
            yield results if self.lost else self.lossy(results)

    def lossy(self, results: Iterator[LoadedChunk]) -> Iterator[LoadedChunk]:
        """Yield all results."""
        if self.moment is Moment.PUBLISHING:
            self.gate.open()
            yield from results
            return self.lose(self.gate.traces()[0])
        yield (first := next(results))
        told = self.moment is Moment.LOADING
        self.lose(patiently(lambda: self.gate.waiting(first.unit, told=told)))
        yield from results
        return None

    def lose(self, trace: Trace) -> None:
        """Lose the node that has left a trace; the others go on, and what still runs of it as well."""
        self.lost = trace
        self.nodes.lose(trace.node)
        self.gate.open()


@dataclass(frozen=True, slots=True)
class Trial:
    """A load into a table of its own, during which a node is lost."""

    url: str
    folder: Path
    nodes: Nodes
    moment: Moment
    way: str
    job_id: JobId = field(default_factory=lambda: JobId(uuid4()))

    @property
    def table(self) -> str:
        """The target."""
        return f"orders.{self.moment}_{self.way}"

    def run(self) -> dict[str, Any]:
        """Load in one epoch, which must get through; return what happened."""
        self.nodes.fill()
        (folder := self.folder / f"{self.moment}-{self.way}").mkdir()
        engine = LossyEngine(self.nodes, self.moment, Gate(folder))
        source = FileSource(LocalStorage(self.folder, ("*.parquet",)), FilesSource(kind="files", path="*.parquet"))
        destination = Destination.model_validate({"table": self.table, "load": self.way})
        warehouse = PostgresWarehouse(self.url, direct_limit=0)
        pipeline = Pipeline(source, (engine.gate,), destination, (), engine, warehouse)
        published = pipeline.run(LoadId(self.job_id, 1, uuid4()), Monitor())
        return self.told(engine) | {"published": asdict(published)}

    def told(self, engine: LossyEngine) -> dict[str, Any]:
        """Return what the test needs to know: also how many chunks were begun on the lost node, and again elsewhere."""
        lost = engine.lost.node if engine.lost else ""
        there, elsewhere = (
            {(trace.unit, trace.seq) for trace in engine.gate.traces() if (trace.node == lost) is on_lost}
            for on_lost in (True, False)
        )
        begun = {"lost": lost, "begun_there": len(there), "begun_again": len(there & elsewhere)}
        return {"moment": self.moment, "way": self.way, "table": self.table, "job_id": str(self.job_id)} | begun


def write_files(folder: Path) -> None:
    """Write the orders as Parquet files."""
    table = orders(ROWS)
    for number in range(FILES):
        pq.write_table(share(table, number, FILES), folder / f"part-{number}.parquet")


@contextmanager
def three_nodes(folder: Path) -> Iterator[Nodes]:
    """Give a Ray of three nodes on free ports, whose files are all in `folder`; its head works on nothing."""
    os.environ["RAY_TMPDIR"] = str(folder)
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HASTE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        (nodes := Nodes(cluster)).fill()
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        yield nodes
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call] # Ray leaves it untyped


def main() -> None:
    """Try all cases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    (data := options.folder / "data").mkdir()
    write_files(data)
    with three_nodes(options.folder) as nodes:
        trials = [
            Trial(options.url, data, nodes, moment, way).run() for moment in Moment for way in ("direct", "staged")
        ]
    sys.stdout.write(f"{json.dumps(trials)}\n")


if __name__ == "__main__":
    main()
