"""PostgreSQL as a source: the laws of every source, parallel reads on one snapshot, and what goes wrong."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dataproc.domain.errors import (
    BadDataError,
    ContractViolationError,
    DataprocError,
    InvalidSpecError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.sources.database import DatabaseSource
from dataproc.ports.connector import Connector
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.database.cursors import EVERYTHING
from dataproc.sources.database.postgres import PostgresSource
from dataproc.sources.database.postgres_session import Snapshot
from dataproc.sources.database.postgres_types import describe
from dataproc.sources.factory import connector_for, source_for
from tests.builders import surroundings
from tests.conftest import DEFAULT_MAJOR, EMPTY, PostgresServers
from tests.contract.conformance import Row, SourceConformance, in_a_worker, read_all, rows_of
from tests.descriptors import open_sockets
from tests.fakes.secrets import FakeSecrets
from tests.waiting import wait_until
from tests.warehouses import Query

PASSWORD = "only-for-reading"
REFERENCE = "secret://legacy#password"
ORDERS = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, code text, amount numeric(10, 2), at timestamptz, note text);
INSERT INTO shop.orders SELECT n, CASE WHEN n % 10 > 0 THEN 'c' || n % 7 END, n / 8.0, '2026-01-01'::timestamptz
    + n * interval '1 minute', repeat('x', 90) FROM generate_series(1, 3000) AS n;
CREATE TABLE shop.none (LIKE shop.orders);
CREATE VIEW shop.recent AS SELECT id, note FROM shop.orders WHERE id > 2990;
GRANT USAGE ON SCHEMA shop TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO reader;
CREATE TABLE shop.hidden (id int);
ANALYZE shop.orders;
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with orders, and a user with a password who may read them."""

    url: str
    options: dict[str, Any] = field(default_factory=lambda: {"table": "shop.orders"})

    @property
    def query(self) -> Query:
        return Query(self.url)

    def connection(self, **changes: object) -> Connection:
        """Return it as a registered source."""
        parts = urlsplit(self.url)
        config = {"host": parse_qs(parts.query)["host"][0], "database": parts.path[1:], "user": "reader"}
        return Connection("legacy", "postgresql", {**config, "password": REFERENCE, "tls": "disable", **changes})

    def reading(self, connection: Connection | None = None, password: str = PASSWORD, **options: object) -> Source:
        """Return a source of the database."""
        spec = DatabaseSource.model_validate({"kind": "database", "connection": "legacy", **options})
        secrets = FakeSecrets({REFERENCE: password})
        return source_for(spec, surroundings(secrets=secrets, connection=connection or self.connection()))

    def connector(self, connection: Connection | None = None) -> Connector:
        """Return what can be asked of the database."""
        secrets = FakeSecrets({REFERENCE: PASSWORD})
        return connector_for(surroundings(secrets=secrets, connection=connection or self.connection()))

    def source(self) -> Source:
        return self.reading(**self.options)

    def rows(self) -> Sequence[Row]:
        found = self.query("SELECT * FROM shop.orders")
        return [
            tuple(each.astimezone(ZoneInfo("UTC")) if isinstance(each, datetime) else each for each in row)
            for row in found
        ]

    def empty(self) -> Source:
        return self.reading(**self.options | {"table": "shop.none"})

    def refused(self) -> Source:
        return self.reading(password="wrong", **self.options)

    def missing(self) -> Source:
        return self.reading(**self.options | {"table": "shop.nothing"})

    def away(self) -> Source:
        return self.reading(self.connection(host="127.0.0.1", port=1), **self.options)

    def change(self) -> None:
        self.query("UPDATE shop.orders SET id = id + 5000, note = 'changed' WHERE id % 3 = 0")
        self.query("DELETE FROM shop.orders WHERE id % 3 = 1")

    def open_connections(self) -> int:
        return open_sockets()


@pytest.fixture(scope="module")
def guarded(postgres_servers: PostgresServers) -> None:
    """Let the user `reader` in by password only; the server trusts all others."""
    url = postgres_servers.url(18, "postgres")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'".encode())
        row = conn.execute("SELECT current_setting('hba_file')").fetchone()
        rules = Path(str(row and row[0]))
        rules.write_text(f"local all reader scram-sha-256\n{rules.read_text(encoding='utf-8')}", encoding="utf-8")
        conn.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not lets_in(f"{url}&user=reader"))


