"""The dispatcher: keeps enough runners on the cluster, and settles the jobs of those that died.

`python -m jobs.dispatcher`; it may be restarted, or run twice, at any time.
"""

import asyncio
import logging
import signal

from dataproc.bootstrap import open_dispatcher
from dataproc.domain.errors import RetryableError
from dataproc.services.dispatch import Dispatcher
from dataproc.services.reconcile import Reaper
from dataproc.settings import Settings

logger = logging.getLogger("jobs.dispatcher")
PAUSE = 1.0
"""Seconds between two looks at the queue."""


async def tick(dispatcher: Dispatcher, reaper: Reaper) -> None:
    """Look once; what does not answer now is asked again."""
    try:
        await reaper.reap()
        await dispatcher.dispatch()
    except RetryableError as exc:
        logger.warning("will try again", extra={"error": exc.code})


async def serve(settings: Settings) -> None:
    """Look at the queue every second until told to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with open_dispatcher(settings) as (dispatcher, reaper):
        while not stopped.is_set():
            await tick(dispatcher, reaper)
            await asyncio.wait({asyncio.ensure_future(stopped.wait())}, timeout=PAUSE)


def main() -> None:
    """Dispatch until SIGTERM."""
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
