"""What may happen while a runner stands at a fault point, and how each is done to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from tests.faults.process import RunnerProcess
from tests.faults.runner import Order
from tests.faults.server import OBSERVER, Ballast, fetch
from tests.faults.world import World
from tests.waiting import wait_until

DEAF = 0.5
"""Seconds for which replies of the server are lost."""


class Fault(StrEnum):
    """Everything that may go wrong at a point."""

    RETRYABLE = "raises an error that may go away"
    UNEXPECTED = "raises an error that nobody thought of"
    KILLED = "is killed"
    FROZEN = "is frozen until its lease is past, and wakes up"
    RESET_BEFORE = "loses its connections before the server acts"
    RESET_AFTER = "loses its connections after the server has acted"
    TERMINATED = "has its sessions terminated"
    RESTARTED = "has its server restarted"
    DISK_FULL = "has no room on the server's disk"


TERMINATE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> %s AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Harm:
    """A fault that is about to happen to a runner, which stands at its point."""

    world: World
    runner: RunnerProcess
    ballast: Ballast | None = None

    def do(self, fault: Fault) -> None:
        """Let the fault happen, and the runner come to its end."""
        doings: dict[Fault, Callable[[], None]] = {
            Fault.RETRYABLE: lambda: self.runner.go("retryable"),
            Fault.UNEXPECTED: lambda: self.runner.go("unexpected"),
            Fault.KILLED: self.runner.kill,
            Fault.FROZEN: self.freeze,
            Fault.RESET_BEFORE: self.reset_before,
            Fault.RESET_AFTER: self.reset_after,
            Fault.TERMINATED: self.terminate,
            Fault.RESTARTED: self.restart,
            Fault.DISK_FULL: self.fill_disk,
        }
        doings[fault]()
        # One that is stuck is ended, as a runner would end its slot.
        if fault is not Fault.KILLED and self.runner.result() == "stuck":
            self.runner.kill()

    def freeze(self) -> None:
        """Let the lease end while the runner is frozen and another one takes over; then let it wake up.

        The other one may have to wait for what the frozen session holds: then it is enough that it does.
        """
        wait_for(self.is_frozen_out)
        other = self.world.runner()
        other.order(Order("recover"))
        wait_for(lambda: other.has_result() or self.world.is_waiting_for_lock())
        self.runner.thaw()
        self.runner.go()
        other.result()

    def is_frozen_out(self) -> bool:
        """Freeze the runner and let its lease end; one that was about to renew it has it locked, and is let go on."""
        self.runner.freeze()
        self.world.expire()
        if self.world.fetch("SELECT FROM job_leases WHERE expires_at > clock_timestamp()"):
            self.runner.thaw()
            return False
        return True

    def terminate(self) -> None:
        """Let the server end all sessions of the runner."""
        fetch(self.world.url, TERMINATE, OBSERVER)
        self.runner.go()

    def restart(self) -> None:
        """Let the server end at once, and start again."""
        self.world.server.restart()
        self.runner.go()

    def reset_before(self) -> None:
        """Break all connections before the server hears what comes next."""
        self.reset()
        self.runner.go()

    def reset(self) -> None:
        """Break all connections of the runner."""
        for proxy in (self.world.metadata_proxy, self.world.warehouse_proxy):
            proxy.reset()

    def reset_after(self) -> None:
        """Let the server hear and act, but the runner hear nothing; then break all its connections."""
        proxies = (self.world.warehouse_proxy, self.world.metadata_proxy)
        for proxy in proxies:
            proxy.swallow_replies()
        self.runner.go()
        for proxy in proxies:
            proxy.swallowed.wait(DEAF)
        self.reset()

    def fill_disk(self) -> None:
        """Let there be no room on the disk until the server has complained or the runner is at its end."""
        assert self.ballast is not None
        complained = self.world.server.complaints()
        self.ballast.fill()
        self.runner.go()
        deadline = time.monotonic() + 2 * DEAF
        wait_for(
            lambda: (
                self.runner.has_result() or self.world.server.complaints() > complained or time.monotonic() > deadline
            )
        )
        self.ballast.free()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    wait_until(lambda: holds(condition))


def holds(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds; a server that is away tells nothing."""
    try:
        return condition()
    except psycopg.OperationalError:
        return False
