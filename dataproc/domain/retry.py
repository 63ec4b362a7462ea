"""When a failed run is tried again."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from dataproc.domain.duration import Duration

MOST_DOUBLINGS = 64
"""After so many, every delay is beyond every ceiling; many more would be beyond what a float holds."""


class RetryPolicy(BaseModel):
    """Exponential backoff with full jitter and a ceiling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=5, ge=1, le=100, description="Runs in all, the first one included.")
    first_delay: Duration = Field(
        default=timedelta(seconds=1), gt=timedelta(0), le=timedelta(days=30), description="Before the second run."
    )
    max_delay: Duration = Field(
        default=timedelta(minutes=5), gt=timedelta(0), le=timedelta(days=30), description="The longest wait."
    )

    def delay(self, attempt: int, dice: float) -> timedelta | None:
        """Return how long to wait after `attempt` (1 is the first); `None` when no attempt is left."""
        return None if attempt >= self.attempts else self.backoff(attempt, dice)

    def backoff(self, attempt: int, dice: float) -> timedelta:
        """Return how long to wait after `attempt`, whether one is left or not.

        `dice` is a number in [0, 1]: the caller throws it. Full jitter spreads retries
        best (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        """
        doublings = min(attempt - 1, MOST_DOUBLINGS)
        longest = min(self.max_delay.total_seconds(), self.first_delay.total_seconds() * 2.0**doublings)
        return timedelta(seconds=longest * dice)
