"""Which libraries every process of the service loads: those that few jobs need are imported where they are used."""

import subprocess
import sys

import pytest

LOADED = "import sys, dataproc.bootstrap; print(*sorted(sys.modules))"
LARGE = (
    "adbc_driver_postgresql",
    "alembic",
    "dlt",
    "opentelemetry",
    "pandas",
    "phonenumbers",
    "polars",
    "ray",
    "redis",
)


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    """Return the modules that a process has after the import from which API, dispatcher and runners start."""
    return subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("library", LARGE)
def test_a_large_library_is_imported_by_the_first_job_that_needs_it(loaded: list[str], library: str) -> None:
    assert "dataproc.bootstrap" in loaded
    assert library not in loaded
