"""Readers of files in processes of their own: a file that ends its reader ends nothing else, and is named.

A process serves one task at a time and is kept for the next one. When it dies, the files that it had open are tried
again, each alone in a new process; the one whose process dies again is damaged.
"""

import atexit
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import assert_never

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.errors import DataprocError, SourceUnavailableError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.formats import FileFormat, FilePlanning
from dataproc.sources.files.reader_process import Closed, Ended, Given, Opened, PlanTask, ReadTask, Task, killer
from dataproc.sources.files.storage import Files, FoundFile

logger = logging.getLogger(__name__)

MODULE = "dataproc.sources.files.reader_process"
MAX_IDLE = 2
MAX_DEATHS = 100
"""Processes that may die over one plan: with so many killers among the files, the fault is elsewhere."""


class ReaderDiedError(Exception):
    """The process that read files has died; `files` are those that it had open."""

    def __init__(self, files: tuple[str, ...]) -> None:
        super().__init__(files)
        self.files = files


@dataclass(slots=True)
class ReaderProcess:
    """A process that decodes files, and the connection to it."""

    connection: Connection
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    is_idle: bool = True

    @classmethod
    def start(cls) -> "ReaderProcess":
        """Start a process; it ends when this end of its connection is closed."""
        ours, theirs = Pipe()
        with theirs:
            words = [sys.executable, "-m", MODULE, str(theirs.fileno())]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])  # noqa: S603 - ours
        return cls(ours, process, dict(os.environ))

    def results(self, task: Task, timeout: timedelta) -> Iterator[object]:
        """Yield what a task gives.

        Raises:
            ReaderDiedError: the process died, or sent nothing within the timeout.
        """
        opened: Counter[str] = Counter()
        self.is_idle = False
        try:
            self.connection.send(task)
            while self.connection.poll(timeout.total_seconds()):
                match self.connection.recv():
                    case Opened(uri):
                        opened[uri] += 1
                    case Closed(uri):
                        opened[uri] -= 1
                    case Given(value):
                        yield value
                    case Ended(error):
                        self.is_idle = True
                        if error is not None:
                            raise error
                        return
                    case other:
                        assert_never(other)
        except (EOFError, ConnectionError) as exc:
            raise ReaderDiedError(tuple(+opened)) from exc
        raise ReaderDiedError(tuple(+opened))

    def end(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


@dataclass(slots=True)
class ReaderProcesses:
    """The processes of this one that wait for a task; a child that was forked has none of them."""

    idle: list[ReaderProcess] = field(default_factory=list)
    owner: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def one(self) -> Iterator[ReaderProcess]:
        """Give a process, which is kept when its task has ended as it should."""
        reader = self.take() or ReaderProcess.start()
        try:
            yield reader
        finally:
            if not (reader.is_idle and self.keep(reader)):
                reader.end()

    def take(self) -> ReaderProcess | None:
        """Return a process that waits, lives, and has the environment of this one: credentials may be there."""
        with self.lock:
            if self.owner != os.getpid():
                self.idle, self.owner = [], os.getpid()
            while self.idle:
                reader = self.idle.pop()
                if reader.process.poll() is None and reader.environment == os.environ:
                    return reader
                reader.end()
        return None

    def keep(self, reader: ReaderProcess) -> bool:
        """Keep a process for the next task; return whether there was room."""
        with self.lock:
            if len(self.idle) >= MAX_IDLE:
                return False
            self.idle.append(reader)
            return True

    def end(self) -> None:
        """End the processes that wait, unless they belong to a parent of this process."""
        with self.lock:
            found, self.idle = self.idle, []
        for reader in found if self.owner == os.getpid() else []:
            reader.end()


@cache
def reader_processes() -> ReaderProcesses:
    """Return the processes of this one, which end with it."""
    processes = ReaderProcesses()
    atexit.register(processes.end)
    return processes


@dataclass(frozen=True, slots=True)
class IsolatedReaders:
    """Decodes files in other processes; one that sends nothing within the `timeout` is ended."""

    timeout: timedelta = timedelta(minutes=2)

    def plan(self, form: FilePlanning, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Return the plan of files; those that end their process are damaged."""
        killers: frozenset[str] = frozenset()
        for _ in range(MAX_DEATHS):
            try:
                return self.planned(form, storage, files, killers)
            except ReaderDiedError as exc:
                logger.warning("reader of files died", extra={"files": exc.files})
                killers |= {uri for uri in exc.files if self.is_killer(form, storage, files, uri)}
        raise SourceUnavailableError("files: the processes that read them die again and again; the log has more")

    def planned(
        self, form: FilePlanning, storage: Files, files: Sequence[FoundFile], killers: frozenset[str] = frozenset()
    ) -> SourcePlan:
        """Return the plan of files, made by one process; raises `ReaderDiedError`."""
        with reader_processes().one() as reader:
            (plan,) = reader.results(PlanTask(form, storage, tuple(files), killers), self.timeout)
        if not isinstance(plan, SourcePlan):
            raise TypeError(plan)
        return plan

    def is_killer(self, form: FilePlanning, storage: Files, files: Sequence[FoundFile], uri: str) -> bool:
        """Return whether a file alone ends a process as well; what else is wrong with it shows in the next plan."""
        try:
            with suppress(DataprocError):
                self.planned(form, storage, [file for file in files if file.uri == uri])
        except ReaderDiedError:
            return True
        return False

    def read(self, form: FileFormat, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield rows and rejects of a unit; raise `BadDataError` when the process that reads it dies."""
        with reader_processes().one() as reader:
            try:
                for piece in reader.results(ReadTask(form, storage, unit, schema), self.timeout):
                    if isinstance(piece, Piece):
                        yield piece
            except ReaderDiedError as exc:
                raise killer(unit.uri) from exc
