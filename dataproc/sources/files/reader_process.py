"""A process that decodes files for another one: `python -m dataproc.sources.files.reader_process DESCRIPTOR`.

It takes tasks from the connection and sends what they give, and reports which files it has open. It ends with the
connection.
"""

import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.errors import BadDataError, DataprocError, FatalError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.decoder_memory import step_by_step
from dataproc.sources.files.formats import FileFormat, FilePlanning
from dataproc.sources.files.storage import Files, FoundFile


@dataclass(frozen=True, slots=True)
class Opened:
    """The process has opened a file."""

    uri: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The process has closed a file."""

    uri: str


@dataclass(frozen=True, slots=True)
class Given:
    """A result of a task."""

    value: object


@dataclass(frozen=True, slots=True)
class Ended:
    """A task is done, or has raised an error."""

    error: Exception | None = None


Message = Opened | Closed | Given | Ended


@dataclass(frozen=True, slots=True)
class ReportingStorage:
    """Files of a storage; each is reported while it is open. Those in `killers` are refused: they ended a process."""

    storage: Files
    killers: frozenset[str] = frozenset()
    report: Callable[[Message], None] = field(default=lambda _: None)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        if uri in self.killers:
            raise killer(uri)
        self.report(Opened(uri))
        try:
            with self.storage.open(uri, version, size, ahead=ahead) as file:
                yield file
        finally:
            self.report(Closed(uri))


def killer(uri: str) -> BadDataError:
    """Return the error for a file that ended the process which read it, twice."""
    msg = f"{uri} cannot be read: it ends the process that reads it; it is damaged, or its reader has a fault"
    return BadDataError(msg, uri=uri)


@dataclass(frozen=True, slots=True)
class PlanTask:
    """Plans files."""

    form: FilePlanning
    storage: Files
    files: tuple[FoundFile, ...]
    killers: frozenset[str] = frozenset()

    def results(self, report: Callable[[Message], None]) -> Iterator[SourcePlan]:
        """Yield the plan."""
        yield self.form.plan(ReportingStorage(self.storage, self.killers, report), self.files)


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Reads a unit."""

    form: FileFormat
    storage: Files
    unit: Unit
    schema: pa.Schema

    def results(self, report: Callable[[Message], None]) -> Iterator[Piece]:
        """Yield the rows and rejects."""
        storage = ReportingStorage(self.storage, frozenset(), report)
        yield from step_by_step(self.form.read(storage, self.unit, self.schema))


Task = PlanTask | ReadTask


def serve(connection: Connection) -> None:
    """Do tasks until the other end of the connection is closed."""
    lock = threading.Lock()

    def send(message: Message) -> None:
        with lock:
            connection.send(message)

    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        try:
            for value in task.results(send):
                send(Given(value))
        except Exception as exc:  # noqa: BLE001 - it is raised again at the other end
            send(Ended(exc if isinstance(exc, DataprocError) else unexpected(exc)))
        else:
            send(Ended())


def unexpected(exc: Exception) -> FatalError:
    """Return our error for a fault in the code, which may not pickle; its note has the traceback."""
    error = FatalError(f"a reader of files failed unexpectedly with {type(exc).__name__}", kind=type(exc).__name__)
    error.add_note("".join(traceback.format_exception(exc)))
    return error


def main() -> None:
    """Serve the connection of the descriptor that is the argument; a core file would hold data of the source."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    # Messages are of the classes of the imported module, not of the one that runs as a script.
    from dataproc.sources.files.reader_process import main as main_of_module

    main_of_module()
