"""What a job demands of its totals."""

from typing import Any

import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.errors import NoRowsError, TooManyRejectsError
from dataproc.domain.spec import JobSpec
from dataproc.domain.tally import Totals
from dataproc.services.limits import NoRowsLimit, RejectLimit, UsualRejectLimit, limits_of

SOURCE = {"kind": "files", "path": "orders.csv"}
RULE = {"kind": "validate", "columns": {"id": "int64!"}}
DROP = {**RULE, "on_error": "drop"}
PYTHON = {"kind": "python", "call": "package.module:change", "returns": {"id": "int64"}}
FILTERS = (
    {"kind": "filter", "where": "id > 1"},
    {"kind": "sql", "query": "SELECT id FROM batch"},
    {"kind": "dedupe", "keys": ["id"]},
)


def a_spec(*steps: dict[str, Any], mode: str = "append", **fields: Any) -> JobSpec:
    partition = {"partition": {"by": ["id"]}} if mode == "replace_partition" else {}
    destination = {"table": "a.b", "mode": mode, **partition}
    given = {"name": "orders", "source": SOURCE, "transforms": steps, "destination": destination}
    return JobSpec.model_validate(given | fields)


def totals(read: int, *, rejected: int = 0, filtered: int = 0, deduplicated: int = 0) -> Totals:
    loaded = read - rejected - filtered - deduplicated
    return Totals(Account(read, loaded, rejected, filtered, deduplicated))


def refused_by(spec: JobSpec, found: Totals) -> str | None:
    """Return the code of the error that forbids to publish totals, if one does."""
    try:
        for limit in limits_of(spec):
            limit.check(found, pytest.fail)
    except (NoRowsError, TooManyRejectsError) as exc:
        return exc.code
    return None


@pytest.mark.parametrize(
    ("most", "read", "rejected", "is_allowed"),
    [
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
    most: int | str, read: int, rejected: int, *, is_allowed: bool
) -> None:
    assert (refused_by(a_spec(max_rejects=most), totals(read, rejected=rejected)) is None) is is_allowed


def test_a_job_and_each_of_its_validate_steps_sets_a_limit() -> None:
    steps: list[dict[str, Any]] = [{"kind": "clean"}, {**RULE, "max_rejects": 5}, {**RULE, "max_rejects": "1%"}]

    assert limits_of(a_spec(*steps, max_rejects=7)) == (RejectLimit(7), RejectLimit(5), RejectLimit("1%"))


@pytest.mark.parametrize(
    ("read", "rejected", "is_allowed"),
    [
        (0, 0, True),
        (1, 1, False),
        (99, 99, False),
        (99, 98, True),
        (100, 50, True),
        (100, 51, False),
        (1_000_001, 500_000, True),
        (1_000_001, 500_001, False),
    ],
)
def test_without_a_limit_not_all_rows_and_at_most_half_of_many_are_set_aside(
    read: int, rejected: int, *, is_allowed: bool
) -> None:
    code = refused_by(a_spec(RULE), totals(read, rejected=rejected))

    assert code == (None if is_allowed else "too-many-rejects")


@pytest.mark.parametrize("steps", [(), ({**RULE, "max_rejects": "100%"},)])
def test_a_limit_of_the_job_or_of_a_step_takes_the_place_of_the_default(steps: tuple[dict[str, Any], ...]) -> None:
    spec = a_spec(*steps, **({} if steps else {"max_rejects": "100%"}))

    assert refused_by(spec, totals(10, rejected=10)) is None


def test_a_replay_may_set_aside_all_rows_again() -> None:
    source = {"kind": "rejects", "job": "0b9d1b4c-5b0a-4b1e-9a0b-3f8f6f3b1f0a"}

    assert refused_by(a_spec(source=source), totals(10, rejected=10)) is None


def test_rows_that_a_step_drops_are_not_set_aside() -> None:
    assert refused_by(a_spec(DROP), totals(10, filtered=10)) is None


def test_the_error_names_the_rules_that_most_rows_broke() -> None:
    broken = (("type of qty", 1_200), ("required of id", 3), *((f"rule {n}", 1) for n in range(4)))

    with pytest.raises(TooManyRejectsError) as raised:
        UsualRejectLimit().check(Totals(Account(1_300, 97, 1_203), broken), pytest.fail)

    assert str(raised.value).startswith(
        "1,203 of 1,300 rows were set aside: type of qty (1,200 rows), required of id (3 rows), rule 0 (1 rows), "
        "rule 1 (1 rows), rule 2 (1 rows), …: nothing was published; "
    )


@pytest.mark.parametrize("mode", ["replace", "replace_partition"])
@pytest.mark.parametrize(
    ("steps", "found", "code"),
    [
        ((), totals(0), None),
        ((RULE,), totals(10, rejected=10), "no-rows"),
        ((RULE,), totals(10, rejected=9), None),
        ((DROP,), totals(10, filtered=10), "no-rows"),
        (({"kind": "clean", "drop_nulls": ["id"]},), totals(10, filtered=10), "no-rows"),
        ((PYTHON,), totals(10, filtered=10), "no-rows"),
        ((*FILTERS, RULE), totals(10, filtered=8, rejected=2), "no-rows"),
        *(((step,), totals(10, filtered=10), None) for step in FILTERS),
    ],
)
def test_a_replacement_that_loses_all_rows_is_refused_unless_steps_are_meant_to_remove_them(
    mode: str, steps: tuple[dict[str, Any], ...], found: Totals, code: str | None
) -> None:
    assert refused_by(a_spec(*steps, mode=mode, max_rejects="100%"), found) == code
    assert refused_by(a_spec(*steps, mode=mode, max_rejects="100%", no_rows="allow"), found) is None


@pytest.mark.parametrize("mode", ["append"])
def test_other_modes_may_lose_all_rows(mode: str) -> None:
    assert refused_by(a_spec(DROP, mode=mode), totals(10, filtered=10)) is None


@pytest.mark.parametrize("policy", ["allow", "warn", "fail"])
@pytest.mark.parametrize(("read", "usual"), [(1, 100), (0, None)])
def test_rows_that_came_or_never_came_are_no_reason_to_stop(policy: str, read: int, usual: int | None) -> None:
    NoRowsLimit(policy, usual).check(totals(read), pytest.fail)  # type: ignore[arg-type] # parametrized


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (totals(0), "the source gave no row, and 100 did the last time"),
        (totals(7, filtered=5, rejected=2), "none of 7 rows reached the target, and 100 did the last time"),
    ],
)
def test_a_run_that_brings_no_row_for_once_is_refused_or_warned_of(found: Totals, message: str) -> None:
    told: list[str] = []

    NoRowsLimit("warn", 100).check(found, told.append)
    with pytest.raises(NoRowsError) as raised:
        NoRowsLimit("fail", 100).check(found, pytest.fail)

    assert [text.partition(";")[0] for text in told] == [message]
    assert str(raised.value) == f"{message}: nothing was published; set `no_rows: allow` if that is right"


def test_a_source_that_may_give_no_row_does_so_in_silence() -> None:
    NoRowsLimit("allow", 100).check(totals(0), pytest.fail)
