"""What becomes of files that are damaged: they end the run or, if the job says so, each becomes one reject."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.chunk import POSITION, POSITION_FIELD, Piece
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.unit import SourcePlan
from dataproc.sources.files.decoder_memory import decoder_memory
from dataproc.sources.rejects import Reject, reject_table

Found = TypeVar("Found")
Other = TypeVar("Other")

RULE = "file"


@dataclass(slots=True)
class Tolerance:
    """Reads what is needed of files to plan, past those that are damaged where the job says `skip`."""

    skips: bool
    errors: list[BadDataError | ContractViolationError] = field(default_factory=list, init=False)

    def attempt(self, read: Callable[[], Found], instead: Callable[[str], Other]) -> Found | Other:
        """Return what `read` gives, or `instead` with the reason why it cannot be read."""
        try:
            with decoder_memory().limited():
                return read()
        except (BadDataError, ContractViolationError) as exc:
            if not self.skips:
                raise
            self.errors.append(exc)
            return instead(str(exc))

    def checked(self, plan: SourcePlan) -> SourcePlan:
        """Return a plan with a note of what is damaged; where no file can be read, nobody knows the columns: raise."""
        if not self.errors:
            return plan
        if not plan.schema.names:
            raise min(self.errors, key=str)
        told = sorted({str(error) for error in self.errors})
        return replace(plan, notes=(*plan.notes, f"files are damaged and set aside ({len(told)}), first: {told[0]}"))


def lost(reason: str, uri: str, schema: pa.Schema) -> Piece:
    """Return the piece of a file of which nothing can be read."""
    return reject_of(0, f"{reason}; none of its rows was read", uri, schema)


def tolerated(pieces: Iterator[Piece], uri: str, schema: pa.Schema, promised: int | None) -> Iterator[Piece]:
    """Yield the pieces up to some damage, and that as one reject; `promised` rows were announced by the file."""
    position = read = 0
    try:
        for piece in pieces:
            yield piece
            read += piece.rows.num_rows + len(piece.rejects["position"].unique())
            position = max(position, after(piece.rows[POSITION]), after(piece.rejects["position"]))
    except BadDataError as exc:
        yield reject_of(position, f"{exc}; {told(read, promised)}", uri, schema)
        return
    if promised is not None and promised != read:
        yield reject_of(position, f"{uri} is not whole; {told(read, promised)}", uri, schema)


def after(positions: "pa.ChunkedArray[pa.Int64Scalar]") -> int:
    """Return the position after the greatest one."""
    return int(pc.max(positions).as_py()) + 1 if len(positions) else 0


def told(read: int, promised: int | None) -> str:
    """Return how much is lost, as far as it can be known."""
    if promised is None:
        return f"what comes after its first {read} rows is lost" if read else "none of its rows was read"
    return f"it says that there are {promised} rows, and {read} were read"


def reject_of(position: int, reason: str, uri: str, schema: pa.Schema) -> Piece:
    """Return a piece without rows, and with one reject that stands for a file."""
    return Piece(schema.append(POSITION_FIELD).empty_table(), reject_table([Reject(position, RULE, None, reason, uri)]))
