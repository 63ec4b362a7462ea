"""`python -m jobs.migrate`: brings both databases to the newest schema."""

import sys

from dataproc.bootstrap import migrate_all
from dataproc.domain.errors import DataprocError
from dataproc.settings import Settings

USAGE = 2


def main() -> int:
    """Migrate; exit with 0 when the schemas are the newest, 1 when that failed, 2 when a database is not named."""
    try:
        versions = migrate_all(Settings())
    except DataprocError as exc:
        sys.stderr.write(f"{exc}\n")
        return USAGE if "setting" in exc.context else 1
    sys.stdout.write(f"metadata schema is at revision {versions.metadata}\n")
    sys.stdout.write(f"warehouse schema dataproc_load is at version {versions.warehouse}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
