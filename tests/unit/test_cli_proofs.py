"""How logs and accounts are shown."""

import io
from typing import Any
from uuid import UUID

import pytest

from dataproc.cli.api_client import ApiUnavailableError, Document
from dataproc.cli.output import console
from dataproc.cli.proofs import account_table, log_lines
from dataproc.cli.views import logs_of, reconciliation_of

RUN = UUID("00000000-0000-0000-0000-000000000001")
LINE = {"time": "2026-01-01T00:00:00Z", "level": "WARNING", "message": 'event="rows [red]set[/red] aside" rows=3'}


def account(announced: int | None, *counts: int) -> dict[str, int | None]:
    names = ("read", "staged", "rejected", "deduplicated", "filtered")
    return {"announced": announced, **dict(zip(names, counts, strict=True))}


def printed(*parts: Any) -> list[str]:
    file = io.StringIO()
    for part in parts:
        console(file).print(part)
    return file.getvalue().splitlines()


def test_a_log_has_a_heading_for_each_attempt_and_a_line_for_each_line() -> None:
    log = {"run": str(RUN), "attempt": 1, "lines": [LINE]}

    first, line, second, *_ = printed(*log_lines(logs_of([log, {**log, "attempt": 2}])))

    assert (first, second) == (f"attempt 1 (run {RUN})", f"attempt 2 (run {RUN})")
    assert line.split(" ", 2)[2] == 'WARNING event="rows [red]set[/red] aside" rows=3'


def test_a_terminal_obeys_nothing_that_a_log_says() -> None:
    log = {"run": str(RUN), "attempt": 1, "lines": [{**LINE, "message": "\x1b[31m"}]}

    assert "\x1b" not in "".join(printed(*log_lines(logs_of([log]))))


def test_a_job_that_never_ran_says_so() -> None:
    assert printed(*log_lines(logs_of([]))) == ["the job has not run yet"]


def test_an_account_has_a_line_for_each_unit_and_a_total() -> None:
    document: Document = {
        "target": "analytics.orders",
        "load": "staged",
        "published_at": "2026-01-01T00:00:00Z",
        "rows": account(None, 1300, 1290, 5, 3, 2),
        "units": [
            {"unit": "orders-1", "rows": account(1000, 1000, 990, 5, 3, 2)},
            {"unit": "[b]orders-2", "rows": account(None, 300, 300, 0, 0, 0)},
        ],
    }

    lines = [line.split() for line in printed(account_table(reconciliation_of(document)))]

    assert "analytics.orders," in lines[0]
    assert ["UNIT", "ANNOUNCED", "READ", "STAGED", "REJECTED", "DEDUPLICATED", "FILTERED"] in lines
    assert ["orders-1", "1,000", "1,000", "990", "5", "3", "2"] in lines
    assert ["[b]orders-2", "-", "300", "300", "0", "0", "0"] in lines
    assert ["total", "-", "1,300", "1,290", "5", "3", "2"] in lines


def test_what_a_load_has_done_to_its_target_stands_below_the_account() -> None:
    effect = {"inserted": 1200, "updated": 3, "deleted": None, "unchanged": 4, "notes": ["replaced [b]in place[/b]"]}
    document: Document = {
        "target": "analytics.orders",
        "load": "staged",
        "published_at": "2026-01-01T00:00:00Z",
        "rows": account(None, 1207, 1207, 0, 0, 0),
        "effect": effect,
        "units": [],
    }

    lines = [line.strip() for line in printed(account_table(reconciliation_of(document)))]

    assert "1,200 inserted, 3 updated, 4 unchanged" in lines
    assert "replaced [b]in place[/b]" in lines


@pytest.mark.parametrize("document", [{}, [{"attempt": 1}], {"lines": []}])
def test_an_answer_that_is_no_log_is_that_of_something_else(document: Document) -> None:
    with pytest.raises(ApiUnavailableError, match="not that of dataproc"):
        logs_of(document)


@pytest.mark.parametrize("document", [[], {"target": "analytics.orders"}])
def test_an_answer_that_is_no_account_is_that_of_something_else(document: Document) -> None:
    with pytest.raises(ApiUnavailableError, match="not that of dataproc"):
        reconciliation_of(document)
