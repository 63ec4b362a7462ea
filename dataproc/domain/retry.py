"""When a failed run is tried again."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from dataproc.domain.duration import Duration


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
        """Return how long to wait after `attempt` (1 is the first); `None` when no attempt is left.

        `dice` is a number in [0, 1]: the caller throws it. Full jitter spreads retries
        best (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        """
        if attempt >= self.attempts:
            return None
        longest = min(self.max_delay.total_seconds(), self.first_delay.total_seconds() * 2.0 ** (attempt - 1))
        return timedelta(seconds=longest * dice)
