"""What holds for every request: ids, limits, methods, health, metrics, and the API's description of itself."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import pytest
from httpx2 import Headers
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.telemetry.logs import json_lines
from serve_app.middleware import BodyLimit
from tests.api_app import SPEC, Api, started
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

AWAY = "postgresql://nobody@/dataproc?host=/nonexistent"


@pytest.fixture
async def api_alone() -> AsyncIterator[Api]:
    """Give an API whose metadata database does not answer."""
    async with started(PostgresStore.open(AWAY, Settings())) as running:
        yield running


async def samples(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what `/metrics` tells."""
    response = await api.client.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_health_tells_server_and_schema_of_the_metadata_database(api: Api) -> None:
    for path in ("/health", "/readyz"):
        response = await api.client.get(path)

        assert response.status_code == 200
        assert response.json()["status"] == "ok"
        assert response.json()["metadata"].startswith("PostgreSQL 18")


async def test_the_api_is_not_ready_before_the_migrations(empty_database_url: str) -> None:
    async with started(PostgresStore.open(empty_database_url, Settings())) as api:
        response = await api.client.get("/readyz")

        assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
        assert "jobs.migrate" in response.json()["detail"]
        assert (await api.client.get("/livez")).status_code == 200


async def test_without_its_database_the_api_lives_and_asks_to_come_back(api_alone: Api) -> None:
    assert (await api_alone.client.get("/livez")).json() == {"status": "ok"}
    for method, path in [("GET", "/readyz"), ("GET", "/jobs"), ("GET", f"/jobs/{uuid4()}"), ("POST", "/jobs")]:
        response = await api_alone.client.request(method, path, json=SPEC if method == "POST" else None)

        assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
        assert int(response.headers["retry-after"]) > 0
        assert "nobody@" not in response.text


async def test_an_unknown_path_is_a_problem(api: Api) -> None:
    response = await api.client.get("/nothing")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json()["code"] == "not-found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, HEAD, POST"),
        ("PATCH", f"/jobs/{UUID(int=1)}", "DELETE, GET, HEAD"),
        ("GET", f"/jobs/{UUID(int=1)}/retry", "POST"),
        ("OPTIONS", "/jobs", "GET, HEAD, POST"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_there_is_answered_with_those_that_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    response = await api.client.request(method, path)

    assert (response.status_code, response.headers["content-type"]) == (405, "application/problem+json")
    assert response.headers["allow"] == allowed


async def test_head_answers_as_get_without_the_body(api: Api) -> None:
    got, head = await api.client.get("/jobs"), await api.client.head("/jobs")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("path", ["/jobs", "/sources"])
async def test_a_body_that_is_too_large_is_refused_whether_announced_or_not(api: Api, path: str) -> None:
    large = json.dumps({"name": "x" * 1024 * 1024}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    for content in (large, in_pieces()):
        response = await api.client.post(path, content=content, headers={"Content-Type": "application/json"})

        assert (response.status_code, response.json()["code"]) == (413, "too-large")


async def test_a_body_is_counted_and_not_believed() -> None:
    read: list[Message] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        read.append(await receive())

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 11, "more_body": False}

    async def send(_: Message) -> None:
        """Nobody listens."""

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1")]}

    with pytest.raises(Exception, match="larger than 10 bytes"):
        await BodyLimit(reading, most=10)(scope, receive, send)
    assert read == []


async def test_every_reply_has_the_headers_of_safety_and_one_request_id(api: Api) -> None:
    for path in ("/livez", "/jobs", "/nothing"):
        headers = (await api.client.get(path)).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        [request_id] = headers.get_list("x-request-id")
        assert str(UUID(request_id)) == request_id


async def test_the_id_of_a_request_is_kept_in_reply_and_log(api: Api) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(json_lines())
    with logged_by(handler):
        response = await api.client.get(f"/jobs/{uuid4()}", headers={"X-Request-ID": "trace-42"})

    assert response.headers.get_list("x-request-id") == ["trace-42"]
    logged = json.loads(lines.getvalue())
    assert (logged["event"], logged["request_id"]) == ("request", "trace-42")
    assert (logged["method"], logged["route"], logged["status"]) == ("GET", "/jobs/{job_id}", 404)


@contextmanager
def logged_by(handler: logging.Handler) -> Iterator[None]:
    """Send the API's log to a handler until the end of the block."""
    logger = logging.getLogger("serve_app")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@pytest.mark.parametrize("wrong", ["", "two words", "x" * 129, 'a"b', "sch\xfcssel"])
async def test_an_id_that_is_no_plain_word_is_replaced(api: Api, wrong: str) -> None:
    headers = {b"X-Request-ID": wrong.encode("latin-1")}

    given = (await api.client.get("/livez", headers=headers)).headers["x-request-id"]

    assert str(UUID(given)) == given


async def test_under_serve_which_adds_the_id_itself_it_comes_once() -> None:
    http_util = pytest.importorskip("ray.serve._private.http_util")
    async with started(FakeStore(), tells_request_id=False) as api:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"x-request-id", b"trace-42")]
        scope = {"type": "http", "method": "GET", "path": "/livez", "query_string": b"", "headers": headers}
        await http_util.RequestIdMiddleware(api.app)(scope, receive, send)

    assert Headers(sent[0]["headers"]).get_list("x-request-id") == ["trace-42"]


