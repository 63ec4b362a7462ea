"""Rows of PostgreSQL that need no change travel as they are, and leave the target exactly as the way of Arrow does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typing_extensions import override

from dataproc.domain.chunk import Account, Chunk, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import BadDataError, SourceChangedError, SourceUnavailableError
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.pipeline import Source, Step, Transform
from dataproc.ports.store import Connection
from dataproc.ports.warehouse import Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.conftest import EMPTY, WAREHOUSE, PostgresServers
from tests.contract.conformance import in_a_worker
from tests.descriptors import open_sockets
from tests.fakes.pipeline import FakeEngine
from tests.waiting import wait_until
from tests.warehouses import ALWAYS_DIRECT, Query, a_load_id

NUMBERS = count()
CARRIED: dict[str, Sequence[str]] = {
    "boolean": ("true", "false"),
    "smallint": ("-32768", "32767"),
    "integer": ("-2147483648", "2147483647"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "real": ("1.1", "'NaN'", "'-Infinity'", "'-0'"),
    "double precision": ("0.1", "'NaN'", "'Infinity'", "'-0'", "5e-324"),
    "numeric(12,2)": ("1.50", "-9999999999.99", "0"),
    "numeric(38,0)": ("9" * 38, "-" + "9" * 38),
    "text": ("'Zoë ✓ 🎉'", "''", "E'a\\nb\\\\c'"),
    "varchar": ("'any length'",),
    "varchar(20)": ("'short '", "'ñandú'"),
    "char(5)": ("'ab'", "'é'"),
    "bytea": ("'\\x00ff10'", "''"),
    "uuid": ("'12345678-1234-5678-1234-567812345678'",),
    "jsonb": ('\'{"b": [1, 2.50, null], "a": "\\u00e9"}\'', "'1e400'"),
    "date": ("'2024-02-29'", "'0044-03-15 BC'", "'5874897-12-31'"),
    "time": ("'23:59:59.999999'", "'24:00'"),
    "time(3)": ("'23:59:59.999'",),
    "timestamp": ("'2024-02-29 12:00:00.123456'", "'0044-03-15 BC'"),
    "timestamp(0)": ("'2024-02-29 12:00:00'",),
    "timestamptz": ("'2024-03-31 02:30+02'", "'4713-01-02 BC'", "'294246-12-31 23:59:59Z'"),
}
"""Types of which both ways carry these values, into a new table as well; null is sent as well."""
CARRIED_INTO_THE_SAME: dict[str, Sequence[str]] = {
    "numeric": ("1e200", "'NaN'", "'Infinity'", "'-Infinity'", "0.000", "12345678901234567890.123456789"),
    "numeric(60,20)": ("9" * 38 + ".12345678901234567890",),
    "numeric(5,-2)": ("123400",),
    "timetz": ("'12:00:00.5+05:30'",),
    "json": ('\'{"a": 1,  "a": 2, "b": 1e400}\'',),
}
"""Types that Arrow has not, and that a new table has all the same."""
ONLY_AS_IS: dict[str, Sequence[str]] = {
    "date": ("'infinity'", "'-infinity'"),
    "timestamp": ("'infinity'", "'294276-12-31 23:59:59'"),
    "timestamptz": ("'-infinity'", "'294276-12-31 23:59:59Z'"),
    "numeric(10,2)": ("'NaN'",),
}
"""Values that Arrow has not."""
NOT_CARRIED = ("interval", "money", "integer[]", "shop.mood", "xml", "inet", "bit(5)", "name", '"char"')


@dataclass(slots=True)
class Watching(FakeEngine):
    """An engine that sees which units are wanted as they are, and reads them as a worker does."""

    asked: list[bool] = field(default_factory=list)

    @override
    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        self.asked += [unit.as_is for unit in units]
        with FakeEngine.run(self, units, read, transforms, load) as results:
            yield results


@dataclass(slots=True)
class Shop:
    """A source and a warehouse, which may be one database; every load gets an engine of its own."""

    url: str
    warehouse_url: str

    def make(self, columns: str, *rows: str) -> str:
        """Make a table with rows; return its name."""
        table = f"shop.t{next(NUMBERS)}"
        Query(self.url)(f"CREATE TABLE {table} ({columns})")
        if rows:
            Query(self.url)(f"INSERT INTO {table} VALUES {', '.join(rows)}")
        return table

    def target(self, columns: str | None = None) -> str:
        """Return the name of a target, which is there if its columns are told."""
        target = f"sales.t{next(NUMBERS)}"
        if columns is not None:
            Query(self.warehouse_url)(f"CREATE TABLE {target} ({columns})")
        return target

    def source(self, changes: dict[str, object] | None = None, **options: Any) -> Source:
        """Return a source of the database."""
        parts = urlsplit(self.url)
        config = {"host": parse_qs(parts.query)["host"][0], "database": parts.path[1:], "user": "postgres"}
        spec = DatabaseSource.model_validate({"kind": "database", "connection": "legacy", **options})
        connection = Connection("legacy", "postgresql", config | (changes or {}))
        return source_for(spec, surroundings(connection=connection))

    def load(self, source: Source, target: str, load: str = "direct") -> tuple[Published, bool]:
        """Load a source; return what was published, and whether all units were wanted as they are."""
        engine = Watching()
        destination = Destination.model_validate({"table": target, "load": load})
        warehouse = PostgresWarehouse(self.warehouse_url, ALWAYS_DIRECT)
        published = Pipeline(source, (), destination, (), engine, warehouse).run(a_load_id(), Monitor())
        return published, all(engine.asked)

    def texts(self, table: str, *, warehouse: bool = True) -> list[tuple[Any, ...]]:
        """Return the rows of a table as PostgreSQL writes them."""
        found = Query(self.warehouse_url if warehouse else self.url)(f"SELECT t::text FROM {table} AS t ORDER BY 1")
        return [tuple(row) for row in found]


@contextmanager
def shops(servers: PostgresServers, source: int, warehouse: int) -> Iterator[Shop]:
    """Give a source and a warehouse of these versions."""
    with servers.database(source, EMPTY) as url, servers.database(warehouse, WAREHOUSE) as warehouse_url:
        Query(warehouse_url)("CREATE SCHEMA sales")
        Query(url)("CREATE SCHEMA shop; CREATE TYPE shop.mood AS ENUM ('glad'); CREATE DOMAIN shop.percent AS int")
        yield Shop(url, warehouse_url)


@pytest.fixture(scope="module")
def shop(postgres_servers: PostgresServers) -> Iterator[Shop]:
    with shops(postgres_servers, 18, 18) as shop:
        yield shop


@pytest.fixture(params=[(18, 18), (15, 18), (18, 15)], ids=["18 to 18", "15 to 18", "18 to 15"])
def any_shop(postgres_servers: PostgresServers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with shops(postgres_servers, *request.param) as shop:
        yield shop


def planned(source: Source) -> SourcePlan:
    """Return a plan, of which every unit is wanted as it is."""
    plan = source.plan()
    return replace(plan, units=tuple(replace(unit, as_is=True) for unit in plan.units))


def of_types(types: dict[str, Sequence[str]]) -> tuple[str, list[str]]:
    """Return columns of these types, and rows that hold each of their values once, and null."""
    columns = ", ".join(f"c{number} {sql_type}" for number, sql_type in enumerate(types))
    most = max(map(len, types.values()))
    rows = [
        "(" + ", ".join(values[at] if at < len(values) else "NULL" for values in types.values()) + ")"
        for at in range(most + 1)
    ]
    return columns, rows


def test_rows_as_they_are_and_rows_by_arrow_are_the_same(any_shop: Shop) -> None:
    columns, rows = of_types(CARRIED)
    table = any_shop.make(columns, *rows)
    same, new, by_arrow = any_shop.target(columns), any_shop.target(), any_shop.target(columns)

    told = [any_shop.load(any_shop.source(table=table), target) for target in (same, new)]
    staged = any_shop.load(any_shop.source(table=table), by_arrow, "staged")

    assert [as_is for _, as_is in told] == [True, True]
    assert staged[1] is False
    assert {published.account for published, _ in (*told, staged)} == {Account(read=len(rows), loaded=len(rows))}
    expected = any_shop.texts(table, warehouse=False)
    assert any_shop.texts(same) == any_shop.texts(new) == any_shop.texts(by_arrow) == expected


def test_types_that_arrow_has_not_arrive_as_they_are_in_the_same_types(any_shop: Shop) -> None:
    columns, rows = of_types(CARRIED_INTO_THE_SAME)
    table = any_shop.make(columns, *rows)
    same, new, by_arrow = any_shop.target(columns), any_shop.target(), any_shop.target(columns)

    as_is, as_new, staged = [any_shop.load(any_shop.source(table=table), target)[1] for target in (same, new)] + [
        any_shop.load(any_shop.source(table=table), by_arrow, "staged")[1]
    ]

    assert (as_is, as_new, staged) == (True, True, False)
    assert (
        any_shop.texts(same)
        == any_shop.texts(new)
        == any_shop.texts(by_arrow)
        == any_shop.texts(table, warehouse=False)
    )


@pytest.mark.parametrize("sql_type", list(ONLY_AS_IS))
def test_values_that_arrow_has_not_arrive_as_they_are(shop: Shop, sql_type: str) -> None:
    table = shop.make(f"x {sql_type}", *(f"({value})" for value in ONLY_AS_IS[sql_type]))
    target = shop.target()

    published, as_is = shop.load(shop.source(table=table), target)

    assert as_is
    assert published.account.rejected == 0
    assert shop.texts(target) == shop.texts(table, warehouse=False)


@pytest.mark.parametrize("sql_type", NOT_CARRIED)
def test_a_column_of_another_type_keeps_all_rows_from_being_offered_as_they_are(shop: Shop, sql_type: str) -> None:
    plan = shop.source(table=shop.make(f"n int, x {sql_type}", "(1, NULL)")).plan()

    with plan.hold:
        assert plan.wire == ()


@pytest.mark.parametrize(
    "columns",
    ["n bigint, x text", "n int, x varchar(9)", "n numeric, x text", "n shop_number, x text", "n int, x jsonb"],
)
def test_a_target_of_other_types_gets_no_rows_as_they_are(shop: Shop, columns: str) -> None:
    Query(shop.warehouse_url)("DROP DOMAIN IF EXISTS shop_number CASCADE; CREATE DOMAIN shop_number AS int")
    table, target = shop.make("n int, x text", "(7, '1')"), shop.target(columns)

    _, as_is = shop.load(shop.source(table=table), target, "auto")

    assert not as_is
    assert Query(shop.warehouse_url)(
        f"SELECT n::int, x #>> '{{}}' FROM (SELECT n, to_jsonb(x) AS x FROM {target}) AS t"
    ) == [(7, "1")]


def test_columns_go_by_their_names_whatever_their_order_in_the_target(shop: Shop) -> None:
    table, target = shop.make('a int, "B ü" int', "(1, 2)"), shop.target("\"B ü\" int, more text DEFAULT 'x', a int")

    _, as_is = shop.load(shop.source(table=table), target)

    assert as_is
    assert shop.texts(target) == [("(2,x,1)",)]


def test_what_is_selected_as_text_arrives_as_it_is_and_domains_as_what_is_below_them(shop: Shop) -> None:
    table = shop.make("a interval, b shop.percent, c oid", "('1 day', 50, 4294967295)")
    target = shop.target("a text, b int, c bigint")

    _, as_is = shop.load(shop.source(table=table, as_text=["a"]), target)

    assert as_is
    assert shop.texts(target) == [('("1 day",50,4294967295)',)]


@pytest.mark.parametrize("options", [{}, {"split": {"units": 5}}, {"split": {"column": "n", "units": 3}}])
def test_many_rows_come_in_pieces_once_and_counted(shop: Shop, options: dict[str, Any]) -> None:
    table, target = shop.make("n int, x text"), shop.target()
    Query(shop.url)(f"INSERT INTO {table} SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 12000) AS n")

    published, as_is = shop.load(shop.source(table=table, verify_counts=True, **options), target)

    assert as_is
    assert published.account == Account(read=12_000, loaded=12_000)
    summed = "SELECT count(*), sum(n), md5(string_agg(x, '' ORDER BY n)) FROM "
    assert Query(shop.warehouse_url)(summed + target) == Query(shop.url)(summed + table)


def test_a_unit_that_is_read_twice_gives_the_same_chunks(shop: Shop) -> None:
    table = shop.make("n int, x text")
    Query(shop.url)(f"INSERT INTO {table} SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 12000) AS n")
    source = shop.source(table=table)
    plan = planned(source)

    with plan.hold:
        Query(shop.url)(f"UPDATE {table} SET n = -n")
        first, second = (list(in_a_worker(source, plan.units)) for _ in range(2))

    assert first == second
    assert [chunk.last for chunk in first] == [False] * (len(first) - 1) + [True]
    assert len(first) > 2
    assert [chunk.read for chunk in first] == [0] * (len(first) - 1) + [12_000]


def test_a_table_without_rows_and_a_query_without_rows_are_one_empty_chunk(shop: Shop) -> None:
    table = shop.make("n int")
    asked: list[dict[str, Any]] = [{"table": table}, {"query": f"SELECT n FROM {table} WHERE n > 0 -- none"}]
    for options in asked:
        target = shop.target()
        published, as_is = shop.load(shop.source(**options), target)

        assert as_is
        assert published.account == Account()
        assert shop.texts(target) == []


@pytest.mark.parametrize("rule", ["NOT NULL", "CHECK (n < 3)"])
def test_a_row_that_the_target_refuses_is_set_aside_and_the_others_are_loaded(shop: Shop, rule: str) -> None:
    bad = "(NULL)" if rule == "NOT NULL" else "(3)"
    table, target = shop.make("n int", "(1)", bad, "(2)"), shop.target(f"n int {rule}")

    published, as_is = shop.load(shop.source(table=table), target)

    assert not as_is
    assert (published.way, published.account) == ("staged", Account(read=3, loaded=2, rejected=1))
    assert shop.texts(target) == [("(1)",), ("(2)",)]


def test_only_what_is_new_is_read_as_it_is(shop: Shop) -> None:
    table, target = shop.make("n int, x text", "(1, 'a')", "(2, 'b')"), shop.target()
    warehouse = PostgresWarehouse(shop.warehouse_url, ALWAYS_DIRECT)
    # `append` needs the values of the rows for their digests, and so decodes them.
    destination = Destination.model_validate({"table": target, "mode": "merge", "keys": ["n"]})
    Query(shop.warehouse_url)(f"CREATE TABLE {target} (n int PRIMARY KEY, x text)")
    source = shop.source(table=table, incremental={"cursor": "n"})

    counts = []
    for number in (3, 4):
        engine = Watching()
        load_id = replace(a_load_id(), name=f"job of {target}")
        published = Pipeline(source, (), destination, (), engine, warehouse).run(load_id, Monitor())
        counts.append((published.account.loaded, engine.asked))
        Query(shop.url)(f"INSERT INTO {table} VALUES ({number}, 'c')")

    assert counts == [(2, [True]), (2, [True])]
    assert shop.texts(target) == [("(1,a)",), ("(2,b)",), ("(3,c)",)]


def test_text_of_a_database_in_another_encoding_arrives_as_unicode(postgres_servers: PostgresServers) -> None:
    with shops(postgres_servers, 18, 18) as shop:
        latin = f"latin{next(NUMBERS)}"
        create = f"CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        Query(shop.url)(create)
        url = postgres_servers.url(18, latin)
        Query(url)("CREATE TABLE public.names AS SELECT 'Zo' || chr(235) AS name")
        target = shop.target()
        _, as_is = replace(shop, url=url).load(replace(shop, url=url).source(table="public.names"), target)
        Query(shop.url)(f"DROP DATABASE {latin}")

        assert as_is
        assert shop.texts(target) == [("(Zoë)",)]


def test_a_statement_that_takes_too_long_lets_the_run_be_tried_again(shop: Shop) -> None:
    source = shop.source(
        {"statement_timeout": "200ms"}, query="SELECT n, pg_sleep(0.05)::text AS x FROM generate_series(1, 100) AS n"
    )
    plan = planned(source)

    with plan.hold, pytest.raises(SourceUnavailableError, match="statement_timeout"):
        list(in_a_worker(source, plan.units))


def test_a_value_that_cannot_be_computed_is_told_without_it_and_the_connection_ends(shop: Shop) -> None:
    before = open_sockets()
    query = "SELECT repeat('x', 10000) AS x, 1 / (n - 5000) AS secret FROM generate_series(1, 10000) AS n"
    source = shop.source(query=query)
    plan = planned(source)

    with plan.hold, pytest.raises(BadDataError, match="SQLSTATE 22012"):
        list(in_a_worker(source, plan.units))

    assert open_sockets() == before


LONG = "SELECT repeat('x', 10000) AS x FROM generate_series(1, 20000)"
BUSY = """
SELECT pid FROM pg_stat_activity
WHERE query LIKE 'COPY (SELECT%' AND state = 'active' AND datname = current_database()
"""


def test_a_reader_that_is_closed_half_way_ends_its_session(shop: Shop) -> None:
    before = open_sockets()
    source = shop.source(query=LONG)
    plan = planned(source)

    with plan.hold, closing(source.read(plan.units[0])) as chunks:  # type: ignore[type-var]  # it is a generator
        assert next(chunks).last is False
        assert Query(shop.url)(BUSY) != []

    wait_until(lambda: Query(shop.url)(BUSY) == [])
    assert open_sockets() == before


def test_a_session_that_the_server_ends_half_way_lets_the_run_be_tried_again(shop: Shop) -> None:
    before = open_sockets()
    source = shop.source(query=LONG)
    plan = planned(source)

    with plan.hold:
        chunks = source.read(plan.units[0])
        next(chunks)
        Query(shop.url)(f"SELECT pg_terminate_backend(pid) FROM ({BUSY}) AS busy")
        with pytest.raises(SourceUnavailableError):
            list(chunks)

    assert open_sockets() == before


def test_a_snapshot_that_is_gone_lets_the_run_be_tried_again(shop: Shop) -> None:
    source = shop.source(table=shop.make("n int", "(1)"))
    plan = planned(source)
    with plan.hold:
        pass

    with pytest.raises(SourceChangedError, match="snapshot"):
        list(source.read(plan.units[0]))


def test_a_server_that_is_away_is_told_as_such(shop: Shop) -> None:
    plan = planned(shop.source(table=shop.make("n int", "(1)")))
    away = shop.source({"host": "127.0.0.1", "port": 1}, table="shop.t1")

    with plan.hold, pytest.raises(SourceUnavailableError, match="does not answer"):
        list(away.read(plan.units[0]))


def test_a_session_is_read_only_and_has_the_settings_of_every_reader(shop: Shop) -> None:
    names = ("transaction_read_only", "client_encoding", "TimeZone", "application_name")
    told = " || ".join(f"current_setting('{name}')" for name in names)
    source = shop.source(query=f"SELECT {told} AS told")
    plan = planned(source)

    with plan.hold:
        chunks = list(source.read(plan.units[0]))

    assert bytes(chunks[0].wire or b"")[6:] == b"onUTF8UTCdataproc"
