"""A source that another package brings: found by its entry point, and held to what every source keeps to."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataproc.domain.errors import InvalidSpecError, SetupError
from dataproc.domain.sources.external import PluginSource
from dataproc.ports.pipeline import Source
from dataproc.sources.factory import source_for
from tests.builders import a_connection, surroundings
from tests.contract.conformance import read_all, rows_of

CODE = """
from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.chunk import no_rejects, number, with_positions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK


@dataclass(frozen=True)
class Numbers:
    count: int

    def plan(self, memory=BLANK):
        schema = pa.schema([("n", pa.int64())])
        return SourcePlan((Unit(f"numbers-{self.count}", "numbers", "1", 8 * self.count, schema=schema),), schema)

    def read(self, unit):
        rows = pa.table({"n": range(self.count)}, schema=unit.schema)
        return number(unit.id, unit.schema, [(with_positions(rows, 0), no_rejects())])


def numbers(options, around):
    if around.connection is not None:
        return Numbers(around.connection.config["count"])
    return Numbers(int(options["count"]))


def leaving(options, around):
    raise SystemExit(2)
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with entry points."""
    (tmp_path / "acme_numbers.py").write_text(CODE)
    info = tmp_path / "acme_numbers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-numbers\nVersion: 1.0\n")
    points = "numbers = acme_numbers:numbers\nlost = acme_lost:nothing\nleaving = acme_numbers:leaving\n"
    (info / "entry_points.txt").write_text(f"[dataproc.sources]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("acme_numbers", None)


def plugin(name: str = "numbers", *, options: dict[str, Any] | None = None, **around: Any) -> Source:
    spec = PluginSource.model_validate({"kind": "plugin", "plugin": name, "options": options or {}})
    return source_for(spec, surroundings(**around))


def test_a_plugin_reads_what_its_options_say() -> None:
    assert rows_of(read_all(plugin(options={"count": 3}))[1]) == [(0,), (1,), (2,)]


def test_a_plugin_is_handed_the_registered_connection() -> None:
    connection = a_connection(kind="plugin", config={"count": 2})

    assert rows_of(read_all(plugin(connection=connection))[1]) == [(0,), (1,)]


def test_options_that_a_plugin_refuses_are_told_by_their_field() -> None:
    for options in ({}, {"count": "many"}):
        with pytest.raises(InvalidSpecError, match="/source/options"):
            plugin(options=options)


def test_a_plugin_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidSpecError, match="lost, numbers"):
        plugin("ftp")


@pytest.mark.parametrize(("name", "words"), [("lost", "acme_lost"), ("leaving", "SystemExit")])
def test_a_plugin_that_cannot_be_loaded_is_trouble_of_the_set_up(name: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        plugin(name)
