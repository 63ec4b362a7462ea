"""`dataproc up` and the demo, on the embedded default, as a user starts them."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped] # it has no types
import pyarrow.parquet as pq
import pytest

from dataproc.embedded.orders import orders
from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.embedded.ray_head import RayHead
from tests.conftest import open_folder
from tests.processes import program, reserved_port
from tests.waiting import PATIENCE

pytestmark = pytest.mark.ray


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@contextmanager
def started(folder: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Give a program of ours that was started with nothing set but its folder and a free port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DATAPROC_", "AWS_"))}
    environment |= {"DATAPROC_DATA_DIR": str(folder), "DATAPROC_FILES_ROOT": str(folder), "COLUMNS": "200"}
    with reserved_port() as port:
        environment |= {"RAY_AUTH_MODE": "disabled", "DATAPROC_HTTP_PORT": str(port)} | variables
        command = [sys.executable, "-m", *words]
        with program(command, environment=environment, errors=subprocess.STDOUT) as process:
            yield process


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what a program says, up to `words`."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


def run_a_job(api: str) -> tuple[str, int]:
    """Run a job; return its status and how many rows it loaded."""
    source = {"kind": "files", "path": "orders.parquet"}
    spec = {"name": "up", "source": source, "destination": {"table": "analytics.orders"}}
    with httpx2.Client(base_url=api, timeout=PATIENCE, trust_env=False) as client:
        job = client.post("/jobs", json=spec).raise_for_status().json()
        deadline = time.monotonic() + PATIENCE
        while job["status"] not in {"COMPLETED", "FAILED"}:
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
            job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
    return job["status"], job["progress"]["loading"]["rows"]


def left_of(folder: Path) -> dict[int, str]:
    """Return the processes that have to do with an installation in `folder`, by their command lines."""
    places = (str(folder), str(RayHead(folder / "logs", {}).temp_dir), str(RayHead(folder / "demo/logs", {}).temp_dir))
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if any(place in words or place in " ".join(process.environ().values()) for place in places):
                found[process.pid] = words
    return found


def test_up_brings_back_what_was_killed_and_ctrl_c_ends_exactly_what_it_started(folder: Path) -> None:
    pq.write_table(orders(1_000), folder / "orders.parquet")
    with started(folder, "dataproc.cli.app", "up") as process:
        said = read_until(process, "Ctrl-C")
        api = re.search(r"http://127\.0\.0\.1:\d+(?=/docs)", said)
        assert api, said
        assert all(name in said for name in ("Ray dashboard", "Metadata", "Warehouse", "Logs"))
        assert run_a_job(api[0]) == ("COMPLETED", 1_000)

        for killed, name in ((kill_ray, "Ray"), (kill_postgres, "PostgreSQL")):
            killed(process, folder)
            read_until(process, f"{name} is back")
        assert run_a_job(api[0]) == ("COMPLETED", 1_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
    assert left_of(folder) == {}


def kill_ray(up: subprocess.Popen[str], folder: Path) -> None:
    """Kill the process of Ray's head without which nothing on the cluster works."""
    [head] = [process for process in psutil.Process(up.pid).children(recursive=True) if "gcs_server" in process.name()]
    head.kill()


def kill_postgres(up: subprocess.Popen[str], folder: Path) -> None:
    """Kill the first process of PostgreSQL."""
    psutil.Process(int(EmbeddedPostgres(folder).trace.read_text().partition("\n")[0])).kill()


@pytest.fixture
def foreign_ray(folder: Path, database_url: str, empty_database_url: str) -> Iterator[RayHead]:
    """Give a Ray that somebody else started, whose processes know the databases."""
    databases = {"DATAPROC_METADATA_URL": database_url, "DATAPROC_WAREHOUSE_URL": empty_database_url}
    files = {"DATAPROC_FILES_ROOT": str(folder), "RAY_AUTH_MODE": "disabled"}
    path = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    head = RayHead(folder, databases | files | path)
    head.start()
    try:
        yield head
    finally:
        head.stop()


def test_up_on_a_given_ray_and_given_databases_takes_away_what_it_put_there(folder: Path, foreign_ray: RayHead) -> None:
    pq.write_table(orders(1_000), folder / "orders.parquet")
    given = {"DATAPROC_RAY_ADDRESS": foreign_ray.address, "DATAPROC_RAY_DASHBOARD_URL": foreign_ray.dashboard_url}
    urls = {name: url for name, url in foreign_ray.environment.items() if name.endswith("_URL")}
    with started(folder, "dataproc.cli.app", "up", "--json", **given, **urls) as process:
        said = read_until(process, "}")
        places = json.loads(said[said.index("{") :])
        assert run_a_job(places["api"]) == ("COMPLETED", 1_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0

    assert not (folder / "postgres").exists()
    with httpx2.Client(base_url=foreign_ray.dashboard_url, timeout=PATIENCE, trust_env=False) as dashboard:
        assert dashboard.get("/api/serve/applications/").json()["applications"] == {}
        states = {job["status"] for job in dashboard.get("/api/jobs/").json()}
    assert states
    assert states & {"PENDING", "RUNNING"} == set()


def test_up_refuses_to_run_twice_in_one_folder(folder: Path) -> None:
    with (folder / "up.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(folder, "dataproc.cli.app", "up") as process:
            said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode != 0
    assert "another dataproc runs in" in said
    assert "Traceback" not in said


def test_the_demo_loads_the_right_rows_as_often_as_it_is_started_and_leaves_nothing_running(folder: Path) -> None:
    for _ in range(2):
        with started(folder, "dataproc.cli.demo") as process:
            said = process.communicate(timeout=PATIENCE)[0]

        assert process.returncode == 0, said
        assert "200,000 rows loaded, 400 set aside" in said
        assert left_of(folder) == {}


def test_the_demo_says_in_one_line_that_its_folder_cannot_be_used(folder: Path) -> None:
    (folder / "demo").write_text("a file, where the demo needs a folder")
    with started(folder, "dataproc.cli.demo") as process:
        said = process.communicate(timeout=PATIENCE)[0]

    assert process.returncode == 1
    assert said == f"the folder {folder / 'demo'} cannot be made: File exists; set DATAPROC_DATA_DIR\n"
