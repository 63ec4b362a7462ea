"""The life of a run."""

from itertools import product

import pytest

from dataproc.domain.status import RunStatus

STAGES = [RunStatus.PENDING, RunStatus.INGESTING, RunStatus.TRANSFORMING, RunStatus.LOADING]
ENDS = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]


def test_every_status_is_a_stage_or_an_end() -> None:
    assert list(RunStatus) == STAGES + ENDS


@pytest.mark.parametrize(("old", "new"), list(product(RunStatus, RunStatus)))
def test_a_run_only_goes_on_to_a_later_stage_or_ends(old: RunStatus, new: RunStatus) -> None:
    goes_on = old in STAGES and new in STAGES and STAGES.index(new) > STAGES.index(old)
    ends = old in STAGES and new in ENDS

    assert old.may_become(new) is (goes_on or ends)


@pytest.mark.parametrize("status", RunStatus)
def test_where_a_run_may_come_from_mirrors_where_it_may_go(status: RunStatus) -> None:
    assert set(status.reachable_from()) == {old for old in RunStatus if old.may_become(status)}


@pytest.mark.parametrize("status", RunStatus)
def test_a_run_waits_is_at_work_or_has_ended(status: RunStatus) -> None:
    assert [status is RunStatus.PENDING, status.is_running, status.is_final].count(True) == 1
    assert status.is_final is (status in ENDS)
