"""Reading specifications: what is accepted, and how mistakes are shown."""

import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from dataproc.domain.document import LARGEST, problems_of, read_spec
from dataproc.domain.errors import InvalidSpecError, Problem
from dataproc.domain.spec import JobSpec

DOCUMENT = """\
name: orders-daily
source: {kind: s3, path: "s3://lake/orders/*.parquet"}
transforms:
  - kind: clean
    trim: true
  - kind: validate
    columns:
      order_id: int64!
      amount: decimal(12,2) >= 0
    max_rejects: 1%
destination:
  table: analytics.orders
retry: {attempts: 3, first_delay: 1s, max_delay: 5m}
"""


def problems_in(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        read_spec(text)
    return caught.value.problems


def only_problem_in(text: str) -> Problem:
    (problem,) = problems_in(text)
    return problem


def test_yaml_and_json_give_the_same_specification() -> None:
    spec = read_spec(DOCUMENT)

    assert read_spec(spec.model_dump_json(indent=2)) == spec
    assert read_spec(spec.model_dump_json().replace('"name"', '\t"name"')) == spec


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("path:", "pth:", ("/source/path", 2, 9)),
        ("kind: s3", "kind: ftp", ("/source/kind", 2, 16)),
        ("kind: s3, ", "", ("/source/kind", 2, 9)),
        ("trim: true", "trim: seven", ("/transforms/0/trim", 5, 11)),
        ("trim: true", "trim: [[]]", ("/transforms/0/trim/0", 5, 12)),
        ("int64!", "int65!", ("/transforms/1/columns/order_id/type", 8, 17)),
        ("order_id: int64!", "a/b~c: {type: int64, nul: 1}", ("/transforms/1/columns/a~1b~0c/nul", 8, 28)),
        ("order_id: int64!", "'': int64!", ("/transforms/1/columns/", 8, 7)),
        ("table: analytics.orders", "table: orders", ("/destination/table", 12, 10)),
        ("attempts: 3", "attempts: 0", ("/retry/attempts", 13, 19)),
        ("first_delay: 1s", "first_delay: soon", ("/retry/first_delay", 13, 35)),
        ("s3://lake", "lake", ("/source", 2, 9)),
        ("name: orders-daily", "name: 2026", ("/name", 1, 7)),
    ],
)
def test_a_mistake_is_shown_where_it_stands(right: str, wrong: str, expected: tuple[str, int, int]) -> None:
    assert right in DOCUMENT

    problem = problems_in(DOCUMENT.replace(right, wrong))[0]

    assert (problem.pointer, problem.line, problem.column) == expected


def test_every_mistake_is_shown_and_not_only_the_first() -> None:
    text = DOCUMENT.replace("attempts: 3", "attempts: 0").replace("int64!", "int65!").replace("max_delay", "maxdelay")

    assert [problem.pointer for problem in problems_in(text)] == [
        "/transforms/1/columns/order_id/type",
        "/retry/attempts",
        "/retry/maxdelay",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "advice"),
    [
        ("max_delay:", "maxdelay:", "did you mean 'max_delay'?"),
        ("retry:", "zzz:", "there are name, source, transforms, destination, retry, timeout, priority"),
        ("kind: s3", "kind: ftp", "must be one of 's3', 'files'"),
        ("name: orders-daily", "name: 2026", "put it in quotes"),
        ("first_delay: 1s", "first_delay: soon", "such as 500ms, 30s, 5m"),
        ("analytics.orders", "orders", "such as 'analytics.orders'"),
        ("name: orders-daily\n", "", "'name' is missing: add it"),
    ],
)
def test_a_mistake_comes_with_what_to_do(right: str, wrong: str, advice: str) -> None:
    assert right in DOCUMENT

    assert advice in only_problem_in(DOCUMENT.replace(right, wrong)).message


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("name: a\nname: b", "written twice"),
        ('{"name": "a", "name": "b"}', "written twice"),
        ("a: &x [*x]", "aliases"),
        ("a: &x 1\nb: *x", "aliases"),
        ("<<: {a: 1}", "a key must be plain text"),
        ("[a]: 1", "a key must be plain text"),
        ("!!python/name:os.system x", "the tag !!python/name:os.system is not read"),
        ("", "the document is empty"),
        ("# nothing\n", "the document is empty"),
        ("- 1", "must be a mapping"),
        ("a: b: c", "this is no YAML or JSON"),
        ("a: 1\n---\na: 2", "this is no YAML or JSON"),
        ('{"a": "\\ud83d"}', "half a character"),
    ],
)
def test_what_is_no_specification_is_refused_with_a_reason(text: str, advice: str) -> None:
    problem = problems_in(text)[0]

    assert advice in problem.message
    assert problem.line is not None


