"""What becomes of rows when other loaders are killed: `make test-kill-peers N=20 SEED=1`.

The same trial as in `kill_loop`: each round loads Parquet files into a table of its own, and at a random moment the
loader, one of its workers, or all of PostgreSQL is killed. Then the same command is run again until it says that it is
done, as a scheduler would. A reader polls the table all the while; at the end of the round the rows are counted.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil  # type: ignore[import-untyped] # it has no types
import psycopg
import pyarrow.parquet as pq

from bench.environments import ROOT, Peer
from bench.server import Database
from dataproc.embedded.orders import orders, share
from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.embedded.ray_head import RayHead, marked
from tests.conftest import open_folder
from tests.faults.reading import Reader, number_in, reading

FILES = 8
MOST_RUNS = 5
PATIENCE = 180.0
COLUMNS = ("rounds", "kills", "duplicates", "losses", "partial reads", "never got through", "left-overs")
HEAD = ("loader", *COLUMNS, "rounds that needed a hand")
TABLES = "SELECT table_name FROM information_schema.tables WHERE starts_with(table_schema, %s)"


class Loader(Protocol):
    """A loader under trial."""

    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def victims(self) -> Sequence[str]:
        """What can be killed."""

    def prepare(self, schema: str) -> None:
        """Make what the loader does not make itself."""

    def command(self, schema: str) -> Sequence[str]:
        """Return the command that loads into the table `orders` of a schema; it reads the warehouse's URL."""

    def workers(self) -> Sequence[psutil.Process]:
        """Return the workers that are at work."""

    def state(self, schema: str) -> str:
        """Say how far it has come, as it knows itself."""


@dataclass(frozen=True, slots=True)
class Dlt:
    """dlt's append in its fastest ways; it keeps its state in a folder, and goes on from there."""

    files: Path
    states: Path
    way: str
    rows: int
    victims: Sequence[str] = ("loader", "postgres")

    @property
    def name(self) -> str:
        return f"dlt 1.31 ({self.way})"

    def prepare(self, schema: str) -> None:
        """Do nothing: it makes schema and table itself."""

    def command(self, schema: str) -> Sequence[str]:
        script = ROOT / "tests" / "faults" / "peers_dlt.py"
        return [str(Peer("dlt").python), str(script), str(self.files), schema, str(self.states / schema), self.way]

    def workers(self) -> Sequence[psutil.Process]:
        return []

    def state(self, schema: str) -> str:
        """Tell it by the folders through which dlt moves its packages and their jobs."""
        load = self.states / schema / "peer" / "load"
        if any(load.glob("loaded/*")):
            return "package done, command not ended"
        if packages := list(load.glob("normalized/*")):
            done, begun = (len(list(packages[0].glob(f"{kind}_jobs/orders.*"))) for kind in ("completed", "started"))
            return f"loading: {done} files done, {begun} begun"
        return "nothing sent yet"


@dataclass(frozen=True, slots=True)
class RaySql:
    """Ray Data's own sink."""

    database: Database
    files: Path
    head: RayHead
    rows: int
    name: str = "Ray 2.60 write_sql"
    victims: Sequence[str] = ("loader", "worker", "postgres")

    def prepare(self, schema: str) -> None:
        self.database.make_table(schema)

    def command(self, schema: str) -> Sequence[str]:
        script = ROOT / "tests" / "faults" / "peers_ray.py"
        return [sys.executable, str(script), self.head.address, str(self.files), f"{schema}.orders"]

    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that Ray has named after the task that they are at."""
        return [process for process in marked(self.head.mark) if is_task(process)]

    def state(self, schema: str) -> str:
        return f"it keeps no state of {schema}"


def is_task(process: psutil.Process) -> bool:
    """Whether a process of Ray is at a task of Ray Data."""
    with suppress(psutil.Error):
        name = " ".join(process.cmdline())
        return name.startswith("ray::") and any(word in name for word in ("Write", "Read"))
    return False


@dataclass(slots=True)
class Outcome:
    """What a loader's rounds came to."""

    kills: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def line(self, name: str) -> tuple[str, ...]:
        """Return a line of the table."""
        kills = ", ".join(f"{count} {victim}" for victim, count in sorted(self.kills.items()))
        told = {
            kind: f"{self.found[kind]} ({self.rows[kind]:,} rows)" if self.rows[kind] else str(self.found[kind])
            for kind in (*COLUMNS, HEAD[-1])
        }
        return (name, *(kills if kind == "kills" else told[kind] for kind in HEAD[1:]))


