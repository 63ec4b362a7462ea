"""What can go wrong in a benchmark.

BenchmarkError
├── WrongRowsError   a run left other rows in the warehouse than the data set holds
├── PeerError        a peer could not be installed, or its run failed
└── JobLostError     a job of ours did not end in COMPLETED
"""


class BenchmarkError(Exception):
    """The benchmark cannot tell anything."""


class WrongRowsError(BenchmarkError):
    """A run left other rows in the warehouse than the data set holds."""


class PeerError(BenchmarkError):
    """A peer could not be installed, or its run failed."""


class JobLostError(BenchmarkError):
    """A job did not end in COMPLETED."""


class AnswerError(BenchmarkError):
    """The API did not answer as it should."""
