"""The commands about registered sources, against the real API over a real PostgreSQL and a real S3 server."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from dataproc.cli.app import app
from tests.api_server import api_server
from tests.s3 import S3Server, default_s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with default_s3_server() as running:
        yield running


@pytest.fixture
def api(server: S3Server, database_url: str) -> Iterator[str]:
    with api_server(database_url) as url:
        yield url


def run(api: str, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["sources", *(str(word) for word in words), "--api", api])


def written(folder: Path, bucket: str) -> Path:
    """Write a source into a file."""
    file = folder / "lake.yaml"
    file.write_text(f"name: lake\nkind: s3\nconfig: {{bucket: {bucket}}}\n")
    return file


def test_a_source_is_registered_tested_looked_into_and_removed(api: str, server: S3Server, tmp_path: Path) -> None:
    bucket = server.make_bucket(f"test-{uuid4().hex}")
    server.client().put_object(Bucket=bucket, Key="orders/a.csv", Body=b"a\n1\n")

    put = run(api, "put", written(tmp_path, bucket))
    tested = run(api, "test", "lake")
    found = run(api, "discover", "lake")
    listed = json.loads(run(api, "list", "--json").stdout)
    removed = run(api, "remove", "lake")

    assert (put.exit_code, tested.exit_code, found.exit_code, removed.exit_code) == (0, 0, 0, 0), put.output
    assert "lake works" in tested.stdout
    assert "orders/" in found.stdout
    assert listed == [{"name": "lake", "kind": "s3", "config": {"bucket": bucket}}]
    assert "no registered sources" in run(api, "list").stdout


def test_a_source_that_does_not_work_ends_with_1_and_says_why(api: str, tmp_path: Path) -> None:
    run(api, "put", written(tmp_path, "there-is-no-such-bucket"))

    tested = run(api, "test", "lake")

    assert tested.exit_code == 1
    assert "does not work" in tested.stdout
    assert "source-not-found" in tested.stdout


def test_a_source_is_listed_with_its_config(api: str, tmp_path: Path) -> None:
    run(api, "put", written(tmp_path, "lake-of-ours"))

    assert "bucket: lake-of-ours" in run(api, "list").stdout


@pytest.mark.parametrize(
    ("text", "code"),
    [("name: lake\nkind: ftp\nconfig: {}\n", 2), ("kind: s3\nconfig: {}\n", 2), ("- 1\n", 2), ("name: [", 2)],
)
def test_a_file_that_is_no_source_is_wrong_usage(api: str, tmp_path: Path, text: str, code: int) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)

    assert run(api, "put", file).exit_code == code
    assert run(api, "list", "--json").stdout.strip() == "[]"


def test_a_source_that_nobody_registered_is_refused(api: str) -> None:
    for command in ("test", "discover", "remove"):
        assert run(api, command, "pond").exit_code == 4
