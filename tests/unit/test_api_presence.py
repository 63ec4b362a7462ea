"""What is asked for is worked on only while somebody is there to be answered."""

import asyncio
from collections.abc import Callable

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from dataproc.domain.errors import MetadataUnavailableError, TooLargeError
from serve_app.presence import while_there

pytestmark = pytest.mark.anyio


def request_of(*messages: Message, then: Exception | None = None) -> Request:
    """Return a request that gets these messages, and then fails or hears nothing any more."""
    coming = iter(messages)

    async def receive() -> Message:
        for message in coming:
            return message
        if then is not None:
            raise then
        return await asyncio.Future()

    return Request({"type": "http"}, receive)


STILL_THERE: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


async def until_stopped(stopped: Callable[[], None]) -> None:
    """Work until it is stopped."""
    try:
        await asyncio.Future()
    finally:
        stopped()


async def test_a_client_that_stays_is_answered_and_not_listened_to_any_more() -> None:
    before = asyncio.all_tasks()

    assert await while_there(request_of(STILL_THERE), asyncio.sleep(0.01, "answer")) == "answer"
    assert asyncio.all_tasks() == before


async def test_what_goes_wrong_with_the_answer_is_told_as_it_is() -> None:
    async def failing() -> None:
        raise MetadataUnavailableError

    with pytest.raises(MetadataUnavailableError):
        await while_there(request_of(STILL_THERE), failing())


@pytest.mark.parametrize(
    ("request_", "error"),
    [(request_of(STILL_THERE, GONE), ClientDisconnect), (request_of(then=TooLargeError()), TooLargeError)],
    ids=["gone", "refused"],
)
async def test_work_for_a_client_that_is_gone_or_refused_is_stopped(request_: Request, error: type[Exception]) -> None:
    stopped: list[bool] = []

    with pytest.raises(error):
        await while_there(request_, until_stopped(lambda: stopped.append(True)))

    assert stopped == [True]
