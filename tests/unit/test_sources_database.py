"""Pieces of tables, types, messages and addresses of databases, without a database."""

import pickle
from datetime import timedelta
from decimal import Decimal
from typing import Any

import adbc_driver_manager as adbc
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import exc, types

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import (
    BadDataError,
    ContractViolationError,
    DataprocError,
    InvalidSpecError,
    SetupError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.sources.database import DatabaseSource
from dataproc.ports.store import Connection
from dataproc.sources.database import mysql_types, postgres_types, reflected, reflected_engine, sqlite_types
from dataproc.sources.database.connection import server_of
from dataproc.sources.database.fitting import Fitted, cast, piece_of
from dataproc.sources.database.postgres_errors import translated
from dataproc.sources.database.ranges import by_places, by_values
from dataproc.sources.database.reflected_engine import Dialect, ReflectedLogin
from dataproc.sources.database.relation import Quotes, Relation
from dataproc.sources.factory import source_for
from tests.builders import surroundings
from tests.fakes.secrets import FakeSecrets

SERVER = {"host": "db.example.com", "database": "shop", "user": "reader", "password": "secret://legacy#password"}


def a_source(**fields: Any) -> DatabaseSource:
    """Return what a job says of a table."""
    return DatabaseSource.model_validate({"kind": "database", "connection": "legacy", "table": "shop.orders"} | fields)


@given(blocks=st.integers(0, 10_000), pieces=st.integers(1, 50), block=st.integers(0, 20_000))
def test_every_place_is_in_exactly_one_piece(blocks: int, pieces: int, block: int) -> None:
    def holds(condition: str) -> bool:
        bounds = [word.split("'(")[1].split(",")[0] for word in condition.split(" AND ") if word]
        lows = [int(n) for n, word in zip(bounds, condition.split(" AND "), strict=True) if ">=" in word]
        highs = [int(n) for n, word in zip(bounds, condition.split(" AND "), strict=True) if "<" in word]
        return all(block >= low for low in lows) and all(block < high for high in highs)

    found = by_places(blocks, pieces) if pieces > 1 else [""]

    assert sum(holds(condition) if condition else True for condition in found) == 1


def test_values_are_cut_half_open_and_null_has_a_piece_of_its_own() -> None:
    assert by_values([("a'b",), ("m",)], ['"code"']) == [
        "\"code\" < 'a''b'", "\"code\" >= 'a''b' AND \"code\" < 'm'", "\"code\" >= 'm'", '("code" IS NULL)',
    ]  # fmt: skip
    assert by_values([], ['"code"']) == [""]


def test_a_row_with_a_null_in_its_key_is_in_no_range() -> None:
    first, last, none = by_values([("1", "x")], ["a", "b"])

    assert first == "(a, b) < ('1', 'x') AND a IS NOT NULL AND b IS NOT NULL"
    assert last == "(a, b) >= ('1', 'x') AND a IS NOT NULL AND b IS NOT NULL"
    assert none == "(a IS NULL OR b IS NULL)"


def test_names_are_quoted_and_a_comment_ends_with_its_line() -> None:
    relation = Relation(a_source(table=None, query="SELECT 1 -- one;"), Quotes("[", "]"))

    assert relation.select(["[a]"], ["[b] > 1"]) == "SELECT [a] FROM (SELECT 1 -- one\n) source_rows WHERE [b] > 1"
    assert Quotes()('a"b') == '"a""b"'
    assert Relation(a_source(where="a OR b")).select(["1"], ["c"]) == (
        'SELECT 1 FROM "shop"."orders" WHERE (a OR b\n) AND c'
    )


@pytest.mark.parametrize("fields", [{"query": "SELECT 1"}, {"table": None}, {"table": 'a"b'}, {"split": {"units": 0}}])
def test_a_specification_names_one_thing_that_can_be_quoted(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_source(**fields)


def test_rows_that_fit_keep_their_positions_and_the_others_are_told_with_every_column() -> None:
    raw = pa.table({"a": ["1", "x", "3"], "b": ["1", "y", "z"]})
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    columns = [cast(raw[name].combine_chunks(), pa.int64(), f"{name} is odd") for name in ("a", "b")]

    piece = piece_of(schema, columns, 10, raw)

    assert piece.rows.to_pylist() == [{"a": 1, "b": 1, POSITION: 10}]
    assert piece.rejects.select(["position", "column", "row"]).to_pylist() == [
        {"position": 11, "column": "a", "row": '{"a": "x", "b": "y"}'},
        {"position": 11, "column": "b", "row": '{"a": "x", "b": "y"}'},
        {"position": 12, "column": "b", "row": '{"a": "3", "b": "z"}'},
    ]


def test_a_batch_that_fits_is_not_copied() -> None:
    cells: Any = pa.array([1, 2])

    piece = piece_of(pa.schema([("a", pa.int64())]), [Fitted(cells)], 0, pa.table({"a": cells}))

    kept: Any = piece.rows["a"].chunk(0)
    assert kept.buffers()[1].address == cells.buffers()[1].address


@pytest.mark.parametrize(
    ("sqlstate", "told", "error"),
    [
        ("42P01", 'relation "x" does not exist', SourceNotFoundError),
        ("42601", "syntax error", SourceRefusedError),
        ("42501", "permission denied", SourceRefusedError),
        ("42704", 'snapshot "1-1" does not exist', SourceChangedError),
        ("22023", 'invalid snapshot identifier: "x"', SourceChangedError),
        ("57014", "canceling statement due to statement timeout", SourceUnavailableError),
        ("53300", "too many connections", SourceUnavailableError),
        ("40001", "conflict with recovery", SourceUnavailableError),
        ("22P02", 'invalid input syntax for type integer: "Alice"', BadDataError),
        ("P0001", "a function refused", SourceRefusedError),
    ],
)
def test_an_answer_of_postgresql_tells_what_to_do_and_no_value(
    sqlstate: str, told: str, error: type[DataprocError]
) -> None:
    theirs = adbc.ProgrammingError(
        f"IO: [libpq] failed: ERROR:  {told}\nDETAIL: Alice", status_code=10, sqlstate=sqlstate
    )

    with pytest.raises(error) as caught, translated("table 'x'"):
        raise theirs

    assert str(caught.value).startswith("table 'x': ")
    assert "Alice" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).code == caught.value.code  # noqa: S301 - our own value


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ('FATAL:  password authentication failed for user "a"', SourceRefusedError),
        ('FATAL:  role "a" does not exist', SourceRefusedError),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', SourceRefusedError),
        ('FATAL:  database "a" does not exist', SourceNotFoundError),
        ("server does not support SSL, but SSL was required", SourceRefusedError),
        ("Connection refused", SourceUnavailableError),
        ("timeout expired", SourceUnavailableError),
    ],
)
def test_a_connection_that_is_not_made_tells_why(told: str, error: type[DataprocError]) -> None:
    with pytest.raises(error, match="connection 'legacy': "), translated("connection 'legacy'"):
        raise psycopg.OperationalError(f"connection failed: {told}")


