"""The commands that talk to the API, against the real one over a real PostgreSQL."""

import asyncio
import json
import re
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result
from werkzeug import Request, Response

from dataproc.cli.app import app
from dataproc.domain.job import Claim, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import NO_DISPATCHER, LogLine
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.api_server import api_server
from tests.builders import a_failure, some_progress
from tests.processes import program
from tests.waiting import PATIENCE
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, a_load_id, planned

SPEC = """\
name: orders-daily
source: {kind: files, path: orders.parquet}
destination: {table: analytics.orders}
"""
LEASE = timedelta(seconds=30)


@pytest.fixture
def api(database_url: str) -> Iterator[str]:
    with api_server(database_url) as url:
        yield url


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(SPEC)
    return file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def submitted(api: str, spec: Path, *words: str) -> str:
    """Submit a job and return its id."""
    return str(json.loads(run("submit", spec, "--api", api, "--json", *words).stdout)["id"])


def with_store(database_url: str, act: Callable[[PostgresStore], Awaitable[None]]) -> None:
    """Do something with the metadata database."""

    async def acting() -> None:
        store = PostgresStore.open(database_url, Settings())
        try:
            await act(store)
        finally:
            await store.close()

    asyncio.run(acting())


async def claimed(store: PostgresStore) -> Claim:
    """Claim a job as soon as there is one."""
    while True:
        async with store.begin() as tables:
            if claims := await tables.jobs.claim("runner-1", lease=LEASE, limit=1):
                return claims[0]
        await asyncio.sleep(0.02)


def end_next_job(database_url: str, end: RunStatus) -> None:
    """Play a runner: take a job through its stages to `end`."""

    async def act(store: PostgresStore) -> None:
        claim = await claimed(store)
        for status in (RunStatus.TRANSFORMING, RunStatus.LOADING):
            async with store.begin() as tables:
                await tables.jobs.advance(claim, status)
        failure = a_failure() if end is RunStatus.FAILED else None
        async with store.begin() as tables:
            await tables.jobs.finish(claim, end, progress=some_progress(units_done=4), failure=failure)

    with_store(database_url, act)


def test_submitting_gives_a_job_that_waits(api: str, spec: Path) -> None:
    done = run("submit", spec, "--api", api)

    assert done.exit_code == 0
    job_id, status = done.stdout.splitlines()[0].split()
    assert status == "PENDING"
    assert json.loads(run("jobs", "get", job_id, "--api", api, "--json").stdout)["name"] == "orders-daily"


def test_the_same_key_gives_the_same_job(api: str, spec: Path) -> None:
    assert submitted(api, spec, "--key", "k") == submitted(api, spec, "--key", "k")


def test_without_a_key_each_submission_is_a_job_of_its_own(api: str, spec: Path) -> None:
    assert submitted(api, spec) != submitted(api, spec)


def test_a_key_of_another_job_is_refused(api: str, spec: Path) -> None:
    submitted(api, spec, "--key", "k")
    spec.write_text(SPEC.replace("daily", "weekly"))

    done = run("submit", spec, "--api", api, "--key", "k", "--json")

    assert done.exit_code == 4
    assert json.loads(done.stdout)["code"] == "idempotency"


def test_a_wrong_specification_is_told_by_line_and_column(api: str, spec: Path) -> None:
    spec.write_text(SPEC.replace("path", "paht"))

    done = run("submit", spec, "--api", api)

    assert done.exit_code == 2
    assert "2:23 /source/paht: unknown field 'paht': did you mean 'path'?" in done.stderr.splitlines()


@pytest.mark.parametrize(("end", "code"), [(RunStatus.COMPLETED, 0), (RunStatus.FAILED, 1), (RunStatus.CANCELLED, 1)])
def test_waiting_ends_with_the_job_and_tells_how_it_went(
    api: str, spec: Path, database_url: str, end: RunStatus, code: int
) -> None:
    runner = threading.Thread(target=end_next_job, args=(database_url, end))
    runner.start()

    done = run("submit", spec, "--api", api, "--wait")

    runner.join()
    assert done.exit_code == code
    assert f" {end}, 4 of 4 units, 100 rows read, 90 loaded" in done.stderr.splitlines()[-1]
    assert end in done.stdout
    assert ("The source does not answer. (source-unavailable)" in done.stdout) is (end is RunStatus.FAILED)


def test_waiting_for_programs_gives_one_document(api: str, spec: Path, database_url: str) -> None:
    runner = threading.Thread(target=end_next_job, args=(database_url, RunStatus.COMPLETED))
    runner.start()

    done = run("submit", spec, "--api", api, "--wait", "--json")

    runner.join()
    assert json.loads(done.stdout)["status"] == "COMPLETED"


