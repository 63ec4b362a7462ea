"""Small units together: what a task of Ray costs is more than what it takes to read a small file."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import pyarrow as pa

from dataproc.domain.unit import Unit

Groups = list[tuple[Unit, ...]]

GROUP_BYTES = 4 * 1024 * 1024
GROUP_UNITS = 100
GROUPS = 16
"""Groups that there are at least, so that all workers have some, and that a lost one costs little."""
BLOCK_BYTES = 1024 * 1024
"""Chunks are handed on together up to this size; larger ones alone."""


def grouped(units: Sequence[Unit]) -> Groups:
    """Return the units in groups, in their order; each group is read by one task, and only small units share one."""
    most = min(GROUP_UNITS, -(-len(units) // GROUPS))
    groups: list[list[Unit]] = []
    size = 0
    for unit in units:
        fits = bool(groups) and len(groups[-1]) < most and size + unit.size <= GROUP_BYTES
        if fits and unit.is_small and groups[-1][-1].is_small:
            groups[-1].append(unit)
            size += unit.size
        else:
            groups.append([unit])
            size = unit.size
    return [tuple(group) for group in groups]


def numbered(groups: Groups) -> list[list[int]]:
    """Return the numbers of the units, which count through all groups."""
    numbers = count()
    return [[next(numbers) for _ in group] for group in groups]


def joined_blocks(blocks: Iterable[pa.Table], units: int) -> Iterator[pa.Table]:
    """Yield small blocks of several units as one block; the blocks of one unit stay as they are."""
    if units == 1:
        yield from blocks
        return
    held: list[pa.Table] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += block.nbytes
        if size >= BLOCK_BYTES:
            yield one_block(held)
            held, size = [], 0
    if held:
        yield one_block(held)


def one_block(blocks: Sequence[pa.Table]) -> pa.Table:
    """Return blocks as one whose columns have one piece each: Ray serializes each piece by itself."""
    return pa.concat_tables(blocks).combine_chunks()
