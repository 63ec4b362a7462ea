"""Duties: what one process at a time does for the whole installation, whichever it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from dataproc.domain.errors import DataprocError, RetryableError
from dataproc.domain.retry import RetryPolicy
from dataproc.ports.store import Store

LONGEST_PAUSE = timedelta(seconds=8)
"""The limit of the pauses after failures of a duty."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """Work to be done again and again."""

    name: str
    act: Callable[[], Awaitable[int]]
    pause: timedelta


@dataclass(frozen=True, slots=True)
class Watch:
    """Does duties as long as this process holds them; where several keep watch, each duty is done by one of them.

    A duty is held by a lease, so that another process goes on when this one is lost. All duties are safe when two do
    them at once, as may happen after a pause: the lease saves work, it is not what makes them right.
    """

    store: Store
    holder: str
    lease: timedelta = timedelta(seconds=15)

    async def keep(self, duty: Duty, stopped: asyncio.Event) -> None:
        """Do a duty until stopped, less often while it fails; then let others have it at once."""
        pauses = RetryPolicy(first_delay=2 * duty.pause, max_delay=max(LONGEST_PAUSE, duty.pause))
        failures = 0
        while not stopped.is_set():
            failures = 0 if await self.attempt(duty) else failures + 1
            pause = pauses.backoff(failures, 1.0) if failures else duty.pause
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), pause.total_seconds())
        with suppress(DataprocError):
            async with self.store.begin() as tables:
                await tables.duties.give_back(duty.name, self.holder)

    async def attempt(self, duty: Duty) -> bool:
        """Do a duty once, if it is ours; return whether it went well. A failure is logged.

        Nothing ends the watch but a signal: without it no lost job would ever be settled.
        """
        try:
            if await self.is_ours(duty):
                await duty.act()
        except RetryableError as exc:
            logger.warning("will try again", extra={"duty": duty.name, "error": exc.code, "reason": str(exc)})
        except Exception:
            logger.exception("failed, will try again", extra={"duty": duty.name})
        else:
            return True
        return False

    async def is_ours(self, duty: Duty) -> bool:
        """Take or keep a duty; return whether it is ours now."""
        async with self.store.begin() as tables:
            return await tables.duties.take(duty.name, self.holder, lease=self.lease)
