"""Every fault point is in the code and under test: a new one without a test fails here."""

import ast
from functools import cache
from pathlib import Path

import pytest

from dataproc.domain.fault_points import FaultPoint
from tests.faults.routes import ROUTES
from tests.faults.test_matrix import EVERYWHERE, cells

ROOT = Path(__file__).parents[2]
PACKAGES = ("dataproc", "serve_app", "jobs")


@cache
def arguments_of_reached() -> tuple[str, ...]:
    """Return what the product passes to `reached`, each time that it does."""
    texts = (
        path.read_text(encoding="utf-8") for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
    )
    nodes = (node for text in texts if "reached(" in text for node in ast.walk(ast.parse(text)))
    calls = (node for node in nodes if isinstance(node, ast.Call))
    return tuple(ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func).rpartition(".")[2] == "reached")


@pytest.mark.parametrize("point", FaultPoint)
def test_every_fault_point_is_reached_somewhere_in_the_product(point: FaultPoint) -> None:
    assert f"FaultPoint.{point.name}" in set(arguments_of_reached())


def test_whatever_is_reached_is_a_fault_point() -> None:
    known = {f"FaultPoint.{point.name}" for point in FaultPoint}

    assert [argument for argument in arguments_of_reached() if argument not in known] == []


@pytest.mark.parametrize("point", FaultPoint)
def test_every_fault_point_lies_on_a_route_of_the_matrix(point: FaultPoint) -> None:
    assert ROUTES.get(point)


@pytest.mark.parametrize("point", FaultPoint)
def test_every_fault_point_is_met_by_faults_in_the_short_form_as_well(point: FaultPoint) -> None:
    met = {fault for where, _, fault, _ in cells() if where is point}

    assert met >= set(EVERYWHERE)
