"""Looks after the parts of an installation, and brings back those that died, until it ends."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from dataproc.domain.errors import DataprocError

logger = logging.getLogger(__name__)
Tell = Callable[[str], None]
IsOver = Callable[[], bool]
"""Tells one who waits for a part to come up that nobody wants it any more."""
PAUSE = 1.0
"""Seconds between two looks, and so before a part that could not be brought back is tried again."""


@dataclass(slots=True)
class Part:
    """Something that has to run: how to see whether it does, how to bring it back, and after how many seconds."""

    name: str
    is_well: Callable[[], bool]
    mend: Callable[[IsOver], None]
    patience: float = 0.0
    ill_since: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether the part has been away for longer than it gets to come back by itself."""
        if self.is_well():
            self.ill_since = None
            return False
        if self.ill_since is None:
            self.ill_since = now
        return now - self.ill_since >= self.patience


@contextmanager
def kept(parts: Sequence[Part], tell: Tell, pause: float = PAUSE) -> Iterator[None]:
    """Keep parts running for the length of the block; once it has ended nothing is brought back any more.

    One thread does it all the while: what it starts may be told by the kernel to end with the thread that started it.
    """
    ended = threading.Event()
    thread = threading.Thread(target=keep, args=(parts, tell, pause, ended), name="keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def keep(parts: Sequence[Part], tell: Tell, pause: float, ended: threading.Event) -> None:
    """Look after the parts in their order until told to end."""
    while not ended.wait(pause):
        for part in parts:
            look_after(part, tell, ended)


def look_after(part: Part, tell: Tell, ended: threading.Event) -> None:
    """Bring a part back if it is away; one that does not come back is tried again later.

    Whatever goes wrong, the keeper goes on: nobody else would bring the parts back.
    """
    try:
        if not ended.is_set() and part.is_due(time.monotonic()):
            bring_back(part, tell, ended.is_set)
    except DataprocError as exc:
        # At the end parts give up coming back, which is no fault.
        if not ended.is_set():
            tell(f"{part.name} did not come back, trying again: {exc}")
    except Exception:
        logger.exception("part could not be kept, will try again", extra={"part": part.name})


def bring_back(part: Part, tell: Tell, is_over: IsOver) -> None:
    """Bring a part back, and tell so."""
    began = time.monotonic()
    tell(f"{part.name} died, starting it again")
    part.mend(is_over)
    part.ill_since = None
    seconds = round(time.monotonic() - began, 1)
    logger.info("part brought back", extra={"part": part.name, "seconds": seconds})
    tell(f"{part.name} is back after {seconds:.0f} s")


def answers(client: httpx2.Client, url: str) -> bool:
    """Whether something answers there that it is well."""
    try:
        return client.get(url).is_success
    except httpx2.HTTPError:
        return False
