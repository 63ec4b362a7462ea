"""A table that takes the place of another: of the same shape, filled first, indexed then, and renamed at the end."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.change import impatient
from dataproc.warehouse.modes.obstacles import obstacle
from dataproc.warehouse.staging import identifier_of, set_aside
from dataproc.warehouse.target import Target

LIKE = """
CREATE TABLE {new} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS EXCLUDING IDENTITY)
"""
PLAIN = "CREATE UNLOGGED TABLE {new} AS SELECT {columns} FROM {old} WITH NO DATA"
OPTIONS = "SELECT reloptions FROM pg_class WHERE oid = %s::regclass"
INDEXES = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid),
       substr(pg_get_indexdef(c.oid), length(format('CREATE %%sINDEX %%I ON %%I.%%I ',
              CASE WHEN x.indisunique THEN 'UNIQUE ' END, c.relname, n.nspname, t.relname)) + 1),
       x.indisunique, obj_description(c.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint')
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = t.oid
WHERE x.indrelid = %s::regclass ORDER BY k.oid IS NULL, c.oid
"""
COMMENT = "SELECT obj_description(%s::regclass, 'pg_class')"
RIGHTS = """
SELECT CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
FROM pg_class, aclexplode(COALESCE(relacl, acldefault('r', relowner))) WHERE oid = %s::regclass
"""


@dataclass(frozen=True, slots=True)
class NewTable:
    """The table that takes the place of another; it stays in our schema until then."""

    conn: psycopg.Connection
    load_id: LoadId
    target: Target
    lasting: bool

    @classmethod
    def made(cls, conn: psycopg.Connection, load_id: LoadId, target: Target, *, lasting: bool) -> NewTable:
        """Make an empty table like the target; one that is not `lasting` only holds the rows until they move on."""
        new = cls(conn, load_id, target, lasting)
        new.run(LIKE if lasting else PLAIN, columns=target.column_list)
        if lasting:
            new.take_options()
        return new

    def take_options(self) -> None:
        """Give this table the storage parameters of the old one."""
        (options,) = self.conn.execute(OPTIONS, (self.old,)).fetchone() or (None,)
        for name, _, value in (option.partition("=") for option in options or ()):
            self.run("ALTER TABLE {new} SET ({name} = {value})", name=sql.Identifier(name), value=sql.Literal(value))

    @property
    def name(self) -> str:
        """The name of the new table until it has taken the place of the old one."""
        return f"replacement_{self.load_id.job_id.hex}_{self.load_id.epoch}"

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name of the new table."""
        return identifier_of(self.name)

    @property
    def old(self) -> str:
        """The quoted name of the table that is replaced."""
        return self.target.identifier.as_string(self.conn)

    def run(self, text: str, /, **parts: sql.Composable) -> psycopg.Cursor:
        """Run a statement with the names of both tables and these parts in it."""
        named = {"new": self.identifier, "old": self.target.identifier}
        return self.conn.execute(sql.SQL(text).format(**(named | parts)))

    def build_indexes(self) -> None:
        """Build the indexes and the constraints that the old table has."""
        found = self.conn.execute(INDEXES, (self.old,)).fetchall()
        for index, constraint, definition, rest, unique, told_index, told_constraint in found:
            name = sql.Identifier(index)
            if constraint is not None:
                self.run("ALTER TABLE {new} ADD CONSTRAINT {name} {rest}", name=name, rest=sql.SQL(definition))
            else:
                kind = sql.SQL("UNIQUE" if unique else "")
                self.run("CREATE {kind} INDEX {name} ON {new} {rest}", kind=kind, name=name, rest=sql.SQL(rest))
            own = sql.Identifier("dataproc_load", index)
            if told_index is not None:
                self.run("COMMENT ON INDEX {own} IS {told}", own=own, told=sql.Literal(told_index))
            if told_constraint is not None:
                told = sql.Literal(told_constraint)
                self.run("COMMENT ON CONSTRAINT {name} ON {new} IS {told}", name=name, told=told)

    def hold_old(self) -> None:
        """Keep everybody from the old table until the commit, or raise `LockNotAvailable` if others do not let go."""
        try:
            with impatient(self.conn), self.conn.transaction():
                self.run("LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE")
        except pg.DeadlockDetected as exc:
            # Somebody has read the table, and waits until we are done to write into it.
            raise pg.LockNotAvailable(str(exc)) from exc

    def take_place(self) -> None:
        """Give this table the rights, the comment and the name of the old one, which is set aside."""
        self.take_rights()
        (told,) = self.conn.execute(COMMENT, (self.old,)).fetchone() or (None,)
        if told is not None:
            self.run("COMMENT ON TABLE {new} IS {told}", told=sql.Literal(told))
        self.put_old_aside()
        self.run("ALTER TABLE {new} SET SCHEMA {schema}", schema=sql.Identifier(self.target.schema))
        moved = sql.Identifier(self.target.schema, self.name)
        self.run("ALTER TABLE {moved} RENAME TO {name}", moved=moved, name=sql.Identifier(self.target.table))

    def put_old_aside(self) -> None:
        """Let the old table be dropped after the commit, which would wait for its files to be removed."""
        if obstacle(self.conn, self.old) is None:
            set_aside(self.conn, self.load_id, self.target)
        else:
            # Something has come to hang on it since this was looked at: PostgreSQL says what, and refuses.
            self.run("DROP TABLE {old}")

    def take_rights(self) -> None:
        """Let the same roles have the same rights."""
        by_default, wanted = self.rights(self.identifier.as_string(self.conn)), self.rights(self.old)
        if set(by_default) == set(wanted):
            return
        for role in {role for role, _, _ in by_default}:
            self.run("REVOKE ALL ON {new} FROM {role}", role=named(role))
        for role, right, grantable in wanted:
            option = sql.SQL("WITH GRANT OPTION" if grantable else "")
            self.run("GRANT {right} ON {new} TO {role} {option}", right=sql.SQL(right), role=named(role), option=option)

    def rights(self, table: str) -> list[tuple[str | None, str, bool]]:
        """Return who may do what with a table; `None` is everybody."""
        return self.conn.execute(RIGHTS, (table,)).fetchall()


def named(role: str | None) -> sql.Composable:
    """Return a role in a statement."""
    return sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
