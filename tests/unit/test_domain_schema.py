"""The JSON Schema of a job: committed, and true to the models."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from dataproc.domain.destination import Destination
from dataproc.domain.document import pointer_of
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.schema import FILE, job_schema, path_in_document
from dataproc.domain.sources.files import CsvOptions, FilesSource, S3Source
from dataproc.domain.spec import JobSpec
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.validate import ValidateTransform

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(job_schema())

SMALLEST: dict[str, object] = {
    "name": "a",
    "source": {"kind": "files", "path": "*.csv"},
    "destination": {"table": "public.a"},
}
ACCEPTED: list[dict[str, object]] = [
    {},
    {"source": {"kind": "s3", "path": "s3://b/k", "csv": {"delimiter": ";", "header": False}}},
    {"source": {"kind": "s3", "connection": "lake", "path": "k/**", "format": "jsonl"}},
    {"retry": {"attempts": 1, "first_delay": "500ms", "max_delay": 60}},
    {"timeout": "PT5M", "priority": -100},
    {"timeout": "1h30m"},
    {"transforms": [{"kind": "clean", "trim": ["a"], "nulls": {"a": 1, "b": "x"}, "cast": {"a": "decimal(4,2)"}}]},
    {"transforms": [{"kind": "validate", "columns": {"a": "int64! >= 0"}, "max_rejects": "1.5%"}]},
    {"transforms": [{"kind": "validate", "columns": {"a": {"type": "date", "ge": "2026-01-01"}}, "max_rejects": 0}]},
]
REFUSED: list[dict[str, object]] = [
    {"name": "a b"},
    {"surprise": 1},
    {"source": {"kind": "ftp", "path": "x"}},
    {"source": {"kind": "s3", "path": ""}},
    {"destination": {"table": "no_schema"}},
    {"retry": {"attempts": 0}},
    {"priority": 101},
    {"timeout": []},
    {"transforms": [{"kind": "clean", "nulls": {"a": None}}]},
    {"transforms": [{"kind": "validate", "columns": {}}]},
    {"transforms": [{"kind": "validate", "columns": {"a": 7}}]},
    {"transforms": [{"kind": "validate", "columns": {"a": "int64"}, "max_rejects": "many"}]},
]

names = st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}\Z")
columns = st.text(st.characters(codec="utf-8"), min_size=1, max_size=63)
new_columns = columns.filter(lambda name: len(name.encode()) <= 63)
column_types = st.sampled_from(["int64", "string", "decimal(12,2)", "timestamptz"])
lengths_of_time = st.timedeltas(timedelta(microseconds=1), timedelta(days=1))
sources = st.one_of(
    st.builds(FilesSource, kind=st.just("files"), path=columns, unit_size=st.integers(65536, 2**30)),
    st.builds(
        S3Source,
        kind=st.just("s3"),
        path=columns.map("s3://b/".__add__),
        connection=st.none() | names,
        csv=st.builds(CsvOptions, delimiter=st.sampled_from(",;\t|")),
    ),
)
cleaning = st.builds(
    CleanTransform,
    kind=st.just("clean"),
    trim=st.booleans() | st.tuples(columns),
    rename=st.dictionaries(columns, new_columns, max_size=3),
    nulls=st.dictionaries(
        columns, st.booleans() | st.integers() | columns | st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
    cast=st.dictionaries(columns, column_types, max_size=3),
)
clauses = st.sampled_from(
    [("int64", " >= 0 < 9"), ("decimal(12,2)", " > 0"), ("string", " in (a, b)"), ("string", " ~ /x/")]
)
rules = st.builds(lambda null, clause: clause[0] + null + clause[1], st.sampled_from(["", "!", "?"]), clauses)
checking = st.builds(
    lambda **fields: ValidateTransform.model_validate(fields),
    kind=st.just("validate"),
    columns=st.dictionaries(columns, rules, min_size=1, max_size=3),
    max_rejects=st.none() | st.integers(0, 99) | st.just("1.5%"),
)
specs = st.builds(
    JobSpec,
    name=names,
    source=sources,
    transforms=st.lists(cleaning | checking, max_size=3).map(tuple),
    destination=st.builds(Destination, table=st.just("analytics.orders"), load=st.sampled_from(["auto", "direct"])),
    retry=st.builds(RetryPolicy, attempts=st.integers(1, 100), first_delay=lengths_of_time, max_delay=lengths_of_time),
    timeout=lengths_of_time,
    priority=st.integers(-100, 100),
)


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = json.loads((ROOT / FILE).read_text(encoding="utf-8"))

    assert committed == job_schema(), "write it anew: python -m dataproc.domain.schema"


def test_the_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(job_schema())


@pytest.mark.parametrize("change", ACCEPTED, ids=json.dumps)
def test_the_schema_accepts_what_the_model_accepts(change: dict[str, object]) -> None:
    document = SMALLEST | change

    JobSpec.model_validate(document)

    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@pytest.mark.parametrize("change", REFUSED, ids=json.dumps)
def test_the_schema_refuses_what_the_model_refuses(change: dict[str, object]) -> None:
    document = SMALLEST | change

    with pytest.raises(ValidationError):
        JobSpec.model_validate(document)

    assert not VALIDATOR.is_valid(document)


@given(specs)
def test_any_specification_survives_json(spec: JobSpec) -> None:
    text = spec.model_dump_json()

    assert JobSpec.model_validate_json(text) == spec
    assert JobSpec.model_validate_json(text).model_dump_json() == text
    assert list(VALIDATOR.iter_errors(json.loads(text))) == []


@pytest.mark.parametrize(
    ("location", "pointer"),
    [
        (("source", "s3", "path"), "/source/path"),
        (("source", "s3", "s3"), "/source/s3"),
        (("transforms", 0, "clean", "trim", "bool"), "/transforms/0/trim"),
        (("transforms", 0, "clean", "trim", "tuple[constrained-str, ...]", 2), "/transforms/0/trim/2"),
        (("transforms", 1, "validate", "columns", "a/b", "[key]"), "/transforms/1/columns/a~1b"),
        (("transforms", 1, "validate", "columns", "type", "type"), "/transforms/1/columns/type/type"),
        ((), ""),
    ],
)
def test_locations_lose_what_is_no_part_of_the_document(location: tuple[int | str, ...], pointer: str) -> None:
    assert pointer_of(step for step, _ in path_in_document(JobSpec, location)) == pointer
