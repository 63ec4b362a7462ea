"""Laws of the load protocol when the connection, the server or the reply is lost."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from dataproc.domain.chunk import LoadedChunk
from dataproc.domain.errors import WarehouseUnavailableError
from dataproc.warehouse.publish import is_published, was_committed
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.conftest import open_folder
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, Query, a_load_id, allow, planned

WAYS = pytest.mark.parametrize("way", ["direct", "staged"])
COMMIT = b"COMMIT\x00"
SOCKET = ".s.PGSQL.5432"
OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def orders(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


class Proxy:
    """Stands between client and server; once armed, it breaks the next connection that sends COMMIT."""

    def __init__(self, folder: Path, server: str) -> None:
        self.server = server
        self.armed: str | None = None
        self.broken = 0
        self.threads: list[threading.Thread] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / SOCKET))
        self.listener.listen()
        self.start(self.accept)

    def start(self, work: Callable[..., None], *arguments: object) -> None:
        """Work in a thread that is waited for in the end."""
        self.threads.append(threading.Thread(target=work, args=arguments))
        self.threads[-1].start()

    def close(self) -> None:
        """Take no more connections, and wait until the open ones are ended."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()

    def accept(self) -> None:
        """Serve each connection in a thread, until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.start(self.serve, client)

    def serve(self, client: socket.socket) -> None:
        """Pass on what both sides say, up to the COMMIT that is to be lost, or its reply."""
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self.server)
            while True:
                for side in select.select([client, server], [], [])[0]:
                    data = side.recv(65536)
                    if not data or not self.passed_on(
                        data, server if side is client else client, to_server=side is client
                    ):
                        return

    def passed_on(self, data: bytes, sink: socket.socket, *, to_server: bool) -> bool:
        """Pass on data, unless this is the place to break; return whether to go on."""
        when = self.armed if to_server and COMMIT in data else None
        if when is None:
            sink.sendall(data)
            return True
        self.armed = None
        self.broken += 1
        if when == "after":
            sink.sendall(data)
            sink.recv(1)  # the server has committed
        return False


@contextmanager
def proxied(warehouse: PostgresWarehouse) -> Iterator[tuple[Proxy, PostgresWarehouse]]:
    """Give a proxy, and the warehouse as it is seen through it."""
    before, _, host = warehouse.url.partition("host=")
    with open_folder() as folder:
        proxy = Proxy(folder, f"{host}/{SOCKET}")
        try:
            yield proxy, PostgresWarehouse(f"{before}host={folder}", ALWAYS_DIRECT)
        finally:
            proxy.close()


def armed(proxy: Proxy, chunks: Iterator[LoadedChunk], when: str) -> Iterator[LoadedChunk]:
    """Yield all chunks; whoever commits next is the publisher."""
    yield from chunks
    proxy.armed = when


@WAYS
@pytest.mark.parametrize("when", ["after", "before"])
def test_when_the_reply_to_commit_is_lost_the_ledger_tells_what_happened(
    warehouse: PostgresWarehouse, query: Query, way: str, when: str
) -> None:
    plan, chunks = planned(orders(1, 2), orders(3))
    with proxied(warehouse) as (proxy, far):
        trial = LoadTrial(far, way)
        load = trial.open(plan.schema)
        results = armed(proxy, (load.step(chunk) for chunk in chunks), when)

        if when == "after":
            published = load.publish(plan, results, allow)
            assert published == warehouse.published(trial.load_id.job_id)
            assert query.table() == [(1,), (2,), (3,)]
        else:
            with pytest.raises(WarehouseUnavailableError, match="the publish was rolled back"):
                load.publish(plan, results, allow)
            assert (query.table(), query.count("load_ledger")) == ([], 0)

        assert proxy.broken == 1


def test_when_a_chunk_s_commit_is_lost_its_twin_settles_it(warehouse: PostgresWarehouse, query: Query) -> None:
    plan, chunks = planned(orders(1, 2))
    with proxied(warehouse) as (proxy, far):
        load = LoadTrial(far, "staged").open(plan.schema)
        proxy.armed = "after"
        with pytest.raises(WarehouseUnavailableError):
            load.step(chunks[0])

        load.publish(plan, iter([load.step(chunks[0])]), allow)

    assert query.table() == [(1,), (2,)]


@WAYS
def test_a_server_that_ends_the_connection_while_rows_arrive_leaves_nothing(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    LoadTrial(warehouse, way).run(orders(0))
    plan, chunks = planned(*(orders(i) for i in range(1, 20)))
    load = LoadTrial(warehouse, way).open(plan.schema)

    def arriving() -> Iterator[LoadedChunk]:
        for chunk in chunks:
            yield load.step(chunk)
            if chunk.unit == "u5":
                query(OTHERS)
                if way == "staged":
                    load.step(chunk)
                    raise WarehouseUnavailableError

    with pytest.raises(WarehouseUnavailableError):
        load.publish(plan, arriving(), allow)

    assert (query.table(), query.count("load_ledger")) == ([(0,)], 1)


def test_a_server_that_ends_the_connection_in_the_middle_of_a_chunk_leaves_nothing_of_it(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    plan, chunks = planned(orders(*range(100)))
    trial = LoadTrial(warehouse, "staged")
    load = trial.open(plan.schema)
    name = f"dataproc_load.staging_{trial.load_id.job_id.hex}_1"
    query("CREATE FUNCTION end_me() RETURNS trigger LANGUAGE plpgsql AS "
          "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'")  # fmt: skip
    query(f"CREATE TRIGGER end_me BEFORE INSERT ON {name} FOR EACH ROW WHEN (NEW.id = 50) EXECUTE FUNCTION end_me()")

    with pytest.raises(WarehouseUnavailableError):
        load.step(chunks[0])

    assert (query.table(name), query.count("load_chunk")) == ([], 0)
    query(f"DROP TRIGGER end_me ON {name}")
    load.publish(plan, iter([load.step(chunks[0])]), allow)
    assert len(query.table()) == 100


def test_the_fate_of_a_publish_is_not_told_while_it_is_open(warehouse: PostgresWarehouse, query: Query) -> None:
    with query.open() as conn:
        row = conn.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        with pytest.raises(WarehouseUnavailableError, match="still open"):
            is_published(warehouse.url, a_load_id().job_id, row[0])
        with pytest.raises(WarehouseUnavailableError, match="still open"):
            was_committed(warehouse.url, a_load_id().job_id, row[0], patience=0.3)
        conn.rollback()

        assert not is_published(warehouse.url, a_load_id().job_id, row[0])


def test_a_transaction_that_the_server_lost_in_a_crash_was_not_committed(warehouse: PostgresWarehouse) -> None:
    assert not is_published(warehouse.url, a_load_id().job_id, str(2**31))
