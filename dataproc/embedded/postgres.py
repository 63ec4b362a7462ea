"""An embedded PostgreSQL from a wheel, in a data folder of its own.

The wheel's programs are used, and not its Python class: that one keeps its users as a list of process ids (stale after
a kill, wrong after a reboot), shares one lock file between all users of the machine, and opens every folder above the
data for everybody. Here each user of the server holds a shared file lock, which the kernel drops when the process ends,
however it ends; whoever can take the lock alone is the last one and stops the server.
"""

import fcntl
import hashlib
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # it has no types
import psycopg
from psycopg import sql

from dataproc.domain.errors import SetupError
from dataproc.embedded.account import Account
from dataproc.embedded.programs import MAJOR, programs

SUPERUSER = "postgres"
DATABASES = ("dataproc", "warehouse")
LONGEST_SOCKET = 100
"""Bytes in a socket's path; Linux takes 107, macOS 103."""

# Made for loading on a small machine. Nothing here weakens durability: `wal_level=minimal` only lets
# a table made in the same transaction be synced to disk in place of being logged row by row.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
START_SECONDS = 120
ORPHANS_SECONDS = 15
NO_PROCESS = 2**31 - 2
"""A number beyond those that systems give to processes."""

logger = logging.getLogger(__name__)


def default_data_dir(uid: int | None = None) -> Path:
    """Return where the embedded servers keep a user's data; that of root is outside its home, which is closed."""
    if (os.geteuid() if uid is None else uid) == 0:
        return Path("/var/lib/dataproc")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "dataproc"


