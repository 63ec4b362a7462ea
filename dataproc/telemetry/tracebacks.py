"""Tracebacks for logs: where it happened and what kind of error it was, without the values that messages carry.

PostgreSQL, pyarrow and Python itself put values into their messages (`could not convert 'ann@…'`), and those may be
rows of our users. So of an error that is not ours only the type is told.
"""

import re
import traceback
from collections.abc import Iterator

from structlog.typing import ExcInfo

from dataproc.domain.errors import DataprocError

TELLING = (DataprocError, OSError, ImportError, AttributeError, NameError)
"""Errors whose messages name things of the program, not values of rows."""
REMOTE_FRAME = re.compile(r'^\s+File "[^"]+", line \d+, in \S+$', re.MULTILINE)
CAUSE, CONTEXT = "the direct cause of this was:", "while handling this:"


def without_values(exc_info: ExcInfo) -> str:
    """Return the traceback of an error and of those that led to it, the latest first."""
    return "\n".join(lines_of(exc_info[1]))


def lines_of(exc: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback."""
    seen: set[int] = set()
    after: BaseException | None = exc
    while after is not None and id(after) not in seen:
        seen.add(id(after))
        yield heading(after)
        yield from frames(after)
        why = CAUSE if after.__cause__ is not None else CONTEXT
        after = after.__cause__ or (None if after.__suppress_context__ else after.__context__)
        if after is not None:
            yield why


def heading(exc: BaseException) -> str:
    """Return the type of an error, with its message where that tells no values."""
    name = f"{type(exc).__module__}.{type(exc).__qualname__}"
    return f"{name}: {exc}" if isinstance(exc, TELLING) else name


def frames(exc: BaseException) -> Iterator[str]:
    """Yield where an error was raised, the innermost last; Ray brings the frames of another process as text."""
    for frame in traceback.extract_tb(exc.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    yield from REMOTE_FRAME.findall(str(getattr(exc, "traceback_str", "")))
