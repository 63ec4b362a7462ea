"""The whole product, running: API on Ray Serve, dispatcher, a runner, Ray Data, PostgreSQL."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from bench.errors import JobLostError
from bench.report import tell
from bench.server import Database
from dataproc.cli.stack import running, url_of
from dataproc.settings import Settings

WAIT = 20.0
"""Seconds after which the API answers though the job goes on; its end is told at once."""
PATIENCE = 300.0
"""Seconds after which a job counts as lost."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that was completed: the seconds that its caller waited, and what the API told of it in the end."""

    seconds: float
    job: dict[str, Any]

    @property
    def queued(self) -> float:
        """Seconds from its record to its claim, by the database's clock."""
        return (self.moment("started_at") - self.moment("created_at")).total_seconds()

    @property
    def ran(self) -> float:
        """Seconds from its claim to its end, by the database's clock."""
        return (self.moment("finished_at") - self.moment("started_at")).total_seconds()

    def moment(self, name: str) -> datetime:
        """Return one of the job's times."""
        return datetime.fromisoformat(str(self.job[name]))


@dataclass(frozen=True, slots=True)
class Product:
    """The running product, by its HTTP API, and its warehouse."""

    client: httpx2.Client
    database: Database

    def run(self, spec: dict[str, object]) -> Ended:
        """Run a job; the clock runs from just before it is posted until the API tells that it is COMPLETED."""
        started = time.perf_counter()
        job = self.ask("POST", "/jobs", json=spec)
        while job["status"] != "COMPLETED":
            if job["status"] in ("FAILED", "CANCELLED") or time.perf_counter() - started > PATIENCE:
                raise JobLostError(f"job {job['id']} is {job['status']}: {job['error']}")
            job = self.ask("GET", f"/jobs/{job['id']}", params={"wait": WAIT})
        return Ended(time.perf_counter() - started, job)

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return what the API answers."""
        response = self.client.request(method, path, **options)
        response.raise_for_status()
        return dict(response.json())


def append_job(name: str, path: str, table: str) -> dict[str, object]:
    """Return the spec of a job that appends Parquet files to a table."""
    source = {"kind": "files", "path": path}
    return {"name": name, "source": source, "destination": {"table": table, "mode": "append"}}


@contextmanager
def product(files: Path, **settings: Any) -> Iterator[Product]:
    """Give the product, started in a folder of its own that is removed in the end; its jobs may read `files`."""
    # Below /var/tmp, because for root the server runs as another user, who must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="dataproc-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        chosen = Settings(data_dir=folder, files_root=files, log_level="WARNING", **settings)
        with (
            running(chosen, tell, any_port=True) as stack,
            httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as client,
        ):
            yield Product(client, Database(url_of(stack.settings.warehouse_url)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
