"""What a `validate` step calls unique is so over the whole run, in the warehouse."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from dataproc.bootstrap import open_source, open_transforms
from dataproc.domain.chunk import Account
from dataproc.domain.errors import BadDataError
from dataproc.domain.spec import JobSpec
from dataproc.ports.warehouse import Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.warehouses import a_load_id

Rows = list[tuple[str, int, str | None]]

BAD: Rows = [("bad", 9, "y")]
FILES: dict[str, Rows] = {
    "a.jsonl": [("1", 1, "x"), ("2", 1, "y")],
    "b.jsonl": [("1", 2, "z"), ("2", 1, None), ("1", 1, "z"), ("3", 9, "z")],
}


def published(folder: Path, url: str, files: dict[str, Rows], load: str, on_error: str) -> Published:
    """Load the files, with two rules of what is unique."""
    for name, rows in files.items():
        lines = [json.dumps(dict(zip(("id", "line", "name"), row, strict=True))) for row in rows]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    step: dict[str, Any] = {"kind": "validate", "columns": {"id": "int64"}, "unique": [["id", "line"], ["name"]]}
    spec = JobSpec.model_validate(
        {
            "name": "orders",
            "source": {"kind": "files", "path": "*.jsonl"},
            "transforms": [{**step, "on_error": on_error}],
            "destination": {"table": "sales.orders", "load": load},
        }
    )
    settings, warehouse = Settings(files_root=folder, warehouse_url=SecretStr(url)), PostgresWarehouse(url, 2**30)
    transforms = open_transforms(spec, {}, settings)
    source = open_source(spec, None, settings)
    return Pipeline(source, transforms, spec.destination, (), FakeEngine(), warehouse).run(a_load_id(), Monitor())


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query.encode()).fetchall()


GOOD = [(1, 1, "x"), (1, 2, "z"), (2, 1, "y")]


@pytest.mark.parametrize("load", ["auto", "staged"])
@pytest.mark.parametrize(("on_error", "rejected"), [("quarantine", 4), ("drop", 0)])
def test_the_first_row_of_a_key_stays_wherever_the_others_come_from(
    tmp_path: Path, warehouse_url: str, load: str, on_error: str, rejected: int
) -> None:
    files = {**FILES, "a.jsonl": FILES["a.jsonl"] + BAD}

    told = published(tmp_path, warehouse_url, files, load, on_error)

    assert rows_of(warehouse_url, "SELECT id, line, name FROM sales.orders ORDER BY 1, 2") == GOOD
    reasons = rows_of(
        warehouse_url, "SELECT DISTINCT position, rule, column_name FROM dataproc_load.reject ORDER BY 1, 2, 3"
    )
    assert told.account == Account(read=7, loaded=3, rejected=rejected, filtered=4 - rejected)
    assert len(rows_of(warehouse_url, "SELECT DISTINCT unit, position FROM dataproc_load.reject")) == rejected
    assert reasons == (
        [(1, "unique", "id, line"), (2, "type", "id"), (2, "unique", "id, line"), (3, "unique", "name")]
        if rejected
        else []
    )


@pytest.mark.parametrize("load", ["auto", "staged"])
def test_a_run_that_fails_at_such_a_row_publishes_nothing(tmp_path: Path, warehouse_url: str, load: str) -> None:
    with pytest.raises(BadDataError, match="row 1: 'id', 'line' is not unique in this run"):
        published(tmp_path, warehouse_url, FILES, load, "fail")

    assert rows_of(warehouse_url, "SELECT to_regclass('sales.orders') IS NULL") == [(True,)]
