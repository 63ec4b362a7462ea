"""Two sessions at once: one stands still at a fault point while the other goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dataproc.domain.fault_points import FaultPoint, hooked
from tests.faults.faults import wait_for
from tests.faults.server import fetch
from tests.waiting import PATIENCE

T = TypeVar("T")
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@dataclass(slots=True)
class Session(Generic[T]):
    """Work in a thread of its own, that may stand still at a point; there it may be told to fail."""

    work: Callable[[], T]
    halts_at: FaultPoint | None = None
    stands: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    raised: Exception | None = None
    results: list[T] = field(default_factory=list)

    def run(self) -> None:
        """Work, and keep what came of it."""
        try:
            self.results.append(self.work())
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            self.raised = exc
        finally:
            self.ended.set()

    def pass_by(self, point: FaultPoint) -> None:
        """Stand still at the first passing of the point."""
        if point is not self.halts_at or self.stands.is_set():
            return
        self.stands.set()
        assert self.may_go.wait(PATIENCE)
        if self.error is not None:
            raise self.error

    def await_point(self) -> None:
        """Wait until the session stands at its point."""
        wait_for(lambda: self.stands.is_set() or self.ended.is_set())
        assert self.stands.is_set(), f"{self.halts_at} was not reached: {self.raised!r}"

    def go(self, error: Exception | None = None) -> None:
        """Let the session go on, or fail where it stands."""
        self.error = error
        self.may_go.set()

    def await_end_or_lock(self, url: str) -> bool:
        """Wait until the session is at its end, or waits for another one; return whether it is at its end."""
        wait_for(lambda: self.ended.is_set() or bool(fetch(url, WAITING)))
        return self.ended.is_set()

    def end(self) -> T | None:
        """Wait for the end; return what came of it, or `None` if that was an error."""
        assert self.ended.wait(PATIENCE), "the session does not end"
        return self.results[0] if self.results else None


@contextmanager
def session(work: Callable[[], T], halts_at: FaultPoint | None = None) -> Iterator[Session[T]]:
    """Give a session that has begun; it stands at its point by the time the block begins."""
    begun = Session(work, halts_at)
    with hooked(lambda point: begun.pass_by(point) if threading.current_thread() is thread else None):
        thread = threading.Thread(target=begun.run, daemon=True)
        thread.start()
        if halts_at is not None:
            begun.await_point()
        try:
            yield begun
        finally:
            begun.may_go.set()
            thread.join(PATIENCE)
