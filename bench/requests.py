"""Many requests at once over kept connections, by a client that takes little of the processor it shares.

A client library would spend more time on a request than the server does; this one knows just what the API answers.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.errors import AnswerError


@dataclass(slots=True)
class Answers:
    """What came back: how often each status, and how long each request took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients that ask `url` for so many seconds, each as soon as it has its answer."""

    url: str
    clients: int
    duration: float

    def run(self, message: bytes) -> Answers:
        """Return the answers to the request `message`."""
        return asyncio.run(self.all_clients(message))

    async def all_clients(self, message: bytes) -> Answers:
        """Let all clients ask until the time is over."""
        answers, started = Answers(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.clients):
                group.create_task(self.one_client(message, answers, started + self.duration))
        answers.elapsed = time.perf_counter() - started
        return answers

    async def one_client(self, message: bytes, answers: Answers, end: float) -> None:
        """Ask over one connection until the time is over."""
        place = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            while (asked := time.perf_counter()) < end:
                writer.write(message)
                answers.statuses[await answer_of(reader)] += 1
                answers.seconds.append(time.perf_counter() - asked)
        finally:
            writer.close()


async def answer_of(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; return its status."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        lengths = [line.partition(":")[2] for line in head if line.startswith("content-length:")]
        await reader.readexactly(int(lengths[0]))
    except (asyncio.IncompleteReadError, IndexError) as exc:
        raise AnswerError("the API closed a connection, or answered without a length") from exc
    return int(head[0].split()[1])


def get(path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: object) -> bytes:
    """Return a POST request with a JSON body."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
