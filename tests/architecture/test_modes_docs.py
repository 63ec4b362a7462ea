"""The pages about write modes show jobs that are right, and there is a page for each mode."""

import re
from pathlib import Path
from typing import get_args

import pytest

from dataproc.domain.document import read_spec
from dataproc.domain.modes import Mode

PAGES = Path(__file__).parents[2] / "docs" / "modes"


def examples() -> list[tuple[str, str]]:
    """Return the jobs that the pages show, each with the mode that its page is about."""
    pages = sorted(path for path in PAGES.glob("*.md") if path.stem != "README")
    return [(page.stem, text) for page in pages for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)]


def test_there_is_a_page_for_each_mode() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *get_args(Mode)}
    assert {mode for mode, _ in examples()} == set(get_args(Mode))


@pytest.mark.parametrize(("mode", "text"), examples())
def test_every_job_that_the_pages_show_is_right_and_of_its_mode(mode: str, text: str) -> None:
    assert read_spec(text).destination.mode == mode
