"""Everything that is wrong with the columns, told at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dataproc.domain.errors import ContractViolationError


@dataclass(slots=True)
class Complaints:
    """What steps say about a schema that does not suit them."""

    found: list[ContractViolationError] = field(default_factory=list)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Keep a complaint, and go on after the block."""
        try:
            yield
        except ContractViolationError as exc:
            self.found.append(exc)

    def tell(self) -> None:
        """Raise what was heard, if anything was."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            columns = [each.context["column"] for each in self.found if "column" in each.context]
            raise ContractViolationError("; ".join(map(str, self.found)), columns=columns)
