"""The doctor, against what is really wrong: each check with a set-up that fails it, and with one that does not."""

import importlib.metadata
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Request, Response

from dataproc.cli import database_checks, machine_checks, ray_checks
from dataproc.cli.app import app
from dataproc.cli.finding import Check, Finding
from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.repositories.migrate import head_revision
from dataproc.settings import Settings
from dataproc.warehouse.setup import prepare
from tests.api_server import api_server
from tests.conftest import open_folder

NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"
TOKEN = "t0ken"
RAY = importlib.metadata.version("ray")


def found(check: Check, name: str, **settings: object) -> Finding:
    """Return what a check finds under that name; `fail` if it says so twice."""
    findings = {finding.check: finding for finding in check(Settings.model_validate(settings))}
    return findings[name]


def wrong(check: Check, name: str, **settings: object) -> str:
    """Return what a check finds wrong, and what to do."""
    finding = found(check, name, **settings)
    assert finding.status == "fail", finding
    assert finding.advice
    return f"{finding.detail} -> {finding.advice}"


def is_ok(check: Check, name: str, **settings: object) -> bool:
    return found(check, name, **settings).status == "ok"


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


def test_a_python_that_is_too_new_fails() -> None:
    assert [f.status for f in machine_checks.python_version(Settings(), (3, 13))] == ["fail"]


