"""Hive partitions: names and values in the folders of files."""

from datetime import date

import pyarrow as pa
import pytest

from dataproc.domain.errors import ContractViolationError
from dataproc.sources.files.partitions import partitions_of, with_partition
from dataproc.sources.files.storage import FoundFile


def of(*folders: str, text: frozenset[str] = frozenset()) -> tuple[list[pa.DataType], list[tuple[object, ...]]]:
    """Return the types and the values of files in these folders."""
    found = partitions_of([FoundFile(f"files://{folder}/a.csv", "1", 1) for folder in folders], text)
    return next(iter(found.values())).schema.types, [partition.values for partition in found.values()]


NULL = "__HIVE_DEFAULT_PARTITION__"


@pytest.mark.parametrize(
    ("folders", "dtype", "values"),
    [
        (["k=1", "k=-20", f"k={NULL}"], pa.int64(), [1, -20, None]),
        (["k=01", "k=2"], pa.string(), ["01", "2"]),
        (["k=1", "k=x"], pa.string(), ["1", "x"]),
        (["k=2024-02-29", "k=2024-01-01"], pa.date32(), [date(2024, 2, 29), date(2024, 1, 1)]),
        (["k=2023-02-29"], pa.string(), ["2023-02-29"]),
        (["k=9999999999999999999"], pa.string(), ["9999999999999999999"]),
        (["k=a%2Fb%20c"], pa.string(), ["a/b c"]),
        ([f"k={NULL}"], pa.string(), [None]),
        (["k=", "k=1"], pa.string(), ["", "1"]),
        (["k=a=b"], pa.string(), ["a=b"]),
    ],
)
def test_a_type_is_that_of_all_values(folders: list[str], dtype: pa.DataType, values: list[object]) -> None:
    assert of(*folders) == ([dtype], [(value,) for value in values])


def test_columns_asked_for_as_text_come_as_text() -> None:
    assert of("k=1/n=2", text=frozenset({"n"})) == ([pa.int64(), pa.string()], [(1, "2")])


def test_folders_in_another_order_mean_the_same() -> None:
    assert of("a=1/b=2", "b=3/x/a=4") == ([pa.int64(), pa.int64()], [(1, 2), (4, 3)])


@pytest.mark.parametrize("folders", [("in",), ("k=1", "in"), ("k=1", "k=1/n=2"), ("k=1/k=2",), ("=1",)])
def test_folders_that_name_no_columns_or_others_are_refused(folders: tuple[str, ...]) -> None:
    with pytest.raises(ContractViolationError, match="files://"):
        of(*folders)


def test_a_column_may_not_be_in_the_file_and_in_its_folder() -> None:
    (partition,) = partitions_of([FoundFile("files://k=1/a.csv", "1", 1)], frozenset()).values()

    with pytest.raises(ContractViolationError, match="column 'k' is in the files and in the names of their folders"):
        with_partition(pa.schema([("k", pa.int64())]), partition)
