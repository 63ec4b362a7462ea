"""Events as lines of the log, for an installation where nobody else wants to know."""

import logging
from dataclasses import dataclass

from dataproc.ports.events import Event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventLog:
    """Takes every event."""

    async def deliver(self, event: Event) -> None:
        """Write an event to the log."""
        logger.info(event.kind, extra={"event_id": str(event.id), "job_id": str(event.job_id)})