def test_aliases_never_multiply() -> None:
    bomb = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))

    assert len(problems_in(bomb)) == 72


def test_a_document_that_is_too_large_is_not_read() -> None:
    assert "at most 1,000,000" in only_problem_in("a" * (LARGEST + 1)).message


def test_a_document_that_is_nested_too_deeply_is_refused() -> None:
    problem = only_problem_in("name: a\nb: " + "[" * 100_000)

    assert "nested too deeply" in problem.message
    assert (problem.line, problem.column) == (2, 104)
    assert "nested too deeply" in only_problem_in("\n".join(f"{' ' * n}a:" for n in range(1000))).message


def test_a_character_that_may_not_stand_in_a_document_is_shown() -> None:
    problem = only_problem_in('name: a\nb: "\x01"')

    assert (problem.line, problem.column) == (2, 5)


def test_text_keeps_characters_that_json_escapes_in_two_halves() -> None:
    text = json.dumps(json.loads(read_spec(DOCUMENT).model_dump_json()) | {"name": "\N{GRINNING FACE}"})

    assert "\\ud83d" in text
    assert "must match pattern" in only_problem_in(text).message


def test_dates_in_a_document_stay_text() -> None:
    spec = read_spec(DOCUMENT.replace("decimal(12,2) >= 0", "{type: date, ge: 2026-01-01}"))

    assert '"ge":"2026-01-01"' in spec.model_dump_json()


def test_an_invalid_specification_travels_between_processes() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        read_spec(DOCUMENT.replace("attempts: 3", "attempts: 0"))

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes

    assert (str(copy), copy.problems) == (str(caught.value), caught.value.problems)


def refused(model: type[BaseModel], value: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return caught.value


def test_pointers_name_fields_and_never_the_members_of_unions() -> None:
    value = json.loads(read_spec(DOCUMENT).model_dump_json())
    value["source"] = {"kind": "s3", "s3": 1, "path": ""}
    value["transforms"][0] = {"kind": "clean", "trim": 7, "drop": [1]}

    assert [problem.pointer for problem in problems_of(refused(JobSpec, value), "/spec")] == [
        "/spec/source/path",
        "/spec/source/s3",
        "/spec/transforms/0/drop/0",
        "/spec/transforms/0/trim",
    ]


def test_problems_of_another_model_are_told_by_its_own_shape() -> None:
    class Page(BaseModel):
        model_config = ConfigDict(extra="forbid")
        limit: int | None = None

    (problem,) = problems_of(refused(Page, {"limt": 1}), model=Page)

    assert problem == Problem("/limt", "unknown field 'limt': did you mean 'limit'?")


@given(st.text(max_size=200) | st.text("{}[]:,-&*!|>'\"\n\t a1#%@`?", max_size=60))
def test_any_text_is_a_specification_or_a_list_of_problems(text: str) -> None:
    assert problems_in(text)


@pytest.mark.parametrize(
    "when", ["2026-01-31T06:00:00", "'12.5'", "1769839200", "9999-12-31T23:59:59-12:00", "tomorrow", "2026-01-31"]
)
def test_a_time_that_is_none_or_has_no_zone_is_refused(when: str) -> None:
    assert only_problem_in(f"{DOCUMENT}scheduled_for: {when}\n").pointer == "/scheduled_for"


def test_a_time_with_its_zone_is_kept_as_it_is_meant() -> None:
    spec = read_spec(f"{DOCUMENT}scheduled_for: 2026-01-31T06:00:00+02:00\n")

    assert spec.scheduled_for == datetime(2026, 1, 31, 4, tzinfo=UTC)
