"""What transforms need of a machine, on a real Ray of two processors that only this module uses."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from pydantic import TypeAdapter

from dataproc.cluster.engine import RayEngine
from dataproc.domain.chunk import Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.spec import AnyTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Needs, needs_of
from dataproc.security.ciphers import DataKeyCipher
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms
from tests.fakes.secrets import FakeSecrets
from tests.steps import KEY
from tests.warehouses import a_unit

# Ray warns of its own deprecated settings and of files that its own processes leave open.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TASKS = 4


@dataclass(frozen=True, slots=True)
class Noting:
    """Notes when it works on each unit, and in which process."""

    folder: Path
    needs: Needs

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        begun = time.monotonic()
        time.sleep(0.3)
        (self.folder / chunk.unit).write_text(f"{begun} {time.monotonic()} {os.getpid()}")
        return chunk

    def read(self, unit: Unit) -> Iterator[Chunk]:
        (self.folder / f"{unit.id}-read").write_text(str(os.getpid()))
        rows = with_positions(pa.table({"x": [1]}), 0)
        return number(unit.id, rows.drop_columns(["__position"]).schema, [(rows, no_rejects())])


def account_of(chunk: Chunk) -> LoadedChunk:
    return LoadedChunk(chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, 0, 0)


def most_at_once(folder: Path, needs: Needs) -> int:
    """Return how many tasks there were at once, each of which has read its unit itself."""
    noting, units = Noting(folder, needs), [a_unit(f"u{n}") for n in range(TASKS)]
    with RayEngine().run(units, noting.read, [noting], account_of) as results:
        assert sorted(each.unit for each in results) == [unit.id for unit in units]
    notes = [(folder / unit.id).read_text().split() for unit in units]
    assert [note[2] for note in notes] == [(folder / f"{unit.id}-read").read_text() for unit in units]
    spans = [(float(note[0]), float(note[1])) for note in notes]
    return max(sum(other[0] <= span[0] < other[1] for other in spans) for span in spans)


@pytest.mark.parametrize(
    ("needs", "at_once"),
    [(Needs(), 2), (Needs(cpus=2), 1), (Needs(concurrency=1), 1)],
)
def test_so_many_tasks_run_at_once_as_their_needs_allow(tmp_path: Path, needs: Needs, at_once: int) -> None:
    # Workers take their time to start.
    (warm := tmp_path / "warm").mkdir()
    most_at_once(warm, needs)

    assert most_at_once(tmp_path, needs) == at_once


def test_tasks_that_need_most_of_the_memory_run_alone(tmp_path: Path) -> None:
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call] # Ray leaves it untyped
    most = int(resources["memory"] * 0.6)

    assert most_at_once(tmp_path, Needs(memory=most)) == 1


@dataclass(frozen=True, slots=True)
class Written:
    """Loads chunks into files, to look at what workers made of them."""

    folder: Path

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        (self.folder / chunk.unit).write_text(json.dumps(chunk.rows.to_pylist()))
        return account_of(chunk)


def test_workers_have_lookups_keys_and_code_of_users(tmp_path: Path) -> None:
    secrets = FakeSecrets({"secret://dataproc#key": KEY})
    cipher = DataKeyCipher(("secret://dataproc#key",), secrets)
    around = around_transforms(secrets=secrets, cipher=cipher, python_modules=("tests",))
    documents: list[dict[str, object]] = [
        {"kind": "enrich", "from": {"rows": [{"k": 1, "v": "one"}]}, "on": {"x": "k"}, "columns": {"name": "v"}},
        {"kind": "mask", "columns": {"name": {"encrypt": {"blind_index": "name_index"}}}},
        {
            "kind": "python",
            "call": "tests.functions:doubled",
            "options": {"column": "x"},
            "returns": {"twice": "int64"},
        },
        {"kind": "filter", "where": "twice > 1"},
        {"kind": "derive", "columns": {"more": "twice + 1"}},
        {"kind": "sql", "query": "SELECT name, name_index, more FROM batch"},
    ]
    steps = [transform_for(TypeAdapter(AnyTransform).validate_python(each), around) for each in documents]
    schema = pa.schema([("x", pa.int64())])
    for step in steps:
        schema = step.schema(schema)

    with RayEngine().run([a_unit("u0")], Noting(tmp_path, Needs()).read, steps, Written(tmp_path)) as results:
        assert [each.loaded for each in results] == [1]

    (row,) = json.loads((tmp_path / "u0").read_text())
    assert cipher.decrypt(row["name"]) == b"one"
    assert row["name_index"] == cipher.blind_index(["one"], "name_index")[0]
    assert (row["more"], list(row)) == (3, [*schema.names, "__position"])


def test_tasks_have_what_all_their_transforms_need() -> None:
    fields = {"kind": "python", "call": "tests.functions:doubled", "returns": {"twice": "int64"}}
    declared = {"resources": {"cpus": 2, "memory": 1000}, "concurrency": 4}
    around = around_transforms(python_modules=("tests",))
    steps = [transform_for(PythonTransform.model_validate(fields | more), around) for more in ({}, declared)]

    assert needs_of(steps) == Needs(2, 1000, 4)
    assert needs_of([steps[0]]) == needs_of([]) == Needs()
