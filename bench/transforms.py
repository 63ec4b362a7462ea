"""What transforms cost: orders loaded with clean, validate, dedupe and mask, and without; rules against pydantic.

`make bench-transforms`, or `python -m bench.transforms --rows 20000 --rounds 1` for a quick look.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError, model_validator

from bench.environments import CACHE
from bench.errors import WrongRowsError
from bench.orders import STATES, Orders, orders, orders_on_disk
from bench.product import Product, append_job, product
from bench.report import Mark, exit_code, machine, publish, table_of, tell
from bench.rounds import Contender, alternate, figures_of, lines_of, medians
from dataproc.domain.chunk import Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.transforms.validate import Validate

PARTS = 8
LOAD_LIMIT = 1.5
RULES_LIMIT = 0.05
"""Our seconds as a share of those of row-wise pydantic: at least 20 times faster."""
CHUNK_ROWS = 128 * 1024
Spec = dict[str, object]
CLEAN: Spec = {
    "kind": "clean",
    "trim": True,
    "case": {"status": "lower"},
    "email": ["email"],
    "nulls": {"note": "none"},
}
VALIDATE: Spec = {
    "kind": "validate",
    "columns": {
        "order_id": "int64! >= 0",
        "amount": "float64! >= 0",
        "qty": "int32 > 0 < 1000",
        "email": "email!",
        "status": f"string! in ({', '.join(STATES)})",
    },
    "rules": [{"name": "is_affordable", "expect": "amount * qty < 1000000"}],
}
DEDUPE: Spec = {"kind": "dedupe", "keys": ["order_id"]}
MASK: Spec = {"kind": "mask", "columns": {"email": "hash", "name": "redact"}, "key": "secret://bench-mask"}
KEY_VARIABLE = "DATAPROC_SECRET_BENCH_MASK"


class Order(BaseModel):
    """The same rules as `VALIDATE`, as people write them for pydantic."""

    order_id: Annotated[int, Field(ge=0)]
    customer_id: int
    ts: datetime
    d: date
    amount: Annotated[float, Field(ge=0)]
    qty: Annotated[int | None, Field(gt=0, lt=1000)]
    name: str
    email: Annotated[str, Field(pattern=r"^[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+$")]
    status: Literal["new", "paid", "shipped", "returned"]
    note: str | None

    @model_validator(mode="after")
    def is_affordable(self) -> "Order":
        """Refuse an order that nobody pays."""
        if self.qty is not None and self.amount * self.qty >= 1_000_000:
            msg = "too much"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Loads:
    """The same orders loaded as they are, and with four transforms; only the load itself is timed."""

    product: Product
    orders: Orders

    def contenders(self) -> tuple[Contender, ...]:
        """Return who takes part."""
        return Contender("plain", self.plain), Contender("transformed", self.transformed)

    def plain(self, number: int) -> float:
        """Load the orders as they are."""
        return self.load(f"plain_{number}", [])

    def transformed(self, number: int) -> float:
        """Load the orders cleaned, checked, each once, and masked."""
        return self.load(f"transformed_{number}", [CLEAN, VALIDATE, DEDUPE, MASK])

    def load(self, schema: str, transforms: list[Spec]) -> float:
        """Load through the product, which makes the table itself."""
        spec = {**append_job("transforms", "*.parquet", f"{schema}.orders"), "transforms": transforms}
        self.product.database.settle()
        ended = self.product.run(spec)
        self.product.database.verify(schema, self.orders)
        return ended.seconds


@dataclass(frozen=True, slots=True)
class Rules:
    """The same rules over the same rows in this process, by columns and by rows."""

    chunks: tuple[Chunk, ...]

    def contenders(self) -> tuple[Contender, ...]:
        """Return who takes part."""
        return Contender("validate", self.by_columns), Contender("pydantic", self.by_rows)

    def by_columns(self, _: int) -> float:
        """Check the rows with the `validate` step."""
        step = Validate(ValidateTransform.model_validate(VALIDATE))
        started = time.perf_counter()
        good = sum(step.apply(chunk).rows.num_rows for chunk in self.chunks)
        return self.timed(started, good)

    def by_rows(self, _: int) -> float:
        """Check the rows one by one, with a model of pydantic; what they are before is no part of the time."""
        seconds, good = 0.0, 0
        for chunk in self.chunks:
            rows = chunk.rows.to_pylist()
            started = time.perf_counter()
            for row in rows:
                with suppress(ValidationError):
                    Order.model_validate(row)
                    good += 1
            seconds += time.perf_counter() - started
        self.timed(0, good)
        return seconds

    def timed(self, started: float, good: int) -> float:
        """Return the seconds since, if no row was lost."""
        seconds, rows = time.perf_counter() - started, sum(chunk.rows.num_rows for chunk in self.chunks)
        if good != rows:
            raise WrongRowsError(f"{good} rows of {rows} hold the rules, but all of them do")
        return seconds


def chunks_of(rows: pa.Table) -> tuple[Chunk, ...]:
    """Return rows as a reader cuts them."""
    pieces = (rows.slice(first, CHUNK_ROWS).combine_chunks() for first in range(0, rows.num_rows, CHUNK_ROWS))
    return tuple(chunk_of("bench", at, Piece(piece, no_rejects()), last=False) for at, piece in enumerate(pieces))


def race(rows: int, rounds: int) -> None:
    """Let them run in turn, and publish how long each took."""
    tell("preparing the data set")
    found = orders_on_disk(CACHE / "data", rows, PARTS)
    rules = Rules(chunks_of(with_positions(orders(rows), 0)))
    checks = alternate(rules.contenders(), rounds, tell, warm_ups=0)
    os.environ.setdefault(KEY_VARIABLE, "a key that hides nothing from anybody")
    with product(found.parts) as running:
        loads = Loads(running, found)
        where = machine(postgres=running.database.version)
        seconds = alternate(loads.contenders(), rounds, tell)
    show(rows, {**seconds, **checks}, where)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="bench.transforms", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


def show(rows: int, seconds: Mapping[str, list[float]], where: dict[str, object]) -> None:
    """Publish the result."""
    middle = medians(seconds)
    ratio = {
        "transformed": round(middle["transformed"] / middle["plain"], 3),
        "validate": round(middle["validate"] / middle["pydantic"], 4),
    }
    marks = (
        Mark("transformed / plain", ratio["transformed"], LOAD_LIMIT),
        Mark("validate / pydantic", ratio["validate"], RULES_LIMIT),
    )
    columns = ("", "median s", "least s", "most s", "rows/s")
    lines = list(lines_of(rows, seconds).values())
    figures = {**figures_of(rows, seconds), "ratio": ratio, "machine": where}
    publish("transforms", figures, table_of(f"transforms of {rows:,} rows", columns, lines), marks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; exit with 1 when a run left wrong rows."""
    options = options_of(arguments)
    return exit_code(lambda: race(options.rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
