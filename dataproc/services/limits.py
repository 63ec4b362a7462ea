"""What a job demands of the totals of a load, checked before anything is published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, assert_never

from dataproc.domain.destination import Destination
from dataproc.domain.errors import NoRowsError, TooManyRejectsError
from dataproc.domain.spec import AnyTransform, JobSpec
from dataproc.domain.tally import Totals
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.transforms.validate import ValidateTransform

Warn = Callable[[str], None]
MANY = 100
"""Rows of which more than half may not be set aside; of fewer, not all."""


class Limit(Protocol):
    """A demand on the totals."""

    def check(self, totals: Totals, warn: Warn) -> None:
        """Raise an error if these totals may not be published; call `warn` with a message for the operator."""


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rows may be set aside: a count, or a share of the rows read."""

    most: int | str

    def check(self, totals: Totals, _: Warn) -> None:
        """Refuse totals with more rejects than allowed."""
        if totals.account.rejected > self.allowed(totals.account.read):
            raise TooManyRejectsError(
                f"{totals.summary}; max_rejects allows {self.most}: nothing was published; "
                "correct the data or the rules, or set max_rejects higher"
            )

    def allowed(self, read: int) -> int | Fraction:
        """Return how many rejects are allowed among `read` rows."""
        if isinstance(self.most, str):
            # Exact: 0.29% of 10,000 rows is 29 rows; a product of floats is a little less.
            return read * Fraction(self.most.removesuffix("%")) / 100
        return self.most


@dataclass(frozen=True, slots=True)
class UsualRejectLimit:
    """The limit of a job that sets none: not all rows may be set aside, and at most half of `MANY` or more."""

    def check(self, totals: Totals, _: Warn) -> None:
        """Refuse totals in which the rejects are the rule and not the exception."""
        read, rejected = totals.account.read, totals.account.rejected
        if 0 < rejected == read or (read >= MANY and rejected * 2 > read):
            raise TooManyRejectsError(
                f"{totals.summary}: nothing was published; correct the data or the rules, or set max_rejects in the "
                "job, such as 100%, to load the other rows and keep these"
            )


@dataclass(frozen=True, slots=True)
class NotEmptiedLimit:
    """For modes that replace rows: a run that loses every row it read may not empty the table.

    `may_filter`: every row that was filtered out was removed by a step that is meant to (`filter`, `sql`, `dedupe`).
    """

    destination: Destination
    may_filter: bool

    def check(self, totals: Totals, _: Warn) -> None:
        """Refuse totals in which rows were read and none is left, unless the steps are meant to remove them."""
        account = totals.account
        if account.read == 0 or account.loaded > 0:
            return
        if account.rejected == 0 and self.may_filter:
            return
        raise NoRowsError(
            f"{account.read:,} rows were read and none is left ({account.rejected:,} set aside, "
            f"{account.filtered:,} filtered out): nothing was published, as mode {self.destination.mode} would "
            f"leave {self.destination.table} without them; set `no_rows: allow` if that is right"
        )


@dataclass(frozen=True, slots=True)
class NoRowsLimit:
    """What happens when no row reaches the target; `usual` is how many did the last time, if any did."""

    policy: Literal["allow", "warn", "fail"]
    usual: int | None

    def check(self, totals: Totals, warn: Warn) -> None:
        """Refuse a load without rows, or warn of it, where there usually are some."""
        account = totals.account
        if account.loaded > 0 or self.usual is None:
            return
        rows = "the source gave no row" if account.read == 0 else f"none of {account.read:,} rows reached the target"
        message = f"{rows}, and {self.usual:,} did the last time"
        match self.policy:
            case "allow":
                return
            case "warn":
                warn(f"{message}; set `no_rows` to fail to refuse such a run, or to allow to silence this warning")
            case "fail":
                raise NoRowsError(f"{message}: nothing was published; set `no_rows: allow` if that is right")
            case _:
                assert_never(self.policy)


def limits_of(spec: JobSpec) -> tuple[Limit, ...]:
    """Return the limits that a job sets, or that hold because it sets none."""
    limits: list[Limit] = [RejectLimit(most) for most in limits_set_by(spec)]
    if not limits and spec.source.kind != "rejects":
        limits.append(UsualRejectLimit())
    if spec.destination.mode in ("replace", "replace_partition") and spec.no_rows != "allow":
        may_filter = not any(map(may_lose_rows, spec.transforms))
        limits.append(NotEmptiedLimit(spec.destination, may_filter))
    return tuple(limits)


def limits_set_by(spec: JobSpec) -> Sequence[int | str]:
    """Return every `max_rejects` of a job: its own, and those of its steps."""
    steps = [each.max_rejects for each in spec.transforms if isinstance(each, ValidateTransform)]
    return [most for most in (spec.max_rejects, *steps) if most is not None]


def may_lose_rows(step: AnyTransform) -> bool:
    """Whether a step may remove rows that it neither sets aside nor is meant to remove."""
    match step:
        case ValidateTransform():
            return step.on_error == "drop"
        case CleanTransform():
            return bool(step.drop_nulls)
        case _:
            return isinstance(step, PythonTransform)
