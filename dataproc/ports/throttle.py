"""Rates that all workers and jobs keep to together."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

HEADROOM = 0.1
"""Share by which requests go slower than they may, so that delays on the way never put too many into one window."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many requests in any window of a length; `burst` of them may go at once."""

    requests: int
    per: timedelta
    burst: int = 1

    @property
    def spacing(self) -> timedelta:
        """Time between two requests, when the burst is used up."""
        return self.per * (1 + HEADROOM) / (self.requests - self.burst + 1)

    @property
    def slack(self) -> timedelta:
        """By how much a request may be late and still go."""
        return self.per * HEADROOM / 2


class Gate(Protocol):
    """What every request to one host with one credential goes through."""

    def take(self) -> timedelta:
        """Take the next place in the order of all; return how long to wait for it."""

    def ahead(self) -> timedelta:
        """Return how long a request that takes its place now would wait; take none."""

    def is_open(self) -> bool:
        """Whether nobody was told to pause in the meantime."""

    def pause(self, length: timedelta) -> None:
        """Let nobody through for so long."""

    def slow_down(self) -> None:
        """Leave more time between requests; that wears off."""


class Throttle(Protocol):
    """Where gates are. It travels to Ray workers, so it pickles."""

    def open(self, host: str, credential: str, rate: Rate | None) -> AbstractContextManager[Gate]:
        """Give the gate of a host and a credential, of which only a keyed digest is kept."""


class OpenGate:
    """A gate that lets everything through."""

    def take(self) -> timedelta:
        """Return no wait."""
        return timedelta(0)

    def ahead(self) -> timedelta:
        """Return no wait."""
        return timedelta(0)

    def is_open(self) -> bool:
        """Return true."""
        return True

    def pause(self, length: timedelta) -> None:
        """Do nothing."""

    def slow_down(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Unlimited:
    """No throttle, for an installation without a warehouse."""

    @contextmanager
    def open(self, host: str, credential: str, rate: Rate | None) -> Iterator[Gate]:
        """Give a gate that lets everything through."""
        del host, credential, rate
        yield OpenGate()


UNLIMITED = Unlimited()
