"""Clients that go away while they are waiting for an answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")


async def while_there(request: Request, asked: Coroutine[Any, Any, T]) -> T:
    """Return what was asked for; once the client is gone, stop it and raise `ClientDisconnect`."""
    work, gone = asyncio.create_task(asked), asyncio.create_task(departure(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        gone.result()
        raise ClientDisconnect
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def departure(request: Request) -> None:
    """Return when the client is gone."""
    message = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()
