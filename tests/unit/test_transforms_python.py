"""The `python` step."""

import sys
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.errors import ContractViolationError, InvalidSpecError, TransformFailedError
from dataproc.domain.source_columns import type_name
from dataproc.domain.transforms.python import PythonTransform
from dataproc.ports.pipeline import Needs, Preparing, Transform, needs_of
from dataproc.transforms.factory import transform_for
from dataproc.transforms.python_code import told
from tests import functions
from tests.builders import around_transforms
from tests.steps import a_chunk, applied, columns, demand_same_in_pieces, positions, schema_of

TWICE = {"twice": "int64"}


def python(name: str, returns: dict[str, str] | None = None, **fields: Any) -> Transform:
    document = {"kind": "python", "call": f"tests.functions:{name}", "returns": returns or TWICE, **fields}
    spec = PythonTransform.model_validate(document)
    return transform_for(spec, around_transforms(python_modules=("tests.functions",)))


@pytest.mark.parametrize(
    ("name", "batch"), [("doubled", "arrow"), ("doubled_pandas", "pandas"), ("doubled_polars", "polars")]
)
def test_a_function_gets_and_gives_the_frames_that_the_job_names(name: str, batch: str) -> None:
    after = applied(python(name, batch=batch), a_chunk(a=[1, None, 3], b=["x", "y", None]))

    assert columns(after) == {"a": [1, None, 3], "b": ["x", "y", None], "twice": [2, None, 6]}


def test_a_function_that_keeps_its_rows_sees_no_hidden_column() -> None:
    after = applied(python("seen", {"names": "string"}), a_chunk(a=[1], b=["x"]))

    assert columns(after)["names"] == ["a,b"]


def test_only_the_columns_that_are_declared_come_from_the_function() -> None:
    chunk = a_chunk(a=[1, 2], b=["x", None])

    assert columns(applied(python("shouted", {"b": "string"}), chunk)) == {"a": [1, 2], "b": ["X", None]}
    assert columns(applied(python("shouted", {"b": "string"}, others="drop"), chunk)) == {"b": ["X", None]}


def test_options_are_keyword_arguments() -> None:
    assert columns(applied(python("doubled", options={"column": "n"}), a_chunk(n=[4])))["twice"] == [8]


@pytest.mark.parametrize(("name", "batch"), [("even", "arrow"), ("even_pandas", "pandas")])
def test_rows_may_leave_where_it_is_asked_for_and_are_counted(name: str, batch: str) -> None:
    after = applied(
        python(name, {"half": "int64"}, rows="may_leave", batch=batch), a_chunk(5, a=[1, 2, 3, 4], b=list("wxyz"))
    )

    assert columns(after) == {"a": [2, 4], "b": ["x", "z"], "half": [1, 2]}
    assert (positions(after), after.filtered) == ([6, 8], 2)


def test_values_are_cast_to_the_declared_types_and_those_that_do_not_fit_set_their_rows_aside() -> None:
    after = applied(python("shouted", {"b": "int64"}), a_chunk(a=[1, 2, 3], b=["7", "x", None]))

    assert columns(after)["b"] == [7, None]
    assert after.rejects.to_pylist() == [
        {"position": 1, "rule": "type", "column": "b", "reason": "column 'b' is no int64", "row": '{"a": 2, "b": "x"}'}
    ]


def test_of_a_class_each_process_makes_one_object_for_the_same_options_and_keeps_it() -> None:
    functions.made.clear()
    three, five = (python("Multiplied", options={"factor": factor}) for factor in (3, 5))

    found = [columns(applied(step, a_chunk(a=[2])))["twice"] for step in (three, three, five)]

    assert found == [[6], [6], [10]]
    assert functions.made == [3, 5]


