"""The columns of a job are checked before the rules over its keys, by plans and by runs alike."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.job import JobId
from dataproc.domain.spec import JobSpec
from dataproc.ports.lookups import NO_LOOKUPS
from dataproc.ports.memory import BLANK
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.services.plan import Planner
from dataproc.services.schemas import schema_after
from dataproc.transforms.factory import Surroundings, transform_for
from tests.fakes.pipeline import FakeEngine, ListSource
from tests.fakes.secrets import FakeSecrets
from tests.fakes.warehouse import FakeWarehouse

DROP = {"kind": "clean", "drop": ["id"], "rename": {}}
RENAME = {"kind": "clean", "rename": {"id": "number"}}
STEPS: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"kind": "dedupe", "keys": ["x"]}], "/transforms/0", "x"),
    ([{"kind": "dedupe", "keys": ["id"], "keep": {"latest": "x"}}], "/transforms/0", "x"),
    ([{"kind": "dedupe", "keys": ["id", "ID"]}], "/transforms/0", "ID"),
    ([RENAME, {"kind": "dedupe", "keys": ["id"]}], "/transforms/1", "id"),
    ([DROP, {"kind": "dedupe", "keys": ["id"]}], "/transforms/1", "id"),
    ([{"kind": "dedupe", "keys": ["id"]}, RENAME, {"kind": "dedupe", "keys": ["id"]}], "/transforms/2", "id"),
    ([{"kind": "validate", "unique": [["x"]]}], "/transforms/0", "x"),
    ([RENAME, {"kind": "validate", "unique": [["number", "id"]]}], "/transforms/1", "id"),
    ([{"kind": "clean", "key": {"k": ["x"]}}], "/transforms/0", "x"),
    ([{"kind": "filter", "where": "x > 1"}], "/transforms/0", "x"),
    ([RENAME, {"kind": "derive", "columns": {"y": "id + 1"}}], "/transforms/1", "id"),
    ([{"kind": "mask", "columns": {"x": "redact"}}], "/transforms/0", "x"),
]


def transforms(steps: list[dict[str, Any]]) -> Any:
    spec = {
        "name": "orders", "source": {"kind": "files", "path": "*.csv"}, "transforms": steps,
        "destination": {"table": "sales.orders"},
    }  # fmt: skip
    around = Surroundings(FakeSecrets({}), lookups=NO_LOOKUPS)
    return tuple(transform_for(each, around) for each in JobSpec.model_validate(spec).transforms)


def plan(steps: list[dict[str, Any]]) -> None:
    warehouse: Any = FakeWarehouse()  # these plans do not come to the preview of a target
    Planner(ListSource([[1, 2]]), transforms(steps), Destination(table="sales.orders"), warehouse, BLANK).plan()


def run(steps: list[dict[str, Any]]) -> None:
    destination, load_id = Destination(table="sales.orders"), LoadId(JobId(uuid4()), 1, uuid4())
    pipeline = Pipeline(ListSource([[1, 2]]), transforms(steps), destination, (), FakeEngine(), FakeWarehouse())
    pipeline.run(load_id, Monitor())


@pytest.mark.parametrize(("steps", "pointer", "column"), STEPS)
@pytest.mark.parametrize("way", [plan, run])
def test_a_column_that_a_step_lacks_is_named_with_its_step(
    way: Callable[[list[dict[str, Any]]], None], steps: list[dict[str, Any]], pointer: str, column: str
) -> None:
    with pytest.raises(ContractViolationError, match=repr(column)) as raised:
        way(steps)

    assert raised.value.context["pointer"] == pointer


def test_rules_are_of_the_columns_that_their_step_is_given() -> None:
    steps = transforms([{"kind": "dedupe", "keys": ["id"]}, RENAME, {"kind": "validate", "unique": [["number"]]}])

    schema, rules = schema_after(steps, pa.schema([("id", pa.int64())]))

    assert schema.names == ["number"]
    assert [rule.columns for rule in rules] == [("id",), ("number",)]
