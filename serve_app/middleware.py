"""What happens around every request: an id, a log line, a measurement, a limit."""

import logging
import time
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataproc.domain.errors import TooLargeError
from serve_app.metrics import Metrics

logger = logging.getLogger(__name__)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Gives each request an id, and notes how it was answered."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started, status = str(uuid4()), time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS | {"X-Request-ID": request_id})
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.observe(scope["method"], route, status, seconds)
            told = {"request_id": request_id, "method": scope["method"], "route": route, "status": status}
            logger.info("request", extra={**told, "ms": round(seconds * 1000, 1)})


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
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise TooLargeError(f"the request is larger than {self.most} bytes")
            return message

        await self.app(scope, counting, send)
