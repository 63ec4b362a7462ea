"""Small units are read together, in their order, and large ones alone."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.cluster.groups import BLOCK_BYTES, GROUP_BYTES, GROUP_UNITS, grouped, joined_blocks, numbered
from dataproc.domain.unit import Unit


def units(sizes: list[int], small: int = 256 * 1024) -> list[Unit]:
    return [Unit(f"u{n}", f"files://{n}", "1", size, is_small=size <= small) for n, size in enumerate(sizes)]


@given(st.lists(st.sampled_from([0, 10, 200_000, 300_000, 10_000_000]), max_size=400))
def test_groups_hold_all_units_in_their_order_within_their_bounds(sizes: list[int]) -> None:
    found = units(sizes)

    groups = grouped(found)

    assert [unit for group in groups for unit in group] == found
    assert all(len(group) == 1 or sum(unit.size for unit in group) <= GROUP_BYTES for group in groups)
    assert all(len(group) == 1 or all(unit.is_small for unit in group) for group in groups)
    assert all(len(group) <= GROUP_UNITS for group in groups)
    assert [[found[n] for n in group] for group in numbered(groups)] == [list(group) for group in groups]


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (16, 16), (17, 9), (160, 16), (1600, 16), (10_000, 100)])
def test_there_are_groups_for_all_workers(count: int, groups: int) -> None:
    assert len(grouped(units([10] * count))) == groups


def test_blocks_are_joined_up_to_a_size_and_nothing_is_lost() -> None:
    blocks = [pa.table({"x": [b"y" * size]}) for size in (10, 10, BLOCK_BYTES, 10, BLOCK_BYTES + 10, 10)]

    found = list(joined_blocks(blocks, 2))

    assert [block.num_rows for block in found] == [3, 2, 1]
    assert pa.concat_tables(found).equals(pa.concat_tables(blocks))