@dataclass(slots=True)
class Trial:
    """One loader, the server it loads into, and the dice."""

    loader: Loader
    postgres: EmbeddedPostgres
    dice: random.Random
    aimed: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    usual: float = 0.0
    usual_tables: int = 0
    number: int = 0

    @property
    def database(self) -> Database:
        """The warehouse."""
        return Database(self.postgres.warehouse_url)

    def measure(self) -> None:
        """Load twice without trouble, to know how long it takes when all is warm, and what it leaves."""
        for _ in range(2):
            schema = self.new_schema()
            self.loader.prepare(schema)
            started = time.monotonic()
            if self.end_of(self.start(schema)) != 0 or self.count(schema) != (self.loader.rows, self.loader.rows):
                raise RuntimeError(f"{self.loader.name} does not load when nobody disturbs it")
            self.usual = time.monotonic() - started
            self.usual_tables = self.tables(schema)
            self.drop(schema)
        tell(f"{self.loader.name}: {self.loader.rows:,} rows in {self.usual:.1f} s when nobody disturbs it")

    def round(self) -> None:
        """Load, kill once, load again until it is done, and compare."""
        schema = self.new_schema()
        self.loader.prepare(schema)
        with reading(self.postgres.warehouse_url, f"{schema}.orders") as reader:
            told, code = self.disturbed(schema)
            runs = 1
            while code != 0 and runs < MOST_RUNS:
                code, runs = self.end_of(self.start(schema)), runs + 1
        self.compare(schema, reader, code, f"{told}; runs {runs}")

    def disturbed(self, schema: str) -> tuple[str, int]:
        """Load and kill on the way; return what happened and the exit code."""
        victim, moment = self.dice.choice(self.loader.victims), self.dice.uniform(0, self.usual)
        started = time.monotonic()
        process = self.start(schema)
        if self.aimed:
            victim = "loader"
            self.wait_for_rows(schema, process)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
        moment = time.monotonic() - started
        if process.poll() is not None:
            return f"done before {moment:.1f} s", process.wait()
        killed = self.kill(victim, process)
        state = f"{self.loader.state(schema)}; {self.count(schema)[0]:,} rows there"
        self.outcome.kills[victim] += killed
        return f"{victim} {'' if killed else 'not '}killed at {moment:.1f} s ({state})", self.end_of(process)

    def wait_for_rows(self, schema: str, process: subprocess.Popen[str]) -> None:
        """Wait until the first rows are there for others to see, which is right after a commit of the loader."""
        with self.database.connect() as conn:
            while process.poll() is None and number_in(conn, f"(SELECT FROM {schema}.orders LIMIT 1) AS first") == 0:
                time.sleep(0.001)

    def kill(self, victim: str, process: subprocess.Popen[str]) -> bool:
        """Kill the victim; return whether there was one."""
        if victim == "postgres":
            self.postgres.pg_ctl("stop", "--mode=immediate")
            self.postgres.wait()
            return True
        if victim == "loader":
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        return self.kill_worker(process)

    def kill_worker(self, process: subprocess.Popen[str]) -> bool:
        """Kill a worker that is at work, now or as soon as there is one."""
        while process.poll() is None:
            if workers := self.loader.workers():
                with suppress(psutil.NoSuchProcess):
                    self.dice.choice(workers).kill()
                    return True
            time.sleep(0.05)
        return False

    def start(self, schema: str) -> subprocess.Popen[str]:
        """Start the loader in a process group of its own."""
        process = subprocess.Popen(
            self.loader.command(schema), start_new_session=True, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if process.stdin:
            process.stdin.write(f"{self.database.host_url}\n")
            process.stdin.close()
        return process

    def end_of(self, process: subprocess.Popen[str]) -> int:
        """Return the exit code; a loader that hangs is killed."""
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def compare(self, schema: str, reader: Reader, code: int, told: str) -> None:
        """Count what must not be, and drop it."""
        rows, distinct = self.count(schema)
        found = {
            "duplicates": rows - distinct,
            "losses": self.loader.rows - distinct,
            "partial reads": len([seen for seen in reader.seen if seen % self.loader.rows]),
            "never got through": int(code != 0),
            "left-overs": max(self.tables(schema) - self.usual_tables, 0),
        }
        self.outcome.found.update({kind: int(count > 0) for kind, count in found.items()})
        self.outcome.rows.update({kind: found[kind] for kind in ("duplicates", "losses")})
        wrong = any(count for kind, count in found.items() if kind != "partial reads")
        self.outcome.found.update({"rounds": 1, HEAD[-1]: int(wrong)})
        tell(
            f"{self.loader.name}, round {self.number - 2}: {told}; {({k: n for k, n in found.items() if n}) or 'right'}"
        )
        self.drop(schema)

    def new_schema(self) -> str:
        """Return the name of the next schema."""
        self.number += 1
        return f"peer{self.number}_run"

    def count(self, schema: str) -> tuple[int, int]:
        """Return how many rows there are, and how many different ones."""
        with self.database.connect() as conn:
            if (rows := number_in(conn, f"{schema}.orders")) == 0:
                return 0, 0
            found = conn.execute(f"SELECT count(DISTINCT order_id) FROM {schema}.orders".encode()).fetchone()
            return rows, int((found or (0,))[0])

    def tables(self, schema: str) -> int:
        """Return how many tables there are in the schema, and in those that a loader has made beside it."""
        with self.database.connect() as conn:
            return len(conn.execute(TABLES, (schema,)).fetchall())

    def drop(self, schema: str) -> None:
        """Drop the schema, and those beside it."""
        with self.database.connect() as conn:
            found = conn.execute(
                "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (schema,)
            ).fetchall()
            for (name,) in found:
                conn.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(name)))


