"""Logs: one JSON object a line, ids in it, never a row value or a secret."""

import logging
import sys

import structlog

from dataproc.domain.errors import SetupError
from dataproc.telemetry.tracebacks import without_values

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOGGERS = ("dataproc", "serve_app", "jobs")


def configure_logs(level: str) -> None:
    """Send all logs of this process to standard error, as JSON lines."""
    if level.upper() not in LEVELS:
        raise SetupError(
            f"DATAPROC_LOG_LEVEL is {level!r}: write one of {', '.join(LEVELS)}", setting="DATAPROC_LOG_LEVEL"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_lines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


def json_lines() -> logging.Formatter:
    """Return what turns a record of the standard library's logging into one line of JSON."""
    about = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    return formatter(*about, renderer=structlog.processors.JSONRenderer())


def logfmt_lines() -> logging.Formatter:
    """Return what turns a record into words for people, `event="run ended" status=COMPLETED`, without its time."""
    return formatter(renderer=structlog.processors.LogfmtRenderer(key_order=["event"], drop_missing=True))


def formatter(
    *about: structlog.typing.Processor, renderer: structlog.typing.Processor
) -> structlog.stdlib.ProcessorFormatter:
    """Return a formatter of records: their event and ids, what is known about them, and where an error was raised."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(),
            without_ray_marks,
            *about,
            structlog.processors.ExceptionRenderer(without_values),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def without_ray_marks(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Return a line without what Ray puts into every record of its processes."""
    return {key: value for key, value in event.items() if not key.startswith("_ray")}
