"""Resources of dlt as users write them; they read a file whose name they are given, so that tests can change it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class HttpError(OSError):
    """What clients of HTTP raise for an answer that is an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} with the token t0p-s3cret")
        self.response = type("Response", (), {"status_code": status})


@dlt.resource
def orders(path: str, token: str | None = None) -> Iterator[Any]:
    """Give the rows of a JSON file, in two pages."""
    if token not in (None, "t0p-s3cret"):
        raise HttpError(401)
    if not Path(path).exists():
        raise HttpError(404)
    rows = json.loads(Path(path).read_text())
    yield rows[: len(rows) // 2]
    yield from rows[len(rows) // 2 :]


@dlt.resource
def unreachable() -> Iterator[Any]:
    """Give nothing, for nobody answers."""
    yield from ()
    raise ConnectionError("refused, with the token t0p-s3cret")


@dlt.resource
def broken() -> Iterator[Any]:
    """Fail as code of users does."""
    yield {"id": 1}
    raise KeyError("t0p-s3cret")


@dlt.resource
def exiting() -> Iterator[Any]:
    """End the process, as scripts do."""
    yield {"id": 1}
    raise SystemExit("t0p-s3cret")


@dlt.resource
def tables() -> Iterator[Any]:
    """Give tables of Arrow."""
    yield pa.table({"id": [1, 2], "at": pa.array([BEGINNING, None], pa.timestamp("us", "UTC"))})


@dlt.resource
def mixed() -> Iterator[Any]:
    """Give values of all kinds, and at last one that does not fit."""
    yield {"id": 1, "nested": {"a": [1, None]}, "list": [1], "big": 2**70, "at": BEGINNING, "none": None}
    yield {"id": 2, "nested": None, "list": None, "big": 7, "at": None, "none": None}
    yield from ({"id": n} for n in range(3, 1500))
    yield {"id": "x"}


@dlt.source
def shop(path: str) -> Any:
    """Give two resources."""
    return orders(path), tables


def not_a_resource() -> str:
    """Give something else."""
    return "nothing to read"
