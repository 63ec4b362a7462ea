"""How a command ends, as a number: what scripts decide by."""

from enum import IntEnum

from dataproc.domain.errors import DataprocError, InvalidSpecError, RequestError, RetryableError


class ExitCode(IntEnum):
    """The exit codes of `dataproc`."""

    FINE = 0
    FAILED = 1
    WRONG = 2
    NO_ANSWER = 3
    REFUSED = 4
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.FINE: "All went well.",
    ExitCode.FAILED: "The job ended FAILED or CANCELLED; or `plan`, `migrate`, `up`, `doctor` or `sources test` found "
    "something wrong.",
    ExitCode.WRONG: "Wrong usage: of the command, a setting, or the specification of the job.",
    ExitCode.NO_ANSWER: "The API or a server does not answer, or answered with a fault of its own; try again later.",
    ExitCode.REFUSED: "The API refused: there is no such job or source, or its state does not allow it.",
    ExitCode.INTERRUPTED: "Ctrl-C; a job that was waited for goes on.",
}
"""What each code means; `--help` and docs/cli.md say the same."""


def epilog() -> str:
    """Return the exit codes as `--help` shows them."""
    return "\n\n".join(["Exit codes:", *(f"{code.value}: {meaning}" for code, meaning in MEANINGS.items())])


def exit_code_of(exc: DataprocError) -> ExitCode:
    """Return how a command ends that failed with `exc`."""
    match exc:
        case InvalidSpecError():
            return ExitCode.WRONG
        case RequestError():
            return ExitCode.REFUSED
        case RetryableError():
            return ExitCode.NO_ANSWER
        case _:
            return ExitCode.WRONG if "setting" in exc.context else ExitCode.FAILED
