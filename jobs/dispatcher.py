"""The dispatcher: starts runners and Ray Jobs, settles the jobs of those that died, cleans up, and delivers events.

`python -m jobs.dispatcher`; it may be restarted, or run twice, at any time.
"""

import asyncio
import signal
from uuid import uuid4

from dataproc.bootstrap import open_desk
from dataproc.services.duties import Watch
from dataproc.settings import Settings


async def serve(settings: Settings) -> None:
    """Do all duties until told to stop; none of them waits for what another one needs."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with open_desk(settings) as desk:
        watch = Watch(desk.store, holder=f"dispatcher-{uuid4()}")
        await asyncio.gather(*(watch.keep(duty, stopped) for duty in desk.duties))


def main() -> None:
    """Dispatch until SIGTERM."""
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
