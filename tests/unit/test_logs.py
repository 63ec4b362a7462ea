"""Logs: one JSON object a line, with ids and tracebacks, and never with the value of a row."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import SetupError, SourceUnavailableError
from dataproc.telemetry.logs import LOGGERS, configure_logs, json_lines

SECRET = "ann@example.com"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Give what is logged by `tests.logs`."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(json_lines())
    logger = logging.getLogger("tests.logs")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    yield written
    logger.handlers = []


def logged(lines: io.StringIO) -> dict[str, Any]:
    """Return the one line that was logged."""
    [line] = lines.getvalue().splitlines()
    return dict(json.loads(line))


def traceback_of(lines: io.StringIO, act: Callable[[], object]) -> str:
    """Return the traceback logged for what `act` raises."""
    try:
        act()
    except Exception:
        logging.getLogger("tests.logs").exception("failed")
    return str(logged(lines)["exception"])


def test_a_line_is_json_with_level_time_logger_and_ids(lines: io.StringIO) -> None:
    logging.getLogger("tests.logs").warning("runner lost", extra={"job_id": "j1", "epoch": 2})

    line = logged(lines)
    assert (line["event"], line["level"], line["logger"]) == ("runner lost", "warning", "tests.logs")
    assert (line["job_id"], line["epoch"]) == ("j1", 2)
    assert line["timestamp"].endswith("Z")


def test_what_ray_adds_to_records_is_left_out(lines: io.StringIO) -> None:
    logging.getLogger("tests.logs").info("here", extra={"_ray_mark": 1, "ray_address": "auto"})

    assert {key for key in logged(lines) if "ray" in key} == {"ray_address"}


def test_a_traceback_tells_where_and_what_kind(lines: io.StringIO) -> None:
    told = traceback_of(lines, no_key)

    assert f'File "{__file__}"' in told
    assert "builtins.KeyError" in told


def no_key() -> None:
    """Fail as a dict does, with the key as the message."""
    known: dict[str, int] = {}
    known[SECRET] += 1


def no_number() -> None:
    """Fail as pyarrow does, with a value in the message."""
    pa.array([SECRET]).cast(pa.int64())


def no_source() -> None:
    """Fail with an error of ours that another one led to."""
    try:
        no_number()
    except pa.ArrowInvalid as exc:
        raise SourceUnavailableError("lake does not answer") from exc


@pytest.mark.parametrize("act", [no_key, lambda: int(SECRET), no_number, no_source])
def test_a_traceback_holds_no_value_of_a_row(lines: io.StringIO, act: Callable[[], object]) -> None:
    assert SECRET not in traceback_of(lines, act)


def test_the_words_of_our_errors_and_of_the_system_are_told_with_what_led_to_them(lines: io.StringIO) -> None:
    told = traceback_of(lines, no_source)

    assert "SourceUnavailableError: lake does not answer" in told
    assert "ArrowInvalid" in told.partition("the direct cause of this was:")[2]
    assert "in no_number" in told


def test_the_system_s_words_are_told(lines: io.StringIO) -> None:
    assert "No such file or directory" in traceback_of(lines, lambda: open("/nonexistent"))  # noqa: SIM115, PTH123 - fails


def test_the_frames_of_another_process_are_told_without_its_words(lines: io.StringIO) -> None:
    class RemoteError(Exception):
        traceback_str = f'ray::task()\n  File "/app/clean.py", line 7, in apply\nKeyError: {SECRET!r}'

    def fail() -> None:
        raise RemoteError(SECRET)

    told = traceback_of(lines, fail)

    assert 'File "/app/clean.py", line 7, in apply' in told
    assert SECRET not in told


def test_errors_that_led_to_each_other_in_a_ring_are_told_once(lines: io.StringIO) -> None:
    first, second = ValueError(), TypeError()
    first.__cause__, second.__cause__ = second, first

    def fail() -> None:
        raise first

    assert traceback_of(lines, fail).count("ValueError") == 1


def test_every_package_of_ours_logs_to_standard_error(logs_as_before: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")

    for name in LOGGERS:
        logging.getLogger(f"{name}.part").info("here")
        logging.getLogger(f"{name}.part").debug("not here")

    printed = capsys.readouterr()
    assert [json.loads(line)["logger"] for line in printed.err.splitlines()] == [f"{name}.part" for name in LOGGERS]
    assert printed.out == ""


def test_a_level_that_does_not_exist_is_named() -> None:
    with pytest.raises(SetupError, match="DATAPROC_LOG_LEVEL is 'LOUD'"):
        configure_logs("LOUD")
