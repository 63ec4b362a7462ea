"""What our role may do in the warehouse, asked of the catalog before a load needs it."""

import psycopg

from dataproc.ports.warehouse import Permission
from dataproc.warehouse.target import Target

# By their oids: a name in a schema that we may not use would be an error, and not an answer.
OF_SCHEMA = """
SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s
"""
OF_DATABASE = "SELECT has_database_privilege(current_database(), 'CREATE')"
OF_TABLE = """
SELECT has_table_privilege(c.oid, 'INSERT') AND has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


def permissions(conn: psycopg.Connection, target: Target) -> tuple[Permission, ...]:
    """Return what a load into `target` needs, and whether our role has it."""
    found = conn.execute(OF_TABLE, ("dataproc_load", "load_ledger")).fetchone() or (False, False)
    advice = "run `dataproc migrate`, or GRANT ALL ON the schema and its tables to our role"
    ours = Permission("keep the ledger in dataproc_load", all(found), advice)
    return (*of_target(conn, target), ours) if target.columns else (ours,)


def of_target(conn: psycopg.Connection, target: Target) -> tuple[Permission, ...]:
    """Return what is needed of the target's schema, and of the target."""
    schema = conn.execute(OF_SCHEMA, (target.schema,)).fetchone()
    if schema is None:
        [may_make] = conn.execute(OF_DATABASE).fetchone() or (False,)
        return (Permission(f"make the schema {target.schema}", may_make, "GRANT CREATE ON DATABASE to our role"),)
    if not target.exists:
        advice = f"GRANT USAGE, CREATE ON SCHEMA {target.schema} to our role"
        return (Permission(f"make {target.name}", all(schema), advice),)
    return of_table(conn, target, may_use=schema[0])


def of_table(conn: psycopg.Connection, target: Target, *, may_use: bool) -> tuple[Permission, ...]:
    """Return what is needed of a table that is there; that it is ours was found before."""
    told = conn.execute(OF_TABLE, (target.schema, target.table)).fetchone() or (False, False)
    rights = [
        Permission(f"{kind} in {target.name}", has, f"GRANT {kind} ON {target.name} to our role")
        for kind, has in zip(("INSERT", "SELECT"), told, strict=True)
    ]
    return (Permission(f"use the schema {target.schema}", may_use, "GRANT USAGE on it to our role"), *rights)
