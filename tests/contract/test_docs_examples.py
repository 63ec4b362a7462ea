"""The examples of the documents do what stands there.

A page holds files (```jsonl NAME), code (```python NAME), jobs that read them (```yaml) and what is in a table then
(```csv TABLE).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from dataproc.bootstrap import open_source, open_transforms
from dataproc.domain.document import read_spec
from dataproc.domain.spec import JobSpec
from dataproc.services.limits import limits_of
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.steps import KEY
from tests.warehouses import a_load_id

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for folder in ("transforms", "modes") for page in (DOCS / folder).glob("*.md"))
BLOCK = re.compile(r"^```(?P<kind>[a-z]+)(?: (?P<name>\S+))?\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    name: str
    text: str


def blocks_of(page: Path) -> Sequence[Block]:
    return [Block(b["kind"], b["name"] or "", b["text"]) for b in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def run(spec: JobSpec, settings: Settings, url: str) -> None:
    """Run a job in this process."""
    transforms = open_transforms(spec, {}, settings)
    pipeline = Pipeline(
        open_source(spec, None, settings),
        transforms,
        spec.destination,
        limits_of(spec),
        FakeEngine(),
        PostgresWarehouse(url, settings.direct_limit),
    )
    pipeline.run(a_load_id(), Monitor())


def reads_from(folder: Path, spec: JobSpec) -> bool:
    """Whether a job reads a file of its page; others only show how a job is written."""
    return spec.source.kind == "files" and (folder / str(spec.source.path)).exists()


def content(url: str, table: str) -> str:
    """Return the rows of a table as CSV, in order."""
    with psycopg.connect(url) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        query = sql.SQL("SELECT * FROM {} AS rows ORDER BY rows").format(sql.Identifier(*table.split(".")))
        names = [column.name for column in conn.execute(query).description or ()]
        with conn.cursor().copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT CSV)").format(query)) as copy:
            rows = b"".join(copy).decode()
    return ",".join(names) + "\n" + rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_the_examples_of_a_page_do_what_stands_there(
    page: Path, tmp_path: Path, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPROC_SECRET_DATAPROC", json.dumps({"key": KEY}))
    monkeypatch.syspath_prepend(tmp_path)
    settings = Settings(
        files_root=tmp_path,
        warehouse_url=SecretStr(warehouse_url),
        python_modules=("acme",),
        encryption_keys=("secret://dataproc#key",),
    )
    checked = 0
    for block in blocks_of(page):
        match block.kind:
            case "jsonl":
                (tmp_path / block.name).write_text(block.text, encoding="utf-8")
            case "python" if block.name:
                (tmp_path / block.name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / block.name).write_text(block.text, encoding="utf-8")
            case "yaml" if reads_from(tmp_path, spec := read_spec(block.text)):
                run(spec, settings, warehouse_url)
            case "csv":
                assert content(warehouse_url, block.name) == block.text
                checked += 1
    assert checked or page.name == "README.md"