def test_this_python_is_fine() -> None:
    assert is_ok(machine_checks.python_version, "Python")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give a real file system of 8 MiB."""
    with open_folder() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_nearly_full_fails(small_disk: Path) -> None:
    said = wrong(machine_checks.disks, "disk of the data folder", data_dir=small_disk / "not" / "yet" / "there")

    assert str(small_disk) in said
    assert "DATAPROC_DATA_DIR" in said


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [(100, 50, "ok"), (100, 4, "warn"), (20, 1.5, "warn"), (100, 0.1, "fail")],
)
def test_a_disk_is_judged_by_what_is_free(tmp_path: Path, total: int, free: float, status: str) -> None:
    gib = machine_checks.GIB

    finding = machine_checks.disk("disk", tmp_path, lambda _: (total * gib, 0, int(free * gib)))

    assert finding.status == status


def test_little_shared_memory_is_warned_of() -> None:
    findings = machine_checks.shared_memory(Settings(), lambda _: (64 * 2**20, 0, 64 * 2**20))

    assert [(f.status, "--shm-size" in f.advice) for f in findings] == [("warn", True)]


def test_a_free_port_is_fine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert is_ok(machine_checks.api_port, "API port", http_port=port)


def test_a_port_that_somebody_listens_on_fails_and_tells_who() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        said = wrong(machine_checks.api_port, "API port", http_port=listener.getsockname()[1])

    assert f"process {os.getpid()}" in said
    assert "DATAPROC_HTTP_PORT" in said


def test_a_port_on_which_another_program_answers_fails(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/openapi.json").respond_with_json({"info": {"title": "another"}})

    assert wrong(machine_checks.api_port, "API port", http_port=httpserver.port)


def test_a_port_on_which_our_api_answers_is_fine(database_url: str) -> None:
    with api_server(database_url) as url:
        finding = found(machine_checks.api_port, "API port", http_port=int(url.rpartition(":")[2]))

    assert finding.status == "ok"
    assert "the API of dataproc answers" in finding.detail


def test_an_address_that_is_not_of_this_machine_fails() -> None:
    assert wrong(machine_checks.api_port, "API port", http_host="192.0.2.1", http_port=0)


# ── the metadata database ────────────────────────────────────────────────────────────────────────


def test_a_migrated_metadata_database_is_fine(database_url: str) -> None:
    findings = list(database_checks.metadata(Settings.model_validate({"metadata_url": database_url})))

    assert {f.check: f.status for f in findings} == {
        "metadata database": "ok",
        "metadata migrations": "ok",
        "dispatcher": "ok",
        "metadata connections": "ok",
    }


def test_a_metadata_server_that_is_not_there_fails() -> None:
    said = wrong(database_checks.metadata, "metadata database", metadata_url=NOWHERE)

    assert "does not answer" in said
    assert "DATAPROC_METADATA_URL" in said


def test_a_port_where_no_postgresql_is_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert wrong(database_checks.metadata, "metadata database", metadata_url=f"postgresql://ann@127.0.0.1:{port}/x")


def test_a_database_that_is_not_there_fails(database_url: str) -> None:
    missing = database_url.replace("/test_", "/missing_")

    assert "does not exist" in wrong(database_checks.metadata, "metadata database", metadata_url=missing)


def test_a_url_of_another_kind_of_database_fails() -> None:
    assert "mysql" in wrong(database_checks.metadata, "metadata database", metadata_url="mysql://ann@h/x")


def test_a_database_without_migrations_fails(empty_database_url: str) -> None:
    assert "dataproc migrate" in wrong(database_checks.metadata, "metadata migrations", metadata_url=empty_database_url)


def test_a_database_that_a_newer_version_migrated_fails(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")

    said = wrong(database_checks.metadata, "metadata migrations", metadata_url=database_url)

    assert "9999" in said
    assert "upgrade dataproc" in said


def test_a_database_that_lacks_the_newest_migration_is_behind() -> None:
    finding = database_checks.migrations(head_revision(), "the next one")

    assert finding.status == "fail"
    assert "behind" in finding.detail


def test_a_server_of_an_old_version_fails() -> None:
    assert database_checks.server_version("warehouse", 140011, "DATAPROC_WAREHOUSE_URL").status == "fail"


def test_a_server_of_the_oldest_supported_version_is_fine() -> None:
    assert database_checks.server_version("warehouse", 150000, "DATAPROC_WAREHOUSE_URL").status == "ok"


DUTY = "INSERT INTO duties (name, holder, expires_at, note) VALUES ('dispatch', 'd-1', clock_timestamp() + %s, %s)"
DUE_JOB = "INSERT INTO jobs (id, name, spec, owner, status, priority) VALUES (%s, 'a', '{}', 'ann', 'PENDING', 0)"


def dispatch(url: str, *, note: str | None = None, lease: timedelta = timedelta(hours=1)) -> None:
    """Let a dispatcher be at work, or have been."""
    with psycopg.connect(url) as conn:
        conn.execute(DUTY, (lease, note))


def test_a_dispatcher_at_work_is_fine(database_url: str) -> None:
    dispatch(database_url)

    assert found(database_checks.metadata, "dispatcher", metadata_url=database_url).detail == "d-1 is at work"


def test_runners_that_do_not_start_fail_with_the_reason(database_url: str) -> None:
    dispatch(database_url, note="a runner: the last 3 ended before they had started; r-1: no module")

    assert "r-1: no module" in wrong(database_checks.metadata, "dispatcher", metadata_url=database_url)


@pytest.mark.parametrize("has_been", [True, False])
def test_without_a_dispatcher_jobs_that_wait_fail(database_url: str, *, has_been: bool) -> None:
    if has_been:
        dispatch(database_url, note="old", lease=-timedelta(seconds=1))
    without_jobs = found(database_checks.metadata, "dispatcher", metadata_url=database_url)
    with psycopg.connect(database_url) as conn:
        conn.execute(DUE_JOB, (uuid4(),))

    assert (without_jobs.status, without_jobs.detail) == ("ok", "none is at work, and no job waits")
    shown = wrong(database_checks.metadata, "dispatcher", metadata_url=database_url)
    assert "1 jobs that are due wait -> start one by `python -m jobs.dispatcher`" in shown


def test_pools_that_do_not_fit_are_warned_of(database_url: str) -> None:
    finding = found(
        database_checks.metadata, "metadata connections", metadata_url=database_url, pool_size=20, max_runners=40
    )

    assert finding.status == "warn"
    assert "DATAPROC_POOL_SIZE" in finding.advice


def test_a_pool_that_does_not_fit_alone_fails(database_url: str) -> None:
    assert wrong(database_checks.metadata, "metadata connections", metadata_url=database_url, pool_size=1000)


def test_a_database_that_takes_no_writes_fails(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        name = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))

    assert "read-only" in wrong(database_checks.metadata, "metadata database", metadata_url=database_url)


# ── the warehouse ────────────────────────────────────────────────────────────────────────────────


def test_a_prepared_warehouse_is_fine(empty_database_url: str) -> None:
    prepare(empty_database_url)

    findings = list(database_checks.warehouse(Settings.model_validate({"warehouse_url": empty_database_url})))

    assert {f.check: f.status for f in findings} == {
        "warehouse": "ok",
        "warehouse schema": "ok",
        "warehouse rights": "ok",
    }


def test_a_warehouse_that_is_not_there_fails() -> None:
    assert "DATAPROC_WAREHOUSE_URL" in wrong(database_checks.warehouse, "warehouse", warehouse_url=NOWHERE)


def test_a_warehouse_that_was_not_prepared_fails(empty_database_url: str) -> None:
    assert "dataproc migrate" in wrong(database_checks.warehouse, "warehouse schema", warehouse_url=empty_database_url)


def test_a_warehouse_of_a_newer_version_fails(empty_database_url: str) -> None:
    prepare(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("UPDATE dataproc_load.version SET version = 99")

    assert "ahead" in wrong(database_checks.warehouse, "warehouse schema", warehouse_url=empty_database_url)


@pytest.fixture
def poor_role(empty_database_url: str) -> Iterator[str]:
    """Give the URL of a role that may look at a prepared warehouse and make nothing in it."""
    prepare(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE poor LOGIN")
        conn.execute("GRANT USAGE ON SCHEMA dataproc_load TO poor")
        conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA dataproc_load TO poor")
        yield empty_database_url.replace("postgres@", "poor@")
        conn.execute("DROP OWNED BY poor")
        conn.execute("DROP ROLE poor")


def test_a_role_that_may_make_no_tables_is_warned_of(poor_role: str) -> None:
    finding = found(database_checks.warehouse, "warehouse rights", warehouse_url=poor_role)

    assert finding.status == "warn"
    assert "GRANT CREATE" in finding.advice


# ── the embedded server ──────────────────────────────────────────────────────────────────────────


def test_an_embedded_server_that_could_run_is_fine(tmp_path: Path) -> None:
    finding = found(database_checks.embedded, "embedded PostgreSQL", data_dir=tmp_path / "new")

    assert (finding.status, "can run" in finding.detail) == ("ok", True)
    assert not (tmp_path / "new").exists()


def test_a_data_folder_of_another_version_fails(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")

    assert "17" in wrong(database_checks.embedded, "embedded PostgreSQL", data_dir=tmp_path)


def test_a_data_folder_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert wrong(database_checks.embedded, "embedded PostgreSQL", data_dir=tmp_path / "file")


def test_an_embedded_server_that_runs_is_found_and_examined() -> None:
    with open_folder() as folder, EmbeddedPostgres(folder) as server:
        prepare(server.warehouse_url)
        environment = {"DATAPROC_DATA_DIR": str(folder), "DATAPROC_RAY_DASHBOARD_URL": "http://127.0.0.1:9"}
        done = CliRunner().invoke(app, ["doctor", "--json"], env=environment)

    findings = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    assert done.exit_code == 1
    assert "runs in" in findings["embedded PostgreSQL"]["detail"]
    assert findings["metadata migrations"]["status"] == "fail"
    assert findings["warehouse schema"]["status"] == "ok"


# ── the Ray cluster ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dashboard(httpserver: HTTPServer) -> str:
    """Give a dashboard that asks for no token."""
    httpserver.expect_request("/api/jobs/").respond_with_json([])
    httpserver.expect_request("/api/version").respond_with_json({"ray_version": RAY})
    httpserver.expect_request("/").respond_with_data("Ray")
    return httpserver.url_for("")


@pytest.fixture
def locked_dashboard(httpserver: HTTPServer) -> str:
    """Give a dashboard that answers as Ray's does where tokens are asked for."""

    def answer(request: Request) -> Response:
        if "Authorization" not in request.headers:
            return Response("Unauthorized: Missing authentication token", status=401)
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return Response("Forbidden: Invalid authentication token", status=403)
        body = [] if request.path == "/api/jobs/" else {"ray_version": RAY}
        return Response(json.dumps(body), content_type="application/json")

    for path in ("/api/jobs/", "/api/version"):
        httpserver.expect_request(path).respond_with_handler(answer)
    httpserver.expect_request("/").respond_with_data("Ray")
    return httpserver.url_for("")