@contextmanager
def ray_head(folder: Path) -> Iterator[RayHead]:
    """Give a Ray of our own, and end it."""
    head = RayHead(folder, {"RAY_AUTH_MODE": "disabled"})
    head.start()
    try:
        yield head
    finally:
        head.stop()
        shutil.rmtree(head.temp_dir, ignore_errors=True)


def write_files(folder: Path, rows: int) -> Path:
    """Write orders as Parquet files; return their folder."""
    folder.mkdir()
    table = orders(rows)
    for number in range(FILES):
        pq.write_table(share(table, number, FILES), folder / f"part-{number}.parquet")
    return folder


def loaders(stack: ExitStack, folder: Path, postgres: EmbeddedPostgres, names: Sequence[str]) -> Iterator[Loader]:
    """Yield the loaders; `write_sql` gets few rows, for it inserts them one by one."""
    for name in names:
        if name == "ray":
            head, rows = stack.enter_context(ray_head(folder)), 40_000
            yield RaySql(Database(postgres.warehouse_url), write_files(folder / name, rows), head, rows)
        else:
            Peer("dlt").install()
            (states := folder / f"states-{name}").mkdir()
            yield Dlt(write_files(folder / name, 400_000), states, name.removeprefix("dlt-"), 400_000)


def tell(words: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> None:
    """Try each loader in turn, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loaders", nargs="+", default=["dlt-arrow", "dlt-import", "ray"])
    parser.add_argument("--aimed", action="store_true", help="kill the loader when its first rows can be seen")
    options = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    lines = []
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        postgres = stack.enter_context(EmbeddedPostgres(folder))
        for loader in loaders(stack, folder, postgres, options.loaders):
            dice = random.Random(options.seed)  # noqa: S311 - it only picks victims
            trial = Trial(loader, postgres, dice, aimed=options.aimed)
            trial.measure()
            for _ in range(options.rounds):
                trial.round()
            lines.append(trial.outcome.line(loader.name))
    for line in (HEAD, ("---",) * len(HEAD), *lines):
        tell(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
