"""The audit log: append only, each entry chained to the one before it by its hash.

A trigger of the table chains and dates the entries, so that nobody can write one unchained. There
are several chains, chosen by the subject, so that jobs accepted at once seldom wait for each other:
an entry holds its chain until its transaction ends. Record it last.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CHAINS = 16

RECORD = text("""
INSERT INTO audit_logs (chain, action, actor, subject, details)
VALUES (:chain, :action, :actor, :subject, CAST(:details AS jsonb))
""")

# The first entry that is kept may follow one that retention has dropped; every later one must
# follow its neighbour.
FIRST_BROKEN = text("""
SELECT chain, seq FROM (
    SELECT *, lag(seq) OVER follow AS seq_before, lag(hash) OVER follow AS hash_before
    FROM audit_logs WINDOW follow AS (PARTITION BY chain ORDER BY seq)
) AS entry
WHERE hash <> audit_hash(previous, chain, seq, recorded_at, action, actor, subject, details)
    OR seq_before + 1 <> seq OR hash_before <> previous
ORDER BY chain, seq LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class PostgresAudit:
    """Who did what, when."""

    conn: AsyncConnection

    async def record(self, action: str, *, by: str, subject: str, details: Mapping[str, object]) -> None:
        """Append an entry; no secret and no value of a row may be in it."""
        entry = {"action": action, "actor": by, "subject": subject, "details": json.dumps(dict(details))}
        await self.conn.execute(RECORD, {"chain": chain_of(subject), **entry})

    async def first_broken(self) -> tuple[int, int] | None:
        """Return chain and number of the first entry that was changed or lost its neighbour; `None`: all is well."""
        row = (await self.conn.execute(FIRST_BROKEN)).first()
        return None if row is None else (row.chain, row.seq)


def chain_of(subject: str) -> int:
    """Return the chain of a subject, the same for every process."""
    return hashlib.sha256(subject.encode()).digest()[0] % CHAINS