def ray_statuses(url: str, **settings: object) -> dict[str, str]:
    values = Settings.model_validate({"ray_dashboard_url": url, **settings})
    return {finding.check: finding.status for finding in ray_checks.ray(values)}


ALL_OK = {"Ray dashboard": "ok", "Ray token": "ok", "Ray Jobs API": "ok", "Ray version": "ok"}


def test_a_cluster_of_our_version_is_fine(dashboard: str) -> None:
    assert ray_statuses(dashboard) == ALL_OK


def test_a_cluster_that_takes_our_token_is_fine(locked_dashboard: str) -> None:
    assert ray_statuses(locked_dashboard, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) == ALL_OK


def test_a_cluster_that_asks_for_a_token_fails_without_one(locked_dashboard: str) -> None:
    said = wrong(ray_checks.ray, "Ray token", ray_dashboard_url=locked_dashboard)

    assert "set RAY_AUTH_MODE=token" in said


def test_a_mode_without_a_token_fails(locked_dashboard: str) -> None:
    said = wrong(ray_checks.ray, "Ray token", ray_dashboard_url=locked_dashboard, RAY_AUTH_MODE="token")

    assert "RAY_AUTH_TOKEN is not set" in said


def test_a_wrong_token_fails_and_is_not_shown(locked_dashboard: str) -> None:
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wr0ng"}

    said = wrong(ray_checks.ray, "Ray token", ray_dashboard_url=locked_dashboard, **settings)

    assert "refused our token" in said
    assert "wr0ng" not in said


