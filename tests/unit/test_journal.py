"""The logs of runs: each run's own lines, from whatever thread or task, ready to be kept."""

import asyncio
import logging
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC
from uuid import uuid4

import pytest

from dataproc.domain.job import RunId
from dataproc.telemetry.journal import MOST_LINES, RunJournal

logger = logging.getLogger("dataproc.test_journal")


@pytest.fixture
def journal(caplog: pytest.LogCaptureFixture) -> Iterator[RunJournal]:
    journal = RunJournal()
    caplog.set_level(logging.INFO, "dataproc")
    logger.addHandler(journal)
    yield journal
    logger.removeHandler(journal)


@pytest.fixture
def run_id() -> RunId:
    return RunId(uuid4())


def messages(journal: RunJournal, run_id: RunId) -> list[str]:
    return [line.message for line in journal.take(run_id)]


def test_a_run_has_its_own_lines_once(journal: RunJournal, run_id: RunId) -> None:
    logger.info("before")
    with journal.of(run_id):
        logger.info("in it", extra={"units": 3})

        [line] = journal.take(run_id)
        assert (line.level, line.message) == ("INFO", 'event="in it" units=3')
        assert line.logged_at.tzinfo is UTC
        assert journal.take(run_id) == []


@pytest.mark.anyio
async def test_two_runs_at_once_keep_their_lines_apart(journal: RunJournal) -> None:
    async def run(name: str) -> list[str]:
        run_id = RunId(uuid4())
        with journal.of(run_id):
            logger.info(name)
            await asyncio.sleep(0)
            await asyncio.to_thread(logger.info, f"{name}-thread")
            return messages(journal, run_id)

    told = await asyncio.gather(run("a"), run("b"))

    assert list(told) == [["event=a", "event=a-thread"], ["event=b", "event=b-thread"]]


def test_lines_that_could_not_be_written_come_first_the_next_time(journal: RunJournal, run_id: RunId) -> None:
    with journal.of(run_id):
        logger.info("one")
        logger.info("two")
        lines = journal.take(run_id)
        logger.info("three")

        journal.put_back(run_id, lines)

        assert messages(journal, run_id) == ["event=one", "event=two", "event=three"]


def test_of_a_run_that_says_very_much_the_last_lines_are_kept(journal: RunJournal, run_id: RunId) -> None:
    with journal.of(run_id):
        for number in range(MOST_LINES + 5):
            logger.info("line", extra={"number": number})

        lines = messages(journal, run_id)
        assert (len(lines), lines[0], lines[-1]) == (MOST_LINES, "event=line number=5", "event=line number=1004")


def test_a_thread_left_behind_by_a_run_that_is_over_hurts_nobody(journal: RunJournal, run_id: RunId) -> None:
    with journal.of(run_id):
        context = copy_context()

    context.run(logger.info, "late")

    with journal.of(run_id):
        assert messages(journal, run_id) == []


def test_an_error_is_told_without_the_values_in_its_message(journal: RunJournal, run_id: RunId) -> None:
    with journal.of(run_id):
        try:
            int("ann@example.org")
        except ValueError:
            logger.exception("failed")

        [line] = messages(journal, run_id)
        assert "ann@example.org" not in line
        assert "ValueError" in line
