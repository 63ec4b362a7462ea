"""How benchmarks take turns, and what they make of the seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import Mark
from bench.rounds import Contender, alternate, medians, percentile, ratios

numbers = st.lists(st.floats(0.001, 1000), min_size=1, max_size=50)


def contenders(log: list[tuple[str, int]], *names: str) -> list[Contender]:
    def one(name: str) -> Contender:
        def run(number: int) -> float:
            log.append((name, number))
            return float(number)

        return Contender(name, run)

    return [one(name) for name in names]


def test_contenders_take_turns_in_every_round() -> None:
    log: list[tuple[str, int]] = []

    alternate(contenders(log, "ours", "theirs"), 2, lambda _: None)

    assert log == [("ours", 0), ("theirs", 0), ("ours", 1), ("theirs", 1), ("ours", 2), ("theirs", 2)]


def test_the_seconds_of_warm_ups_are_not_kept() -> None:
    seconds = alternate(contenders([], "ours"), 3, lambda _: None, warm_ups=2)

    assert seconds == {"ours": [2.0, 3.0, 4.0]}


def test_one_slow_round_does_not_move_the_median() -> None:
    assert medians({"ours": [1.0, 99.0, 1.1, 0.9, 1.0]}) == {"ours": 1.0}


def test_a_ratio_is_our_time_as_a_share_of_theirs() -> None:
    assert ratios({"ours": 3.0, "quick": 2.0, "slow": 6.0}, "ours") == {"quick": 1.5, "slow": 0.5}


def test_the_95th_percentile_of_30_is_the_second_largest() -> None:
    assert percentile([float(number) for number in range(30, 0, -1)], 0.95) == 29.0


@given(numbers, st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_at_least_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.parametrize(("figure", "met"), [(1.0, True), (1.1, True), (1.11, False)])
def test_a_mark_is_met_up_to_its_limit(figure: float, met: bool) -> None:
    mark = Mark("ours / theirs", figure, 1.1)

    assert mark.is_met is met
    assert ("MISSED" in str(mark)) is not met
