"""When a failed run is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.retry import RetryPolicy

lengths_of_time = st.timedeltas(timedelta(microseconds=1), timedelta(days=30))
policies = st.builds(RetryPolicy, attempts=st.integers(1, 100), first_delay=lengths_of_time, max_delay=lengths_of_time)
dice = st.floats(0, 1)


@given(policies, st.integers(1, 200), dice)
def test_no_delay_leaves_its_bounds(policy: RetryPolicy, attempt: int, thrown: float) -> None:
    delay = policy.delay(attempt, thrown)

    assert (delay is None) is (attempt >= policy.attempts)
    assert delay is None or timedelta(0) <= delay <= policy.max_delay


@given(policies, dice)
def test_with_the_same_dice_no_delay_is_shorter_than_the_one_before(policy: RetryPolicy, thrown: float) -> None:
    delays = [policy.delay(attempt, thrown) for attempt in range(1, policy.attempts)]

    assert None not in delays
    assert delays == sorted(delay for delay in delays if delay is not None)


@given(policies, st.integers(1, 99))
def test_the_dice_spread_a_delay_from_nothing_to_the_whole(policy: RetryPolicy, attempt: int) -> None:
    whole = policy.delay(attempt, 1.0)

    if whole is not None:
        assert policy.delay(attempt, 0.0) == timedelta(0)
        assert policy.delay(attempt, 0.5) == pytest.approx(whole / 2, abs=timedelta(microseconds=1))


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=6, first_delay=timedelta(seconds=1), max_delay=timedelta(seconds=6))

    delays = [policy.delay(attempt, 1.0) for attempt in range(1, 7)]

    assert delays == [timedelta(seconds=s) for s in (1, 2, 4, 6, 6)] + [None]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1s", 1), ("5m", 300), ("1h30m", 5400), ("1.5d", 129_600), ("PT5M", 300), (2, 2)],
)
def test_a_length_of_time_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert RetryPolicy.model_validate({"first_delay": text}).first_delay == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["soon", "5", "5 m", "1s!", "-1s", "0s", "9" * 400 + "d", "31d"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="first_delay"):
        RetryPolicy.model_validate({"first_delay": text})