def test_an_object_that_is_made_before_rows_come_is_the_one_that_they_reach() -> None:
    functions.made.clear()
    step = python("Multiplied", options={"factor": 7}, actor_pool=2)
    assert isinstance(step, Preparing)

    step.prepare()

    assert functions.made == [7]
    assert columns(applied(step, a_chunk(a=[2])))["twice"] == [14]
    assert functions.made == [7]


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ([{"actor_pool": 3}], Needs(actors=3)),
        ([{"actor_pool": 3}, {"actor_pool": 2}, {}], Needs(actors=2)),
        ([{"actor_pool": 3}, {"concurrency": 4}], Needs(concurrency=4, actors=3)),
        ([{"actor_pool": 3}, {"concurrency": 1}], Needs(concurrency=1, actors=1)),
        ([{"actor_pool": 1, "resources": {"cpus": 2, "memory": 10}}], Needs(2, 10, actors=1)),
        ([{"concurrency": 4}], Needs(concurrency=4)),
    ],
)
def test_one_pool_of_actors_runs_all_steps_and_keeps_to_the_smallest_number(
    fields: list[dict[str, Any]], needs: Needs
) -> None:
    assert needs_of([python("Multiplied", **each) for each in fields]) == needs


def test_a_pool_of_actors_for_a_function_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"tests\.functions:doubled is no class, so there is nothing to set up"):
        python("doubled", actor_pool=2).schema(pa.schema([]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"actor_pool": 2, "concurrency": 2}, "give `actor_pool` or `concurrency`"), ({"actor_pool": 0}, "actor_pool")],
)
def test_a_pool_of_actors_has_one_number_above_nought(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        python("Multiplied", **fields)


def test_nulls_among_whole_numbers_truths_and_texts_reach_pandas_and_come_back() -> None:
    chunk = a_chunk(
        i=pa.array([1, None], pa.int16()), u=pa.array([None, 2**64 - 1], pa.uint64()), t=[True, None], s=["x", None]
    )
    declared = {"i": "int16", "t": "bool", "s": "string"}

    after = applied(python("unchanged", declared, batch="pandas"), chunk)

    assert after.rows == chunk.rows
    assert applied(python("types", {"names": "string"}, batch="pandas"), chunk).rows["names"][0].as_py() == (
        "Int16 UInt64 boolean string"
    )


def test_objects_uuids_and_large_numbers_come_as_text_with_the_type_that_a_new_table_gets() -> None:
    step = python("objects_of_pandas", {"detail": "json", "key": "uuid", "total": "decimal(38,2)"}, batch="pandas")
    chunk = a_chunk(a=[1, 2, 3])

    found = columns(applied(step, chunk))

    assert found["detail"] == ['{"a": 1.10}', '[1, {"b": 2}]', None]
    assert found["key"] == [str(UUID(int=1)), None, str(UUID(int=2))]
    assert found["total"] == [Decimal(10**25), Decimal("1.50"), None]
    assert [type_name(each) for each in step.schema(schema_of(chunk))][1:] == ["jsonb", "uuid", "decimal128(38, 2)"]


def test_a_chunk_without_rows_does_not_reach_the_function() -> None:
    assert columns(applied(python("failing"), a_chunk(a=pa.array([], pa.int64())))) == {"a": [], "twice": []}


@given(st.lists(st.integers(-99, 99), max_size=30), st.integers(0, 30))
def test_it_does_not_matter_where_chunks_end(values: list[int], at: int) -> None:
    chunk = a_chunk(a=pa.array(values, pa.int64()))

    demand_same_in_pieces(python("doubled"), chunk, at)
    demand_same_in_pieces(python("even", {"half": "int64"}, rows="may_leave"), chunk, at)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("fewer", {"returns": {"a": "int64"}}, "gives 1 rows for 2; let it return as many"),
        ("repeated", {"returns": {"a": "int64"}, "rows": "may_leave"}, "gives a row twice, or one that it did not get"),
        ("renumbered", {"returns": {"a": "int64"}, "rows": "may_leave"}, "gives a row twice, or one"),
        ("doubled", {"rows": "may_leave"}, "gives no column '__position'"),
        ("doubled", {"returns": {"thrice": "int64"}}, "gives no column 'thrice', which `returns` declares"),
        ("doubled", {"batch": "pandas"}, "failed with TypeError at functions.py"),
        ("nothing", {}, "gives NoneType, not Table of arrow"),
        ("mixed", {"batch": "pandas"}, "values in column 'twice' that have no type together"),
        ("doubled", {"returns": {"twice": "date"}}, "gives column 'twice' as int64, which cannot be date"),
        ("Broken", {}, "failed with OSError at functions.py:"),
    ],
)
def test_a_function_that_does_not_keep_its_word_fails_the_run(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformFailedError, match=message):
        python(name, **fields).apply(a_chunk(a=[1, 2], b=["x", "y"]))


