"""How steps are done for which that is open: by workers, or over the whole run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from dataproc.domain.errors import LookupTooLargeError
from dataproc.domain.spec import AnyTransform, JobSpec
from dataproc.domain.transforms.enrich import EnrichTransform, LookupPlace
from dataproc.ports.pipeline import Settled, Transform
from dataproc.services.settling import settled
from dataproc.transforms.enrich import Enrich
from dataproc.transforms.enrich_run import EnrichOverRun
from dataproc.transforms.factory import transform_for
from tests.builders import a_spec, around_transforms

FILTER = {"kind": "filter", "where": "n > 0"}
OVER_RUN = {"kind": "sql", "over": "run", "query": "SELECT * FROM staged"}
ROWS: dict[str, Any] = {"from": {"rows": [{"k": "a", "v": "x"}]}}


@dataclass
class SizedLookups:
    """A lookup of 100 bytes or so, of which may be estimated how large it is."""

    estimate: int | None
    reads: int = 0

    def size(self, place: LookupPlace, columns: Sequence[str]) -> int | None:
        del place, columns
        return self.estimate

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, keep_for: timedelta) -> pa.Table:
        del place, keep_for
        self.reads += 1
        table = pa.table({name: [f"{row:020}" for row in range(4)] for name in columns})
        if table.nbytes > max_bytes:
            raise LookupTooLargeError("too large", max_bytes=max_bytes)
        return table


def enrich(max_bytes: int = 1000, **fields: Any) -> dict[str, Any]:
    document = {"kind": "enrich", "from": {"table": "a.b"}, "on": {"c": "k"}, "columns": {"v": "v"}}
    return document | {"max_bytes": max_bytes} | fields


def steps(lookups: SizedLookups, *documents: dict[str, Any]) -> list[Transform]:
    around = around_transforms(lookups=lookups)
    return [transform_for(TypeAdapter(AnyTransform).validate_python(each), around) for each in documents]


def ways(lookups: SizedLookups, *documents: dict[str, Any]) -> list[type]:
    return [type(way.transform) for way in settled(steps(lookups, *documents))]


@pytest.mark.parametrize(
    ("estimate", "max_bytes", "way", "reads"),
    [(10, 1000, Enrich, 1), (None, 1000, Enrich, 1), (1001, 1000, EnrichOverRun, 0), (10, 20, EnrichOverRun, 1)],
)
def test_workers_join_with_what_is_small_by_estimate_and_in_fact(
    estimate: int | None, max_bytes: int, way: type, reads: int
) -> None:
    lookups = SizedLookups(estimate)

    assert ways(lookups, enrich(max_bytes)) == [way]
    assert lookups.reads == reads


def test_what_was_read_to_settle_the_step_is_not_read_again() -> None:
    lookups = SizedLookups(10)
    (way,) = settled(steps(lookups, enrich()))

    assert way.transform.schema(pa.schema({"c": pa.string()})).names == ["c", "v"]
    assert lookups.reads == 1


def test_steps_that_are_not_open_stay_as_they_are_and_nothing_is_told_of_them() -> None:
    found = steps(SizedLookups(None), FILTER, enrich(over="batch"), enrich(over="run"), OVER_RUN)

    assert settled(found) == tuple(Settled(each, "") for each in found)


def test_a_step_after_one_over_the_run_is_done_there_and_its_lookup_not_read() -> None:
    lookups = SizedLookups(10)

    assert ways(lookups, enrich(over="run"), enrich())[1] is EnrichOverRun
    assert ways(lookups, OVER_RUN, enrich())[1] is EnrichOverRun
    assert lookups.reads == 0


@pytest.mark.parametrize("after", [FILTER, enrich(over="batch"), enrich(missing="reject"), enrich(**ROWS)])
def test_before_a_step_of_workers_a_large_lookup_is_refused_and_a_small_one_joined(after: dict[str, Any]) -> None:
    assert ways(SizedLookups(5000), enrich(), after)[0] is Enrich

    with pytest.raises(LookupTooLargeError, match="step 2 comes after it") as caught:
        ways(SizedLookups(5000), enrich(20), after)
    assert caught.value.context == {"max_bytes": 20, "pointer": "/transforms/0"}


def test_a_step_that_nobody_has_settled_is_done_by_workers() -> None:
    lookups = SizedLookups(5000)
    (step,) = steps(lookups, enrich())

    assert step.schema(pa.schema({"c": pa.string()})).names == ["c", "v"]
    assert lookups.reads == 1


def spec(*documents: dict[str, Any]) -> JobSpec:
    return JobSpec.model_validate(a_spec().model_dump(mode="json") | {"transforms": list(documents)})


def test_the_choice_is_open_unless_the_job_says_otherwise() -> None:
    (step,) = spec({name: value for name, value in enrich().items() if name != "max_bytes"}).transforms

    assert isinstance(step, EnrichTransform)
    assert step.over == "auto"


@pytest.mark.parametrize("after", [FILTER, enrich(missing="reject"), enrich(**ROWS)])
def test_a_step_of_workers_after_one_over_the_run_is_refused_and_one_that_is_open_is_not(after: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="put it after the other steps"):
        spec(OVER_RUN, after)

    assert len(spec(FILTER, enrich(), OVER_RUN, enrich(), enrich(over="run")).transforms) == 5
