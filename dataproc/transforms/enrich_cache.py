"""Lookups that were read a while ago, kept for other runs: by this process, and in Redis for all processes.

What cannot be kept is read: a Redis that does not answer costs time, and fails no job.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa

from dataproc.domain.errors import LookupTooLargeError
from dataproc.domain.transforms.enrich import LookupPlace
from dataproc.ports.lookups import Lookups

if TYPE_CHECKING:
    from redis import Redis

MOST_BYTES = 256 * 1024**2
"""What a process keeps at most; the oldest go first."""
PREFIX = "dataproc:lookup:"
PATIENCE = 2.0
"""Seconds that we wait for Redis."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Shelf:
    """The lookups that one process keeps."""

    clock: Callable[[], float] = time.monotonic
    tables: dict[str, tuple[float, pa.Table]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str, keep_for: timedelta) -> pa.Table | None:
        """Return what was put here, if it is not too old."""
        with self.lock:
            put_at, table = self.tables.get(name, (0.0, None))
        return table if table is not None and self.clock() - put_at < keep_for.total_seconds() else None

    def put(self, name: str, table: pa.Table) -> None:
        """Keep a table, in place of the oldest ones if need be."""
        with self.lock:
            self.tables.pop(name, None)
            self.tables[name] = (self.clock(), table)
            while sum(each.nbytes for _, each in self.tables.values()) > MOST_BYTES:
                self.tables.pop(next(iter(self.tables)))


@cache
def shelf_of_process() -> Shelf:
    """Return the lookups that this process keeps."""
    return Shelf()


@dataclass(frozen=True, slots=True)
class CachedLookups:
    """Reads a lookup once in a while; `scope` tells apart what is called the same in another installation."""

    lookups: Lookups
    scope: str = field(default="", repr=False)
    redis_url: str | None = field(default=None, repr=False)
    shelf: Shelf = field(default_factory=shelf_of_process, repr=False)

    def size(self, place: LookupPlace, columns: Sequence[str]) -> int | None:
        """Return about how many bytes these columns have now."""
        return self.lookups.size(place, columns)

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, keep_for: timedelta) -> pa.Table:
        """Return what is kept, else what is there, and keep it."""
        if not keep_for:
            return self.lookups.read(place, columns, max_bytes, keep_for)
        # With how long it is kept: what one job keeps for a day is too old for one that asks for ten minutes.
        told = "\n".join([self.scope, str(keep_for), place.model_dump_json(), *columns])
        name = PREFIX + sha256(told.encode()).hexdigest()
        found = self.shelf.get(name, keep_for)
        if found is None:
            found = self.shared(name)
        if found is None:
            found = self.lookups.read(place, columns, max_bytes, keep_for)
            self.share(name, found, keep_for)
            self.shelf.put(name, found)
        if found.nbytes > max_bytes:
            msg = (
                f"enrich.from: the lookup has {found.nbytes} bytes, and {max_bytes} are allowed; raise `max_bytes`, "
                "or, for a table, set `over: run`"
            )
            raise LookupTooLargeError(msg, max_bytes=max_bytes)
        return found

    def shared(self, name: str) -> pa.Table | None:
        """Return what another process has read, as long as Redis keeps it."""
        if self.redis_url is None:
            return None
        from redis import (
            RedisError,
        )  # the client takes a third of a second to import, and most installations have no Redis

        try:
            body = connected(self.redis_url).get(name)
            return pa.ipc.open_stream(body).read_all() if isinstance(body, bytes) else None
        except (RedisError, pa.ArrowException) as exc:
            logger.warning("lookup not had from redis", extra={"lookup": name, "error": type(exc).__name__})
            return None

    def share(self, name: str, table: pa.Table, keep_for: timedelta) -> None:
        """Let other processes have what was read."""
        if self.redis_url is None:
            return
        from redis import RedisError

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        try:
            connected(self.redis_url).set(name, sink.getvalue().to_pybytes(), px=keep_for)
        except RedisError as exc:
            logger.warning("lookup not put into redis", extra={"lookup": name, "error": type(exc).__name__})


@cache
def connected(url: str) -> "Redis":
    """Return the client of this process."""
    from redis import Redis

    return Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
