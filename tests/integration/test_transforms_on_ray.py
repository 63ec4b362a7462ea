"""Transforms on Ray's workers give what they give in this process: they pickle, and bring all that they need."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from dataproc.cluster.engine import RayEngine
from dataproc.domain.chunk import Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Transform
from dataproc.transforms.clean import Clean
from dataproc.transforms.validate import Validate
from tests.warehouses import a_unit

# Ray warns of its own deprecated settings and of files that its own processes leave open.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROWS = pa.table(
    {
        "id": [str(at) for at in range(200)],
        "tel": ["0171 9876543", "nobody", None, "+1 650 253 0000"] * 50,
        "day": ["31.12.2025", "2026-01-31", "oh", None] * 50,
        "doc": ['{"n": 5}', '{"n": 50}'] * 100,
    }
)
CLEAN = {
    "kind": "clean",
    "parse_json": {"doc": {"n": "$.n"}},
    "phone": {"tel": "DE"},
    "dates": {"day": ["%d.%m.%Y", "%Y-%m-%d"]},
    "cast": {"n": "int64"},
    "key": {"key": ["id", "day"]},
}
VALIDATE = {
    "kind": "validate",
    "columns": {"id": "int64! unique"},
    "rules": [{"name": "small", "expect": "id < 150 or n < 10"}],
    "json_schema": {"properties": {"id": {"multipleOf": 4}}},
    "model": "tests.pydantic_models:Keyed",
}


def read(unit: Unit) -> Iterator[Chunk]:
    """Yield the rows in four chunks."""
    pieces = ((with_positions(ROWS.slice(first, 50), first), no_rejects()) for first in range(0, 200, 50))
    return number(unit.id, ROWS.schema, pieces)


def loaded(chunk: Chunk) -> LoadedChunk:
    """Return what became of a chunk, with its rows in the digest."""
    left = repr((chunk.rows.to_pylist(), chunk.rejects.to_pylist(), [keys.to_pylist() for keys in chunk.keys]))
    rows = chunk.rows.num_rows
    return LoadedChunk(
        chunk.unit, chunk.seq, chunk.last, chunk.read, rows, chunk.rejected, chunk.filtered, digest=left.encode()
    )


def steps() -> tuple[Transform, ...]:
    """Return both steps."""
    clean, validate = CleanTransform.model_validate(CLEAN), ValidateTransform.model_validate(VALIDATE)
    return Clean(clean), Validate(validate, ("tests",))


def in_this_process(unit: Unit) -> list[LoadedChunk]:
    """Return what comes out here."""
    clean, validate = steps()
    return [loaded(validate.apply(clean.apply(chunk))) for chunk in read(unit)]


def on_ray(units: list[Unit]) -> list[LoadedChunk]:
    """Return what comes out of Ray."""
    with RayEngine().run(units, read, steps(), loaded) as results:
        return sorted(results, key=lambda chunk: (chunk.unit, chunk.seq))


def test_workers_give_what_this_process_gives_also_for_two_jobs_at_once() -> None:
    units = [a_unit("u0"), a_unit("u1")]
    expected = [chunk for unit in units for chunk in in_this_process(unit)]

    with ThreadPoolExecutor(2) as jobs:
        found = list(jobs.map(on_ray, [units, units]))

    assert found == [expected, expected]
    assert all(chunk.is_balanced for chunk in expected)
    assert sum(chunk.rejected for chunk in expected) > sum(chunk.loaded for chunk in expected) > 0
