"""Migrations: forward only, from every earlier revision, safe to run twice at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from sqlalchemy import text

from dataproc.domain.errors import MetadataUnavailableError, SetupError
from dataproc.repositories.engine import open_sync_engine
from dataproc.repositories.migrate import head_revision, migrate, offline_sql, revision_of, revisions
from dataproc.repositories.tables import metadata
from jobs import migrate as command

BOTH = pytest.mark.parametrize("postgres_major", [18, 15], indirect=True)

JOB = "00000000-0000-0000-0000-000000000001"
RUN = "00000000-0000-0000-0000-000000000002"
AT_0001 = (
    f"INSERT INTO jobs (id, name, spec, owner, status, priority) VALUES ('{JOB}', 'a', '{{}}', 'ann', 'LOADING', 0)",
    "INSERT INTO job_runs (id, job_id, attempt, epoch, status, holder, started_at, updated_at) "
    f"VALUES ('{RUN}', '{JOB}', 1, 1, 'LOADING', 'runner', now(), now())",
    f"INSERT INTO job_leases (job_id, run_id, epoch, holder, expires_at) VALUES ('{JOB}', '{RUN}', 1, 'runner', now())",
    "INSERT INTO data_sources (name, kind, config) VALUES ('lake', 's3', '{}')",
    f"INSERT INTO idempotency_keys (owner, key, fingerprint, job_id) VALUES ('ann', 'k', 'f', '{JOB}')",
    f"INSERT INTO outbox (id, kind, job_id, data) VALUES ('{RUN}', 'job.failed', '{JOB}', '{{}}')",
    "INSERT INTO audit_logs (chain, action, actor, subject, details) VALUES (0, 'a', 'ann', 'job', '{}')",
)
AT_0002 = (
    *AT_0001,
    f"INSERT INTO run_logs (run_id, logged_at, level, message) VALUES ('{RUN}', now(), 'INFO', 'begun')",
    "INSERT INTO duties (name, holder, expires_at) VALUES ('reap', 'runner', now())",
)
AT_0003 = (*AT_0002, "INSERT INTO duties (name, holder, expires_at, note) VALUES ('dispatch', 'd', now(), 'none')")
ROWS_AT = {"0001": AT_0001, "0002": AT_0002, "0003": AT_0003}
"""Rows that a program of each revision has left behind, by revision."""

DEFINITIONS = text("""
SELECT conrelid::regclass || '.' || conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
UNION ALL
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
""")

# Attempts, epochs and priorities are small numbers; the only varchar is in Alembic's own table.
NOT_LINTED = "--exclude=prefer-bigint-over-int,prefer-bigint-over-smallint,prefer-text-field"


def counts(url: str) -> dict[str, int]:
    """Return the number of rows of every table."""
    with psycopg.connect(url) as conn:
        names = conn.execute("SELECT relname FROM pg_stat_user_tables WHERE relname <> 'alembic_version'").fetchall()
        return {name: count_of(conn, name) for (name,) in names}


def count_of(conn: psycopg.Connection[TupleRow], name: str) -> int:
    """Return the number of rows of a table."""
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
    assert row is not None
    return int(row[0])


@BOTH
def test_an_empty_database_gets_the_newest_schema(empty_database_url: str) -> None:
    assert revision_of(empty_database_url) is None

    assert migrate(empty_database_url) == head_revision()

    assert revision_of(empty_database_url) == head_revision()


@BOTH
def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert migrate(database_url) == head_revision()


@BOTH
@pytest.mark.parametrize("start", revisions())
def test_rows_of_every_revision_outlive_the_way_to_the_newest(empty_database_url: str, start: str) -> None:
    migrate(empty_database_url, to=start)
    with psycopg.connect(empty_database_url) as conn:
        for statement in ROWS_AT[start]:
            conn.execute(sql.SQL(statement))
    before = counts(empty_database_url)

    migrate(empty_database_url)

    after = counts(empty_database_url)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("program", revisions())
def test_the_program_of_every_revision_works_on_the_newest_schema(database_url: str, program: str) -> None:
    with psycopg.connect(database_url) as conn:
        for statement in ROWS_AT[program]:
            conn.execute(sql.SQL(statement))

    assert counts(database_url)["jobs"] == 1


@BOTH
def test_what_claims_count_by_is_taken_from_the_specs(empty_database_url: str) -> None:
    specs = (
        {"source": {"kind": "s3", "connection": "lake"}, "destination": {"table": "sales.orders"}},
        {"source": {"kind": "files", "connection": None}, "destination": {"table": "sales.orders"}},
    )
    migrate(empty_database_url, to="0001")
    with psycopg.connect(empty_database_url) as conn:
        for spec in specs:
            conn.execute(
                "INSERT INTO jobs (id, name, spec, owner, status, priority) "
                "VALUES (gen_random_uuid(), 'a', %s, 'ann', 'FAILED', 0)",
                (Jsonb(spec),),
            )

    migrate(empty_database_url)

    with psycopg.connect(empty_database_url) as conn:
        rows = conn.execute("SELECT execution, source, target FROM jobs ORDER BY source").fetchall()
    assert rows == [("shared", "files", "sales.orders"), ("shared", "lake", "sales.orders")]


def test_a_migration_that_was_interrupted_is_run_again(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '0001'")

    assert migrate(empty_database_url) == head_revision()


def test_every_table_of_every_revision_has_rows_to_try(empty_database_url: str) -> None:
    for revision in revisions():
        migrate(empty_database_url, to=revision)
    with psycopg.connect(empty_database_url) as conn:
        for statement in ROWS_AT[head_revision()]:
            conn.execute(sql.SQL(statement))

    assert set(ROWS_AT) == set(revisions())
    assert {name for name, count in counts(empty_database_url).items() if count == 0} == set()


@BOTH
def test_the_migrated_schema_is_that_of_the_tables(database_url: str) -> None:
    with open_sync_engine(database_url).connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, metadata) == []


def test_the_migrated_constraints_are_those_of_the_tables(database_url: str, empty_database_url: str) -> None:
    with open_sync_engine(empty_database_url).begin() as conn:
        metadata.create_all(conn)

    assert definitions(database_url) == definitions(empty_database_url)


def definitions(url: str) -> set[tuple[str, str]]:
    """Return the constraints and indexes of a database, in PostgreSQL's words."""
    with open_sync_engine(url).connect() as conn:
        return {(row.name, row.definition) for row in conn.execute(DEFINITIONS)}


