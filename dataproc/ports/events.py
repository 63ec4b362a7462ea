"""Events: recorded in the transaction that made them true, then told to whoever wants to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from dataproc.domain.job import JobId


@dataclass(frozen=True, slots=True)
class Event:
    """Something others will be told of; its id stays the same however often it is delivered."""

    id: UUID
    kind: str
    job_id: JobId
    data: Mapping[str, object]
    created_at: datetime | None = None
    attempts: int = 0


class Outbox(Protocol):
    """Events to deliver, recorded in the transaction that made them true."""

    async def add(self, event: Event) -> None: ...
    async def pending(self, *, limit: int) -> Sequence[Event]:
        """Return events that are due, the oldest first; other deliverers pass them by until the transaction ends."""

    async def delivered(self, event_id: UUID) -> None: ...
    async def put_off(self, event_id: UUID, *, delay: timedelta) -> None:
        """Note that a delivery failed, and when to try again."""


class Receiver(Protocol):
    """Who is told of events."""

    async def deliver(self, event: Event) -> None:
        """Tell of an event, or raise `RetryableError`; it may come again, with the same id."""
