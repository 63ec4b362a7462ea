"""The direct way: workers encode, and one COPY in the publish transaction takes the bytes.

One transaction or nothing: there is no staging table, no second write, and nothing to clean up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import Chunk, LoadedChunk, broken_by
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, CountMismatchError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.keys import KeyRule
from dataproc.domain.tally import Tally, Totals
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import Effect, LoadId, Published
from dataproc.warehouse import encoding, rejects
from dataproc.warehouse.columns import Column
from dataproc.warehouse.copying import copy_rows
from dataproc.warehouse.discarding import within_contract
from dataproc.warehouse.fitting import fit
from dataproc.warehouse.keys import Doubles, as_stored, hashed, hashes, rule_of
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.modes.checks import unless_doubled
from dataproc.warehouse.modes.comparing import is_told_by_bytes
from dataproc.warehouse.modes.factory import refuse_rejects, settle
from dataproc.warehouse.modes.filling import can_be_filled, gives_many
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.rebuilding import may_be_rebuilt
from dataproc.warehouse.modes.replace import is_swapped
from dataproc.warehouse.modes.swap import NewTable
from dataproc.warehouse.present import Present
from dataproc.warehouse.publish import make_sure_of, publishing
from dataproc.warehouse.target import Target


@dataclass(frozen=True, slots=True)
class Encode:
    """Turns a chunk into bytes for COPY; runs in the workers."""

    columns: tuple[Column, ...]
    rules: tuple[KeyRule, ...] = ()
    left_out: tuple[Column, ...] = ()
    cipher: Cipher | None = field(default=None, repr=False)
    own: KeyRule | None = None
    present: Present | None = None

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Return the chunk encoded, with its account and its rejects."""
        chunk = within_contract(chunk, self.columns, self.left_out)
        fitted = fit(chunk.rows, self.columns, chunk.unit)
        keys = hashes(chunk.keys, self.rules)
        if self.own is not None:
            types = {column.name: column.sql_type for column in self.columns}
            own = [as_stored(fitted[name], types[name]) for name in self.own.columns]
            keys = (*keys, hashed(pa.table(own, names=list(self.own.names)), self.own))
        sent = fitted if self.present is None else self.present.without(fitted, chunk)
        payload = encoding.encode(sent)
        return LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered,
            encoding.digest(payload), payload, rejects.pack(chunk.rejects, self.cipher), chunk.deduplicated,
            chunk.mark, chunk.high, keys, chunk.discarded, fitted.num_rows - sent.num_rows, broken_by(chunk.rejects),
            chunk.edge,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HandOn:
    """Takes a chunk's rows as they are; runs in the workers."""

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Return the chunk's bytes with its account."""
        if chunk.wire is None:
            raise TypeError(chunk)
        return LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.read, 0, 0, encoding.digest(chunk.wire), chunk.wire
        )


