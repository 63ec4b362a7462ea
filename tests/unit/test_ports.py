"""Servers whose port another process takes between its choice and its use: they are started again on another one."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types
import pytest
from typing_extensions import override

from dataproc.cli.stack import deployed
from dataproc.domain.errors import SetupError
from dataproc.embedded.ports import ATTEMPTS, free_block, free_port, guard_of, is_free, listening_port, lowest_ephemeral
from dataproc.embedded.ray_head import RayHead
from dataproc.embedded.serve_api import ServeApi
from tests.processes import program, reserved_port, server_process


@dataclass(slots=True)
class OtherProcess:
    """Takes some ports, one when it is asked to."""

    left: int
    sockets: list[socket.socket] = field(default_factory=list)

    def take(self, port: int) -> bool:
        """Listen on a port, unless enough are taken; return whether it is."""
        if self.left == 0:
            return False
        self.left -= 1
        self.sockets.append(socket.create_server(("127.0.0.1", port)))
        return True


@pytest.fixture
def other() -> Iterator[OtherProcess]:
    process = OtherProcess(1)
    yield process
    for each in process.sockets:
        each.close()


def test_a_port_that_is_wanted_is_taken_if_it_is_free(other: OtherProcess) -> None:
    with reserved_port() as wanted:
        assert free_port(wanted) == wanted

        other.take(wanted)

        assert not is_free(wanted)
        assert free_port(wanted) not in (0, wanted)


def test_blocks_of_ports_are_free_and_never_overlap() -> None:
    found = [free_block() for _ in range(5)]

    ports = [block[index] for block in found for index in range(255)]
    assert len(set(ports)) == len(ports)
    assert max(ports) < lowest_ephemeral()
    for block in found:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", block.first + 255))
        block.close()
    with pytest.raises(IndexError):
        found[0][255]


@pytest.mark.parametrize("index", [0, 100, 254])
def test_a_block_with_a_port_that_is_taken_is_given_to_nobody(index: int) -> None:
    with closing(free_block()) as block, socket.create_server(("127.0.0.1", block[index])):
        block.close()

        assert guard_of(block.first) is None


LISTEN = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
input()
"""


def test_a_process_listens_on_the_port_that_it_reports() -> None:
    with program([sys.executable, "-c", LISTEN], input_=subprocess.PIPE) as server:
        assert server.stdout is not None
        reported = int(server.stdout.readline())
        assert listening_port(server.pid) == reported
    assert listening_port(server.pid) is None


def test_a_reserved_port_is_for_whoever_asks_for_it(other: OtherProcess) -> None:
    with reserved_port() as port:
        assert other.take(port)


@dataclass(slots=True)
class Head(RayHead):
    """A Ray that ends by itself while another process takes its ports; a slow one neither starts nor ends."""

    other: OtherProcess = field(default_factory=lambda: OtherProcess(0))
    tried: list[int] = field(default_factory=list)
    is_slow: bool = False

    @override
    def launch(self) -> None:
        self.tried.append(self.port)

    @override
    def comes_up(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        return not self.is_slow and not self.other.take(self.port)

    @override
    def is_alive(self) -> bool:
        return self.is_slow


def test_ray_is_started_again_on_other_ports(tmp_path: Path, other: OtherProcess) -> None:
    head = Head(tmp_path, {}, other=other)

    head.start()

    assert len(head.tried) == 2
    assert head.tried[0] != head.tried[1] == head.port
    head.stop()


def test_ray_is_not_started_for_ever(tmp_path: Path, other: OtherProcess) -> None:
    other.left = 100
    head = Head(tmp_path, {}, other=other)

    with pytest.raises(SetupError, match="says why"):
        head.start()

    assert len(head.tried) == ATTEMPTS


def test_a_ray_that_is_only_slow_is_not_started_again(tmp_path: Path) -> None:
    head = Head(tmp_path, {}, is_slow=True)

    with pytest.raises(SetupError, match="says why"):
        head.start()

    assert len(head.tried) == 1


@dataclass(frozen=True, slots=True)
class Deployment(ServeApi):
    """An API that is deployed unless another process has its port."""

    other: OtherProcess = field(default_factory=lambda: OtherProcess(0))
    events: list[tuple[str, int]] = field(default_factory=list)

    @override
    def deploy(self, is_over: Callable[[], bool] = lambda: False) -> None:
        self.events.append(("deploy", self.port))
        if self.other.take(self.port):
            raise SetupError

    @override
    def remove(self) -> None:
        self.events.append(("remove", self.port))


def test_the_api_is_deployed_again_on_another_port_where_any_will_do(other: OtherProcess) -> None:
    with reserved_port() as wanted:
        api = Deployment("http://127.0.0.1:1", "127.0.0.1", wanted, other=other)

        found = deployed(api, any_port=True)

    assert api.events == [("deploy", wanted), ("remove", wanted), ("deploy", found.port)]
    assert found.port != wanted


def test_the_api_fails_where_it_has_to_be_on_its_own_port(other: OtherProcess) -> None:
    with reserved_port() as port, pytest.raises(SetupError):
        deployed(Deployment("http://127.0.0.1:1", "127.0.0.1", port, other=other), any_port=False)


def test_a_server_of_the_tests_is_started_again_on_another_port(other: OtherProcess) -> None:
    tried: list[int] = []

    def words(port: int) -> list[str]:
        tried.append(port)
        other.take(port)
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]

    with server_process(words) as port:
        assert tried[-1] == port
        assert len(tried) == 2
    assert not [each for each in psutil.Process().children() if str(port) in each.cmdline()]
