"""Rates that all workers and jobs keep to together: one row for each host and credential.

Each request takes the next place in the order of all, by one UPDATE and the database's clock, and is told how long
to wait for it. So nobody asks twice, and nobody is passed over.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg

from dataproc.domain.errors import SetupError
from dataproc.ports.throttle import Gate, Rate
from dataproc.warehouse.connection import connect, translated

RECOVERY = timedelta(seconds=30)
"""Time in which half of a slowing down wears off."""

KEY = "SELECT secret FROM dataproc_load.throttle_secret"
MAKE = "INSERT INTO dataproc_load.throttle (key) VALUES (%(key)s) ON CONFLICT DO NOTHING"
EXTRA = "extra * power(0.5, least(extract(epoch FROM clock_timestamp() - slowed_at) / %(recovery)s, 50)::float8)"
TAKE = f"""
UPDATE dataproc_load.throttle SET
    filled_at = greatest(filled_at, paused_until, clock_timestamp()) + make_interval(secs => %(spacing)s + {EXTRA}),
    spacing = make_interval(secs => %(spacing)s + {EXTRA})
WHERE key = %(key)s
RETURNING extract(epoch FROM greatest(filled_at - spacing * %(burst)s, paused_until) - clock_timestamp())
"""
AHEAD = f"""
SELECT extract(epoch FROM greatest(place - step * (%(burst)s - 1), paused_until) - clock_timestamp()) FROM (
    SELECT greatest(filled_at, paused_until, clock_timestamp()) AS place,
        make_interval(secs => %(spacing)s + {EXTRA}) AS step, paused_until
    FROM dataproc_load.throttle WHERE key = %(key)s
) AS next
"""
IS_OPEN = "SELECT paused_until <= clock_timestamp() FROM dataproc_load.throttle WHERE key = %(key)s"
PAUSE = """
UPDATE dataproc_load.throttle SET paused_until = greatest(paused_until, clock_timestamp() + %(length)s)
WHERE key = %(key)s
"""
SLOW = f"""
UPDATE dataproc_load.throttle
SET extra = least(greatest({EXTRA} * 2, %(spacing)s, 0.1), 60), slowed_at = clock_timestamp()
WHERE key = %(key)s AND slowed_at < clock_timestamp() - interval '1 second'
"""


@dataclass(frozen=True, slots=True)
class WarehouseThrottle:
    """The gates of all hosts and credentials, in the warehouse."""

    url: str = field(repr=False)

    @contextmanager
    def open(self, host: str, credential: str, rate: Rate | None) -> Iterator[Gate]:
        """Give the gate of a host and a credential, on a connection of its own."""
        with connect(self.url) as conn:
            key = digest_of(conn, host, credential)
            yield WarehouseGate(conn, key, rate)


@dataclass(frozen=True, slots=True)
class WarehouseGate:
    """A gate that is a row of the warehouse."""

    conn: psycopg.Connection
    key: bytes
    rate: Rate | None

    def take(self) -> timedelta:
        """Take the next place in the order of all; return how long to wait for it."""
        with translated():
            row = self.conn.execute(TAKE.encode(), self.values()).fetchone()
            if row is None:
                self.conn.execute(MAKE, {"key": self.key})
                row = self.conn.execute(TAKE.encode(), self.values()).fetchone()
        return timedelta(seconds=max(float(row[0]), 0.0)) if row else timedelta(0)

    def ahead(self) -> timedelta:
        """Return how long a request that takes its place now would wait; take none."""
        with translated():
            row = self.conn.execute(AHEAD.encode(), self.values()).fetchone()
        return timedelta(seconds=max(float(row[0]), 0.0)) if row else timedelta(0)

    def is_open(self) -> bool:
        """Whether nobody was told to pause in the meantime."""
        with translated():
            row = self.conn.execute(IS_OPEN, {"key": self.key}).fetchone()
        return row is None or bool(row[0])

    def pause(self, length: timedelta) -> None:
        """Let nobody through for so long."""
        with translated():
            self.conn.execute(PAUSE, {"key": self.key, "length": length})

    def slow_down(self) -> None:
        """Leave twice the time between requests; refusals of the same moment count once."""
        with translated():
            self.conn.execute(SLOW.encode(), self.values())

    def values(self) -> dict[str, object]:
        """Return what the statements need."""
        spacing = self.rate.spacing.total_seconds() if self.rate else 0.0
        burst = self.rate.burst if self.rate else 1
        return {"key": self.key, "spacing": spacing, "burst": burst, "recovery": RECOVERY.total_seconds()}


def digest_of(conn: psycopg.Connection, host: str, credential: str) -> bytes:
    """Return what a host and a credential are known by: a digest under a key of this warehouse."""
    row = conn.execute(KEY).fetchone()
    if row is None:
        raise SetupError("the warehouse has no key for throttles; run `dataproc migrate`")
    return hmac.new(row[0], f"{host}\0{credential}".encode(), hashlib.sha256).digest()
