"""Events to deliver, recorded in the transaction that made them true."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.ports import Event
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
        """Return events not delivered yet, the oldest first, and keep other deliverers from them until the end."""
        waiting = select(outbox).where(outbox.c.delivered_at.is_(None)).order_by(outbox.c.created_at, outbox.c.id)
        rows = await self.conn.execute(waiting.limit(limit).with_for_update(skip_locked=True))
        return [to_event(row) for row in rows.mappings()]

    async def delivered(self, event_id: UUID) -> None:
        """Note that an event has reached its receivers."""
        done = update(outbox).where(outbox.c.id == event_id, outbox.c.delivered_at.is_(None)).values(delivered_at=NOW)
        await self.conn.execute(done)