@pytest.mark.parametrize(
    ("typname", "sql_type", "dtype"),
    [
        ("int4", "integer", pa.int32()),
        ("numeric", "numeric(38,10)", pa.decimal128(38, 10)),
        ("numeric", "numeric(76,0)", pa.decimal256(76, 0)),
        ("numeric", "numeric(77,0)", pa.string()),
        ("numeric", "numeric(3,5)", pa.string()),
        ("numeric", "numeric", pa.string()),
        ("uuid", "uuid", pa.uuid()),
        ("_int4", "integer[]", pa.string()),
        ("", "shop.mood", pa.string()),
    ],
)
def test_a_type_of_postgresql_has_its_arrow_type(typname: str, sql_type: str, dtype: pa.DataType) -> None:
    column = postgres_types.column_of("x", typname, sql_type, '"x"', 2)

    assert column.arrow_type == dtype
    assert (column.expression == '"x"') is (dtype != pa.string())


def test_times_of_mysql_may_be_negative_and_longer_than_a_day() -> None:
    assert mysql_types.length("-838:59:59.000001") == -timedelta(hours=838, minutes=59, seconds=59, microseconds=1)
    assert mysql_types.length("00:00:00.5") == timedelta(seconds=0.5)


@pytest.mark.parametrize(("declared", "dtype"), [
    ("INTEGER", pa.int64()), ("tinyint(1)", pa.int64()), ("VARCHAR(9)", pa.string()), ("DOUBLE", pa.float64()),
    ("BLOB", pa.binary()), ("NUMERIC", pa.string()), ("DATE", pa.string()), ("BOOLEAN", pa.int64()),
])  # fmt: skip
def test_a_declared_type_of_sqlite_has_its_arrow_type(declared: str, dtype: pa.DataType) -> None:
    assert sqlite_types.column_of("x", declared, (), as_text=False).arrow_type == dtype


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (types.INTEGER(), pa.int64()),
        (types.BIGINT(), pa.int64()),
        (types.NUMERIC(12, 2), pa.decimal128(12, 2)),
        (types.NUMERIC(), None),
        (types.FLOAT(), pa.float64()),
        (types.BOOLEAN(), pa.bool_()),
        (types.DATE(), pa.date32()),
        (types.DATETIME(), pa.timestamp("us")),
        (types.DATETIME(timezone=True), None),
        (types.VARCHAR(9), pa.string()),
        (types.VARBINARY(9), pa.binary()),
        (types.JSON(), None),
    ],
)
def test_a_reflected_type_has_its_arrow_type_or_is_carried_as_text(
    dtype: types.TypeEngine[Any], expected: pa.DataType | None
) -> None:
    assert reflected.arrow_type(dtype) == expected


