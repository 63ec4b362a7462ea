"""SQL over all rows of a run: it sees every row and other tables, gives each row back at most once, and only reads."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from dataproc.domain.chunk import Account, LoadedChunk
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.warehouse.shaping import Shaping
from tests.warehouses import a_unit, schema_of

PLAN = SourcePlan((a_unit("u0", 2), a_unit("u1", 1)), schema_of({}))
STAGED = sql.Identifier("staging")
FILL = """
CREATE TABLE staging (k text, v int, __unit int, __position bigint);
INSERT INTO staging VALUES ('a', 1, 0, 0), ('b', 2, 0, 1), ('a', 3, 1, 0);
CREATE TABLE names (k text, name text);
INSERT INTO names VALUES ('a', 'Anna');
CREATE FUNCTION write_down() RETURNS int LANGUAGE sql AS 'INSERT INTO names VALUES (''x'', ''y''); SELECT 1';
"""


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(FILL)
        with conn.transaction():
            yield conn


def shaped(conn: psycopg.Connection, *queries: str) -> tuple[list[Any], Tally]:
    tally = Tally()
    for unit, rows in (("u0", 2), ("u1", 1)):
        tally.add(LoadedChunk(unit, 0, last=True, read=rows, loaded=rows, rejected=0, filtered=0))
    table = Shaping(conn, queries).shape(STAGED, PLAN, tally)
    found = conn.execute(sql.SQL("SELECT * FROM {} ORDER BY __unit, __position").format(table)).fetchall()
    return found, tally


def test_a_query_sees_all_rows_and_other_tables(conn: psycopg.Connection) -> None:
    query = """
        SELECT s.*, sum(v) OVER (PARTITION BY k) AS total, names.name FROM staged AS s LEFT JOIN names USING (k)
    """
    assert shaped(conn, query)[0] == [("a", 1, 0, 0, 4, "Anna"), ("b", 2, 0, 1, 2, None), ("a", 3, 1, 0, 4, "Anna")]


def test_rows_that_do_not_come_back_count_as_filtered_in_their_unit(conn: psycopg.Connection) -> None:
    rows, tally = shaped(conn, "SELECT * FROM staged WHERE k = 'b' -- only these")

    assert rows == [("b", 2, 0, 1)]
    assert [tally.of(unit) for unit in PLAN.units] == [
        Account(read=2, loaded=1, filtered=1),
        Account(read=1, loaded=0, filtered=1),
    ]


def test_a_query_reads_what_the_one_before_gave(conn: psycopg.Connection) -> None:
    rows, tally = shaped(conn, "SELECT * FROM staged WHERE v > 1", "SELECT v * 10 AS w, __unit, __position FROM staged")

    assert rows == [(20, 0, 1), (30, 1, 0)]
    assert tally.account == Account(read=3, loaded=2, filtered=1)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT k FROM staged", "__unit and __position"),
        ("SELECT * FROM staged CROSS JOIN (VALUES (1), (2)) AS twice (n)", "a row twice"),
        ("SELECT k, v, 7 AS __unit, __position FROM staged WHERE v = 3", "was not given"),
        ("SELECT missing FROM staged", 'column "missing" does not exist'),
        ("SELECT * FROM staged) AS x; DROP TABLE names; SELECT * FROM (SELECT 1", "syntax error"),
        ("DELETE FROM names RETURNING *", "syntax error"),
        ("WITH gone AS (DELETE FROM names RETURNING *) SELECT * FROM staged", "data-modifying"),
        ("SELECT s.*, write_down() AS n FROM staged AS s", "read-only transaction"),
        ("SELECT s.*, v / 0 AS n FROM staged AS s", "DivisionByZero"),
        ("SELECT s.*, k::int AS n FROM staged AS s", "InvalidTextRepresentation"),
    ],
)
def test_a_query_that_does_anything_else_is_refused(conn: psycopg.Connection, query: str, told: str) -> None:
    with pytest.raises(ContractViolationError, match=told):
        shaped(conn, query)


def test_after_it_the_transaction_can_write_again(conn: psycopg.Connection) -> None:
    shaped(conn, "SELECT * FROM staged")

    assert conn.execute("INSERT INTO names VALUES ('b', 'Bob')").rowcount == 1
