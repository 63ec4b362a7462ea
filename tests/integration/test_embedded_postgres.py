"""The embedded PostgreSQL: found again after any end, stopped by its last user, closed to strangers."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dataproc.domain.errors import SetupError
from dataproc.embedded import programs
from dataproc.embedded.account import Account
from dataproc.embedded.postgres import EmbeddedPostgres, default_data_dir
from tests.conftest import open_folder
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
NOBODY = 65534

START_AND_WAIT = """
import sys
from pathlib import Path
from dataproc.embedded.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path
        stop_whatever_runs(path)


def stop_whatever_runs(folder: Path) -> None:
    """Stop a server that a failed test has left behind."""
    for trace in folder.rglob("postmaster.pid"):
        server = EmbeddedPostgres(folder)
        if trace.parent == server.folder and server.is_alive():
            server.pg_ctl("stop", "--mode=immediate")


def another_user(folder: Path) -> subprocess.Popen[str]:
    """Start a process that uses the server until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Let a process end by itself."""
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as the system would."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)


def as_nobody(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user without any rights."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return subprocess.run(
        [*become, sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def value(url: str, query: str) -> object:
    """Return the one value of a query."""
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def started_at(server: EmbeddedPostgres) -> object:
    """Return what tells one start of a server from the next."""
    return value(server.metadata_url, "SELECT pg_postmaster_start_time()")


def test_both_databases_are_there_and_what_is_in_them_stays(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.warehouse_url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS number")

    with EmbeddedPostgres(folder) as server:
        assert value(server.metadata_url, "SELECT current_database()") == "dataproc"
        assert value(server.warehouse_url, "SELECT number FROM kept") == 1


def test_what_is_committed_is_on_disk(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        names = ("fsync", "synchronous_commit", "full_page_writes")
        assert [value(server.metadata_url, f"SHOW {name}") for name in names] == ["on", "on", "on"]


def test_a_server_whose_starter_was_killed_is_found_again(folder: Path) -> None:
    process = another_user(folder)
    server = EmbeddedPostgres(folder)
    before = started_at(server)

    kill(process)

    assert server.answers()
    with server:
        assert started_at(server) == before
    assert not server.answers()


def test_a_server_that_was_killed_itself_recovers(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.warehouse_url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS number")
        conn.commit()
        pid = int((server.folder / "postmaster.pid").read_text().partition("\n")[0])
        os.kill(pid, signal.SIGKILL)

    with EmbeddedPostgres(folder) as server:
        assert value(server.warehouse_url, "SELECT number FROM kept") == 1


def test_only_the_last_user_stops_the_server(folder: Path) -> None:
    first, second = another_user(folder), another_user(folder)
    server = EmbeddedPostgres(folder)

    end(first)
    assert server.answers()

    end(second)
    assert not server.answers()


def test_a_killed_user_keeps_no_server_running(folder: Path) -> None:
    first, second = another_user(folder), another_user(folder)

    kill(first)
    end(second)

    assert not EmbeddedPostgres(folder).answers()


def test_users_that_start_at_once_share_one_server(folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START_AND_WAIT, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]

    for process in processes:
        process.communicate(timeout=PATIENCE)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert not EmbeddedPostgres(folder).answers()


def test_a_process_number_that_was_given_to_another_does_not_prevent_a_start(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        trace = server.folder / "postmaster.pid"
        lines = trace.read_text().splitlines()
    lines[0] = str(os.getpid())
    trace.write_text("\n".join(lines) + "\n")

    with EmbeddedPostgres(folder) as server:
        assert server.answers()


def test_a_half_made_data_folder_is_made_anew(folder: Path) -> None:
    half = folder / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with EmbeddedPostgres(folder) as server:
        assert server.answers()


def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    deep = folder / ("long" * 30)

    with EmbeddedPostgres(deep) as server:
        assert len(str(server.folder)) > 107
        assert value(server.warehouse_url, "SELECT current_database()") == "warehouse"
        socket_dir = server.socket_dir

    shutil.rmtree(socket_dir)


def test_a_data_folder_of_another_version_is_refused(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("16\n")

    with pytest.raises(SetupError, match=r"PostgreSQL 16.*DATAPROC_DATA_DIR"):
        EmbeddedPostgres(folder).start()


def test_nobody_else_can_reach_the_server(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert value(server.metadata_url, "SHOW listen_addresses") == ""


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SetupError, match="DATAPROC_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_a_plain_user_has_its_data_where_the_system_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_data_dir(uid=1000) == tmp_path / ".local/share/dataproc"

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert default_data_dir(uid=1000) == tmp_path / "xdg" / "dataproc"


@pytest.mark.skipif(not IS_ROOT, reason="only root has another account to run the server under")
def test_root_leaves_closed_folders_closed(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(SetupError, match="cannot be entered"):
        EmbeddedPostgres(closed / "data").start()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="only root has another account to run the server under")
def test_programs_in_a_closed_folder_are_copied_for_the_server(folder: Path) -> None:
    copy = programs.copied(programs.installed(), folder, account := Account.current())

    done = account.run(copy / programs.WHEEL / f"pginstall{programs.MAJOR}" / "bin" / "initdb", "--version")

    assert f"(PostgreSQL) {programs.MAJOR}" in done.stdout


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_plain_user_has_a_server_of_its_own(folder: Path) -> None:
    own = folder / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    if as_nobody("import psycopg").returncode != 0:
        pytest.skip("this Python is in a folder that is closed to plain users")

    done = as_nobody(START_AND_WAIT, str(own))

    assert (done.stdout, done.stderr, done.returncode) == ("ready\n", "", 0)
    assert (own / "postgres" / "PG_VERSION").stat().st_uid == NOBODY
