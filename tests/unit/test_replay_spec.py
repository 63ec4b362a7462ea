"""The specification of a replay: a job without a source."""

import re
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
from pydantic import SecretStr

from dataproc.bootstrap import open_planner
from dataproc.domain.errors import InvalidSpecError, SetupError
from dataproc.domain.replay_spec import read_replay
from dataproc.domain.sources.kinds import AnySource
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.settings import Settings
from tests.builders import a_spec

PAGE = Path(__file__).parents[2] / "docs" / "rejects.md"
SOURCE = RejectsSource(kind="rejects", job=uuid4(), rule="ge")


def test_the_source_of_a_replay_is_what_was_set_aside() -> None:
    spec = read_replay("name: again\ndestination: {table: sales.orders}\nno_rows: fail", SOURCE)

    assert (spec.source, spec.no_rows, spec.reads_what_is_new, spec.connection) == (SOURCE, "fail", True, None)


@pytest.mark.parametrize(
    ("text", "pointer", "line"),
    [
        ("name: again\nsource: {kind: files, path: a.csv}\ndestination: {table: a.b}", "/source", 2),
        ("name: again\ndestination: {table: orders}", "/destination/table", 2),
        ("destination: {table: a.b}", "/name", 1),
    ],
)
def test_mistakes_are_told_where_they_stand(text: str, pointer: str, line: int) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        read_replay(text, SOURCE)

    assert [(each.pointer, each.line) for each in caught.value.problems] == [(pointer, line)]


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="mapping"):
        read_replay("- name: again", SOURCE)


def test_the_replay_that_the_page_shows_is_right() -> None:
    [text] = [
        found for found in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "destination" in found
    ]

    assert read_replay(text, SOURCE).name == "orders-corrected"


@pytest.mark.parametrize("kind", get_args(AnySource), ids=lambda kind: kind.__name__)
def test_every_kind_of_source_can_be_marked_as_personal(kind: Any) -> None:
    assert kind.model_fields["personal"].default is False


@pytest.mark.anyio
async def test_a_job_of_personal_rows_is_refused_without_a_key(tmp_path: Path) -> None:
    settings = Settings(warehouse_url=SecretStr("postgresql://nobody@/away"), files_root=tmp_path)
    spec = a_spec(source={"kind": "files", "path": "a.csv", "personal": True})

    with pytest.raises(SetupError, match="DATAPROC_ENCRYPTION_KEYS"):
        await open_planner(spec, settings)