@BOTH
def test_two_migrators_at_once_are_safe(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(migrate, [empty_database_url] * 4))

    assert ends == [head_revision()] * 4


def test_a_schema_of_a_newer_program_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SetupError, match="9999"):
        migrate(database_url)


def test_a_database_that_is_not_there_is_said_so(database_url: str) -> None:
    with pytest.raises(SetupError, match="DATAPROC_METADATA_URL"):
        migrate(database_url.replace("/test_", "/missing_"))


def test_a_server_that_is_not_there_is_said_so() -> None:
    with pytest.raises(MetadataUnavailableError):
        migrate("postgresql://nobody@/dataproc?host=/nonexistent")


@pytest.mark.parametrize("revision", revisions())
def test_the_statements_pass_the_linter(tmp_path: Path, revision: str) -> None:
    script = tmp_path / "migration.sql"
    script.write_text(offline_sql(revision))
    squawk = Path(sys.executable).with_name("squawk")

    done = subprocess.run(
        [squawk, "--pg-version=15.0", NOT_LINTED, script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_the_command_migrates_the_databases_of_the_settings(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAPROC_METADATA_URL", empty_database_url)
    monkeypatch.setenv("DATAPROC_WAREHOUSE_URL", empty_database_url)

    assert command.main() == 0

    assert head_revision() in capsys.readouterr().out
    assert revision_of(empty_database_url) == head_revision()


def test_the_command_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATAPROC_METADATA_URL", raising=False)

    assert command.main() == 2

    assert "DATAPROC_METADATA_URL" in capsys.readouterr().err


def test_the_command_fails_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DATAPROC_METADATA_URL", "DATAPROC_WAREHOUSE_URL"):
        monkeypatch.setenv(name, "postgresql://nobody@/dataproc?host=/nonexistent")

    assert command.main() == 1

    assert "does not answer" in capsys.readouterr().err