def test_an_error_of_a_function_is_told_by_its_name_and_line_and_shows_no_value() -> None:
    with pytest.raises(
        TransformFailedError, match=r"tests\.functions:failing failed with KeyError at functions\.py:\d+"
    ) as caught:
        python("failing").apply(a_chunk(a=[1], b=["secret"]))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("call", ["os:system", "tests.functions_of_others:f", "testsfunctions:f", "tests:f"])
def test_code_that_the_installation_does_not_allow_is_refused_and_not_imported(call: str) -> None:
    spec = PythonTransform.model_validate({"kind": "python", "call": call, "returns": TWICE})

    with pytest.raises(InvalidSpecError, match="is not allowed; add its package to DATAPROC_PYTHON_MODULES"):
        transform_for(spec, around_transforms(python_modules=("tests.functions",)))
    assert "tests.functions_of_others" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "has nothing that is called 'none'"),
        ("NUMBER", "neither a function nor a class"),
        ("Silent", "cannot be called"),
    ],
)
def test_a_name_that_stands_for_no_function_is_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        applied(python(name), a_chunk(a=[1]))


def test_a_module_that_is_not_installed_is_named() -> None:
    spec = PythonTransform.model_validate({"kind": "python", "call": "not_installed.orders:f", "returns": TWICE})

    with pytest.raises(InvalidSpecError, match="the module 'not_installed' is not installed"):
        transform_for(spec, around_transforms(python_modules=("not_installed",))).schema(pa.schema([]))


def test_a_function_cannot_declare_the_hidden_column() -> None:
    with pytest.raises(ContractViolationError, match="__position is not yours"):
        python("even", {"__position": "int64"}).schema(schema_of(a_chunk(a=[1])))


@pytest.mark.parametrize("name", ["exiting", "Exiting"])
def test_an_exit_of_a_step_is_its_error(name: str) -> None:
    words = rf"tests\.functions:{name} failed with SystemExit at functions\.py:\d+"
    with pytest.raises(TransformFailedError, match=words) as raised:
        python(name).apply(a_chunk(a=[1], b=["secret"]))

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("module", "error"), [("module_that_exits", "SystemExit"), ("module_that_fails", "ZeroDivisionError")]
)
def test_a_module_that_cannot_be_imported_is_named_when_the_job_is_planned(module: str, error: str) -> None:
    spec = PythonTransform.model_validate({"kind": "python", "call": f"tests.{module}:f", "returns": TWICE})
    step = transform_for(spec, around_transforms(python_modules=("tests",)))

    with pytest.raises(InvalidSpecError, match=f"the module 'tests.{module}' fails with {error}"):
        step.schema(schema_of(a_chunk(a=[1])))


def test_an_interrupt_is_not_an_error_of_a_step_nor_is_the_end_of_a_worker() -> None:
    ending: dict[str, Any] = {"__name__": "ray._private.worker"}
    exec("def sigterm_handler():\n    raise SystemExit(1)", ending)  # noqa: S102 - a module of that name
    with pytest.raises(KeyboardInterrupt), told("tests.functions:x", "python.call"):
        raise KeyboardInterrupt
    with pytest.raises(SystemExit), told("tests.functions:x", "python.call"):
        ending["sigterm_handler"]()
