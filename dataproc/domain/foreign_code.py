"""Exceptions of code that jobs name: errors of that code, and requests to end the process."""

from traceback import walk_tb

STOPPERS = frozenset({"ray"})
"""Packages that end a process in the middle of other code."""


def is_error_of_code(exc: BaseException) -> bool:
    """Return whether code failed with an exception; `SystemExit` counts unless Ray raised it to end the process."""
    if not isinstance(exc, SystemExit):
        return isinstance(exc, Exception)
    modules = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in walk_tb(exc.__traceback__)]
    return not modules or modules[-1] not in STOPPERS
