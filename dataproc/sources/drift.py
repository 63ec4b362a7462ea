"""What a contract says of values that are not what the plan says, where a reader meets them."""

from collections import Counter
from dataclasses import dataclass, field

from dataproc.domain.chunk import Discards
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError

RULE = "contract"
"""What rejects call it, where the contract sets rows aside."""


@dataclass(slots=True)
class Drift:
    """Judges the values of one unit, and counts those that are left out."""

    uri: str
    contract: Contract = NO_CONTRACT
    counts: Counter[str] = field(default_factory=Counter)

    def leaves_out(self, column: str, told: str) -> bool:
        """Whether values that do not fit become null; else their rows are set aside. A frozen column raises."""
        if self.contract.of(column) == "freeze":
            msg = f"{self.uri}: {told}, and the contract has frozen it; correct the file, or change the contract"
            raise ContractViolationError(msg, uri=self.uri, column=column)
        return self.contract.of(column) == "discard_value"

    def rule(self, column: str) -> str:
        """Return the rule by which rows with a value that does not fit are set aside."""
        return RULE if self.contract.of(column) == "discard_row" else "type"

    def takes_stranger(self, column: str) -> bool:
        """Whether a column that the plan does not know is passed over, or its rows set aside."""
        return self.contract.discards(column)

    def taken(self) -> Discards:
        """Return how many values of each column were left out since the last time."""
        found, self.counts = self.counts, Counter()
        return tuple((column, count) for column, count in found.items() if count)


def unknown_column_message(kind: str, place: str, name: str) -> str:
    """Return the error message for a column or a key that is not in the plan, with the remedy."""
    return (
        f"{place}: the {kind} {name!r} is not among the columns of the source: they come from the start of the first "
        "file, and others must be columns of the target, be declared by a step, or come under `contract: evolve`; "
        f"declare the {kind}, or leave it out by `contract: discard_value`"
    )


def refuse_missing(uri: str, lacking: list[str], contract: Contract) -> None:
    """Raise for columns that are frozen, and that a file lacks."""
    frozen = [name for name in lacking if contract.of(name) == "freeze"]
    if frozen:
        listed = ", ".join(map(repr, frozen[:10]))
        msg = (
            f"{uri} lacks the column {listed}, which the contract has frozen; correct the file, or change the contract"
        )
        raise ContractViolationError(msg, uri=uri, columns=frozen)
