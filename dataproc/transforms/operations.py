"""What every operation of a `clean` step is: names and types before there are rows, then the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from dataproc.domain.cells import Mask
from dataproc.transforms.breaks import Break


@dataclass(frozen=True, slots=True)
class Outcome:
    """All rows after an operation, in their order; which broke a rule, and which are to be left out."""

    rows: pa.Table
    breaks: Sequence[Break] = ()
    left_out: Mask | None = None


class Operation(Protocol):
    """One thing that a `clean` step does."""

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the names and types that come out, or raise `ContractViolationError` with the columns."""

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows after it; `POSITION` stays the last column."""
