"""`python -m jobs.migrate`: brings the metadata database to the newest schema."""

import sys

from dataproc.domain.errors import DataprocError
from dataproc.repositories.migrate import migrate
from dataproc.settings import Settings

USAGE = 2


def main() -> int:
    """Migrate; exit with 0 when the schema is the newest, 1 when that failed, 2 when no database is named."""
    url = Settings().metadata_url
    if url is None:
        sys.stderr.write("DATAPROC_METADATA_URL is not set; set it to postgresql://user@host/database\n")
        return USAGE
    try:
        revision = migrate(url.get_secret_value())
    except DataprocError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write(f"metadata schema is at revision {revision}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