def test_a_token_that_nobody_asks_for_fails(dashboard: str) -> None:
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    said = wrong(ray_checks.ray, "Ray token", ray_dashboard_url=dashboard, **settings)

    assert "RAY_AUTH_MODE=disabled" in said


def test_a_cluster_of_another_version_fails(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/jobs/").respond_with_json([])
    httpserver.expect_request("/api/version").respond_with_json({"ray_version": "2.9.0"})

    said = wrong(ray_checks.ray, "Ray version", ray_dashboard_url=httpserver.url_for(""))

    assert "2.9.0" in said


def test_something_that_is_no_dashboard_fails(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/jobs/").respond_with_data("no such page", status=404)

    assert "404" in wrong(ray_checks.ray, "Ray Jobs API", ray_dashboard_url=httpserver.url_for(""))


def test_a_dashboard_that_was_named_and_does_not_answer_fails() -> None:
    said = wrong(ray_checks.ray, "Ray dashboard", ray_dashboard_url="http://127.0.0.1:9")

    assert "DATAPROC_RAY_DASHBOARD_URL" in said


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1:9", "does not answer"), ("nonsense", "host:port")])
def test_a_cluster_that_drivers_cannot_reach_fails(dashboard: str, address: str, said: str) -> None:
    assert said in wrong(ray_checks.ray, "Ray address", ray_dashboard_url=dashboard, ray_address=address)


def test_an_address_that_answers_is_fine(dashboard: str, httpserver: HTTPServer) -> None:
    address = f"127.0.0.1:{httpserver.port}"

    assert is_ok(ray_checks.ray, "Ray address", ray_dashboard_url=dashboard, ray_address=address)


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def examine(environment: dict[str, str], *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *words], env=environment)
    return done.exit_code, done.stdout


@pytest.fixture
def healthy(database_url: str, empty_database_url: str, dashboard: str) -> dict[str, str]:
    prepare(empty_database_url)
    return {
        "DATAPROC_METADATA_URL": database_url,
        "DATAPROC_WAREHOUSE_URL": empty_database_url,
        "DATAPROC_RAY_DASHBOARD_URL": dashboard,
        "DATAPROC_HTTP_PORT": "0",
    }


def test_a_healthy_set_up_is_code_0(healthy: dict[str, str]) -> None:
    code, said = examine(healthy, "--json")

    assert code == 0, said
    assert json.loads(said)["ok"] is True


def test_one_failure_is_code_1_and_told_with_what_to_do(healthy: dict[str, str]) -> None:
    code, said = examine(healthy | {"DATAPROC_WAREHOUSE_URL": NOWHERE})

    assert code == 1
    lines = [line.strip() for line in said.splitlines()]
    failed = next(i for i, line in enumerate(lines) if line.startswith("fail"))
    assert lines[failed].split()[:2] == ["fail", "warehouse"]
    assert lines[failed + 1] == "→ start the server, or correct DATAPROC_WAREHOUSE_URL"
