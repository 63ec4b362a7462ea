"""Lookups: small tables that are joined to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, Protocol

import pyarrow as pa

from dataproc.domain.errors import SetupError
from dataproc.domain.transforms.enrich import LookupPlace


class Lookups(Protocol):
    """Reads lookups, in the process that runs a job: its workers are given what was read."""

    def size(self, place: LookupPlace, columns: Sequence[str]) -> int | None:
        """Return about how many bytes these columns have; `None`: that is not known before they are read."""

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, keep_for: timedelta) -> pa.Table:
        """Return these columns of all rows, as they were not longer than `keep_for` ago.

        Raises `ContractViolationError` for a column that is not there, and `LookupTooLargeError` beyond `max_bytes`.
        """


@dataclass(frozen=True, slots=True)
class NoLookups:
    """No place to read from; only rows that stand in the job can be looked up."""

    def size(self, place: LookupPlace, columns: Sequence[str]) -> None:
        """Know of none."""

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, keep_for: timedelta) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Refuse."""
        raise SetupError("enrich: lookups cannot be read here; give the rows in the job")


NO_LOOKUPS: Lookups = NoLookups()
