"""What a job demands of the totals of a load, checked before anything is published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, assert_never

from dataproc.domain.chunk import Account
from dataproc.domain.errors import NoRowsError, TooManyRejectsError
from dataproc.domain.spec import Transform
from dataproc.domain.transforms.validate import ValidateTransform

Warn = Callable[[str], None]


class Limit(Protocol):
    """A demand on the totals."""

    def check(self, account: Account, warn: Warn) -> None:
        """Raise what forbids to publish these totals; say by `warn` what somebody should look at."""


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rows may be set aside: a count, a share of the rows read, or (`None`) any number."""

    most: int | str | None

    def check(self, account: Account, _: Warn) -> None:
        """Refuse an account with more rejects than allowed."""
        if account.rejected > self.allowed(account.read):
            raise TooManyRejectsError(
                f"{account.rejected} of {account.read} rows broke the rules and {self.most} are allowed: "
                "nothing was published"
            )

    def allowed(self, read: int) -> float | Fraction:
        """Return how many rejects are allowed among `read` rows."""
        if self.most is None:
            return float("inf")
        if isinstance(self.most, str):
            # Exact, for 0.29% of 10,000 rows are 29 rows and not a little less.
            return read * Fraction(self.most.removesuffix("%")) / 100
        return self.most


@dataclass(frozen=True, slots=True)
class NoRowsLimit:
    """What happens when a source gives no row; `usual` is what it gave the last time, if it gave any."""

    policy: Literal["allow", "warn", "fail"]
    usual: int | None

    def check(self, account: Account, warn: Warn) -> None:
        """Refuse, or warn of, an empty source that usually has rows."""
        if account.read > 0 or self.usual is None:
            return
        told = f"the source gave no row, and {self.usual} the last time"
        match self.policy:
            case "allow":
                return
            case "warn":
                warn(f"{told}; set `no_rows` to fail or allow to have it refused or to hear no more of it")
            case "fail":
                raise NoRowsError(f"{told}: nothing was published; set `no_rows: allow` if that is right")
            case _:
                assert_never(self.policy)


def limits_of(transforms: Sequence[Transform]) -> tuple[RejectLimit, ...]:
    """Return the limits that the transforms of a job set."""
    return tuple(RejectLimit(t.max_rejects) for t in transforms if isinstance(t, ValidateTransform))