async def test_what_nobody_expected_is_answered_without_detail_and_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started(BrokenStore()) as api:
        response = await api.client.get("/jobs", headers={"X-Request-ID": "trace-42"})

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "ann@example.com" not in response.text
    assert response.headers["x-request-id"] == "trace-42"
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


class BrokenStore(FakeStore):
    """A store that fails in a way that nobody expects."""

    def begin(self) -> Any:
        raise KeyError("ann@example.com")


async def test_metrics_count_requests_by_template_and_never_by_id(api: Api) -> None:
    unknown = uuid4()
    for _ in range(2):
        await api.client.get(f"/jobs/{unknown}")
    await api.client.get(f"/nothing/{unknown}")
    await api.client.request("BREW", "/livez")

    found = await samples(api)

    name = "dataproc_http_requests_total"
    labels = {frozenset({"method": "GET", "route": "/jobs/{job_id}", "status": "404"}.items())}
    assert [found[name, each] for each in labels] == [2.0]
    routes = {dict(each)["route"] for metric, each in found if metric == name}
    methods = {dict(each)["method"] for metric, each in found if metric == name}
    assert routes == {"/jobs/{job_id}", "unknown", "/livez"}
    assert methods == {"GET", "other"}


async def test_metrics_tell_of_all_jobs_and_of_the_queue(api: Api) -> None:
    for _ in range(3):
        await api.client.post("/jobs", json=SPEC)

    found = await samples(api)

    assert found["dataproc_jobs", frozenset({"status": "PENDING"}.items())] == 3
    assert found["dataproc_jobs", frozenset({"status": "FAILED"}.items())] == 0
    assert found["dataproc_queue_ready", frozenset()] == 3
    assert found["dataproc_queue_oldest_seconds", frozenset()] > 0
    assert found["dataproc_metadata_up", frozenset()] == 1


async def test_metrics_of_this_process_are_told_without_the_database(api_alone: Api) -> None:
    await api_alone.client.get("/livez")

    found = await samples(api_alone)

    assert found["dataproc_metadata_up", frozenset()] == 0
    assert not any(name.startswith(("dataproc_jobs", "dataproc_queue")) for name, _ in found)
    assert any(name == "dataproc_http_requests_total" for name, _ in found)


@pytest.fixture
async def description(api: Api) -> dict[str, Any]:
    return dict((await api.client.get("/openapi.json")).json())


def references(node: object) -> Iterator[str]:
    """Yield every reference in a description."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    if isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_reference_of_the_description_leads_somewhere(description: dict[str, Any]) -> None:
    names = {reference.removeprefix("#/components/schemas/") for reference in references(description)}

    assert {"JobSpec", "JobView", "ProblemView"} <= names
    assert names <= description["components"]["schemas"].keys()


async def test_the_description_asks_for_a_job_as_it_is_written(description: dict[str, Any]) -> None:
    content = description["paths"]["/jobs"]["post"]["requestBody"]["content"]
    root = content["application/json"]["schema"]

    assert content.keys() == {"application/json", "application/yaml"}
    jsonschema.validate(SPEC, {**root, "components": description["components"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(SPEC | {"colour": "red"}, {**root, "components": description["components"]})


async def test_every_endpoint_describes_its_errors_as_problem_documents(description: dict[str, Any]) -> None:
    described = {
        (method.upper(), path): {
            int(status)
            for status, reply in answer["responses"].items()
            if "application/problem+json" in reply.get("content", {})
        }
        for path, answers in description["paths"].items()
        for method, answer in answers.items()
    }

    assert described["POST", "/jobs"] == {409, 413, 422, 503}
    assert described["DELETE", "/jobs/{job_id}"] == {404, 409, 412, 422, 503}
    assert described["POST", "/jobs/{job_id}/retry"] == {404, 409, 412, 422, 503}
    assert described["GET", "/jobs/{job_id}/reconciliation"] == {404, 422, 503}
    assert described["GET", "/sources"] == {503}
    assert [where for where, statuses in described.items() if 503 not in statuses] == [("GET", "/livez")]


async def test_the_description_tells_where_the_version_of_a_job_is(description: dict[str, Any]) -> None:
    told = {
        (method.upper(), path)
        for path, answers in description["paths"].items()
        for method, answer in answers.items()
        if any("ETag" in reply.get("headers", {}) for reply in answer["responses"].values())
    }

    assert told == {
        ("POST", "/jobs"),
        ("GET", "/jobs/{job_id}"),
        ("DELETE", "/jobs/{job_id}"),
        ("POST", "/jobs/{job_id}/retry"),
        ("POST", "/jobs/{job_id}/rejects/replay"),
    }


async def test_problems_and_jobs_are_what_the_description_says(api: Api, description: dict[str, Any]) -> None:
    schemas = {"components": description["components"]}
    wrong = await api.client.post("/jobs", json=SPEC | {"colour": "red"})
    right = await api.client.post("/jobs", json=SPEC)

    jsonschema.validate(wrong.json(), {"$ref": "#/components/schemas/ProblemView", **schemas})
    jsonschema.validate(right.json(), {"$ref": "#/components/schemas/JobView", **schemas})
