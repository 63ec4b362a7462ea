"""A runner in a process of its own, without Ray: it does what it is told, and stands still at fault points.

It is forked from a process that has everything imported, so that a test can kill as many as it likes. Its services are
those that `bootstrap` puts together; only the engine runs the work on units in this process, one after the other.
"""

import asyncio
import gc
import json
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.bootstrap import Workshop, open_warehouse, open_workshop
from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.errors import RetryableError, WarehouseUnavailableError
from dataproc.domain.fault_points import FaultPoint, hooked
from dataproc.domain.identity import Caller
from dataproc.domain.job import Claim, JobId
from dataproc.domain.memory import CursorMove, SourceObject
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.events import Event
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Source
from dataproc.services.deliver import Deliverer
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.services.reconcile import Janitor
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings
from dataproc.sources.files.readers import ReadersHere
from dataproc.sources.files.source import FileSource
from tests.fakes.pipeline import FakeEngine
from tests.waiting import PATIENCE

PAUSE = 0.01
ANN = Caller("ann")
ERRORS: dict[str, type[Exception]] = {"retryable": WarehouseUnavailableError, "unexpected": RuntimeError}


@dataclass(frozen=True, slots=True)
class Order:
    """What a runner is to do, and at which points, one after the other, it is to stand still meanwhile.

    At one point it may be told to stumble, and at another to wait until its run is told to stop.
    """

    verb: str
    halts: tuple[FaultPoint, ...] = ()
    stumbles_at: FaultPoint | None = None
    waits_at: FaultPoint | None = None
    document: str = ""
    key: str = ""
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """Leave to go on from a point; with an error to raise there."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """The runner stands at a point."""

    point: FaultPoint


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an order."""

    result: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A source each of whose chunks comes as two, and that the job remembers by its objects and its greatest id."""

    source: Source

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        plan = self.source.plan(memory)
        objects = [SourceObject(unit.uri, unit.version, unit.size) for unit in plan.units]
        move = CursorMove("id", "number", memory.watermark("id"))
        return replace(plan, move=move, objects=tuple(memory.unloaded(objects)))

    def read(self, unit: Unit) -> Iterator[Chunk]:
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.halves(unit))

    def halves(self, unit: Unit) -> Iterator[Piece]:
        for chunk in self.source.read(unit):
            half = chunk.rows.num_rows // 2
            yield piece_of(chunk.rows.slice(0, half), chunk.rejects)
            yield piece_of(chunk.rows.slice(half), chunk.rejects.slice(0, 0))


def piece_of(rows: pa.Table, rejects: pa.Table) -> Piece:
    """Return rows that tell their greatest id."""
    return Piece(rows, rejects, high=str(pc.max(rows["id"]).as_py()))


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A receiver of events that keeps them in a file."""

    path: Path

    async def deliver(self, event: Event) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": str(event.id), "kind": event.kind, "job_id": str(event.job_id)}) + "\n")


@dataclass(slots=True)
class Post:
    """Both ends of what a runner and its test tell each other; also the hook at the fault points."""

    conn: Connection
    leave: "queue.SimpleQueue[Go]" = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    halts: list[FaultPoint] = field(default_factory=list)
    stumbles_at: FaultPoint | None = None
    waits_at: FaultPoint | None = None
    monitor: Monitor = field(default_factory=Monitor)

    def tell(self, message: Reached | Done) -> None:
        with self.lock:
            self.conn.send(message)

    def pass_by(self, point: FaultPoint) -> None:
        """Stand still where the order says so; raise where it, or the test, says so."""
        if self.stumbles_at is point:
            self.stumbles_at = None
            raise WarehouseUnavailableError("the runner was told to stumble")
        if self.waits_at is point:
            self.waits_at = None
            self.tell(Reached(point))
            while self.monitor.reason is None:
                time.sleep(PAUSE)
        if not self.halts or self.halts[0] is not point:
            return
        self.halts.pop(0)
        self.tell(Reached(point))
        if (error := self.leave.get().error) is not None:
            raise ERRORS[error]("the runner was told to fail")

    def listen(self, loop: asyncio.AbstractEventLoop, orders: "asyncio.Queue[Order]") -> None:
        """Take in what the test says, until it is gone."""
        try:
            while True:
                match self.conn.recv():
                    case Go() as go:
                        self.leave.put(go)
                    case order:
                        loop.call_soon_threadsafe(orders.put_nowait, order)
        except (EOFError, OSError):
            os._exit(0)


