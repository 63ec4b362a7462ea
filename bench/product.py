"""The whole product, running: API on Ray Serve, dispatcher, a runner, Ray Data, PostgreSQL."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.database import Database
from bench.report import tell
from dataproc.cli.stack import running, url_of
from dataproc.embedded.ray_head import free_port
from dataproc.settings import Settings

LOOK = 0.02
"""Seconds between two looks at a job."""
PATIENCE = 300.0
"""Seconds after which a job counts as lost."""


class JobLostError(Exception):
    """A job did not end in COMPLETED."""


@dataclass(frozen=True, slots=True)
class Product:
    """The running product, by its HTTP API, and its warehouse."""

    client: httpx2.Client
    database: Database

    def run(self, spec: dict[str, object]) -> float:
        """Return the seconds from just before a job is posted until the API tells that it is COMPLETED."""
        started = time.perf_counter()
        job = self.ask("POST", "/jobs", json=spec)
        while job["status"] != "COMPLETED":
            if job["status"] in ("FAILED", "CANCELLED") or time.perf_counter() - started > PATIENCE:
                raise JobLostError(f"job {job['id']} is {job['status']}: {job['error']}")
            time.sleep(LOOK)
            job = self.ask("GET", f"/jobs/{job['id']}")
        return time.perf_counter() - started

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
    folder = Path(tempfile.mkdtemp(prefix="dataproc-bench-", dir="/var/tmp"))  # noqa: S108 - mkdtemp makes it ours alone
    folder.chmod(0o755)
    try:
        chosen = Settings(data_dir=folder, files_root=files, http_port=free_port(), log_level="WARNING", **settings)
        with (
            running(chosen, tell) as stack,
            httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as client,
        ):
            yield Product(client, Database(url_of(stack.settings.warehouse_url)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
