"""Idempotency keys: what each was used for."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.job import JobId
from dataproc.ports import StoredReply
from dataproc.repositories.tables import idempotency_keys


@dataclass(frozen=True, slots=True)
class PostgresIdempotencyKeys:
    """Replies that were given, by caller and key."""

    conn: AsyncConnection

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        """Store `reply` unless the key is taken; return what stands there now. Waits for a twin that is in flight."""
        statement = insert(idempotency_keys).values(
            owner=owner, key=key, fingerprint=reply.fingerprint, job_id=reply.job_id
        )
        mine = await self.conn.execute(statement.on_conflict_do_nothing().returning(idempotency_keys.c.key))
        # Another statement on purpose: only a new snapshot sees what a twin has just committed.
        return await self.stored(owner, key) if mine.first() is None else reply

    async def stored(self, owner: str, key: str) -> StoredReply:
        """Return what stands under a key."""
        mine = (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)
        row = (await self.conn.execute(select(idempotency_keys).where(mine))).mappings().one()
        return StoredReply(fingerprint=row["fingerprint"], job_id=JobId(row["job_id"]))
