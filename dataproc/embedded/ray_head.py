"""A local Ray of one node, started and ended as one process."""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx2
import psutil  # type: ignore[import-untyped] # it has no types

from dataproc.domain.errors import SetupError
from dataproc.embedded.ports import ATTEMPTS, PortBlock, free_block, is_free

START_SECONDS = 300.0
STOP_SECONDS = 5.0
MARK = "DATAPROC_RAY_HEAD"
"""A variable that every process of our Ray inherits, so that we end those and no others."""
DASHBOARD_PORT = 8265
AGENT_PORTS = (
    "ray-client-server-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port"
)  # fmt: skip
SERVE_PORTS = (
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
GCS_PORT, OWN_DASHBOARD_PORT, FIRST_AGENT_PORT, FIRST_SERVE_PORT = 0, 1, 2, 10
FIRST_REPLICA_PORT, LAST_REPLICA_PORT = 20, 220
"""Places within the block of ports; HAProxy reaches the replicas of Serve at the last ones."""
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class RayHead:
    """A Ray head whose processes, and all that Ray starts from them, see `environment`."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = None
    mark: str = field(default_factory=lambda: str(uuid4()))
    ports: PortBlock | None = None
    dashboard_port: int = 0

    @property
    def port(self) -> int:
        """Where Ray's control store (GCS) is."""
        return 0 if self.ports is None else self.ports[GCS_PORT]

    @property
    def address(self) -> str:
        """Where drivers connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def temp_dir(self) -> Path:
        """The folder of Ray's sessions: one of its own, with a name short enough for the sockets in it.

        In the folder that all share by default, the Ray started last is the one that every job of every Ray finds.
        """
        name = hashlib.sha256(os.fsencode(self.folder.resolve())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"dataproc-ray-{os.geteuid()}-{name}"

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard, the Jobs API and the Serve API are."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def log(self) -> Path:
        """What Ray says while it starts and ends."""
        return self.folder / "ray.log"

    def start(self) -> None:
        """Start Ray and wait until it works.

        Ray ends by itself when another process has taken one of its ports, and when its node is not there within 30
        seconds, as on a busy machine: then it is started again, on other ports.
        """
        self.log.unlink(missing_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            self.take_ports()
            self.launch()
            if self.comes_up():
                return
            is_slow = self.is_alive()
            self.stop()
            if is_slow or attempt == ATTEMPTS:
                raise SetupError(f"Ray did not start; {self.log} says why")

    def take_ports(self) -> PortBlock:
        """Reserve a block of ports for the servers of Ray that cannot report their own port, and return it."""
        self.release_ports()
        self.ports = free_block()
        self.dashboard_port = DASHBOARD_PORT if is_free(DASHBOARD_PORT) else self.ports[OWN_DASHBOARD_PORT]
        return self.ports

    def release_ports(self) -> None:
        """Release the block of ports."""
        if self.ports is not None:
            self.ports.close()
            self.ports = None

    def restart(self, is_over: Callable[[], bool]) -> None:
        """Start Ray again where it was, for all who know its address; what is left of the one that died is killed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        kill_marked(self.mark)
        self.launch()
        self.wait(is_over)

    def is_alive(self) -> bool:
        """Whether Ray runs; its process ends as soon as one of its vital processes has died."""
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start Ray's process, with an empty folder for its session.

        In a session of its own: Ctrl-C in a terminal reaches us alone, and we end Ray when all who need it have ended.
        """
        ports = self.ports or self.take_ports()
        shutil.rmtree(self.temp_dir, ignore_errors=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                self.command(ports),
                env={**os.environ, **switches(ports), **self.environment, MARK: self.mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it only tells the kernel to end the child with us
            )

    def command(self, block: PortBlock) -> list[str]:
        """Return the command; `--block` makes Ray's processes children of one that ends them all."""
        ports = {"port": self.port, "dashboard-port": self.dashboard_port}
        ports |= {name: block[index] for index, name in enumerate(AGENT_PORTS, start=FIRST_AGENT_PORT)}
        ray = str(Path(sys.executable).with_name("ray"))
        words = [ray, "start", "--head", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
        words += ["--dashboard-host=127.0.0.1", f"--temp-dir={self.temp_dir}"]
        return [*words, *(f"--{name}={port}" for name, port in ports.items())]

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait until Ray works, or nobody wants it any more."""
        if not self.comes_up(is_over):
            self.end()
            raise SetupError(f"Ray did not start; {self.log} says why")

    def comes_up(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait until Ray works, and return whether it does."""
        deadline = time.monotonic() + START_SECONDS
        while self.is_alive() and time.monotonic() < deadline and not is_over():
            if self.answers():
                return True
            time.sleep(0.2)
        return False

    def answers(self) -> bool:
        """Whether the dashboard is that of this Ray, as another one may have taken the port, and shows a live node."""
        try:
            version, nodes = (
                httpx2.get(f"{self.dashboard_url}{path}", timeout=5, trust_env=False).raise_for_status().json()
                for path in ("/api/version", "/nodes?view=summary")
            )
        except (httpx2.HTTPError, ValueError):
            return False
        states = [node.get("raylet", {}).get("state") for node in nodes["data"]["summary"]]
        return version["session_name"] == (self.temp_dir / "session_latest").resolve().name and "ALIVE" in states

    def stop(self) -> None:
        """End exactly what `start` started."""
        self.end()
        self.release_ports()

    def end(self) -> None:
        """End the processes, and keep the ports."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        end_marked(self.mark)


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that have inherited `mark`, and so descend from the Ray that we started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end_marked(mark: str) -> None:
    """End what Ray leaves behind: drivers of Ray Jobs and the HAProxy of Serve outlive it."""
    left = marked(mark)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(left, timeout=STOP_SECONDS)
    kill_marked(mark)


def kill_marked(mark: str) -> None:
    """Kill what has inherited `mark`, until nothing is found: some may be starting others meanwhile."""
    deadline = time.monotonic() + STOP_SECONDS
    while (left := marked(mark)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=STOP_SECONDS)


def switches(ports: PortBlock) -> dict[str, str]:
    """Return what Ray and Serve are told by variables.

    HAProxy answers six times the requests a second of Serve's own Python proxy. The ports between it and the
    replicas are fixed by default, and shared with every other Ray on the machine: requests then reach the wrong one.
    A dead HAProxy is replaced after three failed checks, which are ten seconds apart by default. Serve's controller
    looks after its replicas ten times a second by default, which takes 3 % of a processor where nothing happens.
    Workers are niced by default, for the sake of a busy head; here they would only wait for PostgreSQL.
    """
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        **{name: str(ports[index]) for index, name in enumerate(SERVE_PORTS, start=FIRST_SERVE_PORT)},
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports[FIRST_REPLICA_PORT]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports[LAST_REPLICA_PORT]),
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_worker_niceness": "0",
    }


def end_with_parent() -> None:
    """Let the kernel end this process when its parent dies, however that dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