def lets_in(url: str) -> bool:
    """Whether a server asks for no password."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def shop(postgres_servers: PostgresServers, guarded: None) -> Iterator[Shop]:
    with postgres_servers.database(DEFAULT_MAJOR, EMPTY) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(ORDERS)
        yield Shop(url)


WAYS: dict[str, dict[str, Any]] = {
    "one unit": {"split": "none"},
    "by places": {"split": {"units": 5}},
    "by numbers": {"split": {"column": "id", "units": 4}},
    "by a composite key": {"split": {"column": ["code", "id"], "units": 4}},
    "by text with nulls": {"split": {"column": "code", "units": 4}, "verify_counts": False},
}


class TestPostgres(SourceConformance):
    """Every way of cutting a table keeps the laws of a source."""

    @pytest.fixture(params=list(WAYS))
    def subject(self, shop: Shop, request: pytest.FixtureRequest) -> Shop:
        return Shop(shop.url, {"table": "shop.orders"} | WAYS[request.param])


@pytest.mark.parametrize("way", list(WAYS))
def test_rows_that_move_between_pieces_while_they_are_read_come_once(shop: Shop, way: str) -> None:
    source = shop.reading(table="shop.orders", **WAYS[way])
    plan = source.plan()
    before = sorted(shop.rows())

    found = []
    with plan.hold:
        for number, unit in enumerate(plan.units):
            away = 10_000 * (number + 1)
            shop.query(f"UPDATE shop.orders SET id = id + {away}, code = 'c' || id % 5 WHERE id % 2 = {number % 2}")
            found += rows_of(list(in_a_worker(source, [unit])))

    assert sorted(found) == before


@pytest.mark.parametrize("way", list(WAYS)[1:])
def test_a_table_is_cut_into_pieces_of_about_the_same_size(shop: Shop, way: str) -> None:
    source = shop.reading(table="shop.orders", **WAYS[way])
    plan = source.plan()

    with plan.hold:
        counts = [len(rows_of(list(source.read(unit)))) for unit in plan.units]

    assert sum(counts) == 3000
    assert len(plan.units) >= 4
    assert max(counts) <= 1200


def test_a_small_table_and_a_view_and_a_query_are_one_unit(shop: Shop) -> None:
    asked: list[dict[str, Any]] = [
        {"table": "shop.orders"}, {"table": "shop.recent"}, {"query": "SELECT id FROM shop.orders -- all"},
    ]  # fmt: skip
    for what in asked:
        plan = shop.reading(**what).plan()
        with plan.hold:
            assert len(plan.units) == 1


def test_a_snapshot_that_others_cannot_see_is_read_as_one_unit_and_the_plan_says_so(shop: Shop) -> None:
    source = shop.reading(table="shop.orders", split={"units": 5})
    assert isinstance(source, PostgresSource)
    # As behind a pooler: the planning session has no name for its snapshot that others could use.
    alone = Snapshot("behind-a-pooler", None, 8192)

    with closing(source.login.open()) as conn:
        units, _ = source.units(conn, alone, describe(conn, source.relation, frozenset()), EVERYTHING)

    assert [len(rows_of(list(source.read(unit)))) for unit in units] == [3000]
    assert "a pooler such as pgBouncer" in source.notes(alone, is_divided=len(units) > 1)[0]


def test_columns_whose_types_a_new_table_has_not_are_noted_in_the_plan(shop: Shop) -> None:
    shop.query("CREATE TYPE shop.size AS ENUM ('small')")
    plan = shop.reading(query="SELECT 'small'::shop.size AS size, 'x' AS word, 1.5 AS ratio").plan()

    with plan.hold:
        assert plan.notes[-1] == "these columns are text in a new table: size (shop.size)"


def test_a_skewed_column_is_cut_by_how_often_its_values_come(shop: Shop) -> None:
    shop.query("CREATE TABLE shop.skewed AS SELECT CASE WHEN n <= 2700 THEN n ELSE n * 100000 END AS id"
               " FROM generate_series(1, 3000) AS n; ANALYZE shop.skewed;"
               "GRANT SELECT ON shop.skewed TO reader")  # fmt: skip
    source = shop.reading(table="shop.skewed", split={"column": "id", "units": 4})

    plan = source.plan()
    with plan.hold:
        counts = [len(rows_of(list(source.read(unit)))) for unit in plan.units]

    assert max(counts) < 1000
    assert sum(counts) == 3000


def test_a_partitioned_table_is_read_in_pieces_and_whole(shop: Shop) -> None:
    shop.query("CREATE TABLE shop.parts (id int, note text) PARTITION BY RANGE (id);"
               "CREATE TABLE shop.part_a PARTITION OF shop.parts FOR VALUES FROM (0) TO (900);"
               "CREATE TABLE shop.part_b PARTITION OF shop.parts DEFAULT;"
               "INSERT INTO shop.parts SELECT n, repeat('x', 90) FROM generate_series(1, 3000) AS n;"
               "GRANT SELECT ON shop.parts TO reader")  # fmt: skip
    source = shop.reading(table="shop.parts", split={"units": 3})

    plan = source.plan()
    with plan.hold:
        found = rows_of(list(in_a_worker(source, plan.units)))

    assert len(plan.units) == 3
    assert sorted(int(str(row[0])) for row in found) == list(range(1, 3001))


def test_unchanged_data_keep_their_units_and_changed_data_get_new_ones(shop: Shop) -> None:
    def ids() -> list[str]:
        plan = shop.reading(table="shop.orders", split={"units": 3}).plan()
        with plan.hold:
            return [unit.id for unit in plan.units]

    before = ids()
    assert ids() == before

    shop.change()

    assert set(ids()) & set(before) == set()


def test_a_snapshot_that_is_gone_lets_the_run_be_tried_again(shop: Shop) -> None:
    source = shop.source()
    plan = source.plan()
    with plan.hold:
        pass

    with pytest.raises(SourceChangedError, match="snapshot of this run is gone"):
        list(source.read(plan.units[0]))


def test_a_plan_announces_the_rows_of_tables_and_not_of_queries(shop: Shop) -> None:
    for options, announced in (
        ({"table": "shop.orders"}, 3000),
        ({"table": "shop.orders", "where": "id <= 10"}, 10),
        ({"table": "shop.orders", "verify_counts": False}, None),
        ({"query": "SELECT 1 AS one"}, None),
        ({"query": "SELECT 1 AS one", "verify_counts": True}, 1),
    ):
        plan = shop.reading(**options).plan()
        with plan.hold:
            assert plan.rows == announced


def test_columns_and_where_choose_what_is_read(shop: Shop) -> None:
    plan, chunks = read_all(shop.reading(table="shop.orders", columns=["code", "id"], where="id < 3 OR id = 7 -- some"))

    assert plan.schema.names == ["code", "id"]
    assert rows_of(chunks) == [("c1", 1), ("c2", 2), ("c0", 7)]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"query": "SELEC 1"}, SourceRefusedError, "query: it refused the statement: syntax error"),
        ({"query": "SELECT 1 AS a; DROP TABLE shop.none"}, SourceRefusedError, "query"),
        ({"query": "DELETE FROM shop.orders RETURNING id"}, SourceRefusedError, "query"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, ContractViolationError, "column 'a' stands there twice; name it by AS"),
        ({"query": "SELECT nextval('s') AS a"}, SourceNotFoundError, 'relation "s" does not exist'),
        ({"query": "SELECT note::int AS n FROM shop.orders"}, BadDataError, "a value cannot be computed"),
        ({"table": "shop.hidden"}, SourceRefusedError, "permission denied for table hidden; grant SELECT"),
        ({"table": "shop.orders", "columns": ["nope"]}, SourceRefusedError, 'column "nope" does not exist'),
        ({"table": "shop.orders", "where": "nope = 1"}, SourceRefusedError, 'column "nope" does not exist'),
        ({"table": "shop.orders", "as_text": ["nope"]}, ContractViolationError, "as_text: .* has no column 'nope'"),
        ({"table": "shop.orders", "split": {"column": "nope"}}, SourceRefusedError, 'column "nope" does not exist'),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    shop: Shop, options: dict[str, Any], error: type[DataprocError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        read_all(shop.reading(**options))

    assert "xxx" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_database_that_is_not_there_is_told(shop: Shop) -> None:
    with pytest.raises(SourceNotFoundError, match="no such database; check database"):
        shop.reading(shop.connection(database="nowhere"), table="shop.orders").plan()


def test_a_statement_that_takes_too_long_is_tried_again_and_says_what_to_raise(shop: Shop) -> None:
    connection = shop.connection(statement_timeout="100ms")
    query = "SELECT a.id FROM shop.orders a, shop.orders b, shop.orders c"

    with pytest.raises(SourceUnavailableError, match="raise statement_timeout"):
        read_all(shop.reading(connection, query=query))


def test_a_session_that_is_ended_while_it_reads_is_tried_again(shop: Shop) -> None:
    source = shop.reading(query="SELECT a.id FROM shop.orders a, shop.orders b, generate_series(1, 3)")
    plan = source.plan()
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"

    with plan.hold:
        chunks = source.read(plan.units[0])
        next(chunks)
        shop.query(ended)
        with pytest.raises(SourceUnavailableError, match=r"administrator command|connection was lost"):
            list(chunks)


def test_a_source_only_reads(shop: Shop) -> None:
    shop.query("CREATE FUNCTION shop.sly() RETURNS int LANGUAGE sql AS 'DELETE FROM shop.orders; SELECT 1'")

    with pytest.raises(SourceRefusedError, match="a source is only read"):
        read_all(shop.reading(shop.connection(user="postgres", password=None), query="SELECT shop.sly() AS a"))

    assert len(shop.rows()) == 3000


def test_the_password_is_in_no_value_that_travels_or_is_shown(shop: Shop) -> None:
    source = shop.source()
    plan = source.plan()

    with plan.hold:
        assert PASSWORD not in repr(source) + repr(plan) + repr([unit.detail for unit in plan.units])


def test_the_password_opens_the_session_that_reads_rows_as_they_are_and_no_other_does(shop: Shop) -> None:
    plan = shop.source().plan()
    unit = replace(plan.units[0], as_is=True)

    with plan.hold:
        assert [chunk.read for chunk in shop.source().read(unit)] == [3000]
        with pytest.raises(SourceRefusedError, match="password authentication failed"):
            list(shop.refused().read(unit))


def test_a_connection_tells_its_version_and_what_there_is_to_read(shop: Shop) -> None:
    connector = shop.connector()

    found = {each.name: each for each in connector.discover()}

    assert connector.test().startswith("PostgreSQL 18")
    assert set(found) == {"shop.orders", "shop.none", "shop.recent"}
    assert found["shop.orders"].rows == 3000
    assert found["shop.orders"].columns[2] == ("amount", "numeric(10,2)")


def test_a_wrong_connection_is_refused_when_it_is_registered(shop: Shop) -> None:
    for changes, told in (
        ({"password": "in the clear"}, "/config/password"),
        ({"host": "a b"}, "/config/host"),
        ({"tls": "maybe"}, "/config/tls"),
        ({"url": "postgresql://x"}, "/config/url"),
    ):
        with pytest.raises(DataprocError, match=told):
            shop.connector(shop.connection(**changes))


def test_a_session_of_a_lost_plan_is_closed(shop: Shop) -> None:
    before = shop.open_connections()

    with pytest.raises(SourceNotFoundError):
        shop.missing().plan()

    assert shop.open_connections() == before


def test_a_held_snapshot_outlives_the_servers_limit_for_idle_sessions(shop: Shop) -> None:
    shop.query("ALTER ROLE reader SET idle_in_transaction_session_timeout = '100ms'")
    source = shop.source()
    plan = source.plan()

    with plan.hold, closing(psycopg.connect(shop.url)) as conn:
        conn.execute("SELECT pg_sleep(0.3)")
        assert len(rows_of(list(source.read(plan.units[0])))) == 3000


READ: dict[str, dict[str, Any]] = {
    "table": {"table": "shop.orders"},
    "columns as text": {"table": "shop.orders", "as_text": ["at"]},
    "query": {"query": "SELECT * FROM shop.orders"},
    "view": {"table": "shop.as_reader"},
}


@pytest.fixture
def filtered(shop: Shop) -> Shop:
    """Give the shop with a policy that shows the user half of the orders."""
    shop.query("CREATE VIEW shop.as_reader WITH (security_invoker) AS SELECT * FROM shop.orders")
    shop.query("GRANT SELECT ON shop.as_reader TO reader")
    shop.query("ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY")
    shop.query("CREATE POLICY half ON shop.orders TO reader USING (id % 2 = 0)")
    return shop


@pytest.mark.parametrize("what", READ)
def test_a_policy_that_hides_rows_is_an_error_that_says_what_to_do(filtered: Shop, what: str) -> None:
    with pytest.raises(SourceRefusedError, match=r'"orders".*; give the user BYPASSRLS, or set row_security: apply'):
        read_all(filtered.reading(**READ[what]))


@pytest.mark.parametrize("what", READ)
def test_a_source_may_ask_for_the_rows_that_a_policy_shows(filtered: Shop, what: str) -> None:
    assert len(rows_of(read_all(filtered.reading(**READ[what], row_security="apply"))[1])) == 1500


def test_a_view_of_one_who_sees_all_rows_shows_them_all(filtered: Shop) -> None:
    assert len(rows_of(read_all(filtered.reading(table="shop.recent"))[1])) == 10


def test_other_databases_have_no_such_option(shop: Shop) -> None:
    with pytest.raises(InvalidSpecError, match="row_security: only PostgreSQL has this option"):
        shop.reading(replace(shop.connection(), kind="mysql"), table="shop.orders", row_security="apply")
