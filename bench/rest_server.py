"""A local API with pages that take a while: `python -m bench.rest_server --rows 100000`; it tells its port.

Pages are made before the first request, so that it costs the machine little while it is measured.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from bench.orders import orders


@dataclass(slots=True)
class SlowApi:
    """Numbered pages of orders, each answered after `latency` seconds; it counts how many are asked for at once."""

    pages: Sequence[bytes]
    latency: float
    at_once: int = 0
    most: int = 0
    asked: int = field(default=0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while line := (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode():
                writer.write(await self.answer(line))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, target: str) -> bytes:
        """Return an answer, when its time has come."""
        url = urlsplit(target)
        if url.path == "/counts":
            told = {"asked": self.asked, "most_at_once": self.most}
            self.asked = self.most = 0
            return reply(json.dumps(told).encode())
        self.asked, self.at_once = self.asked + 1, self.at_once + 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.latency)
        self.at_once -= 1
        number = int(parse_qs(url.query).get("page", ["1"])[0])
        return self.pages[number - 1] if number <= len(self.pages) else reply(b'{"data": []}')


def reply(body: bytes) -> bytes:
    """Return an answer as it goes over the wire."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def pages_of(rows: int, size: int) -> list[bytes]:
    """Return the answers for all pages."""
    records = orders(rows).to_pylist()
    made = []
    for at in range(0, rows, size):
        page = {"data": records[at : at + size], "total": rows}
        made.append(reply(json.dumps(page, default=str, ensure_ascii=False).encode()))
    return made


async def run(options: argparse.Namespace) -> None:
    """Serve until the input ends."""
    api = SlowApi(pages_of(options.rows, options.size), options.latency)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve."""
    parser = argparse.ArgumentParser(prog="bench.rest_server", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.02)
    asyncio.run(run(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
