"""S3: replies of the service as our errors, and connections as values."""

import pickle
from datetime import UTC, datetime, timedelta

import botocore.session
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
from dataproc.domain.sources.files import S3Source
from dataproc.ports.store import Connection
from dataproc.sources.s3.connection import S3Connection, connection_for
from dataproc.sources.s3.errors import refused
from dataproc.sources.s3.listing import bare
from dataproc.sources.s3.service import Assumed, Referenced, S3Service, addressing_of
from tests.fakes.secrets import FakeSecrets

PARTS_OF_A_KEY = {"access_key_id": "id", "secret_access_key": "key", "session_token": "token"}


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
        (501, "NotImplemented", False, SourceRefusedError),
        (505, "HTTPVersionNotSupported", False, SourceRefusedError),
        (507, "InsufficientStorage", False, SourceUnavailableError),
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


def test_a_bucket_is_named_without_wildcards() -> None:
    with pytest.raises(InvalidSpecError, match="wildcard"):
        S3Connection().uri("s3://la*/a.csv")


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("in/*.csv", r"s3://lake/r\*w/in/*.csv"), (r"s3://lake/r\*w/in/*.csv", r"s3://lake/r\*w/in/*.csv"),
        (r"in/\*.csv", r"s3://lake/r\*w/in/\*.csv"),
    ],
)  # fmt: skip
def test_the_prefix_of_a_connection_is_no_part_of_a_pattern(path: str, uri: str) -> None:
    assert S3Connection(bucket="lake", prefix="r*w").uri(path) == uri


@pytest.mark.parametrize(
    "path", ["s3://lake/r*w/in/a.csv", r"s3://lake/\r*w/in/a.csv", "s3://lake/**", "s3://lake/raw/*"]
)
def test_a_pattern_that_may_leave_the_prefix_is_refused(path: str) -> None:
    with pytest.raises(SourceRefusedError, match="outside"):
        S3Connection(bucket="lake", prefix="r*w").uri(path)


@pytest.mark.parametrize("fields", [{"path": ["s3://b/a", "in/a"]}, {"path": "s3://b/*", "exclude": ["old/*"]}])
def test_without_a_connection_every_path_names_its_bucket(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        S3Source.model_validate({"kind": "s3", **fields})

    assert S3Source.model_validate({"kind": "s3", "connection": "lake", **fields}).connection == "lake"


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
        ({"access_key_id": "AKIA-hidden-word", "secret_access_key": "hidden-word"}, "/config/secret_access_key"),
        ({"access_key_id": "secret://lake#id"}, "together"),
        ({"session_token": "secret://lake#token"}, "session_token with"),
        ({"access_key_id": "secret://a", "secret_access_key": "secret://b", "profile": "x"}, "not both"),
        ({"external_id": "x1"}, "with role_arn"),
        ({"role_arn": "reader"}, "/config/role_arn"),
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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "auto"),
        ({"endpoint": "http://x:1"}, "path"),
        ({"endpoint": "http://x:1", "path_style": False}, "virtual"),
        ({"path_style": True}, "path"),
    ],
)
def test_buckets_stand_in_the_path_where_a_service_is_not_aws(config: dict[str, object], expected: str) -> None:
    assert addressing_of(S3Connection.model_validate(config)) == expected


def test_an_external_id_goes_with_the_request_for_a_role() -> None:
    role = "arn:aws:iam::123456789012:role/reader"
    one, other = S3Connection(role_arn=role), S3Connection(role_arn=role, external_id="partner-7")

    assert Assumed(botocore.session.Session(), one).arguments() == {"RoleSessionName": "dataproc"}
    assert Assumed(botocore.session.Session(), other).arguments()["ExternalId"] == "partner-7"


def test_secrets_are_read_again_after_some_minutes() -> None:
    secrets = {"secret://lake#id": "one", "secret://lake#key": "two", "secret://lake#token": "three"}
    names = {name: f"secret://lake#{key}" for name, key in PARTS_OF_A_KEY.items()}
    provider = Referenced(S3Service(S3Connection.model_validate(names), FakeSecrets(secrets)))

    found = provider.read()

    assert (found["access_key"], found["secret_key"], found["token"]) == ("one", "two", "three")
    left = datetime.fromisoformat(found["expiry_time"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)


def test_a_connection_pickles() -> None:
    connection = S3Connection(bucket="lake", endpoint="http://x:1")

    assert pickle.loads(pickle.dumps(connection)) == connection  # noqa: S301  # our own value
