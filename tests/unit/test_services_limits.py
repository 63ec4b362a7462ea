"""What a job demands of its totals."""

import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.errors import NoRowsError, TooManyRejectsError
from dataproc.domain.rules import ColumnRule
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.services.limits import NoRowsLimit, RejectLimit, limits_of


@pytest.mark.parametrize(
    ("most", "read", "rejected", "is_allowed"),
    [
        (None, 10, 10, True),
        (0, 10, 0, True),
        (0, 10, 1, False),
        (3, 10, 3, True),
        (3, 10, 4, False),
        ("1%", 100, 1, True),
        ("1%", 99, 1, False),
        ("0.57%", 10_000, 57, True),
        ("0.57%", 10_000, 58, False),
        ("100%", 10, 10, True),
        ("1%", 0, 0, True),
    ],
)
def test_rejects_are_limited_by_count_or_exactly_by_share(
    most: int | str | None, read: int, rejected: int, *, is_allowed: bool
) -> None:
    account = Account(read=read, loaded=read - rejected, rejected=rejected)

    if is_allowed:
        RejectLimit(most).check(account, pytest.fail)
    else:
        with pytest.raises(TooManyRejectsError):
            RejectLimit(most).check(account, pytest.fail)


def test_each_validate_transform_sets_its_own_limit() -> None:
    columns = {"id": ColumnRule.model_validate("int64!")}
    validates = [ValidateTransform(kind="validate", columns=columns, max_rejects=most) for most in (5, "1%")]

    assert limits_of([CleanTransform(kind="clean"), *validates]) == (RejectLimit(5), RejectLimit("1%"))


@pytest.mark.parametrize("policy", ["allow", "warn", "fail"])
@pytest.mark.parametrize(("read", "usual"), [(1, 100), (0, None)])
def test_rows_that_came_or_never_came_are_no_reason_to_stop(policy: str, read: int, usual: int | None) -> None:
    NoRowsLimit(policy, usual).check(Account(read, read), pytest.fail)  # type: ignore[arg-type] # parametrized


def test_a_source_that_gives_no_row_for_once_fails_the_job_that_wants_it_to() -> None:
    with pytest.raises(NoRowsError, match="no row, and 100 the last time: nothing was published; set `no_rows: allow`"):
        NoRowsLimit("fail", 100).check(Account(), pytest.fail)


def test_a_source_that_gives_no_row_for_once_is_warned_of() -> None:
    told: list[str] = []

    NoRowsLimit("warn", 100).check(Account(), told.append)

    assert [text.partition(";")[0] for text in told] == ["the source gave no row, and 100 the last time"]


def test_a_source_that_may_give_no_row_does_so_in_silence() -> None:
    NoRowsLimit("allow", 100).check(Account(), pytest.fail)
