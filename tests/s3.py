"""A real S3 server over HTTP for tests: moto's, on a free port of this machine."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import boto3
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"


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
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> "S3Client":
        """Return a client of the server."""
        return client_of(self.endpoint)

    def make_bucket(self, name: str) -> str:
        """Make a bucket, and return its name."""
        self.client().create_bucket(Bucket=name)
        return name


@lru_cache(maxsize=8)
def client_of(endpoint: str) -> "S3Client":
    """Return a client; making one takes longer than most tests."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test-key",
        aws_secret_access_key="test-secret",
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
