"""What happens around every request: an id, a log line, a measurement, a limit."""

import logging
import re
import time
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from dataproc.domain.errors import TooLargeError
from serve_app.errors import answer_ours, answer_unexpected
from serve_app.metrics import Metrics

logger = logging.getLogger(__name__)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
REQUEST_ID = "X-Request-ID"
WORD = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(slots=True)
class Reply:
    """Sends a reply on, and remembers its status."""

    send: Send
    headers: dict[str, str]
    status: int | None = None

    async def __call__(self, message: Message) -> None:
        """Send a part of the reply."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).update(self.headers)
        await self.send(message)


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Gives each request an id, or keeps the one it came with, and notes how it was answered.

    Ray Serve adds the header `X-Request-ID` to replies by itself; there `tells_id` is false, lest it come twice.
    """

    app: ASGIApp
    metrics: Metrics
    tells_id: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started = request_id_of(scope), time.perf_counter()
        reply = Reply(send, HEADERS | ({REQUEST_ID: request_id} if self.tells_id else {}))
        with bound_contextvars(request_id=request_id):
            try:
                await self.answer(scope, receive, reply)
            finally:
                self.note(scope, reply.status, time.perf_counter() - started)

    async def answer(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        """Answer a request; what nobody expected is answered and logged here, where the reply still gets its id."""
        try:
            await self.app(scope, receive, reply)
        except ClientDisconnect:
            logger.debug("the client went away")
        except Exception as exc:  # noqa: BLE001 - it is logged with its traceback, and answered
            response = answer_unexpected(exc)
            if reply.status is None:
                await response(scope, receive, reply)

    def note(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Count and log a request; without a status, the client went away before there was one."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = template_of(scope)
        self.metrics.observe(method, route, status or 499, seconds)
        told = {"method": method, "route": route, "status": status or 499, "ms": round(seconds * 1000, 1)}
        logger.info("request", extra=told)


def template_of(scope: Scope) -> str:
    """Return the template of a path; who asks to wait is counted apart, lest the time to answer seem long."""
    template: str = getattr(scope.get("route"), "path", "unknown")
    return f"{template}?wait" if b"wait=" in scope["query_string"] else template


def request_id_of(scope: Scope) -> str:
    """Return the id that a request came with, if it is one word; else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if WORD.fullmatch(given) else str(uuid4())


@dataclass(frozen=True, slots=True)
class HeadAsGet:
    """Answers HEAD as GET would be answered, without the body."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET"}
        await self.app(asked, receive, without_body)
        scope["route"] = asked.get("route")


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Refuses bodies of more than `most` bytes, whatever they announce."""

    app: ASGIApp
    most: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, counting the bytes that come."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self.most:
            await answer_ours(Request(scope), self.too_large())(scope, receive, send)
            return
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise self.too_large()
            return message

        await self.app(scope, counting, send)

    def too_large(self) -> TooLargeError:
        """Return the error for a body that is too large."""
        return TooLargeError(f"the request is larger than {self.most:,} bytes; make the specification smaller")
