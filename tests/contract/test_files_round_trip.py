"""Files of every format all the way into PostgreSQL, both ways, with what is damaged set aside."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.destination import Destination
from dataproc.domain.errors import BadDataError
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.file_kinds import avro_file, encoded, some_rows
from tests.places import Folder
from tests.warehouses import TABLE, Query, a_load_id

TAGS = {"type": "array", "items": ["null", "string"]}
REJECTS = "SELECT rule, position, reason FROM dataproc_load.reject ORDER BY unit"


def load(warehouse: PostgresWarehouse, folder: Path, path: str, way: str, **options: object) -> Account:
    """Load files into the table; return the account."""
    source = Folder(folder).source(path, **options)  # type: ignore[arg-type]  # whatever a test needs
    destination = Destination.model_validate({"table": TABLE, "load": way})
    pipeline = Pipeline(source, (), destination, (), FakeEngine(), warehouse)
    return pipeline.run(a_load_id(), Monitor()).account


@pytest.mark.parametrize("way", ["direct", "staged"])
@pytest.mark.parametrize("kind", ["csv.gz", "avro+snappy", "json.zst", "parquet"])
def test_the_account_balances_where_damaged_files_are_skipped(
    warehouse: PostgresWarehouse, query: Query, tmp_path: Path, kind: str, way: str
) -> None:
    form = kind.partition(".")[0].partition("+")[0]
    whole = encoded(some_rows(0, 6000), kind)
    Folder(tmp_path).put(f"day=2026-01-01/a.{kind}", whole[: len(whole) * 2 // 3])
    Folder(tmp_path).put(f"day=2026-01-02/b.{kind}", encoded(some_rows(6000, 10), kind))
    options: dict[str, object] = {"format": form, "partitions": "hive"}

    with pytest.raises(BadDataError, match=r"day=2026-01-01/a\."):
        load(warehouse, tmp_path, f"**/*.{kind}", way, **options)
    assert query.table() == []
    account = load(warehouse, tmp_path, f"**/*.{kind}", way, on_bad_file="skip", **options)

    loaded = query.table()
    assert account == Account(read=len(loaded) + 1, loaded=len(loaded), rejected=1)
    assert [row[0] for row in loaded] == [*range(len(loaded) - 10), *range(6000, 6010)]
    assert loaded[-1][-1] == date(2026, 1, 2)
    ((rule, position, reason),) = query(REJECTS)
    assert (rule, position) == ("file", len(loaded) - 10)
    assert "day=2026-01-01/a." in reason


def test_types_of_avro_arrive_in_the_warehouse(warehouse: PostgresWarehouse, query: Query, tmp_path: Path) -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2}
    inner = {"type": "record", "name": "inner", "fields": [{"name": "n", "type": "int"}]}
    kinds = {"id": "long", "money": money, "day": {"type": "int", "logicalType": "date"}, "inner": inner, "tags": TAGS}
    schema = {"type": "record", "name": "row", "fields": [{"name": name, "type": kind} for name, kind in kinds.items()]}
    row = {"id": 1, "money": Decimal("-1234567890123456789012345678901234.56"), "day": date(1, 1, 1)}
    Folder(tmp_path).put("a.avro", avro_file(schema, [{**row, "inner": {"n": 5}, "tags": ["a", None]}]))

    load(warehouse, tmp_path, "a.avro", "direct")

    assert query.table() == [(1, row["money"], date(1, 1, 1), {"n": 5}, ["a", None])]