def remembering(workshop: Workshop) -> Workshop:
    """Return a workshop whose jobs remember their sources."""

    async def pipeline_for(claim: Claim) -> Pipeline:
        pipeline = await workshop.runs.pipeline_for(claim)
        source = pipeline.source
        if isinstance(source, FileSource):
            # No file of these tests ends its reader, and each runner would start a reader process of its own.
            source = replace(source, readers=ReadersHere())
        return replace(pipeline, source=Remembered(source))

    return replace(workshop, runs=replace(workshop.runs, pipeline_for=pipeline_for))


@dataclass(slots=True)
class FaultRunner:
    """Does one order after the other."""

    post: Post
    settings: Settings
    mailbox: Path
    workshop: Workshop = field(init=False)

    def __post_init__(self) -> None:
        """Open the workshop, with a source that is remembered."""
        self.workshop = remembering(open_workshop(self.settings, FakeEngine()))

    async def serve(self) -> None:
        """Follow orders for ever."""
        orders: asyncio.Queue[Order] = asyncio.Queue()
        listener = threading.Thread(
            target=self.post.listen, args=(asyncio.get_running_loop(), orders), daemon=True, name="listener"
        )
        listener.start()
        while True:
            order = await orders.get()
            self.post.halts, self.post.stumbles_at = list(order.halts), order.stumbles_at
            self.post.waits_at, self.post.monitor = order.waits_at, Monitor()
            self.post.tell(Done(await self.outcome(order)))

    async def outcome(self, order: Order) -> str:
        """Follow an order; return what came of it, also if it was an error."""
        try:
            return await self.follow(order)
        except Exception as exc:  # noqa: BLE001 - the test is told, and judges by what is left in the databases
            return f"{type(exc).__name__}: {exc}"

    async def follow(self, order: Order) -> str:
        """Follow an order."""
        verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "accept": lambda: self.accept(order),
            "cancel": lambda: self.cancel(order),
            "work": self.work,
            "reap": self.workshop.reaper.reap,
            "deliver": self.deliver,
            "recover": self.recover,
        }
        return str(await verbs[order.verb]())

    async def accept(self, order: Order) -> UUID:
        """Record a job, or find the one that the same key has made."""
        spec = JobSpec.model_validate_json(order.document)
        return (await self.workshop.jobs.create(spec, by=ANN, key=order.key)).id

    async def cancel(self, order: Order) -> RunStatus:
        """Cancel a job."""
        assert order.job_id is not None
        return (await self.workshop.jobs.cancel(JobId(order.job_id), by=ANN)).status

    async def claim(self) -> list[Claim]:
        """Claim one job, if there is one."""
        async with self.workshop.store.begin() as tables:
            holder = f"runner-{os.getpid()}"
            return list(await tables.jobs.claim(holder, lease=self.settings.lease, limit=1))

    async def work(self) -> str:
        """Claim a job and run it to its end, as a runner with one slot does."""
        for claim in await self.claim():
            try:
                return str(await self.workshop.runs.execute(claim, self.post.monitor))
            except StuckPipelineError:
                return "stuck"
            except Exception:
                await self.workshop.reaper.settle(claim)
                raise
        return "idle"

    async def deliver(self) -> int:
        """Deliver the events that wait."""
        return await Deliverer(self.workshop.store, Mailbox(self.mailbox), random.random).deliver()

    async def recover(self) -> str:
        """Work until every job is at its end; then sweep and deliver."""
        deadline = time.monotonic() + PATIENCE / 2
        while await self.unfinished() and time.monotonic() < deadline:
            await self.attempt()
            await asyncio.sleep(PAUSE)
        await Janitor(self.workshop.store, open_warehouse(self.settings)).sweep()
        while await self.deliver():
            pass
        return "unfinished" if await self.unfinished() else "settled"

    async def attempt(self) -> None:
        """Reap and work once; a database that does not answer is asked again."""
        try:
            await self.workshop.reaper.reap()
            await self.work()
        except RetryableError:
            await asyncio.sleep(PAUSE)

    async def unfinished(self) -> int:
        """Return how many jobs are not at their end."""
        async with self.workshop.store.begin() as tables:
            counts = await tables.jobs.count_by_status()
        return sum(count for status, count in counts.items() if not RunStatus(status).is_final)


def main(conn: Connection, settings: Settings, log: Path, mailbox: Path) -> None:
    """Run a runner with its output in a file."""
    # The garbage collector need not visit the objects that all runners inherit from the fork server.
    gc.freeze()
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    post = Post(conn)
    with hooked(post.pass_by):
        asyncio.run(FaultRunner(post, settings, mailbox).serve())
