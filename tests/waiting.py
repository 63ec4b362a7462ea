"""Waiting for what threads, processes and databases do: none of them has an event for it."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def found(look: Callable[[], T | None], patience: float) -> T:
    """Look until there is something; return it."""
    deadline = time.monotonic() + patience
    while (something := look()) is None:
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return something


def wait_until(condition: Callable[[], bool], patience: float = 120.0) -> None:
    """Wait until something holds."""
    found(lambda: condition() or None, patience)


async def until(condition: Callable[[], bool], patience: float = 120.0) -> None:
    """Wait until something holds, and let the loop go on meanwhile."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - threads, fakes and databases have no event to wait for
            await asyncio.sleep(0.002)
