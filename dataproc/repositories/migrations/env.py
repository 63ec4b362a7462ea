"""Alembic's entry: migrates over the connection it is given, or prints the statements."""

from alembic import context
from sqlalchemy import Connection, text

from dataproc.repositories.tables import metadata

# A migration that waits for a lock makes everyone behind it wait: it gives up and may be run again.
LIMITS = ("SET lock_timeout = '5s'", "SET statement_timeout = '10min'")


def migrate_online(connection: Connection) -> None:
    for limit in LIMITS:
        connection.execute(text(limit))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def print_statements() -> None:
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    for limit in LIMITS:
        context.execute(limit)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_statements()
else:
    migrate_online(context.config.attributes["connection"])
