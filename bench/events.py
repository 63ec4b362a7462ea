"""Events as JSON Lines with nested values, as web services write them: one file, the same rows for the same count."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.errors import WrongRowsError

KINDS = ("view", "click", "order", "return")


@dataclass(frozen=True, slots=True)
class Events:
    """The file, and its rows."""

    path: Path
    rows: int

    @property
    def expected(self) -> tuple[int, ...]:
        """The number of rows, the sum of their ids, and the sum of a number within their objects."""
        total = self.rows * (self.rows - 1) // 2
        return self.rows, total, total

    def verify(self, conn: psycopg.Connection, schema: str) -> None:
        """Raise `WrongRowsError` unless a table holds the rows; then drop it with its schema."""
        query = sql.SQL("SELECT count(*), sum(id)::bigint, sum((client::json ->> 'n')::bigint)::bigint FROM {}")
        found = conn.execute(query.format(sql.Identifier(schema, "events"))).fetchone()
        if found != self.expected:
            raise WrongRowsError(f"{schema}.events holds {found}, expected is {self.expected}")
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def events_on_disk(data: Path, rows: int) -> Events:
    """Return the file of that many rows below `data`, written if it is not there yet."""
    path = data / f"events-{rows}" / "events.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".new")
        with half.open("w") as file:
            file.writelines(lines(rows))
        half.rename(path)
    return Events(path, rows)


def lines(rows: int) -> Iterator[str]:
    """Yield the lines: about 150 bytes each."""
    for number in range(rows):
        event = {
            "id": number,
            "at": f"2026-01-{1 + number % 28:02}T12:{number % 60:02}:00Z",
            "kind": KINDS[number % len(KINDS)],
            "amount": number % 10_000 / 100,
            "client": {"n": number, "zip": f"{number % 100_000:05}", "tags": ["a", "b"]},
            "is_new": number % 3 == 0,
        }
        yield json.dumps(event, separators=(",", ":")) + "\n"
