"""Ports of the loopback address for servers that cannot choose one themselves and tell it."""

import socket

import psutil  # type: ignore[import-untyped] # it has no types

from dataproc.domain.errors import SetupError

ATTEMPTS = 3
"""How often such a server is started; another process may take a port between its choice and its use."""


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
