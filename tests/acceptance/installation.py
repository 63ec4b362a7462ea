"""What the acceptance tests do with an installation, in their words."""

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import boto3
import httpx2
import psutil  # type: ignore[import-untyped] # it has no types
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from dataproc.cli.stack import Stack, running, url_of
from dataproc.domain.status import RunStatus
from dataproc.embedded.s3_server import ACCESS, S3Server
from dataproc.settings import Settings
from tests.waiting import PATIENCE, found

BUCKET = "lake"
SECRETS = {"DATAPROC_SECRET_ACCEPTANCE": '{"token": "t0p-s3cret"}'}
QUICK: dict[str, Any] = {"lease": timedelta(seconds=6), "heartbeat": timedelta(milliseconds=300)}
"""Settings with which the loss of a runner is seen soon."""
T = TypeVar("T")


@contextmanager
def installed(folder: Path, *, admin_url: str = "", **settings: Any) -> Iterator["Installation"]:
    """Give a running installation; its PostgreSQL is its own, unless `settings` name one, queried by `admin_url`."""
    os.environ.update(ACCESS | SECRETS | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path(__file__).parents[2])})
    chosen = Settings(
        data_dir=folder,
        files_root=folder,
        python_modules=("tests.dlt_resources",),
        **settings,
    )
    with (
        S3Server(folder) as s3,
        running(chosen, lambda _: None, any_port=True) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=PATIENCE, trust_env=False) as api,
    ):
        place = Installation(api, s3, stack, admin_url or url_of(stack.settings.warehouse_url), folder)
        place.register_lake()
        yield place


@dataclass(frozen=True, slots=True)
class Installation:
    """A running installation, seen from outside."""

    api: httpx2.Client
    s3: S3Server
    stack: Stack
    warehouse_url: str
    folder: Path

    def register_lake(self) -> None:
        """Make the bucket and register it as the source `lake`."""
        self.s3_client.create_bucket(Bucket=BUCKET)
        config = {"bucket": BUCKET, "endpoint": self.s3.endpoint}
        self.api.post("/sources", json={"name": "lake", "kind": "s3", "config": config}).raise_for_status()

    @property
    def s3_client(self) -> Any:
        """A client of the S3 server."""
        return boto3.client("s3", endpoint_url=self.s3.endpoint)

    def put(self, key: str, body: bytes) -> None:
        """Put an object into the bucket."""
        self.s3_client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def put_parts(self, prefix: str, parts: Sequence[pa.Table]) -> None:
        """Put tables into the bucket as Parquet files below `prefix`."""
        for number, part in enumerate(parts):
            body = io.BytesIO()
            pq.write_table(part, body)
            self.put(f"{prefix}/part-{number}.parquet", body.getvalue())

    def spec(self, path: str, table: str, **more: Any) -> dict[str, Any]:
        """Return the specification of a job from the bucket into `table`."""
        load = more.pop("load", "auto")
        source = {"kind": "s3", "connection": "lake", "path": path}
        return {"name": "acceptance", "source": source, "destination": {"table": table, "load": load}, **more}

    def submit(self, spec: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Submit a job; return it as accepted."""
        response = self.api.post("/jobs", json=spec, headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert response.status_code == 202, response.text
        return dict(response.json())

    def job(self, job_id: str, *, wait: float = 0) -> dict[str, Any]:
        """Return a job as it stands now; with `wait` as soon as it has ended, or after so many seconds."""
        return dict(self.api.get(f"/jobs/{job_id}", params={"wait": wait}).raise_for_status().json())

    def wait(self, job_id: str) -> dict[str, Any]:
        """Wait until a job ends; return it."""
        return until(lambda: job if RunStatus((job := self.job(job_id, wait=10))["status"]).is_final else None)

    def is_ready(self) -> bool:
        """Whether the API answers that it accepts jobs."""
        try:
            return bool(self.api.get("/readyz", timeout=5).is_success)
        except httpx2.HTTPError:
            return False

    def end_of(self, job_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until a job ends, also while the API is away; return it as it stands when that takes too long."""
        deadline = time.monotonic() + patience
        while True:
            job = patiently(lambda: self.job(job_id), patience)
            if RunStatus(job["status"]).is_final or time.monotonic() > deadline:
                return job
            time.sleep(0.1)

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Submit a job and wait for its end."""
        return self.wait(self.submit(spec)["id"])

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the warehouse, as its administrator."""
        with psycopg.connect(self.warehouse_url, autocommit=True) as conn:
            return conn.execute(statement.encode(), values).fetchall()

    def execute(self, statement: str) -> None:
        """Change the warehouse, as its administrator."""
        with psycopg.connect(self.warehouse_url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def exists(self, table: str) -> bool:
        """Whether there is such a table."""
        return self.query("SELECT to_regclass(%s) IS NOT NULL", table) == [(True,)]

    def ledger(self, job_id: str) -> list[tuple[Any, ...]]:
        """Return what the ledger says of a job: rows read, loaded, set aside, and the way."""
        statement = "SELECT rows_read, rows_loaded, rows_rejected, way FROM dataproc_load.load_ledger WHERE job_id = %s"
        return self.query(statement, UUID(job_id))

    def left_over(self) -> list[tuple[Any, ...]]:
        """Return the staging tables that there are."""
        return self.query("SELECT relname FROM pg_class WHERE relname LIKE 'staging\\_%%' AND relkind = %s", "r")

    def copying(self) -> bool:
        """Whether a COPY into the warehouse has taken some rows and goes on."""
        return self.query("SELECT count(*) FROM pg_stat_progress_copy WHERE tuples_processed > 0") != [(0,)]

    def processes(self, words: str) -> list[psutil.Process]:
        """Return our processes, down to the last grandchild, whose command line has `words`."""
        return [process for process in psutil.Process().children(recursive=True) if words in command_of(process)]


def command_of(process: psutil.Process) -> str:
    """Return the command line of a process; nothing when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def until(look: Callable[[], T | None]) -> T:
    """Look again and again until there is something; return it."""
    return found(look, PATIENCE)


def patiently(ask: Callable[[], T], patience: float = PATIENCE) -> T:
    """Return an answer of the API or of a database, asking again while it is away."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except (httpx2.HTTPError, psycopg.OperationalError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def new_table() -> str:
    """Return the name of a table that nobody has."""
    return f"acceptance.t_{uuid4().hex[:12]}"
