"""Laws of what is told about values that a contract left out."""

from dataproc.services.discards import DiscardCount
from tests.warehouses import loaded


def test_each_column_that_lost_values_is_told_once_with_their_number() -> None:
    discards, told = DiscardCount(), list[str]()
    chunks = [
        loaded("u0", 0, last=False, discarded=(("b", 2), ("a", 1))),
        loaded("u0", 1, discarded=(("b", 1000),)),
        loaded("u1", 0),
    ]

    assert list(discards.watched(iter(chunks))) == chunks
    discards.tell(told.append)

    assert told == [
        "column a: 1 values did not fit the target, and the contract left them out",
        "column b: 1,002 values did not fit the target, and the contract left them out",
    ]


def test_a_chunk_that_comes_twice_is_counted_once() -> None:
    discards = DiscardCount()
    chunk = loaded("u0", 0, discarded=(("a", 1),))

    list(discards.watched(iter([chunk, chunk])))

    assert discards.counts == {"a": 1}


def test_nothing_is_told_where_nothing_was_left_out() -> None:
    discards, told = DiscardCount(), list[str]()

    list(discards.watched(iter([loaded("u0")])))
    discards.tell(told.append)

    assert told == []
