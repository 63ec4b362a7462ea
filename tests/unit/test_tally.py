"""Laws of the tally: a load is whole, or it is refused."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import Account
from dataproc.domain.errors import CountMismatchError
from dataproc.domain.tally import Tally, Totals
from dataproc.domain.unit import SourcePlan
from tests.warehouses import a_unit, loaded


def plan_of(*units: str, rows: int | None = None) -> SourcePlan:
    return SourcePlan(tuple(a_unit(unit, rows) for unit in units), pa.schema({"x": pa.int64()}))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.randoms(use_true_random=False), st.data())
def test_chunks_in_any_order_and_any_number_of_times_count_once(
    sizes: list[int], dice: random.Random, data: st.DataObject
) -> None:
    chunks = [loaded(f"u{u}", s, last=s == n - 1, rows=s + 1) for u, n in enumerate(sizes) for s in range(n)]
    sent = chunks + data.draw(st.lists(st.sampled_from(chunks)))
    dice.shuffle(sent)
    tally = Tally()

    for chunk in sent:
        tally.add(chunk)

    tally.verify(plan_of(*(f"u{u}" for u in range(len(sizes)))))
    assert tally.units_done == len(sizes)
    assert tally.account.read == tally.account.loaded == sum(n * (n + 1) // 2 for n in sizes)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_load_that_lacks_any_one_chunk_is_refused(sizes: list[int], data: st.DataObject) -> None:
    chunks = [loaded(f"u{u}", s, last=s == n - 1) for u, n in enumerate(sizes) for s in range(n)]
    lost = data.draw(st.sampled_from(chunks))
    tally = Tally()

    for chunk in chunks:
        if chunk is not lost:
            tally.add(chunk)

    with pytest.raises(CountMismatchError, match=f"unit {lost.unit} is not complete"):
        tally.verify(plan_of(*(f"u{u}" for u in range(len(sizes)))))


def test_a_chunk_that_comes_twice_is_new_only_once() -> None:
    tally = Tally()

    assert [tally.add(loaded()), tally.add(loaded())] == [True, False]


def test_a_chunk_keeps_no_bytes_in_the_tally() -> None:
    tally = Tally()
    tally.add(loaded(payload=b"x" * 100, rejects=b"y"))

    assert [(c.payload, c.rejects) for c in tally.chunks["u0"].values()] == [(b"", b"")]


@pytest.mark.parametrize(
    "other",
    [
        {"digest": b"other"},
        {"rows": 2},
        {"rows": 2, "loaded": 1, "rejected": 1},
        {"rows": 2, "loaded": 1, "filtered": 1},
        {"last": False},
    ],
    ids=str,
)
def test_a_chunk_that_comes_again_with_anything_else_is_refused(other: dict[str, object]) -> None:
    tally = Tally()
    tally.add(loaded())

    with pytest.raises(CountMismatchError, match="unit u0, chunk 0 was read twice with different rows"):
        tally.add(loaded(**other))  # type: ignore[arg-type] # fields of several types


@pytest.mark.parametrize("fields", [{"loaded": 2}, {"rejected": 1}, {"filtered": 1}, {"loaded": 0}], ids=str)
def test_a_chunk_that_does_not_account_for_every_row_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(CountMismatchError, match="unit u0, chunk 0: 1 rows were read, but"):
        Tally().add(loaded(**fields))  # type: ignore[arg-type] # as above


def test_rows_of_a_unit_that_was_not_planned_are_refused() -> None:
    tally = Tally()
    tally.add(loaded("u0"))
    tally.add(loaded("stranger"))

    with pytest.raises(CountMismatchError, match=r"not planned.*stranger"):
        tally.verify(plan_of("u0"))


def test_a_unit_from_which_nothing_came_is_refused() -> None:
    with pytest.raises(CountMismatchError, match="unit u0 is not complete"):
        Tally().verify(plan_of("u0"))


def test_fewer_or_more_rows_than_a_unit_announced_are_refused() -> None:
    tally = Tally()
    tally.add(loaded(rows=9))

    with pytest.raises(CountMismatchError, match="announced 10 rows, but 9 were read"):
        tally.verify(plan_of("u0", rows=10))


@pytest.mark.parametrize("seqs", [[(0, True), (1, True)], [(0, True), (1, False)], [(1, True)], [(0, False)]], ids=str)
def test_a_unit_with_gaps_or_no_end_or_two_ends_is_refused(seqs: list[tuple[int, bool]]) -> None:
    tally = Tally()
    for seq, last in seqs:
        tally.add(loaded(seq=seq, last=last))

    with pytest.raises(CountMismatchError, match="gaps or no end"):
        tally.verify(plan_of("u0"))


def test_a_load_without_units_is_whole() -> None:
    tally = Tally()

    tally.verify(plan_of())

    assert (tally.account, tally.units_done) == (Account(), 0)


def test_set_aside_and_filtered_rows_are_accounted_for() -> None:
    tally = Tally()
    tally.add(loaded(rows=10, loaded=7, rejected=2, filtered=1))

    tally.verify(plan_of("u0", rows=10))

    assert tally.account == Account(10, 7, 2, 1)


def test_the_rules_that_rows_broke_are_counted_once_and_the_most_frequent_comes_first() -> None:
    tally = Tally()
    chunks = [
        loaded("u0", 0, last=False, broken=(("type of a", 2), ("required of b", 2))),
        loaded("u0", 1, broken=(("required of b", 5),)),
    ]

    for chunk in (*chunks, chunks[0]):
        tally.add(chunk)
    tally.take_out("u0", Account(rejected=1), "unique of id")

    assert tally.totals.broken == (("required of b", 7), ("type of a", 2), ("unique of id", 1))


def test_the_summary_names_the_first_rules_and_their_rows() -> None:
    broken = (("type of qty", 1_200), ("warehouse", 3))

    assert Totals(Account(2_000, 797, 1_203), broken).summary == (
        "1,203 of 2,000 rows were set aside: type of qty (1,200 rows), warehouse (3 rows)"
    )
    assert Totals(Account(2, 1, 1)).summary == "1 of 2 rows were set aside"
