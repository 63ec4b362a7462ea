"""Ports of the loopback address for servers that cannot choose one themselves and tell it."""

import random
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types

from dataproc.domain.errors import SetupError

ATTEMPTS = 3
"""How often such a server is started; another process may take a port between its choice and its use."""
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Linux keeps the range of ephemeral ports here: those of outgoing connections, and of servers that ask for any."""
LOWEST, HIGHEST, BLOCK = 20_000, 65_535, 256
"""The ports of blocks begin above those of Ray's workers, which are 10002 to 19999."""


@dataclass(slots=True)
class PortBlock:
    """Consecutive ports that are free, and that no other block holds while this one is open.

    The last port of the block is bound without a listener, so the kernel refuses it to other blocks, of any user.
    """

    first: int
    guard: socket.socket

    def __getitem__(self, index: int) -> int:
        """Return the port at `index`, of the 255 before the guard."""
        if not 0 <= index < BLOCK - 1:
            raise IndexError(index)
        return self.first + index

    def close(self) -> None:
        """Give the ports back."""
        self.guard.close()


def free_block() -> PortBlock:
    """Return a block of free ports; blocks that have no ephemeral port come first, and others where all are taken."""
    ephemeral = lowest_ephemeral()
    blocks = range(LOWEST, HIGHEST - BLOCK, BLOCK)
    lows = random.sample(blocks, len(blocks))
    for low in sorted(lows, key=lambda low: low + BLOCK > ephemeral):
        if (guard := guard_of(low)) is not None:
            return PortBlock(low, guard)
    raise SetupError(f"no {BLOCK} consecutive ports of 127.0.0.1 are free; end other servers")


def guard_of(low: int) -> socket.socket | None:
    """Return the bound guard of the block at `low`; `None` where one of its ports is taken."""
    with ExitStack() as stack:
        guard = stack.enter_context(socket.socket())
        try:
            guard.bind(("127.0.0.1", low + BLOCK - 1))
        except OSError:
            return None
        if not all(is_free(port) for port in range(low, low + BLOCK - 1)):
            return None
        stack.pop_all()
        return guard


def lowest_ephemeral() -> int:
    """Return the lowest ephemeral port: that of Linux, or 49152 (RFC 6335, section 6) on other systems."""
    try:
        return int(EPHEMERAL.read_text().split()[0])
    except OSError:
        return 49_152


def free_port(wanted: int = 0) -> int:
    """Return `wanted` if that port of the loopback address is free, else some port that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SetupError("no port of 127.0.0.1 is free")


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port of the loopback address."""
    return free_port(port) == port


def listening_port(pid: int) -> int | None:
    """Return the port on which a process listens; `None` while it listens on none, and when it has ended."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return None
    return next((each.laddr.port for each in found if each.status == psutil.CONN_LISTEN), None)
