"""A TCP proxy before PostgreSQL, to break connections at a chosen moment.

A connection can be reset before the server has seen what the client sends next, or after the server has acted on it
and before the client hears of it. The second is the case that decides whether a load may be called exactly once.
"""

import selectors
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PIECE = 65536
NO_LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"
"""`SO_LINGER` for a close that sends a reset."""


@dataclass(slots=True, eq=False)
class Link:
    """One connection of a client, and its other half to the server."""

    client: socket.socket
    server: socket.socket

    def other(self, end: socket.socket) -> socket.socket:
        """Return the half that bytes from `end` go to."""
        return self.server if end is self.client else self.client

    def reset(self) -> None:
        """Close both halves at once."""
        for end in (self.client, self.server):
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            end.close()


@dataclass(slots=True)
class Proxy:
    """Forwards connections from a port of the loopback address to PostgreSQL's socket, in a thread of its own."""

    socket_path: str
    door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    links: list[Link] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_deaf: bool = False
    swallowed: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False
    thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self.door.getsockname()[1])

    def __enter__(self) -> Self:
        """Start to forward."""
        self.selector.register(self.door, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.serve, name=f"proxy-{self.port}", daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections, and the port."""
        self.is_over = True
        if self.thread is not None:
            self.thread.join()
        self.reset()
        self.selector.close()
        self.door.close()

    def reset(self) -> None:
        """Break all connections, and let replies through again; connections made later are not touched."""
        with self.lock:
            for link in self.links:
                self.drop(link)
            self.links.clear()
            self.is_deaf = False

    def swallow_replies(self) -> None:
        """Forward what clients send, but none of the server's replies; `swallowed` tells when one was lost."""
        with self.lock:
            self.swallowed.clear()
            self.is_deaf = True

    def serve(self) -> None:
        """Forward until the end."""
        while not self.is_over:
            for key, _ in self.selector.select(timeout=0.05):
                with self.lock:
                    if key.fileobj is self.door:
                        self.accept()
                    elif key.data in self.links and isinstance(key.fileobj, socket.socket):
                        self.forward(key.data, key.fileobj)

    def accept(self) -> None:
        """Connect a client to the server; if there is no server, the client is turned away."""
        client, _ = self.door.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        link = Link(client, server)
        try:
            server.connect(self.socket_path)
        except OSError:
            link.reset()
            return
        self.links.append(link)
        for end in (client, server):
            self.selector.register(end, selectors.EVENT_READ, link)

    def forward(self, link: Link, end: socket.socket) -> None:
        """Move what has come from one end to the other, or to nowhere."""
        try:
            piece = end.recv(PIECE)
            if piece and self.is_deaf and end is link.server:
                self.swallowed.set()
            elif piece:
                link.other(end).sendall(piece)
        except OSError:
            piece = b""
        if not piece:
            self.links.remove(link)
            self.drop(link)

    def drop(self, link: Link) -> None:
        """Close a connection."""
        for end in (link.client, link.server):
            self.selector.unregister(end)
        link.reset()
