"""Waiting for what threads, processes and databases do: none of them has an event for it."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 600.0
"""Seconds in which every event that a test waits for has happened, also on a busy machine.

It is shorter than the limit of a test, so that the test fails at the wait itself.
"""
STEP = 0.01
T = TypeVar("T")


def found(look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Look until there is something; return it."""
    deadline = time.monotonic() + patience
    while (something := look()) is None:
        assert time.monotonic() < deadline, f"it did not happen in {patience} seconds"
        time.sleep(STEP)
    return something


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds."""
    found(lambda: condition() or None, patience)


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds, and let the loop go on meanwhile."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - threads, fakes and databases have no event to wait for
            await asyncio.sleep(0.002)
