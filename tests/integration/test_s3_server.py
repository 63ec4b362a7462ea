"""The local S3 server: there when it was started, gone when it was ended."""

import socket
from pathlib import Path

import boto3
import psutil  # type: ignore[import-untyped] # it has no types
import pytest

from dataproc.domain.errors import SetupError
from dataproc.embedded.s3_server import S3Server


def test_it_keeps_objects_until_its_end(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        session = boto3.session.Session(aws_access_key_id="local", aws_secret_access_key="local")
        client = session.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        client.put_object(Bucket="lake", Key="a", Body=b"1")

        assert client.get_object(Bucket="lake", Key="a")["Body"].read() == b"1"
        client.close()
        assert server.process is not None
        pid = server.process.pid

    assert not psutil.pid_exists(pid)


def test_one_that_does_not_start_is_told_with_its_log_and_leaves_no_process(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = S3Server(tmp_path, taken.getsockname()[1])

        with pytest.raises(SetupError, match=r"s3\.log says why"):
            server.__enter__()

    assert server.process is not None
    assert server.process.poll() is not None
    assert (tmp_path / "s3.log").read_text()
