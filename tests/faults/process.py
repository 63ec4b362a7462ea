"""The test's side of a runner process: start it, tell it what to do, and do it harm."""

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from dataproc.domain.fault_points import FaultPoint
from dataproc.settings import Settings
from tests.faults.runner import Done, Go, Order, Reached, main
from tests.waiting import PATIENCE

FORKS = multiprocessing.get_context("forkserver")
# Arrow imports the others when it is first used: in each runner, if they were not there before.
FORKS.set_forkserver_preload(["tests.faults.runner", "pandas", "pyarrow.dataset"])


class NotReachedError(AssertionError):
    """The runner has not come by the point at which the fault was to happen."""


@dataclass(slots=True)
class RunnerProcess:
    """A runner, and what it has told so far."""

    process: ForkServerProcess
    conn: Connection
    is_busy: bool = False
    results: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, settings: Settings, log: Path, mailbox: Path) -> "RunnerProcess":
        """Start a runner."""
        ours, theirs = FORKS.Pipe()
        process = FORKS.Process(target=main, args=(theirs, settings, log, mailbox), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.is_alive()

    def order(self, order: Order) -> None:
        """Tell the runner to do something."""
        self.is_busy = True
        self.conn.send(order)

    def do(self, order: Order) -> str:
        """Let the runner do something; return what came of it."""
        self.order(order)
        return self.result()

    def await_point(self, point: FaultPoint) -> None:
        """Wait until the runner stands at a point; if it comes to its end before that, the test has failed."""
        match self.next():
            case Reached(found) if found is point:
                return
            case Done(result):
                raise NotReachedError(f"{point.name} was not reached: {result}")
            case other:
                raise NotReachedError(f"{point.name} was not reached: {other}")

    def result(self, timeout: float = PATIENCE) -> str:
        """Wait for what comes of the order; a runner that died says nothing."""
        match self.next(timeout):
            case Done(result):
                self.results.append(result)
                return result
            case None:
                return "dead"
            case other:
                raise AssertionError(f"the runner was to come to its end, and has told {other}")

    def next(self, timeout: float = PATIENCE) -> Reached | Done | None:
        """Return what the runner tells next; `None`: it is dead."""
        try:
            if not self.conn.poll(timeout):
                raise AssertionError(f"the runner has told nothing for {timeout} seconds")
            message = self.conn.recv()
        except (EOFError, ConnectionResetError):
            self.is_busy = False
            return None
        assert isinstance(message, Reached | Done)
        self.is_busy = isinstance(message, Reached)
        return message

    def has_result(self) -> bool:
        """Whether the runner has told something that was not asked for yet."""
        return self.conn.poll(0)

    def go(self, error: str | None = None) -> None:
        """Let the runner go on, or fail, where it stands."""
        self.conn.send(Go(error))

    def kill(self) -> None:
        """End the runner at once."""
        self.process.kill()
        self.process.join()
        self.conn.close()

    def freeze(self) -> None:
        """Let the runner stand still, with all its threads."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the runner wake up, knowing nothing of the time that has passed."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self.process.pid is not None
        return self.process.pid
