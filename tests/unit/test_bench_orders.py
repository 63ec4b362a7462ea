"""The data set of the benchmarks."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bench.orders import COLUMNS, orders, orders_on_disk


def test_the_same_seed_gives_the_same_orders() -> None:
    assert orders(1_000, seed=3).equals(orders(1_000, seed=3))
    assert not orders(1_000, seed=3).equals(orders(1_000, seed=4))


def test_only_notes_are_null_and_about_one_in_five_of_them() -> None:
    table = orders(10_000)

    nulls = {name: table[name].null_count for name in table.column_names if table[name].null_count}

    assert nulls.keys() == {"note"}
    assert 1_800 < nulls["note"] < 2_200


def test_tables_made_by_hand_have_the_columns_of_the_orders() -> None:
    declared = [column.split()[0] for column in COLUMNS.split(",")]

    assert declared == orders(1).column_names


def test_parts_and_csv_hold_the_same_orders_and_their_sum(tmp_path: Path) -> None:
    found = orders_on_disk(tmp_path, 1_003, 8)

    parts, csv = pq.read_table(found.parts), pa_csv.read_csv(found.csv)

    assert len(list(found.parts.iterdir())) == 8
    assert parts.equals(orders(1_003))
    assert csv["order_id"].equals(parts["order_id"])
    assert found.total == pc.sum(parts["order_id"]).as_py()


def test_a_data_set_is_written_once(tmp_path: Path) -> None:
    first = orders_on_disk(tmp_path, 10, 2).csv.stat().st_mtime_ns

    assert orders_on_disk(tmp_path, 10, 2).csv.stat().st_mtime_ns == first
