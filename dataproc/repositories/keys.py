"""Idempotency keys: what each was used for."""

from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.errors import InFlightError
from dataproc.domain.job import JobId
from dataproc.ports.store import StoredReply
from dataproc.repositories.tables import idempotency_keys

TRY_LOCK = text("""
SELECT pg_try_advisory_xact_lock(hashtextextended(
    CAST(jsonb_build_array('dataproc idempotency keys', CAST(:owner AS text), CAST(:key AS text)) AS text), 0
))
""")


@dataclass(frozen=True, slots=True)
class PostgresIdempotencyKeys:
    """Replies that were given, by caller and key."""

    conn: AsyncConnection

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        """Store `reply` unless the key is taken; return what stands there now.

        A twin that is in flight is not waited for: it raises `InFlightError`.
        """
        if (stored := await self.stored(owner, key)) is not None:
            return stored
        if not await self.conn.scalar(TRY_LOCK, {"owner": owner, "key": key}):
            raise InFlightError
        # A twin may have ended between the look and the lock.
        return await self.stored(owner, key) or await self.store(owner, key, reply)

    async def stored(self, owner: str, key: str) -> StoredReply | None:
        """Return what stands under a key."""
        mine = (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)
        row = (await self.conn.execute(select(idempotency_keys).where(mine))).mappings().first()
        return None if row is None else StoredReply(fingerprint=row["fingerprint"], job_id=JobId(row["job_id"]))

    async def store(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        """Put `reply` under a free key, whose lock is ours."""
        values = {"owner": owner, "key": key, "fingerprint": reply.fingerprint, "job_id": reply.job_id}
        await self.conn.execute(insert(idempotency_keys).values(values))
        return reply
