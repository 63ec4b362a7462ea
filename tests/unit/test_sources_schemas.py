"""One schema for many files."""

import pyarrow as pa
import pytest

from dataproc.domain.errors import ContractViolationError
from dataproc.sources.files.parquet import runs
from dataproc.sources.schemas import conformed, plain_schema, unified


def test_types_are_made_plain() -> None:
    schema = pa.schema(
        [
            ("a", pa.dictionary(pa.int32(), pa.large_string())),
            ("b", pa.timestamp("ns", "UTC")),
            ("c", pa.time32("s")),
            ("d", pa.date64()),
            ("e", pa.binary(16)),
            ("f", pa.int16()),
        ]
    )

    plain = plain_schema(schema, "a.parquet").types

    us = pa.timestamp("us", "UTC")
    assert plain == [pa.string(), us, pa.time64("us"), pa.date32(), pa.binary(), pa.int16()]


def test_an_extension_type_is_refused_by_name_however_deep() -> None:
    field = pa.field("x", pa.list_(pa.field("item", pa.binary(), metadata={"ARROW:extension:name": "ray.data.x"})))

    with pytest.raises(ContractViolationError, match=r"column 'x' has the extension type 'ray\.data\.x'"):
        plain_schema(pa.schema([field]), "a.parquet")


def test_a_column_that_is_null_everywhere_is_text() -> None:
    assert unified([("a", pa.schema([("x", pa.null())]))]) == pa.schema([("x", pa.string())])
    both = [("a", pa.schema([("x", pa.null())])), ("b", pa.schema([("x", pa.int64())]))]
    assert unified(both) == pa.schema([("x", pa.int64())])


def test_nanoseconds_are_rounded_and_missing_columns_are_null() -> None:
    rows = pa.table({"at": pa.array([1_999], pa.timestamp("ns"))})

    found = conformed(rows, pa.schema([("n", pa.int64()), ("at", pa.timestamp("us"))]))

    assert found["at"].cast(pa.int64()).to_pylist() == [2]
    assert found["n"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([5], [(0, 1)]),
        ([50], [(0, 1)]),
        ([4, 4, 4, 4, 4], [(0, 2), (2, 4), (4, 5)]),
        ([1, 50, 1], [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_runs_keep_within_the_limit_where_they_can(sizes: list[int], expected: list[tuple[int, int]]) -> None:
    assert runs(sizes, 10) == expected
