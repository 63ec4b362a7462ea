"""The outbox: events reach whoever wants to know at least once, each under an id that stays the same."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from dataproc.domain.errors import RetryableError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.retry import RetryPolicy
from dataproc.ports.events import Event, Receiver
from dataproc.ports.store import Store

logger = logging.getLogger(__name__)
PATIENCE = RetryPolicy(first_delay=timedelta(seconds=1), max_delay=timedelta(minutes=5))
"""How long an event waits after each failed delivery; it is tried for ever."""


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Tells the receiver of events. Several may run: an event that one has in hand is passed by by the others."""

    store: Store
    receiver: Receiver
    dice: Callable[[], float]

    async def deliver(self, *, limit: int = 20) -> int:
        """Deliver up to `limit` events that are due; return how many were delivered."""
        async with self.store.begin() as tables:
            events = await tables.outbox.pending(limit=limit)
            told = await asyncio.gather(*(self.tell(event) for event in events))
            if events:
                reached(FaultPoint.DELIVERED)
            for event, delivered in zip(events, told, strict=True):
                if delivered:
                    await tables.outbox.delivered(event.id)
                else:
                    await tables.outbox.put_off(event.id, delay=self.delay(event))
        return sum(told)

    async def tell(self, event: Event) -> bool:
        """Tell of one event; return whether it arrived."""
        told = {"event_id": str(event.id), "job_id": str(event.job_id), "event_kind": event.kind}
        try:
            await self.receiver.deliver(event)
        except RetryableError as exc:
            logger.warning("event not delivered", extra=told | {"error": exc.code, "attempt": event.attempts + 1})
            return False
        logger.info("event delivered", extra=told)
        return True

    def delay(self, event: Event) -> timedelta:
        """Return when to try an event again that could not be delivered."""
        return PATIENCE.backoff(event.attempts + 1, self.dice())
