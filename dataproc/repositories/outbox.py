"""Events to deliver, recorded in the transaction that made them true."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.ports.events import Event
from dataproc.repositories.rows import to_event
from dataproc.repositories.tables import NOW, outbox


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    """Events that wait for delivery."""

    conn: AsyncConnection

    async def add(self, event: Event) -> None:
        """Record an event; one of that id that is there already is left alone."""
        values = {"id": event.id, "kind": event.kind, "job_id": event.job_id, "data": dict(event.data)}
        await self.conn.execute(insert(outbox).values(values).on_conflict_do_nothing())

    async def pending(self, *, limit: int) -> Sequence[Event]:
        """Return events that are due, the oldest first; other deliverers pass them by until the transaction ends."""
        due = select(outbox).where(outbox.c.delivered_at.is_(None), outbox.c.due_at <= func.statement_timestamp())
        oldest = due.order_by(outbox.c.due_at, outbox.c.created_at, outbox.c.id).limit(limit)
        rows = await self.conn.execute(oldest.with_for_update(skip_locked=True))
        return [to_event(row) for row in rows.mappings()]

    async def delivered(self, event_id: UUID) -> None:
        """Note that an event has reached its receivers."""
        done = update(outbox).where(outbox.c.id == event_id, outbox.c.delivered_at.is_(None)).values(delivered_at=NOW)
        await self.conn.execute(done)

    async def put_off(self, event_id: UUID, *, delay: timedelta) -> None:
        """Note that a delivery failed, and when to try again."""
        failed = update(outbox).where(outbox.c.id == event_id, outbox.c.delivered_at.is_(None))
        await self.conn.execute(failed.values(attempts=outbox.c.attempts + 1, due_at=NOW + delay))
