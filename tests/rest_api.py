"""An API over real HTTP for tests: pages in every style, with credentials, limits and faults on demand."""

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Record = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request as the server got it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Reply:
    """What the server answers; a text is sent as it is, anything else as JSON."""

    value: object = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = "application/json"

    @property
    def body(self) -> bytes:
        if isinstance(self.value, bytes):
            return self.value
        return self.value.encode() if isinstance(self.value, str) else json.dumps(self.value).encode()


Route = Callable[[Call], Reply | None]
"""Answers a call, or closes the connection without a word."""


@dataclass
class Api:
    """A server that runs; tests put routes into it, and look at the calls."""

    port: int = 0
    scheme: str = "http"
    routes: dict[str, Route] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    before: list[Callable[[Call], Reply | None]] = field(default_factory=list)
    latency: float = 0.0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def answer(self, call: Call) -> Reply | None:
        with self.lock:
            self.calls.append(call)
            before = list(self.before)
        if self.latency:
            time.sleep(self.latency)
        for look in before:
            if (reply := look(call)) is not None:
                return reply
        route = self.routes.get(call.path)
        return Reply({"error": "no such thing"}, 404) if route is None else route(call)

    def asked(self, path: str) -> int:
        """Return how often a path was asked for."""
        return Counter(call.path for call in self.calls)[path]


class Handler(BaseHTTPRequestHandler):
    """Turns requests into calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def setup(self) -> None:
        super().setup()
        with self.api.lock:
            self.api.connections += 1

    def finish(self) -> None:
        super().finish()
        with self.api.lock:
            self.api.connections -= 1

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        reply = self.api.answer(Call(self.command, url.path, query, headers, body, time.monotonic()))
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        if reply.content_type is not None:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers:
            self.send_header(name, value)
        if "Content-Length" not in dict(reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server whose clients may go away at any time."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def rest_api(tls: ssl.SSLContext | None = None) -> Iterator[Api]:
    """Give a server on a port of its own."""
    api = Api(scheme="https" if tls else "http")
    handler = type("ApiHandler", (Handler,), {"api": api})
    server = Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    api.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def paged(records: Callable[[], list[Record]]) -> Route:
    """Return a route of numbered pages that tell their total."""

    def route(call: Call) -> Reply:
        size, page = int(call.query.get("per_page", 10)), int(call.query.get("page", 1))
        found = records()
        return Reply({"data": found[(page - 1) * size : page * size], "total": len(found)})

    return route


def by_offset(records: Callable[[], list[Record]], *, most: int = 1000) -> Route:
    """Return a route of offsets that tells its total in a header, and never gives more than `most` at once."""

    def route(call: Call) -> Reply:
        limit, offset = min(int(call.query.get("limit", 10)), most), int(call.query.get("offset", 0))
        found = records()
        return Reply(found[offset : offset + limit], headers=(("X-Total-Count", str(len(found))),))

    return route


def by_cursor(records: Callable[[], list[Record]], size: int = 10) -> Route:
    """Return a route whose answers hold the cursor of the next page, in body and header."""

    def route(call: Call) -> Reply:
        sent = json.loads(call.body) if call.body else {}
        at = int(str(call.query.get("cursor") or sent.get("after") or "c0").removeprefix("c"))
        found = records()
        following = f"c{at + size}" if at + size < len(found) else None
        headers = (("X-Next", following),) if following else ()
        return Reply({"data": found[at : at + size], "next": following, "total": len(found)}, headers=headers)

    return route


def by_link(api: Api, path: str, records: Callable[[], list[Record]], size: int = 10) -> Route:
    """Return a route whose answers lead to the next page by a header, and by a URL in the body."""

    def route(call: Call) -> Reply:
        at = int(call.query.get("at", 0))
        found = records()
        url = f"{api.url}{path}?at={at + size}" if at + size < len(found) else None
        headers = [("X-Total-Count", str(len(found))), ("Link", f'<{api.url}{path}>; rel="first"')]
        headers += [("Link", f'<{url}>; rel="next"')] if url else []
        return Reply({"data": found[at : at + size], "links": {"next": url}}, headers=tuple(headers))

    return route


def orders(count: int, first: int = 1) -> list[Record]:
    """Return records of every type."""
    return [
        {
            "id": n, "price": n + 0.25, "name": None if n % 7 == 0 else f'Zoë "{n}"', "paid": n % 2 == 0,
            "tags": [n, "x"], "changed_at": f"2026-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z",
        }
        for n in range(first, first + count)
    ]  # fmt: skip
