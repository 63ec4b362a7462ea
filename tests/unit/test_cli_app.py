"""The command line without any server: usage, validation, and a start that loads no Ray."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataproc.cli.app import app

GOOD = """\
name: orders-daily
source: {kind: files, path: orders.parquet}
destination: {table: analytics.orders}
"""
BAD = """\
name: orders-daily
source:
  kind: files
  paht: orders.parquet
destination: {table: orders}
"""
LOADED = """
import sys
from dataproc.cli.app import app
try:
    app(sys.argv[1:])
finally:
    sys.stderr.write(f"ray loaded: {'ray' in sys.modules}")
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(GOOD)
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return file


def run(*words: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


@pytest.mark.parametrize("command", ["help", "validate", "jobs"])
def test_quick_commands_load_no_ray(good: Path, command: str) -> None:
    words = {"help": ["--help"], "validate": ["validate", str(good)], "jobs": ["jobs", "get", "--help"]}[command]

    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == "ray loaded: False"


def test_a_request_to_the_api_loads_no_ray() -> None:
    words = ["jobs", "list", "--api", "http://127.0.0.1:9"]

    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 3
    assert done.stderr.endswith("ray loaded: False")


def test_a_right_specification_is_said_to_be_right(good: Path) -> None:
    done = run("validate", good)

    assert done.exit_code == 0
    assert "orders-daily" in done.stdout


def test_every_mistake_is_shown_with_its_place_and_pointer(bad: Path) -> None:
    done = run("validate", bad)

    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] + ":" + line.split(":")[1].split()[0] for line in lines] == ["3:3", "4:3", "5:22"]
    assert "/source/paht: unknown field 'paht': did you mean 'path'?" in lines[1]


def test_mistakes_are_a_document_for_programs(bad: Path) -> None:
    done = run("validate", bad, "--json")

    document = json.loads(done.stdout)
    assert done.exit_code == 2
    assert done.stderr == ""
    assert document["code"] == "invalid-spec"
    assert {"pointer": "/source/paht", "line": 4, "column": 3}.items() <= document["errors"][1].items()


def test_a_right_specification_is_a_document_for_programs(good: Path) -> None:
    document = json.loads(run("validate", good, "--json").stdout)

    assert document["valid"] is True
    assert document["spec"]["destination"]["table"] == "analytics.orders"


def test_a_dash_reads_standard_input() -> None:
    assert run("validate", "-", stdin=GOOD).exit_code == 0


def test_a_file_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    (file := tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")

    done = run("validate", file)

    assert done.exit_code == 2
    assert "no UTF-8 text" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "missing.yaml"),
        ("jobs", "get", "12"),
        ("jobs", "list", "--limit", "0"),
        ("jobs", "list", "--api", "ftp://127.0.0.1"),
        ("jobs", "list", "--api", "127.0.0.1:8000"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_code_2(words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr != ""


def test_a_wrong_setting_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPROC_HTTP_PORT", "s3cret")

    done = run("jobs", "list")

    assert done.exit_code == 2
    assert "DATAPROC_HTTP_PORT" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("name", ["metadata", "warehouse"])
def test_migrate_says_which_database_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("DATAPROC_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATAPROC_METADATA_URL", "postgresql://nobody@/dataproc?host=/nonexistent")
    monkeypatch.setenv("DATAPROC_WAREHOUSE_URL", "postgresql://nobody@/warehouse?host=/nonexistent")
    monkeypatch.delenv(f"DATAPROC_{name.upper()}_URL")

    done = run("migrate")

    assert done.exit_code == 2
    assert f"DATAPROC_{name.upper()}_URL is not set" in done.stderr
