"""Division by zero, as docs/transforms/README.md has it."""

import math
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import BadDataError
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms
from tests.steps import a_chunk, columns, positions


def derived(expression: str, on_error: Any, **values: Any) -> Any:
    step = DeriveTransform(kind="derive", columns={"q": expression}, on_error=on_error)
    return transform_for(step, around_transforms()).apply(a_chunk(**values))


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.decimal128(9, 2)])
def test_a_slash_gives_infinity_or_nan(kind: pa.DataType) -> None:
    found = columns(derived("a / b", "quarantine", a=pa.array([1, -1, 6], kind), b=pa.array([0, 0, 4], kind)))["q"]
    assert found == [math.inf, -math.inf, 1.5]

    [zero] = columns(derived("a / b", "quarantine", a=pa.array([0], kind), b=pa.array([0], kind)))["q"]
    assert math.isnan(zero)


@pytest.mark.parametrize("sign", ["//", "%"])
def test_whole_quotients_and_remainders_cannot_be_computed(sign: str) -> None:
    aside = derived(f"a {sign} b", "quarantine", a=[7, 7], b=[0, 4])
    assert (positions(aside), aside.rejects["rule"].to_pylist()) == ([1], ["expression"])
    assert columns(derived(f"a {sign} b", "null", a=[7], b=[0]))["q"] == [None]
    with pytest.raises(BadDataError, match="cannot be computed"):
        derived(f"a {sign} b", "fail", a=[7], b=[0])
    with pytest.raises(BadDataError, match="cannot be computed"):
        transform_for(FilterTransform(kind="filter", where=f"a {sign} b = 1"), around_transforms()).apply(
            a_chunk(a=[7], b=[0])
        )
    with pytest.raises(BadDataError, match="cannot be computed"):
        transform_for(SqlTransform(kind="sql", query=f"SELECT a {sign} b AS q FROM batch"), around_transforms()).apply(
            a_chunk(a=[7], b=[0])
        )


def test_nullif_makes_the_quotient_null() -> None:
    assert columns(derived("a / nullif(b, 0)", "fail", a=[7, 6], b=[0, 4]))["q"] == [None, 1.5]