IGNORING_INTERRUPTS = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
"""How cron, and a shell script in the background, start a program."""


@pytest.mark.parametrize("how", [[], IGNORING_INTERRUPTS], ids=["as usual", "with the signal ignored"])
def test_ctrl_c_while_waiting_leaves_the_job_running(api: str, spec: Path, how: list[str]) -> None:
    words = [*how, sys.executable, "-m", "dataproc.cli.app", "submit", str(spec), "--api", api, "--wait"]
    with program(words) as process:
        assert process.stderr is not None
        job_id, _, status = process.stderr.readline().strip().partition(" ")

        process.send_signal(signal.SIGINT)

        _, said = process.communicate(timeout=PATIENCE)
    assert status == f"PENDING, waiting for {NO_DISPATCHER}"
    assert process.returncode == 130
    assert f"the job goes on; dataproc jobs get {job_id} shows it" in said
    assert json.loads(run("jobs", "get", job_id, "--api", api, "--json").stdout)["status"] == "PENDING"


def test_the_list_shows_jobs_newest_first_and_goes_on_where_it_ended(api: str, spec: Path) -> None:
    made = [submitted(api, spec) for _ in range(3)]

    first = json.loads(run("jobs", "list", "--api", api, "--limit", "2", "--json").stdout)
    second = json.loads(run("jobs", "list", "--api", api, "--after", first["next"], "--json").stdout)

    assert [job["id"] for job in first["jobs"] + second["jobs"]] == made[::-1]
    assert f"--after {first['next']}" in run("jobs", "list", "--api", api, "--limit", "2").stdout


def test_the_list_can_be_narrowed(api: str, spec: Path) -> None:
    job_id = submitted(api, spec)

    def found(*words: str) -> bool:
        return job_id in run("jobs", "list", "--api", api, *words).stdout

    assert found("--status", "pending", "--name", "orders-daily", "--since", "2020-01-01")
    assert not found("--status", "FAILED")
    assert not found("--name", "other")
    assert not found("--until", "2020-01-01")


def test_a_job_that_is_cancelled_can_be_retried(api: str, spec: Path) -> None:
    job_id = submitted(api, spec)

    cancelled = run("jobs", "cancel", job_id, "--api", api, "--json")
    revived = run("jobs", "retry", job_id, "--api", api, "--json")

    assert [json.loads(each.stdout)["status"] for each in (cancelled, revived)] == ["CANCELLED", "PENDING"]


def test_a_move_that_is_not_allowed_is_refused(api: str, spec: Path) -> None:
    done = run("jobs", "retry", submitted(api, spec), "--api", api)

    assert done.exit_code == 4
    assert done.stdout == ""
    assert "only one that failed or was cancelled can be retried" in done.stderr


def test_a_job_that_is_not_there_is_refused(api: str) -> None:
    done = run("jobs", "get", str(uuid4()), "--api", api, "--json")

    assert done.exit_code == 4
    assert json.loads(done.stdout)["code"] == "not-found"


def test_the_log_of_each_attempt_is_shown_and_no_more_lines_than_asked_for(
    api: str, spec: Path, database_url: str
) -> None:
    job_id = submitted(api, spec)

    async def act(store: PostgresStore) -> None:
        claim = await claimed(store)
        lines = [LogLine(datetime(2026, 1, 1, tzinfo=UTC), "INFO", word) for word in ("planned", "loaded", "done")]
        async with store.begin() as tables:
            await tables.logs.add(claim.run_id, lines)

    with_store(database_url, act)

    shown = run("jobs", "logs", job_id, "--api", api, "--limit", "2")
    document = json.loads(run("jobs", "logs", job_id, "--api", api, "--json").stdout)

    assert shown.exit_code == 0
    heading, *lines = shown.stdout.splitlines()
    assert heading == f"attempt 1 (run {document[0]['run']})"
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO loaded", "INFO done"]
    assert [line["message"] for line in document[0]["lines"]] == ["planned", "loaded", "done"]


def test_the_account_of_a_load_is_shown_unit_by_unit(spec: Path, database_url: str, warehouse_url: str) -> None:
    warehouse = PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)
    with api_server(database_url, settings=Settings(warehouse_url=SecretStr(warehouse_url))) as api:
        job_id = submitted(api, spec)
        early = run("jobs", "reconciliation", job_id, "--api", api)
        plan, chunks = planned(pa.table({"id": [1, 2, 3]}), pa.table({"id": [4]}))
        LoadTrial(warehouse, load_id=a_load_id(1, JobId(UUID(job_id)))).publish(plan, chunks)
        shown = run("jobs", "reconciliation", job_id, "--api", api)
        document = json.loads(run("jobs", "reconciliation", job_id, "--api", api, "--json").stdout)

    assert early.exit_code == 4
    assert "PENDING and has published nothing" in early.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["u0", "3", "3", "3", "0", "0", "0"] in lines
    assert ["u1", "1", "1", "1", "0", "0", "0"] in lines
    assert ["total", "4", "4", "4", "0", "0", "0"] in lines
    assert [unit["unit"] for unit in document["units"]] == ["u0", "u1"]