@dataclass(frozen=True, slots=True)
class DirectLoad:
    """A load by one COPY into the target."""

    url: str = field(repr=False)
    load_id: LoadId
    target: Target
    rules: tuple[KeyRule, ...] = ()
    way: str = "direct"
    staged_before: tuple[LoadedChunk, ...] = ()
    as_is: bool = False
    cipher: Cipher | None = field(default=None, repr=False)
    present: Present | None = None
    destination: Destination = field(kw_only=True)

    @property
    def step(self) -> Encode | HandOn:
        """What workers do with a chunk."""
        if self.as_is:
            return HandOn()
        target = self.target
        return Encode(target.columns, self.rules, target.left_out, self.cipher, self.own_rule, self.present)

    @property
    def own_rule(self) -> KeyRule | None:
        """The rule that the keys of the destination come once, where workers can tell."""
        if self.as_is or not self.destination.keys or not self.target.columns:
            return None
        return rule_of(self.target.columns, self.destination.keys)

    @property
    def at_first(self) -> Target:
        """The target as it is locked while rows come.

        Where they are brought in, others may change it until all are there, unless workers rely on what is in it.
        """
        return replace(self.target, lock="ACCESS SHARE") if self.brings_in and self.present is None else self.target

    @property
    def brings_in(self) -> bool:
        """Whether rows are held beside the target, and brought in when all of them are there."""
        keeps_some = self.destination.mode not in ("append", "replace")
        return keeps_some and self.target.exists and bool(self.target.columns)

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Totals], None]) -> Published:
        """Stream all results into the target and commit, or leave it as it was."""
        tally, doubles = Tally(), Doubles()
        with rejects.Aside() as aside, publishing(self.url, self.load_id, self.at_first) as conn:
            new = self.new_table(conn, plan)
            with unless_doubled(self.target):
                copied = copy_all(conn, self.target, arrivals(results, tally, doubles, aside), new)
            tally.verify(plan)
            doubles.refuse()
            self.compare(copied, tally)
            check(tally.totals)
            effect = self.finish(conn, plan, tally, new, doubles)
            reached(FaultPoint.COPIED)
            # Taken last, so that a cancel never waits for the COPY.
            take_fence(conn, self.load_id)
            rejects.copy_rejects(conn, self.load_id, self.target.name, aside)
            return record(conn, Entry(self.load_id, self.target.name, self.way, plan, tally, effect))

    def new_table(self, conn: psycopg.Connection, plan: SourcePlan) -> NewTable | None:
        """Return the new table that the rows go into, where it is to take the place of one that is there."""
        if not self.target.exists or not self.target.columns:
            return None
        if self.destination.mode == "replace":
            lasting = is_swapped(conn, self.target, self.destination)
        elif self.brings_in:
            lasting = self.may_take_its_place(conn, plan)
        elif gives_many(plan) and can_be_filled(conn, self.target):
            lasting = True
        else:
            return None
        return NewTable.made(conn, self.load_id, self.target, lasting=lasting)

    def may_take_its_place(self, conn: psycopg.Connection, plan: SourcePlan) -> bool:
        """Whether the table that holds the rows of a merge may become the target: an empty one, or one much changed."""
        if self.destination.mode != "merge" or self.destination.delete_flag is not None:
            return False
        is_filled = gives_many(plan) and can_be_filled(conn, self.target)
        return is_filled or may_be_rebuilt(conn, self.target, self.destination, plan)

    def finish(
        self, conn: psycopg.Connection, plan: SourcePlan, tally: Tally, new: NewTable | None, doubles: Doubles
    ) -> Effect:
        """Do what the mode asks for once the rows are there; return what the load has done."""
        account = tally.account
        refuse_rejects(self.destination, account)
        if self.brings_in:
            make_sure_of(conn, self.target)
        staged = self.target.identifier if new is None else new.identifier
        move = Move(conn, self.target, self.destination, staged, plan, tally.sent, self.load_id)
        distinct = self.own_rule is not None and doubles.cover(account.loaded) and is_told_by_bytes(move)
        effect = settle(replace(move, distinct=distinct), new)
        return replace(effect, unchanged=effect.unchanged + tally.present)

    def compare(self, copied: int, tally: Tally) -> None:
        """Refuse unless the target took every row that was sent."""
        if copied == tally.sent:
            return
        if not self.target.columns:
            raise ContractViolationError(f"{tally.sent} rows without any column are left for {self.target.name}")
        raise CountMismatchError(
            f"{tally.sent} rows were sent to {self.target.name}, and it took {copied}; "
            "does one of its triggers or rules leave rows out?"
        )


def arrivals(
    results: Iterator[LoadedChunk], tally: Tally, doubles: Doubles, aside: rejects.Aside
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of each new chunk, counting it, and keep the rejects for later."""
    for chunk in results:
        if tally.add(chunk):
            doubles.add(chunk)
            yield chunk.payload
            aside.add(chunk)


def copy_all(
    conn: psycopg.Connection, target: Target, payloads: Iterator[bytes | memoryview], new: NewTable | None = None
) -> int:
    """Send `payloads` through one COPY; return how many rows it took. Without columns there is nothing to send."""
    if not target.columns:
        for _ in payloads:
            pass
        return 0
    # Whoever looks with an old snapshot sees the rows of a new table only if they are frozen; and whoever reads them
    # first need not mark them as committed, which is logged page by page where pages have checksums.
    is_new = new is not None or not target.exists
    options = sql.SQL("FORMAT BINARY, FREEZE" if is_new else "FORMAT BINARY")
    into = target.identifier if new is None else new.identifier
    command = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(into, target.column_list, options)
    return copy_rows(conn, command, payloads)