def test_a_reflected_value_that_does_not_fit_is_set_aside() -> None:
    column = reflected.ReflectedColumn("x", "x", pa.decimal128(5, 2))

    piece = reflected.batch([column], pa.schema([("x", pa.decimal128(5, 2))]), 0, [(Decimal("1.50"),), ("many",)])

    assert piece.rows["x"].to_pylist() == [Decimal("1.50")]
    assert piece.rejects["column"].to_pylist() == ["x"]


def a_login(kind: str, **changes: object) -> ReflectedLogin:
    """Return how to log in to SQL Server or Oracle."""
    connection = Connection("legacy", kind, SERVER | changes)
    return ReflectedLogin("legacy", server_of(connection), FakeSecrets(), Dialect(kind))


def test_the_addresses_of_sql_server_and_oracle_hold_what_the_connection_says() -> None:
    mssql, oracle = a_login("sqlserver").url("p@ss"), a_login("oracle", port=1522).url("p@ss")

    assert mssql.render_as_string(hide_password=True) == "mssql+pymssql://reader:***@db.example.com:1433/shop"
    assert oracle.render_as_string(hide_password=True) == (
        "oracle+oracledb://reader:***@db.example.com:1522?service_name=shop"
    )
    assert mssql.password == "p@ss"


def test_encryption_that_a_driver_cannot_check_is_refused() -> None:
    with pytest.raises(SetupError, match="checks no certificate"):
        a_login("sqlserver", tls="verify-full").options()
    assert a_login("sqlserver", tls="require").options()["encryption"] == "require"
    assert a_login("oracle", tls="verify-full").options()["ssl_server_dn_match"] is True


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("(18456, b\"Login failed for user 'x'\")", SourceRefusedError),
        ("ORA-01017: invalid username/password", SourceRefusedError),
        ("(208, b\"Invalid object name 'x'\")", SourceNotFoundError),
        ("ORA-00942: table or view does not exist", SourceNotFoundError),
        ("(20009, b'Unable to connect')", SourceUnavailableError),
        ("DPY-6005: cannot connect to database", SourceUnavailableError),
        ("ORA-00904: invalid identifier; Alice", SourceRefusedError),
    ],
)
def test_an_answer_of_the_others_tells_what_to_do_and_no_value(told: str, error: type[DataprocError]) -> None:
    theirs = exc.ProgrammingError("SELECT 1", None, Exception(told))

    with pytest.raises(error) as caught, reflected_engine.translated("table 'x'"):
        raise theirs

    assert "Alice" not in str(caught.value)


def test_a_query_of_sql_server_is_refused_with_what_to_do() -> None:
    around = surroundings(connection=Connection("legacy", "sqlserver", SERVER))

    with pytest.raises(ContractViolationError, match="make a view of it"):
        source_for(a_source(table=None, query="SELECT 1"), around).plan()


def test_a_connection_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="needs one of postgresql, mysql"):
        source_for(a_source(), surroundings(connection=Connection("legacy", "s3", {})))


def test_a_source_that_travels_holds_the_reference_and_no_secret() -> None:
    secrets = FakeSecrets({SERVER["password"]: "hunter2"})
    for kind in ("postgresql", "mysql", "sqlserver", "oracle"):
        source = source_for(a_source(), surroundings(connection=Connection("legacy", kind, SERVER), secrets=secrets))

        assert "hunter2" not in repr(source)
        assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - our own value
