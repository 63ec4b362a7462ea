"""The way to a server: names are resolved here, checked, and only the addresses that were checked are connected to."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2
from httpcore2 import NetworkBackend, NetworkStream, SyncBackend
from typing_extensions import override

from dataproc.domain.errors import SourceRefusedError
from dataproc.ports.clock import Clock

Address = IPv4Address | IPv6Address
LookUp = Callable[..., Iterable[tuple[Any, ...]]]
"""`socket.getaddrinfo`, or what stands in for it."""
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

TRANSLATED = IPv6Network("64:ff9b::/96")
METADATA = frozenset({IPv4Address("100.100.100.200"), IPv4Address("192.0.0.192"), IPv6Address("fd00:ec2::254")})
"""Where clouds tell machines their credentials, besides the link-local addresses."""
MOST = 32
"""Connections of one client to a server."""


@dataclass(slots=True)
class Deadline:
    """When the request of each thread must have ended, and the connections that it may hang on."""

    clock: Clock = time.monotonic
    of_thread: threading.local = field(default_factory=threading.local, repr=False)
    streams: "set[TimedStream]" = field(default_factory=set, repr=False)
    is_over: bool = False

    def begin(self, length: float) -> None:
        """Give the request that this thread sends now so many seconds."""
        self.of_thread.at = self.clock() + length

    def left(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Return how long a step may take, or raise `late`."""
        left = float(getattr(self.of_thread, "at", float("inf"))) - self.clock()
        if left <= 0 or self.is_over:
            raise late("the whole request took too long")
        return left if timeout is None or left < timeout else timeout

    def cut(self) -> None:
        """End what is on its way, also a read that another thread waits in."""
        self.is_over = True
        for stream in list(self.streams):
            stream.hang_up()


class GuardedBackend(NetworkBackend):
    """Connects to servers whose addresses are allowed."""

    def __init__(self, deadline: Deadline, *, allow_private: bool, look_up: LookUp) -> None:
        """Remember what is allowed."""
        self._look_up = look_up
        self._real = SyncBackend()
        self._deadline = deadline
        self._allow_private = allow_private

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> NetworkStream:
        # The checked address itself is connected to: asked again, a name may mean another one.
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for address in allowed(host, resolved(host, port, self._look_up), allow_private=self._allow_private):
            left = self._deadline.left(timeout, httpcore2.ConnectTimeout)
            try:
                stream = self._real.connect_tcp(str(address), port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
            else:
                return TimedStream(stream, self._deadline)
        raise failure


class TimedStream(NetworkStream):
    """A connection on which no step takes longer than what is left of the request."""

    def __init__(self, stream: NetworkStream, deadline: Deadline) -> None:
        """Remember what is underneath."""
        self._stream = stream
        self._deadline = deadline
        deadline.streams.add(self)

    def hang_up(self) -> None:
        """Wake who waits for more; the connection is closed by whoever uses it."""
        found = self._stream.get_extra_info("socket")
        with suppress(OSError):
            # That of TLS would end its session as well, which another thread reads from.
            socket.socket.shutdown(found, socket.SHUT_RDWR)

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout, httpcore2.ReadTimeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout, httpcore2.WriteTimeout))

    @override
    def close(self) -> None:
        self._deadline.streams.discard(self)
        self._stream.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        left = self._deadline.left(timeout, httpcore2.ConnectTimeout)
        self._deadline.streams.discard(self)
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    @override
    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def resolved(host: str, port: int, look_up: LookUp = socket.getaddrinfo) -> list[Address]:
    """Return the addresses of a host, each once."""
    try:
        found = look_up(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise httpcore2.ConnectError("the name cannot be resolved") from exc
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def allowed(host: str, addresses: Iterable[Address], *, allow_private: bool) -> Iterator[Address]:
    """Yield addresses that may be connected to; raise for one that may not."""
    for address in addresses:
        if not may_connect(address, allow_private=allow_private):
            msg = f"{host} is at an address that is not public; say `allow_private: true` in the connection if right"
            raise SourceRefusedError(msg, host=host)
        yield address


def may_connect(address: Address, *, allow_private: bool) -> bool:
    """Whether an address may be connected to; those where clouds keep credentials never."""
    meant = embedded(address)
    if meant.is_link_local or meant.is_multicast or meant.is_unspecified or meant in METADATA:
        return False
    return allow_private or meant.is_global


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


@dataclass(slots=True)
class Wires:
    """Connections to servers, kept open between requests; all are closed in the end."""

    allow_private: bool
    tls: ssl.SSLContext
    deadline: Deadline = field(default_factory=Deadline)
    look_up: LookUp = socket.getaddrinfo

    @contextmanager
    def open(self) -> Iterator[httpcore2.ConnectionPool]:
        """Give the connections."""
        backend = GuardedBackend(self.deadline, allow_private=self.allow_private, look_up=self.look_up)
        with httpcore2.ConnectionPool(
            self.tls, max_connections=MOST, keepalive_expiry=30, retries=0, network_backend=backend
        ) as pool:
            yield pool
