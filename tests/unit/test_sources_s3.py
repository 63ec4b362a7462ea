"""S3: replies of the service as our errors, and connections as values."""

import pickle

import pytest
from botocore.exceptions import ClientError

from dataproc.domain.errors import (
    DataprocError,
    InvalidSpecError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.ports.store import Connection
from dataproc.sources.s3 import bare, refused
from dataproc.sources.s3_connection import S3Connection, connection_for


def reply(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]  # the rest is not looked at


@pytest.mark.parametrize(
    ("status", "code", "planned", "expected"),
    [
        (404, "NoSuchBucket", False, SourceNotFoundError),
        (404, "NoSuchBucket", True, SourceNotFoundError),
        (404, "404", False, SourceNotFoundError),
        (404, "NoSuchKey", True, SourceChangedError),
        (412, "PreconditionFailed", True, SourceChangedError),
        (416, "InvalidRange", True, SourceChangedError),
        (403, "AccessDenied", False, SourceRefusedError),
        (403, "SignatureDoesNotMatch", True, SourceRefusedError),
        (400, "ExpiredToken", True, SourceRefusedError),
        (301, "PermanentRedirect", False, SourceRefusedError),
        (500, "InternalError", False, SourceUnavailableError),
        (503, "SlowDown", True, SourceUnavailableError),
    ],
)
def test_each_reply_of_the_service_has_its_error(
    status: int, code: str, planned: bool, expected: type[DataprocError]
) -> None:
    found = refused(reply(status, code), "s3://b/k", planned=planned)

    assert type(found) is expected
    assert "s3://b/k" in str(found)


def test_an_etag_is_compared_without_its_quotes() -> None:
    assert bare('"abc-2"') == bare("abc-2") == bare('W/"abc-2"') == "abc-2"


@pytest.mark.parametrize(
    ("connection", "path", "expected"),
    [
        (S3Connection(), "s3://b/in/a.csv", ("b", "in/a.csv")),
        (S3Connection(bucket="lake"), "in/a.csv", ("lake", "in/a.csv")),
        (S3Connection(bucket="lake", prefix="/raw/"), "in/a.csv", ("lake", "raw/in/a.csv")),
        (S3Connection(bucket="lake", prefix="raw"), "s3://lake/raw/a.csv", ("lake", "raw/a.csv")),
    ],
)
def test_a_path_means_a_key_in_a_bucket(connection: S3Connection, path: str, expected: tuple[str, str]) -> None:
    assert connection.locate(path) == expected


@pytest.mark.parametrize("path", ["s3://other/raw/a.csv", "s3://lake/secret/a.csv", "s3://lake/rawest/a.csv"])
def test_a_path_outside_the_connection_is_refused(path: str) -> None:
    with pytest.raises(SourceRefusedError, match="outside s3://lake/raw/"):
        S3Connection(bucket="lake", prefix="raw").locate(path)


def test_a_path_without_any_bucket_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="names no bucket"):
        S3Connection().locate("in/a.csv")


def test_what_a_connection_leaves_open_comes_from_the_environment() -> None:
    environment = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_S3": "http://s3:2", "AWS_REGION": "eu-west-1"}

    assert connection_for(None, environment) == S3Connection(endpoint="http://s3:2", region="eu-west-1")
    given = Connection("lake", "s3", {"endpoint": "http://mine:3", "region": "eu-north-1"})
    assert connection_for(given, environment) == S3Connection(endpoint="http://mine:3", region="eu-north-1")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"secret_key": "x"}, "/config/secret_key"),
        ({"endpoint": "ftp://x"}, "http://host:port"),
        ({"endpoint": "http://me:hidden-word@x"}, "user and password"),
        ({"bucket": "no/slash"}, "/config/bucket"),
    ],
)
def test_a_connection_with_mistakes_is_refused_without_showing_its_values(
    config: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidSpecError, match=problem) as caught:
        connection_for(Connection("lake", "s3", config), {})

    assert "hidden-word" not in str(caught.value)
    assert caught.value.problems


def test_a_connection_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="kind 'postgres'"):
        connection_for(Connection("db", "postgres", {}), {})


def test_a_connection_pickles() -> None:
    connection = S3Connection(bucket="lake", endpoint="http://x:1")

    assert pickle.loads(pickle.dumps(connection)) == connection  # noqa: S301  # our own value