@dataclass(slots=True)
class EmbeddedPostgres:
    """A server for all programs that use the same data folder; it stops when the last of them does."""

    data_dir: Path = field(default_factory=default_data_dir)
    account: Account = field(default_factory=Account.current)
    presence: IO[bytes] | None = None
    server_settings: Mapping[str, str] = field(default_factory=lambda: SERVER_SETTINGS)

    @property
    def folder(self) -> Path:
        """The data folder of PostgreSQL."""
        return self.data_dir / "postgres"

    @property
    def metadata_url(self) -> str:
        """The database that holds the jobs."""
        return self.url("dataproc")

    @property
    def warehouse_url(self) -> str:
        """The database that holds the data."""
        return self.url("warehouse")

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(self.socket_dir), safe='/')}"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: the data folder, or one of a short name where that is too long."""
        if len(os.fsencode(self.folder / ".s.PGSQL.5432")) <= LONGEST_SOCKET:
            return self.folder
        short = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"dataproc-{self.account.uid}-{short}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Find the server running, or start it; make it and its databases if they are missing."""
        self.data_dir = prepared(self.data_dir)
        refuse_closed(self.data_dir, self.account)
        with alone(self.data_dir):
            if not self.answers():
                self.launch()
            for database in DATABASES:
                self.ensure_database(database)
            self.presence = (self.data_dir / "postgres.users").open("ab")
            fcntl.flock(self.presence, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Stop using the server; the last user stops the server itself."""
        if self.presence is None:
            return
        with alone(self.data_dir), self.presence as presence:
            self.presence = None
            if is_last(presence) and self.is_alive():
                self.stop_server()

    def revive(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Start a server that died, unless another user of the folder has done so, or nobody wants it any more."""
        with alone(self.data_dir):
            if self.presence is not None and not is_over():
                self.wait()

    def launch(self) -> None:
        """Start the server, and wait until it answers."""
        self.make_cluster()
        self.account.own(self.folder)
        self.account.make_folder(self.socket_dir)
        self.wait()
        logger.info("embedded postgres started", extra={"folder": str(self.folder)})

    def start_server(self) -> None:
        """Start the server process; the children of one that was killed may take a moment to end."""
        options = {**self.server_settings, "unix_socket_directories": str(self.socket_dir)}
        words = shlex.join(f"--{name}={value}" for name, value in options.items())
        deadline = time.monotonic() + (ORPHANS_SECONDS if self.trace.exists() else 0)
        while True:
            try:
                return self.pg_ctl("start", f"--log={self.folder / 'server.log'}", f"--options={words}")
            except SetupError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop_server(self) -> None:
        """Stop the server process; one that is killed meanwhile has stopped as well."""
        try:
            self.pg_ctl("stop", "--mode=fast")
        except SetupError:
            if self.is_alive():
                raise
        logger.info("embedded postgres stopped", extra={"folder": str(self.folder)})

    def make_cluster(self) -> None:
        """Make the data folder, whole or not at all; refuse that of another version."""
        version = self.folder / "PG_VERSION"
        if version.exists():
            refuse_other_version(version)
            return
        new = self.data_dir / "postgres.new"
        shutil.rmtree(new, ignore_errors=True)
        self.account.make_folder(new)
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        self.program("initdb", "--auth=trust", f"--username={SUPERUSER}", *locale, f"--pgdata={new}")
        new.rename(self.folder)

    @property
    def trace(self) -> Path:
        """The file in which a running server names its process."""
        return self.folder / "postmaster.pid"

    def is_alive(self) -> bool:
        """Whether a server runs in the folder.

        PostgreSQL itself only looks whether any process has the number in `postmaster.pid`; after a reboot, or in a new
        container, that may be somebody else, so the number is made void. The rest of the file stays, for by that
        PostgreSQL finds children that a killed server has left.
        """
        try:
            first, rest = self.trace.read_text().partition("\n")[::2]
        except FileNotFoundError:
            return False
        command = command_of(first)
        if str(self.folder) in command:
            return True
        if command:
            self.trace.write_text(f"{NO_PROCESS}\n{rest}")
        return False

    def wait(self) -> None:
        """Start the server unless one runs, and wait until it answers: after a crash it first replays its log."""
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise SetupError(f"PostgreSQL does not answer; see {self.folder / 'server.log'}")
            if not self.is_alive():
                self.start_server()
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the server takes connections."""
        try:
            with psycopg.connect(self.url(SUPERUSER), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def ensure_database(self, name: str) -> None:
        """Make a database if it is missing."""
        with psycopg.connect(self.url(SUPERUSER), autocommit=True) as conn:
            if conn.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def pg_ctl(self, action: str, *options: str) -> None:
        """Start or stop the server, and wait for it."""
        self.program("pg_ctl", action, "--wait", f"--timeout={START_SECONDS}", f"--pgdata={self.folder}", *options)

    def program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        done = self.account.run(programs(self.data_dir, self.account) / name, *arguments)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip()
            raise SetupError(f"{name} failed: {reason}; see also {self.folder / 'server.log'}")


def prepared(data_dir: Path) -> Path:
    """Return the folder of the embedded servers with its full name, made if it is missing."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SetupError(f"the folder {data_dir} cannot be made: {exc.strerror}; set DATAPROC_DATA_DIR") from exc
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise SetupError(f"the folder {data_dir} belongs to another user; set DATAPROC_DATA_DIR to one of your own")
    return data_dir.resolve()


def refuse_closed(data_dir: Path, account: Account) -> None:
    """Refuse a folder that the server's account cannot reach: opening it up is not for us to do."""
    if account.switch and not all(account.has(folder, 1) for folder in (data_dir, *data_dir.parents)):
        raise SetupError(
            f"the folder {data_dir} cannot be entered by the user that PostgreSQL runs as; set DATAPROC_DATA_DIR to "
            "one outside of closed folders, such as /var/lib/dataproc"
        )


def refuse_other_version(version: Path) -> None:
    """Refuse a data folder that another major version has made."""
    found = version.read_text().strip()
    if found != str(MAJOR):
        raise SetupError(
            f"the data folder {version.parent} was made by PostgreSQL {found}, and this is {MAJOR}: dump it with the "
            "old version and load it again, or set DATAPROC_DATA_DIR to a new folder"
        )


def command_of(pid: str) -> list[str]:
    """Return the command line of a process; empty: there is none."""
    try:
        command: list[str] = psutil.Process(int(pid)).cmdline()
    except (ValueError, psutil.NoSuchProcess):
        return []
    except psutil.AccessDenied:
        return ["somebody else's"]
    return command


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Keep every other process from starting or stopping the server meanwhile."""
    with (data_dir / "postgres.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_last(presence: IO[bytes]) -> bool:
    """Whether nobody else holds the users' lock."""
    try:
        fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
