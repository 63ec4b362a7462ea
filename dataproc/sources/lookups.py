"""Lookups: small tables of the warehouse, and small sources, read whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import assert_never

import pyarrow as pa
from psycopg.conninfo import make_conninfo
from typing_extensions import override

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import BadDataError, ContractViolationError, LookupTooLargeError, SetupError
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.kinds import AnySource
from dataproc.domain.transforms.enrich import LookupPlace, LookupRows, LookupSource, LookupTable
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.database.connection import ServerConnection
from dataproc.sources.database.postgres import PostgresSource
from dataproc.sources.database.postgres_errors import translated
from dataproc.sources.database.postgres_session import PostgresLogin
from dataproc.sources.factory import Surroundings, source_for

NOT_ASKED = ServerConnection(host="warehouse", database="warehouse", user="warehouse")
"""Where a login is asked for a server although it has a URL: only its timeouts count."""


@dataclass(frozen=True, slots=True)
class WarehouseLogin(PostgresLogin):
    """How to log in to the warehouse of this installation."""

    url: str = field(default="", repr=False)

    @property
    @override
    def told(self) -> str:
        return "the warehouse"

    @contextmanager
    @override
    def words(self) -> Iterator[str]:
        yield make_conninfo(self.url, connect_timeout=10, application_name="dataproc", client_encoding="UTF8")


@dataclass(frozen=True, slots=True)
class SourceLookups:
    """Reads lookups as jobs read sources; `connections` are those that a job's lookups name."""

    around: Surroundings
    warehouse_url: str | None = field(default=None, repr=False)
    connections: Mapping[str, Connection] = field(default_factory=dict)

    def size(self, place: LookupPlace, columns: Sequence[str]) -> int | None:
        """Return about how many bytes these columns of a table have, as the warehouse estimates."""
        if not isinstance(place, LookupTable):
            return None
        table = self.table(place, columns)
        with closing(table.login.open()) as conn, translated(table.told):
            return table.size(conn, None, ())

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, _: timedelta) -> pa.Table:
        """Return these columns of all rows, as they are now."""
        match place:
            case LookupTable():
                return whole(self.table(place, columns), columns, max_bytes)
            case LookupSource():
                return whole(self.source(place.source), columns, max_bytes)
            case LookupRows():
                msg = "rows that stand in a job are not read from anywhere"
                raise TypeError(msg)
            case _:
                assert_never(place)

    def table(self, place: LookupTable, columns: Sequence[str]) -> PostgresSource:
        """Return the reader of a table of the warehouse."""
        if self.warehouse_url is None:
            raise SetupError("enrich.from.table: there is no warehouse; set DATAPROC_WAREHOUSE_URL")
        login = WarehouseLogin("warehouse", NOT_ASKED, self.around.secrets, url=self.warehouse_url)
        spec = DatabaseSource(
            kind="database", connection="warehouse", table=place.table, columns=tuple(columns), split="none",
            verify_counts=False,
        )  # fmt: skip
        return PostgresSource(login, spec)

    def source(self, spec: AnySource) -> Source:
        """Return the reader of a source."""
        connection = self.connections.get(getattr(spec, "connection", None) or "")
        return source_for(spec, replace(self.around, connection=connection, columns=SourceColumns(computed=None)))


def whole(source: Source, columns: Sequence[str], max_bytes: int) -> pa.Table:
    """Return some columns of all rows of a source, unless they are too large."""
    plan = source.plan()
    with plan.hold:
        demand_columns(plan.schema, columns)
        parts, size = [plan.schema.empty_table().select(list(columns))], 0
        for unit in plan.units:
            for chunk in source.read(replace(unit, isolated=True)):
                if chunk.rejects.num_rows:
                    msg = f"enrich.from: {chunk.rejects.num_rows} rows of the lookup cannot be read; mend them there"
                    raise BadDataError(msg, unit=unit.id)
                parts.append(chunk.rows.select(list(columns)))
                size += parts[-1].nbytes
                demand_small(size, max_bytes)
    return pa.concat_tables(parts).combine_chunks()


def demand_columns(schema: pa.Schema, columns: Sequence[str]) -> None:
    """Refuse a column that a lookup lacks."""
    for name in columns:
        if name not in schema.names or name == POSITION:
            msg = f"enrich.from: the lookup has no column {name!r}, only {', '.join(schema.names)}; correct the name"
            raise ContractViolationError(msg, column=name)


def demand_small(size: int, max_bytes: int) -> None:
    """Refuse a lookup that is too large for the memory of each worker."""
    if size > max_bytes:
        msg = (
            f"enrich.from: the lookup has more than {max_bytes} bytes; raise `max_bytes`, name fewer columns, or "
            "join in the warehouse (`over: run`)"
        )
        raise LookupTooLargeError(msg, max_bytes=max_bytes)