def test_an_api_without_a_warehouse_is_code_3_and_names_the_setting(api: str, spec: Path) -> None:
    done = run("jobs", "reconciliation", submitted(api, spec), "--api", api, "--json")

    assert done.exit_code == 3
    assert json.loads(done.stdout)["code"] == "not-ready"
    assert "DATAPROC_WAREHOUSE_URL is not set" in json.loads(done.stdout)["detail"]


def test_a_submission_that_is_in_flight_is_repeated_with_the_same_key(
    api: str, spec: Path, httpserver: HTTPServer
) -> None:
    document = json.loads(run("jobs", "get", submitted(api, spec), "--api", api, "--json").stdout)
    keys: list[str | None] = []

    def answer(request: Request) -> Response:
        keys.append(request.headers.get("Idempotency-Key"))
        if len(keys) < 3:
            in_flight = json.dumps({"code": "in-flight", "detail": "in flight"})
            return Response(in_flight, 409, {"Retry-After": "1"}, content_type="application/problem+json")
        return Response(json.dumps(document), 202, content_type="application/json")

    httpserver.expect_request("/jobs", method="POST").respond_with_handler(answer)

    done = run("submit", spec, "--api", httpserver.url_for("/"))

    assert done.exit_code == 0
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]


def test_a_conflict_is_no_reason_to_repeat(spec: Path, httpserver: HTTPServer) -> None:
    problem = {"code": "conflict", "detail": "Somebody else was first."}
    httpserver.expect_oneshot_request("/jobs").respond_with_json(problem, status=409)

    done = run("submit", spec, "--api", httpserver.url_for("/"))

    assert done.exit_code == 4
    assert "Somebody else was first." in done.stderr
    httpserver.check_assertions()


def test_an_api_that_does_not_answer_is_code_3() -> None:
    done = run("jobs", "list", "--api", "http://127.0.0.1:9")

    assert done.exit_code == 3
    assert "does not answer" in done.stderr


def test_something_else_that_answers_is_code_3(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/jobs").respond_with_data("<html>hello</html>", content_type="text/html")

    done = run("jobs", "list", "--api", httpserver.url_for("/"))

    assert done.exit_code == 3
    assert "not the API of dataproc" in done.stderr


def test_an_api_that_is_busy_for_a_moment_is_asked_again(httpserver: HTTPServer) -> None:
    busy = Response("no replica", status=503)
    httpserver.expect_ordered_request("/jobs").respond_with_response(busy)
    httpserver.expect_ordered_request("/jobs").respond_with_json({"jobs": [], "next": None})

    assert run("jobs", "list", "--api", httpserver.url_for("/")).exit_code == 0


def test_an_api_without_its_database_is_code_3(httpserver: HTTPServer) -> None:
    problem = {"code": "metadata-unavailable", "detail": "The metadata database does not answer."}
    httpserver.expect_request("/jobs").respond_with_json(problem, status=503)

    done = run("jobs", "list", "--api", httpserver.url_for("/"))

    assert done.exit_code == 3
    assert "The metadata database does not answer." in done.stderr


class LosingProxy:
    """Passes requests on to the API, and loses the answer to the first one."""

    def __init__(self, api: str) -> None:
        self.port = int(api.rpartition(":")[2])
        self.lost = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                incoming, _ = self.listener.accept()
            except OSError:
                return
            with incoming, socket.create_connection(("127.0.0.1", self.port)) as outgoing:
                outgoing.sendall(whole_message(incoming))
                answer = whole_message(outgoing)
                if self.lost:
                    incoming.sendall(answer)
                self.lost += not self.lost


def whole_message(connection: socket.socket) -> bytes:
    """Return a request or an answer with its body."""
    received = b""
    while True:
        head, gap, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if gap and len(body) >= int(length[1] if length else 0):
            return received
        received += connection.recv(1_000_000)


def test_a_lost_answer_makes_no_second_job(api: str, spec: Path) -> None:
    proxy = LosingProxy(api)

    done = run("submit", spec, "--api", proxy.url, "--json")

    proxy.listener.close()
    assert proxy.lost == 1
    assert done.exit_code == 0
    jobs = json.loads(run("jobs", "list", "--api", api, "--json").stdout)["jobs"]
    assert [job["id"] for job in jobs] == [json.loads(done.stdout)["id"]]
