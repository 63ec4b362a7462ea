"""Units that need no work are read in this process: their bytes would only pass through the workers.

Each chunk that Ray hands from a worker to the runner costs 10 ms of processor time, and its bytes are copied twice.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event

from dataproc.cluster.datasource import Read
from dataproc.cluster.travel import as_ours
from dataproc.domain.chunk import LoadedChunk
from dataproc.domain.errors import DataprocError
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Step

MOST_READERS = 4
"""Units that are read at once from a source that is slower than the warehouse."""
PATIENCE = 0.2
"""Seconds that the warehouse waits for a chunk before another reader joins. A source on the same machine needs one."""
AHEAD = 4
"""Chunks that are kept for the warehouse; while there are so many, the source waits."""
LOOK = 0.1
"""Seconds after which a reader that waits looks whether its chunk is still wanted."""

Came = LoadedChunk | DataprocError | None
"""A chunk, what went wrong, or the end of a reader."""


@dataclass(slots=True)
class Relay:
    """Readers in threads, and the chunks that they have read."""

    read: Read
    step: Step
    pool: ThreadPoolExecutor
    units: SimpleQueue[Unit] = field(default_factory=SimpleQueue)
    came: Queue[Came] = field(default_factory=lambda: Queue(AHEAD))
    over: Event = field(default_factory=Event)
    readers: int = 0

    def chunks(self) -> Iterator[LoadedChunk]:
        """Yield the chunks as they come, until all units are read, or raise what went wrong."""
        self.add_reader()
        while self.readers:
            match self.next():
                case None:
                    self.readers -= 1
                case DataprocError() as exc:
                    raise exc
                case chunk:
                    yield chunk

    def next(self) -> Came:
        """Return what comes next; whenever that takes long, let another reader join."""
        while self.readers < MOST_READERS and not self.units.empty():
            with suppress(Empty):
                return self.came.get(timeout=PATIENCE)
            self.add_reader()
        return self.came.get()

    def add_reader(self) -> None:
        """Let one more read."""
        self.readers += 1
        self.pool.submit(self.work)

    def work(self) -> None:
        """Read one unit after the other; the last thing to come is `None`, or what went wrong."""
        try:
            with suppress(Empty):
                while not self.over.is_set():
                    self.hand_on(self.units.get_nowait())
        except BaseException as exc:  # noqa: BLE001 - it is raised again where the chunks are taken
            self.put(as_ours(exc))
        else:
            self.put(None)

    def hand_on(self, unit: Unit) -> None:
        """Hand on the chunks of a unit, for as long as they are wanted."""
        for chunk in self.read(unit):
            self.put(self.step(chunk))
            if self.over.is_set():
                return

    def put(self, came: Came) -> None:
        """Hand something on as soon as there is room for it."""
        while not self.over.is_set():
            with suppress(Full):
                self.came.put(came, timeout=LOOK)
                return


@contextmanager
def relayed(units: Sequence[Unit], read: Read, step: Step) -> Iterator[Iterator[LoadedChunk]]:
    """Give the chunks of units that need no transform; with the end of the block nobody waits for more.

    A reader ends as soon as it notices; one whose source is silent may not for as long as a statement may take there.
    """
    pool = ThreadPoolExecutor(MOST_READERS, thread_name_prefix="reader")
    relay = Relay(read, step, pool)
    for unit in units:
        relay.units.put(unit)
    try:
        yield relay.chunks()
    finally:
        relay.over.set()
        pool.shutdown(wait=False)
