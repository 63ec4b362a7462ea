"""Programs that tests start and always end, and servers that are started again when another program has their port."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dataproc.embedded.ports import free_port, is_free, listening_port
from tests.waiting import PATIENCE, wait_until

ATTEMPTS = 5


@contextmanager
def program(
    words: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    output: int = subprocess.PIPE,
    errors: int = subprocess.PIPE,
    input_: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Give a running program; it has ended after the block, however the block ends."""
    with subprocess.Popen(words, env=environment, stdin=input_, stdout=output, stderr=errors, text=True) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]", patience: float = PATIENCE) -> None:
    """Ask a process to end, and kill it when that takes too long."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def server_process(
    words_for: Callable[[int], Sequence[str | Path]], output: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[int]:
    """Run a server that has to be given a port, and give that port once the server listens there.

    Between the choice of a port and its use another process may take it: then the server ends by itself, and is
    started again on another port.
    """
    for _ in range(ATTEMPTS):
        port = free_port()
        with subprocess.Popen(words_for(port), stdout=output, stderr=output) as process:
            try:
                if await_port(process) == port:
                    yield port
                    return
            finally:
                end(process)
        assert not is_free(port), f"the server ended by itself, with status {process.returncode}"
    msg = f"other processes have taken {ATTEMPTS} ports, one after the other"
    raise AssertionError(msg)


def await_port(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> int | None:
    """Wait until a server listens, and return on which port; `None`: it has ended."""
    wait_until(lambda: process.poll() is not None or listening_port(process.pid) is not None)
    return listening_port(process.pid)


@contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port that the system gives to nobody else; a server that asks for it by its number may listen there."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        yield int(reservation.getsockname()[1])
