"""Laws of the capacity: how many Datasets a cluster bears at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.cluster.capacity import datasets_at_once

CPUS = st.lists(st.floats(1, 256), min_size=1)


@pytest.mark.parametrize(
    ("cpus", "datasets"),
    [([2], 2), ([8, 4], 4), ([0, 8], 8), ([3.9], 3), ([0.5, 8], 8), ([1], 1)],
    ids=str,
)
def test_the_smallest_node_that_has_processors_decides(cpus: list[float], datasets: int) -> None:
    assert datasets_at_once(cpus) == datasets


@pytest.mark.parametrize("cpus", [[], [0], [0.5]], ids=str)
def test_a_cluster_without_processors_still_bears_one_so_that_it_can_ask_for_nodes(cpus: list[float]) -> None:
    assert datasets_at_once(cpus) == 1


@given(CPUS)
def test_every_dataset_gets_a_processor_of_every_node(cpus: list[float]) -> None:
    datasets = datasets_at_once(cpus)

    assert all(int(each) // datasets >= 1 for each in cpus)
    assert any(int(each) // (datasets + 1) == 0 for each in cpus)
