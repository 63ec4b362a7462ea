"""Everything that can go wrong, grouped by what happens next.

DataprocError
├── RequestError                 the caller is told; nothing is logged as a fault
│   ├── InvalidSpecError
│   ├── NotFoundError
│   ├── ForbiddenError
│   ├── IllegalMoveError
│   ├── ConflictError
│   │   └── InFlightError
│   ├── PreconditionFailedError
│   ├── IdempotencyError
│   └── TooLargeError
├── RetryableError               this run failed; another may succeed, after a delay
│   ├── SourceUnavailableError
│   ├── SourceChangedError
│   ├── ClusterUnavailableError
│   ├── MetadataUnavailableError
│   ├── WarehouseUnavailableError
│   ├── ReceiverUnavailableError
│   ├── SecretsUnavailableError
│   ├── MemoryChangedError
│   ├── RunnerLostError
│   ├── RunnerStoppedError
│   └── RunTimeoutError
├── FatalError                   trying again would fail the same way; somebody must act
│   ├── SetupError
│   ├── SecretNotFoundError
│   ├── SourceNotFoundError
│   ├── SourceRefusedError
│   ├── BadDataError
│   ├── TransformFailedError
│   ├── DecryptionError
│   ├── NoRowsError
│   ├── TooManyRejectsError
│   ├── ContractViolationError
│   │   ├── LateColumnError
│   │   └── LookupTooLargeError
│   ├── TargetRefusedError
│   ├── RowRefusedError
│   │   └── DoubledKeysError
│   └── CountMismatchError
└── StoppedError                 not a fault: the run was told to stop
    ├── CancelledRunError
    └── FencedError
"""

from dataclasses import dataclass
from inspect import getdoc


class DataprocError(Exception):
    """Something went wrong in dataproc."""

    def __init__(self, message: str = "", /, **context: object) -> None:
        """Say what happened; the first line of the class's docstring is the default."""
        super().__init__(message or (getdoc(type(self)) or "").partition("\n")[0])
        self.context = context

    @property
    def code(self) -> str:
        """A stable, lower-case name for machines, such as `source-not-found`."""
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return words.removeprefix("-").removesuffix("-error")


class RequestError(DataprocError):
    """The request cannot be carried out as it stands."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document: where it is, and what to do."""

    pointer: str
    message: str
    line: int | None = None
    column: int | None = None


class InvalidSpecError(RequestError):
    """The job's specification has mistakes."""

    def __init__(self, message: str = "", /, problems: tuple[Problem, ...] = (), **context: object) -> None:
        """Carry every mistake found, not only the first."""
        super().__init__(message, **context)
        self.problems = problems


class NotFoundError(RequestError):
    """There is no such thing."""


class ForbiddenError(RequestError):
    """This caller may not do that."""


class IllegalMoveError(RequestError):
    """The job is in a state that does not allow this."""


class ConflictError(RequestError):
    """Somebody else was first."""


class InFlightError(ConflictError):
    """A request with this Idempotency-Key is being carried out; repeat yours in a moment."""


class PreconditionFailedError(RequestError):
    """The job has changed since it was read; read it again."""


class TooLargeError(RequestError):
    """The request is too large."""


class IdempotencyError(RequestError):
    """This Idempotency-Key was used for another request; take a new key."""


class RetryableError(DataprocError):
    """The same run may succeed if it is tried again later."""


class SourceUnavailableError(RetryableError):
    """The source does not answer."""


class SourceChangedError(RetryableError):
    """The source changed between planning and reading."""


class ClusterUnavailableError(RetryableError):
    """The Ray cluster does not answer."""


class MetadataUnavailableError(RetryableError):
    """The metadata database does not answer."""


class WarehouseUnavailableError(RetryableError):
    """The warehouse does not answer, or ended the connection."""


class ReceiverUnavailableError(RetryableError):
    """The receiver of events does not take them."""


class SecretsUnavailableError(RetryableError):
    """The place that keeps secrets does not answer."""


class MemoryChangedError(RetryableError):
    """Another run of this job was published in the meantime; the next attempt reads on from there."""


class RunnerLostError(RetryableError):
    """The process that ran this job died or lost its lease."""


class RunnerStoppedError(RetryableError):
    """The process that ran this job was told to end; the attempt does not count."""


class RunTimeoutError(RetryableError):
    """The run took longer than its timeout."""


class FatalError(DataprocError):
    """The run cannot succeed until somebody changes something."""


class SetupError(FatalError):
    """The installation is not ready for use."""


class SecretNotFoundError(FatalError):
    """There is no such secret, or we may not read it."""


class SourceNotFoundError(FatalError):
    """The source names nothing that exists."""


class SourceRefusedError(FatalError):
    """The source refused the credentials or the request."""


class BadDataError(FatalError):
    """The source holds data that cannot be read."""


class TransformFailedError(FatalError):
    """A transform cannot do its work with these rows."""


class DecryptionError(FatalError):
    """The value cannot be decrypted."""


class NoRowsError(FatalError):
    """No row reached the target, and usually some do, or `replace` would empty its table; nothing is published."""


class TooManyRejectsError(FatalError):
    """More rows broke the rules than the job allows."""


class ContractViolationError(FatalError):
    """The data do not fit the target table."""


class LateColumnError(ContractViolationError):
    """A column appeared after the samples from which the columns of the source come."""


class LookupTooLargeError(ContractViolationError):
    """The lookup is too large for the memory of workers."""


class TargetRefusedError(FatalError):
    """The warehouse does not let us load into this table."""


class RowRefusedError(FatalError):
    """The warehouse refused a row."""


class DoubledKeysError(RowRefusedError):
    """Rows with the same key came in different chunks; which of them stays is found out in staging."""


class CountMismatchError(FatalError):
    """The counts of rows read, set aside and loaded do not agree; nothing was published."""


class StoppedError(DataprocError):
    """The run was told to stop."""


class CancelledRunError(StoppedError):
    """The job was cancelled."""


class FencedError(StoppedError):
    """Another runner holds this job now."""
