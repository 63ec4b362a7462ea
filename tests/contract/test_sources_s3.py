"""What a source of S3 objects keeps to, on two servers that differ: conformance, credentials, listings, inventories."""

import gzip
import hashlib
import io
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import psutil  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from dataproc.domain.errors import (
    BadDataError,
    InvalidSpecError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
)
from dataproc.domain.job import JobId, RunId
from dataproc.domain.sources.files import S3Source
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.factory import connector_for, source_for
from dataproc.sources.files.listing import listed
from dataproc.sources.files.run import SourceRun
from dataproc.sources.s3.connection import S3Connection
from dataproc.sources.s3.listing import S3Lister
from dataproc.sources.s3.service import S3Service, client_of
from tests.builders import SOME_TIME, surroundings
from tests.contract.conformance import Row, SourceConformance, rows_of
from tests.fakes.secrets import FakeSecrets
from tests.s3 import KEY, SECRET, S3Server, default_s3_server, rclone_server

SECRETS = {"secret://lake#id": KEY, "secret://lake#key": SECRET}
ACCESS_KEY = {"access_key_id": "secret://lake#id", "secret_access_key": "secret://lake#key"}
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server, reached by a registered connection with an access key."""

    server: S3Server
    name: str
    secrets: Mapping[str, str] = field(default_factory=lambda: SECRETS)
    run: SourceRun | None = None

    def put(self, key: str, data: bytes) -> str:
        return str(self.server.client().put_object(Bucket=self.name, Key=key, Body=data)["ETag"]).strip('"')

    def connection(self, **config: object) -> Connection:
        return Connection("lake", "s3", {"bucket": self.name, "endpoint": self.server.endpoint, **ACCESS_KEY, **config})

    def source(self, path: str | list[str], config: Mapping[str, object] | None = None, **options: object) -> Source:
        spec = S3Source.model_validate({"kind": "s3", "connection": "lake", "path": path, **options})
        around = surroundings(
            connection=self.connection(**(config or {})),
            environment={},
            secrets=FakeSecrets(self.secrets),
            run=self.run,
        )
        return source_for(spec, around)

    def names(self, path: str | list[str], **options: object) -> list[str]:
        """Return the keys that a source plans to read."""
        return [unit.uri.removeprefix(f"s3://{self.name}/") for unit in self.source(path, None, **options).plan().units]


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with default_s3_server() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_STS", running.endpoint)
        yield running


@pytest.fixture(scope="module")
def rclone() -> Iterator[S3Server]:
    with rclone_server() as running:
        yield running


@pytest.fixture
def bucket(moto: S3Server) -> Bucket:
    return Bucket(moto, moto.make_bucket(f"test-{uuid4().hex}"))


@pytest.fixture(params=["moto", "rclone"])
def either(request: pytest.FixtureRequest) -> Bucket:
    server: S3Server = request.getfixturevalue(request.param)
    return Bucket(server, server.make_bucket(f"test-{uuid4().hex}"))


@pytest.fixture
def denying(httpserver: HTTPServer) -> S3Server:
    """Give a service that lets nobody in."""
    httpserver.expect_request("/lake").respond_with_data(DENIED, status=403, content_type="application/xml")
    return S3Server(httpserver.url_for("").rstrip("/"))


def some_rows(first: int, count: int) -> pa.Table:
    return pa.table(
        {"id": pa.array(range(first, first + count)), "name": [None, *(f"Zoë {n}" for n in range(1, count))]}
    )


def as_parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    return sink.getvalue()


@dataclass
class S3Subject:
    """Two Parquet objects in a bucket, and what goes wrong with buckets."""

    bucket: Bucket
    denying: S3Server
    options: Mapping[str, object] = field(default_factory=dict)

    def source(self) -> Source:
        return self.bucket.source("in/**", None, **self.options)

    def rows(self) -> Sequence[Row]:
        return [tuple(row.values()) for table in (some_rows(0, 700), some_rows(700, 500)) for row in table.to_pylist()]

    def empty(self) -> Source:
        return self.bucket.source("empty/*", None, **self.options)

    def refused(self) -> Source:
        return Bucket(self.denying, "lake").source("*")

    def missing(self) -> Source:
        return self.bucket.source("no/such/**")

    def change(self) -> None:
        self.bucket.put("in/b.parquet", as_parquet(some_rows(700, 501)))

    def away(self) -> Source:
        return Bucket(S3Server("http://127.0.0.1:9"), "lake").source("*")

    def open_connections(self) -> int:
        port = int(self.bucket.server.endpoint.rpartition(":")[2])
        found = psutil.Process().net_connections("tcp")
        return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")


class TestS3(SourceConformance):
    @pytest.fixture
    def subject(self, either: Bucket, denying: S3Server) -> S3Subject:
        fill(either)
        return S3Subject(either, denying)


class TestArchivedS3(SourceConformance):
    @pytest.fixture
    def subject(self, bucket: Bucket, denying: S3Server) -> S3Subject:
        fill(bucket)
        kept = replace(bucket, run=SourceRun(JobId(uuid4()), RunId(uuid4()), 1, SOME_TIME))
        return S3Subject(kept, denying, {"archive": {"path": f"s3://{bucket.name}/kept", "expires": "3650d"}})


def fill(bucket: Bucket) -> None:
    """Put what a subject reads into a bucket."""
    bucket.put("in/a.parquet", as_parquet(some_rows(0, 700)))
    bucket.put("in/b.parquet", as_parquet(some_rows(700, 500)))
    bucket.put("empty/a.parquet", as_parquet(some_rows(0, 2).slice(0, 0)))


# Which objects


def test_several_paths_give_each_object_once(either: Bucket) -> None:
    for key in ("a/1.csv", "a/2.csv", "ab/3.csv", "b/x/4.csv", "c/5.csv"):
        either.put(key, b"n\n1\n")

    assert either.names(["a/*.csv", "a*/*.csv", "b/**", "a/1.csv"]) == ["a/1.csv", "a/2.csv", "ab/3.csv", "b/x/4.csv"]


def test_excluded_objects_are_left_out_by_name_or_by_path(either: Bucket) -> None:
    for key in ("in/a.csv", "in/a.tmp.csv", "in/old/a.csv", "in/old/b.csv", "in/old.csv"):
        either.put(key, b"n\n1\n")

    assert either.names("in/**", exclude=["*.tmp.csv", "in/old/**"]) == ["in/a.csv", "in/old.csv"]
    with pytest.raises(SourceNotFoundError, match="not excluded"):
        either.source("in/a.csv", exclude=["a.*"]).plan()


ODD_KEYS = ["k//x.csv", "k/a/x.csv", "k/x.csv", "k/*.csv", "k/b?.csv", "k/bc.csv", r"k/d\*.csv", "k/d1.csv"]
ODD_PATHS: list[tuple[str | list[str], list[str]]] = [
    ("k/**/x.csv", ["k//x.csv", "k/a/x.csv", "k/x.csv"]), ("**/x.csv", ["k//x.csv", "k/a/x.csv", "k/x.csv"]),
    ("k//*.csv", ["k//x.csv"]), ("k//x.csv", ["k//x.csv"]),
    ("k/*.csv", ["k/*.csv"]), ("k/b?.csv", ["k/b?.csv"]), (r"k/d\*.csv", [r"k/d\*.csv"]),
    (r"k/\*.csv", ["k/*.csv"]), (r"k/b\?.csv", ["k/b?.csv"]), (r"k/d\\\*.csv", [r"k/d\*.csv"]),
    (r"k/d\\*.csv", [r"k/d\*.csv"]), ("k/?c.csv", ["k/bc.csv"]), (["k/*.csv", "k/d?.csv"], ["k/*.csv", "k/d1.csv"]),
    ("k/d*.csv", ["k/d1.csv", r"k/d\*.csv"]),
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"track": "versions"}])
def test_a_path_that_is_a_key_means_that_key_and_empty_folders_are_crossed(
    moto: S3Server, options: dict[str, object]
) -> None:
    bucket = Bucket(moto, moto.make_bucket(f"test-{uuid4().hex}", versioned=bool(options)))
    for key in ODD_KEYS:
        bucket.put(key, b"id\n1\n")

    for path, keys in ODD_PATHS:
        assert bucket.names(path, **options) == keys, path


def test_a_key_with_a_leading_slash_is_found(bucket: Bucket) -> None:
    for key in ("/a.csv", "//x/a.csv", "a.csv"):
        bucket.put(key, b"id\n1\n")

    assert bucket.names("**/a.csv") == ["//x/a.csv", "/a.csv", "a.csv"]
    assert bucket.names(f"s3://{bucket.name}//a.csv") == ["/a.csv"]


def test_columns_of_an_object_whose_name_has_wildcards_are_its_own(bucket: Bucket) -> None:
    bucket.put("*.csv", b"id\n1\n")
    bucket.put("a.csv", b"name\nx\n")

    found = connector_for(surroundings(connection=bucket.connection(), environment={}, secrets=FakeSecrets(SECRETS)))

    assert [(one.name, [name for name, _ in one.columns or ()]) for one in found.discover()] == [
        ("*.csv", ["id"]), ("a.csv", ["name"]),
    ]  # fmt: skip


def test_keys_with_odd_characters_are_found_and_read(either: Bucket) -> None:
    keys = sorted(f"in/{name}.csv" for name in ("a b", "a+b", "ä%20ö", "x=1&y=2", "[1]"))
    for key in keys:
        either.put(key, b"n\n1\n")
    source = either.source("in/*.csv")

    units = source.plan().units

    assert [unit.uri.removeprefix(f"s3://{either.name}/") for unit in units] == keys
    assert rows_of([chunk for unit in units for chunk in source.read(unit)]) == [(1,)] * len(keys)


def test_more_objects_than_a_run_reads_are_refused_with_what_to_do(either: Bucket) -> None:
    for key in ("1.csv", "2.csv", "3.csv"):
        either.put(key, b"n\n1\n")

    assert len(either.names("*.csv", max_files=3)) == 3
    with pytest.raises(BadDataError, match="track: objects"):
        either.source("*.csv", max_files=2).plan()


@pytest.mark.parametrize("depth", ["in/", "in/0", ""])
@pytest.mark.parametrize("versions", [False, True])
def test_a_deep_listing_of_many_pages_is_complete_and_in_order(bucket: Bucket, depth: str, *, versions: bool) -> None:
    keys = sorted([f"in/{day:02}/{n:02}.csv" for day in range(4) for n in range(15)] + ["in/x.csv", "in/00.csv"])
    for key in keys:
        bucket.put(key, b"")
    service = S3Service(S3Connection.model_validate(dict(bucket.connection().config)), FakeSecrets(SECRETS))
    uris = [f"s3://{bucket.name}/{key}" for key in keys]

    for size in (1000, 10, 3):
        lister = S3Lister(service, versions, size)
        found = [file.uri for file in listed(lister, [(f"s3://{bucket.name}/{depth}", False)])]
        assert found == [uri for uri in uris if uri.startswith(f"s3://{bucket.name}/{depth}")]


def test_a_listing_may_be_a_little_old_where_the_job_allows_it(bucket: Bucket) -> None:
    bucket.put("in/1.csv", b"n\n1\n")
    kept = {"listing": {"cache": "1h"}}
    assert bucket.names("in/*", **kept) == ["in/1.csv"]
    bucket.put("in/2.csv", b"n\n1\n")

    assert bucket.names("in/*", **kept) == ["in/1.csv"]
    assert bucket.names("in/*") == ["in/1.csv", "in/2.csv"]
    other = Bucket(bucket.server, bucket.name, {**SECRETS, "secret://lake#id": "another-key"})
    assert other.names("in/*", **kept) == ["in/1.csv", "in/2.csv"]


def test_a_second_attempt_does_not_trust_an_old_listing(bucket: Bucket) -> None:
    bucket.put("in/1.csv", b"n\n1\n")
    spec = S3Source.model_validate({"kind": "s3", "path": f"s3://{bucket.name}/in/*", "listing": {"cache": "1h"}})

    def planned(attempt: int) -> int:
        run = SourceRun(JobId(uuid4()), RunId(uuid4()), attempt, SOME_TIME)
        return len(source_for(spec, surroundings(environment=bucket.server.environment, run=run)).plan().units)

    assert planned(1) == 1
    bucket.put("in/2.csv", b"n\n1\n")

    assert [planned(1), planned(2)] == [1, 2]


# Credentials


def test_an_access_key_is_read_from_its_secrets_by_the_worker(rclone: S3Server) -> None:
    bucket = Bucket(rclone, rclone.make_bucket(f"test-{uuid4().hex}"))
    bucket.put("a.csv", b"n\n1\n")
    spec = S3Connection.model_validate(dict(bucket.connection().config))

    assert SECRET.encode() not in pickle.dumps(spec)
    assert SECRET not in repr(bucket.source("a.csv"))
    assert bucket.names("a.csv") == ["a.csv"]


def test_a_wrong_access_key_is_refused_and_a_changed_secret_is_taken_at_once(rclone: S3Server) -> None:
    name = rclone.make_bucket(f"test-{uuid4().hex}")
    Bucket(rclone, name).put("a.csv", b"n\n1\n")
    kept = Changing({**SECRETS, "secret://lake#key": "outdated-secret"})
    service = S3Service(S3Connection(endpoint=rclone.endpoint, **ACCESS_KEY), kept)

    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        service.ask(lambda client: client.list_objects_v2(Bucket=name))
    kept.known["secret://lake#key"] = SECRET

    assert service.ask(lambda client: client.list_objects_v2(Bucket=name))["KeyCount"] == 1


@dataclass(eq=False)
class Changing:
    """A place whose secrets change, which does not show from outside."""

    known: dict[str, str]

    def get(self, reference: str) -> str:
        return self.known[reference]

    def __getstate__(self) -> dict[str, object]:
        return {}


def test_a_role_is_assumed_and_signs_all_requests(bucket: Bucket) -> None:
    bucket.put("a.csv", b"n\n1\n")
    role = {"role_arn": "arn:aws:iam::123456789012:role/reader", "external_id": "partner-7"}
    connection = S3Connection.model_validate({"endpoint": bucket.server.endpoint, **ACCESS_KEY, **role})
    service = S3Service(connection, FakeSecrets(SECRETS))
    sent: list[str] = []
    client_of(service).meta.events.register("before-send.s3", lambda request, **_: sent.append(signer_of(request)))

    assert bucket.source("a.csv", role).plan().units
    service.ask(lambda client: client.list_objects_v2(Bucket=bucket.name))

    assert sent
    assert all(key.startswith("ASIA") for key in sent)  # keys of roles, in place of our own


def signer_of(request: object) -> str:
    """Return the access key that a request was signed with."""
    header = request.headers["Authorization"]  # type: ignore[attr-defined]  # a prepared request of botocore
    text = header.decode() if isinstance(header, bytes) else str(header)
    return text.partition("Credential=")[2].partition("/")[0]


def test_a_profile_of_the_workers_is_used(rclone: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tmp_path / "credentials"
    known.write_text(f"[reader]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n[other]\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(known))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-somebody-else")
    bucket = Bucket(rclone, rclone.make_bucket(f"test-{uuid4().hex}"))
    bucket.put("a.csv", b"n\n1\n")
    config = {"profile": "reader", "access_key_id": None, "secret_access_key": None}

    assert len(bucket.source("a.csv", config).plan().units) == 1


def test_a_profile_that_the_workers_lack_is_refused_by_name(bucket: Bucket) -> None:
    config = {"profile": "nobody", "access_key_id": None, "secret_access_key": None}

    with pytest.raises(SourceRefusedError, match="profile"):
        bucket.source("a.csv", config).plan()


def test_a_bucket_whose_requester_pays_is_told_and_paid_when_allowed(denying: S3Server, bucket: Bucket) -> None:
    with pytest.raises(SourceRefusedError, match="requester_pays: true"):
        Bucket(denying, "lake").source("*").plan()

    bucket.put("a.csv", b"n\n1\n")
    paying = bucket.source("*.csv", {"requester_pays": True})
    assert rows_of([chunk for unit in paying.plan().units for chunk in paying.read(unit)]) == [(1,)]


# What a connection tells


def test_a_connection_tells_its_folders_and_the_columns_of_its_files(either: Bucket) -> None:
    either.put("raw/in/x.csv", b"n\n1\n")
    either.put("raw/a.parquet", as_parquet(some_rows(0, 3)))
    either.put("raw/b.txt", b"")
    either.put("raw/bad.parquet", b"no parquet")
    connection = either.connection(prefix="raw")
    connector = connector_for(surroundings(connection=connection, environment={}, secrets=FakeSecrets(SECRETS)))

    found = {one.name: (one.columns, one.rows) for one in connector.discover()}

    assert either.name in connector.test()
    assert found == {
        "a.parquet": ((("id", "int64"), ("name", "string")), 3),
        "b.txt": ((), None),
        "bad.parquet": ((), None),
        "in/": ((), None),
    }


def test_a_connection_without_a_bucket_cannot_be_looked_at(bucket: Bucket) -> None:
    connection = bucket.connection(bucket=None)

    with pytest.raises(InvalidSpecError, match="names no bucket"):
        connector_for(surroundings(connection=connection, environment={}, secrets=FakeSecrets(SECRETS))).test()


# Services that leave fields out

FIELDS = {
    "Key": "<Key>a.csv</Key>", "ETag": "<ETag>&quot;e1&quot;</ETag>", "Size": "<Size>5</Size>",
    "VersionId": "<VersionId>v1</VersionId>", "IsLatest": "<IsLatest>true</IsLatest>",
}  # fmt: skip
HEAD_FIELDS = {"ETag": '"e1"', "Content-Length": "5", "x-amz-version-id": "v1"}


def a_listing(entry: str, *, versions: bool = False, end: str = "") -> str:
    """Return a listing with one entry."""
    kind, tag = ("ListVersionsResult", "Version") if versions else ("ListBucketResult", "Contents")
    return f"<{kind}><Name>lake</Name><{tag}>{entry}</{tag}>{end}</{kind}>"


def serving(httpserver: HTTPServer, listing: str, head: Mapping[str, str] = HEAD_FIELDS) -> Bucket:
    """Return a bucket of a service with one listing and one object."""

    def answer(request: Request) -> Response:
        if request.path == "/lake":
            return Response(listing, content_type="application/xml")
        found = Response(b"" if request.method == "HEAD" else b"id\n1\n", headers=dict(head), content_type="text/csv")
        found.automatically_set_content_length = False
        return found

    httpserver.expect_request(re.compile("/lake.*")).respond_with_handler(answer)
    return Bucket(S3Server(httpserver.url_for("").rstrip("/")), "lake")


@pytest.mark.parametrize(
    ("track", "missing"),
    [*(("off", name) for name in ("Key", "ETag", "Size")), *(("versions", name) for name in FIELDS)],
)
def test_a_listing_without_a_field_is_refused_with_its_name(httpserver: HTTPServer, track: str, missing: str) -> None:
    entry = "".join(text for name, text in FIELDS.items() if name != missing)
    bucket = serving(httpserver, a_listing(entry, versions=track == "versions"))

    with pytest.raises(BadDataError, match=f"an entry of a listing has no {missing}"):
        bucket.source("*", track=track).plan()


@pytest.mark.parametrize("etag", ["<ETag/>", "<ETag></ETag>"])
def test_an_empty_etag_is_none(httpserver: HTTPServer, etag: str) -> None:
    bucket = serving(httpserver, a_listing(FIELDS["Key"] + etag + FIELDS["Size"]))

    with pytest.raises(BadDataError, match=r"s3://lake/a\.csv: an entry of a listing has no ETag"):
        bucket.source("*").plan()


@pytest.mark.parametrize("track", ["off", "versions"])
def test_a_listing_that_breaks_off_is_not_taken_for_all_objects(httpserver: HTTPServer, track: str) -> None:
    end = "<IsTruncated>true</IsTruncated>"
    bucket = serving(httpserver, a_listing("".join(FIELDS.values()), versions=track == "versions", end=end))

    with pytest.raises(BadDataError, match="a page of a listing has no Next"):
        bucket.source("*", track=track).plan()


@pytest.mark.parametrize("missing", ["ETag", "x-amz-version-id"])
def test_an_object_without_its_version_is_refused_with_the_name_of_the_field(
    httpserver: HTTPServer, missing: str
) -> None:
    track = "versions" if missing.startswith("x-") else "off"
    head = {name: value for name, value in HEAD_FIELDS.items() if name != missing}
    bucket = serving(httpserver, a_listing("".join(FIELDS.values()), versions=track == "versions"), head)

    with pytest.raises(BadDataError, match=r"s3://lake/a\.csv: a reply .* has no (ETag|VersionId)"):
        bucket.source("*", track=track).plan()


@pytest.mark.parametrize("track", ["off", "versions"])
@pytest.mark.parametrize("page", ["<html><body>It works!</body></html>", ""])
def test_a_page_of_another_server_is_not_an_empty_bucket(httpserver: HTTPServer, page: str, track: str) -> None:
    bucket = serving(httpserver, page)

    with pytest.raises(SourceRefusedError, match="not a listing"):
        bucket.source("a.csv", track=track).plan()


# Inventories

Entries = Sequence[Mapping[str, str]]
HEADS = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "ETag")


def as_csv_part(entries: Entries, heads: Sequence[str]) -> bytes:
    lines = [",".join(f'"{entry[name]}"' for name in heads) for entry in entries]
    return gzip.compress("\n".join(lines).encode())


def as_parquet_part(entries: Entries, heads: Sequence[str]) -> bytes:
    named = {"VersionId": "version_id", "IsLatest": "is_latest", "IsDeleteMarker": "is_delete_marker", "ETag": "e_tag"}
    columns = {
        named.get(head, head.lower()): [
            entry[head] == "true" if head.startswith("Is") else int(entry[head]) if head == "Size" else entry[head]
            for entry in entries
        ]
        for head in heads
    }
    return as_parquet(pa.table(columns))


PARTS: Mapping[str, Callable[[Entries, Sequence[str]], bytes]] = {"CSV": as_csv_part, "Parquet": as_parquet_part}


def report(
    bucket: Bucket, entries: Entries, form: str = "CSV", at: str = "2026-11-22T01-00Z", heads: Sequence[str] = HEADS
) -> str:
    """Put an inventory report into a bucket; return its folder."""
    data = PARTS.get(form, as_csv_part)(entries, heads)
    bucket.put(f"inventory/data/{at}.part", data)
    manifest = {
        "sourceBucket": bucket.name,
        "destinationBucket": f"arn:aws:s3:::{bucket.name}",
        "fileFormat": form,
        "fileSchema": ", ".join(heads),
        "files": [{"key": f"inventory/data/{at}.part", "MD5checksum": hashlib.md5(data).hexdigest()}],  # noqa: S324 - as S3 does
    }
    put_manifest(bucket, json.dumps(manifest).encode(), at)
    return f"s3://{bucket.name}/inventory"


def put_manifest(bucket: Bucket, text: bytes, at: str = "2026-11-22T01-00Z") -> None:
    """Put the manifest of a report into a bucket, with its checksum."""
    bucket.put(f"inventory/{at}/manifest.json", text)
    bucket.put(f"inventory/{at}/manifest.checksum", hashlib.md5(text).hexdigest().encode())  # noqa: S324 - as S3 does


def entry(bucket: Bucket, key: str, data: bytes = b"n\n1\n", **other: str) -> dict[str, str]:
    """Put an object; return its entry in a report."""
    etag = bucket.put(key, data)
    told = {"Bucket": bucket.name, "Key": key, "VersionId": "", "IsLatest": "true", "IsDeleteMarker": "false"}
    return {**told, "Size": str(len(data)), "ETag": etag, **other}


@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_an_inventory_stands_in_for_a_listing(bucket: Bucket, form: str) -> None:
    odd = "in/b c.csv"
    entries = [
        entry(bucket, odd, Key="in/b+c.csv" if form == "CSV" else odd),
        entry(bucket, "in/a.csv"),
        entry(bucket, "in/old.csv", IsLatest="false"),
        entry(bucket, "in/gone.csv", IsDeleteMarker="true"),
        entry(bucket, "out/c.csv"),
    ]
    folder = report(bucket, entries, form)
    bucket.put("in/not-told-yet.csv", b"n\n1\n")

    assert bucket.names("in/*.csv", inventory=folder) == ["in/a.csv", odd]
    manifest = f"{folder}/2026-11-22T01-00Z/manifest.json"
    assert bucket.names("in/a*", inventory=manifest) == ["in/a.csv"]


def test_what_changed_since_the_inventory_is_taken_as_it_is_now(bucket: Bucket) -> None:
    folder = report(bucket, [entry(bucket, f"in/{name}.csv") for name in "abc"])
    bucket.server.client().delete_object(Bucket=bucket.name, Key="in/a.csv")
    bucket.put("in/b.csv", b"n\n1\n2\n")
    source = bucket.source("in/*.csv", inventory=folder)

    units = source.plan().units

    assert rows_of([chunk for unit in units for chunk in source.read(unit)]) == [(1,), (2,), (1,)]


def test_the_latest_complete_inventory_is_taken(bucket: Bucket) -> None:
    report(bucket, [entry(bucket, "in/a.csv")], at="2026-11-20T01-00Z")
    folder = report(bucket, [entry(bucket, "in/b.csv")], at="2026-11-21T01-00Z")
    report(bucket, [entry(bucket, "in/c.csv")], at="2026-11-22T01-00Z")
    bucket.server.client().delete_object(Bucket=bucket.name, Key="inventory/2026-11-22T01-00Z/manifest.checksum")

    assert bucket.names("in/*", inventory=folder) == ["in/b.csv"]


def test_an_inventory_in_orc_or_without_etags_is_refused_by_name(bucket: Bucket) -> None:
    told = entry(bucket, "in/a.csv")
    folder = report(bucket, [told], "ORC")
    with pytest.raises(BadDataError, match="ORC"):
        bucket.source("in/*", inventory=folder).plan()

    report(bucket, [told], heads=("Bucket", "Key", "Size"))
    with pytest.raises(InvalidSpecError, match="lacks ETag"):
        bucket.source("in/*", inventory=folder).plan()


@pytest.mark.parametrize("missing", ["sourceBucket", "destinationBucket", "fileFormat", "files", "fileSchema"])
def test_a_manifest_without_a_field_is_refused_with_its_name(bucket: Bucket, missing: str) -> None:
    folder = report(bucket, [entry(bucket, "in/a.csv")])
    reply = bucket.server.client().get_object(Bucket=bucket.name, Key="inventory/2026-11-22T01-00Z/manifest.json")
    manifest = json.loads(reply["Body"].read())
    put_manifest(bucket, json.dumps({name: value for name, value in manifest.items() if name != missing}).encode())

    with pytest.raises(BadDataError, match=f"the manifest of the inventory has no {missing}"):
        bucket.source("in/*", inventory=folder).plan()


@pytest.mark.parametrize("text", [b"{", b"[1]", b"7", b"null"])
def test_a_manifest_that_is_none_is_refused(bucket: Bucket, text: bytes) -> None:
    folder = report(bucket, [entry(bucket, "in/a.csv")])
    put_manifest(bucket, text)

    with pytest.raises(BadDataError, match="not the manifest"):
        bucket.source("in/*", inventory=folder).plan()


@pytest.mark.parametrize(("field", "words"), [("ETag", "has no e_tag"), ("Size", "has no size")])
def test_an_entry_of_an_inventory_without_a_value_is_refused(bucket: Bucket, field: str, words: str) -> None:
    folder = report(bucket, [entry(bucket, "in/a.csv") | {field: ""}])

    with pytest.raises(BadDataError, match=words):
        bucket.source("in/*", inventory=folder).plan()


def test_an_inventory_whose_checksum_does_not_match_is_noticed(bucket: Bucket) -> None:
    folder = report(bucket, [entry(bucket, "in/a.csv")])
    bucket.put("inventory/data/2026-11-22T01-00Z.part", gzip.compress(b'"x"'))
    with pytest.raises(SourceChangedError, match="checksum"):
        bucket.source("in/*", inventory=folder).plan()

    bucket.put("inventory/2026-11-22T01-00Z/manifest.json", b"{}")
    with pytest.raises(SourceChangedError, match=r"manifest\.json"):
        bucket.source("in/*", inventory=folder).plan()


def test_a_folder_without_a_report_and_a_report_of_another_bucket_are_refused(bucket: Bucket, moto: S3Server) -> None:
    with pytest.raises(SourceNotFoundError, match="no complete report"):
        bucket.source("in/*", inventory=f"s3://{bucket.name}/none").plan()

    folder = report(bucket, [entry(bucket, "in/a.csv")])
    other = Bucket(moto, moto.make_bucket(f"test-{uuid4().hex}"))
    with pytest.raises(InvalidSpecError, match=other.name):
        other.source("in/*", {"bucket": other.name}, inventory=folder).plan()
