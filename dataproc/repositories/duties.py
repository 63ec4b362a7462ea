"""Duties: work that one process at a time does, each held by a lease of the database's clock."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.repositories.rows import in_seconds

TAKE = text("""
INSERT INTO duties (name, holder, expires_at)
VALUES (:name, :holder, clock_timestamp() + make_interval(secs => :lease))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE duties.holder = excluded.holder OR duties.expires_at <= clock_timestamp()
RETURNING name
""")

NOTE = text("UPDATE duties SET note = CAST(:note AS text) WHERE name = :name AND note IS DISTINCT FROM :note")
GIVE_BACK = text("DELETE FROM duties WHERE name = :name AND holder = :holder")


@dataclass(frozen=True, slots=True)
class PostgresDuties:
    """Who does what, until when."""

    conn: AsyncConnection

    async def take(self, duty: str, holder: str, *, lease: timedelta) -> bool:
        """Take or keep a duty; return whether `holder` has it now."""
        params = {"name": duty, "holder": holder, "lease": in_seconds(lease)}
        return (await self.conn.execute(TAKE, params)).first() is not None

    async def give_back(self, duty: str, holder: str) -> None:
        """Let others have the duty at once."""
        await self.conn.execute(GIVE_BACK, {"name": duty, "holder": holder})

    async def note(self, duty: str, text: str | None) -> None:
        """Set the note of a held duty; `None` removes it."""
        await self.conn.execute(NOTE, {"name": duty, "note": text})
