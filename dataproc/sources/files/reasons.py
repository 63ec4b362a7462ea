"""The reason why the bytes of a file cannot be decoded, in one line and without a value of the file."""

import traceback

import ijson  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from dataproc.sources.files.decoder_memory import MAX_BYTES

LONGEST = 300
"""Characters of a reason; those of Arrow may hold a whole schema."""
WITHOUT_VALUES = (pa.ArrowException, OSError, ijson.JSONError, SchemaParseException, UnknownType)
"""Errors whose message is of the structure of a file, apart from those of Arrow's reader of CSV."""


class DamagedError(ValueError):
    """The bytes of a file are not what its format demands; the message holds no value of the file."""


def reason_of(exc: Exception) -> str:
    """Return the reason of an error that decoding has raised.

    The message of an error of Python may hold a value, so that only the name of its class is returned.
    """
    match exc:
        case UnicodeError():
            return "a text is not UTF-8"
        case MemoryError():
            return f"it takes more than {MAX_BYTES >> 20} MiB of memory to decode"
        case EOFError():
            return "it ends too early"
        case _ if isinstance(exc, (DamagedError, *WITHOUT_VALUES)):
            return plain_line(str(exc)) or type(exc).__name__
        case _:
            return type(exc).__name__


def plain_line(message: str) -> str:
    """Return the first line of a message without characters that a log or PostgreSQL does not take."""
    line = message.strip().partition("\n")[0]
    if "CSV" in line:
        line = line.partition(":")[0]  # Arrow's reader of CSV puts the row behind the colon
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:LONGEST].rstrip(".")


def origin_of(exc: Exception) -> str | None:
    """Return the traceback of an error that no reader is known to raise; `None`: it is one of those foreseen."""
    if isinstance(exc, (DamagedError, EOFError, MemoryError, UnicodeError, *WITHOUT_VALUES)):
        return None
    return "".join(traceback.format_exception(exc))
