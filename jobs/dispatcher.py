"""The dispatcher: keeps enough runners on the cluster, and settles the jobs of those that died.

`python -m jobs.dispatcher`; it may be restarted, or run twice, at any time.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dataproc.bootstrap import open_dispatcher
from dataproc.domain.errors import RetryableError
from dataproc.services.dispatch import Dispatcher
from dataproc.services.reconcile import Reaper
from dataproc.settings import Settings

logger = logging.getLogger("jobs.dispatcher")
PAUSE = 1.0
"""Seconds between two looks at the queue."""


async def tick(dispatcher: Dispatcher, reaper: Reaper) -> None:
    """Look once; neither of the two tasks waits for what the other one needs."""
    await attempt("reap", reaper.reap)
    await attempt("dispatch", dispatcher.dispatch)


async def attempt(task: str, act: Callable[[], Awaitable[int]]) -> None:
    """Do a task; one that fails is logged, and done again at the next look.

    Nothing ends the dispatcher but a signal: without it no lost job would ever be settled, and on one machine nobody
    starts it again.
    """
    try:
        await act()
    except RetryableError as exc:
        logger.warning("will try again", extra={"task": task, "error": exc.code, "reason": str(exc)})
    except Exception:
        logger.exception("failed, will try again", extra={"task": task})


async def serve(settings: Settings) -> None:
    """Look at the queue every second until told to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with open_dispatcher(settings) as (dispatcher, reaper):
        while not stopped.is_set():
            await tick(dispatcher, reaper)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), PAUSE)


def main() -> None:
    """Dispatch until SIGTERM."""
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
