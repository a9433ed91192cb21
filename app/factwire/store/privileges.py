"""Database privileges: those that the role of the service needs, those it lacks, and those open to every role."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from asyncpg import Record

from factwire.store.connection import Connection

_APPENDED = ("facts", "fact_tags", "fact_ids", "types", "namespaces", "creators", "chain", "sealed", "data_subjects")
_PASSING = ("key_secrets", "tickets", "sessions")
# What a subscription has beside its row. An upsert needs the right to update, and a row that is locked does as well.
_CHANGING = ("subscription_leases", "subscription_aside", "subscription_lost_leases", "subscription_workers")
_REPLACED = ("subscription_cursors", "subscription_open_keys", "subscription_settled")

# Privilege, table, and the column that it is limited to, if any; docs/operations.md has the same list.
WRITING = (
    *(("insert", name, "") for name in (*_APPENDED, "keys", "job_leases", *_PASSING)),
    *(("update", "log", column) for column in ("forked_at", "forked_after", "system_identifier", "timeline")),
    ("update", "namespaces", "types"),
    ("update", "creators", "namespaces"),
    ("update", "job_leases", ""),
    *(("update", "keys", column) for column in ("last_used_at", "revoked_at", "expiry_recorded_at")),
    *((privilege, name, "") for privilege in ("update", "delete") for name in _PASSING),
    *((privilege, name, "") for name in ("subscriptions", *_CHANGING) for privilege in ("insert", "update", "delete")),
    *((privilege, name, "") for name in _REPLACED for privilege in ("insert", "delete")),
)

ROLE = """
select quote_ident(current_user) as role,
       quote_ident(pg_get_userbyid(n.nspowner)) as owner,
       has_schema_privilege(n.oid, 'usage') as usage,
       not exists (select from pg_proc p
                    where p.pronamespace = n.oid and not has_function_privilege(p.oid, 'execute')) as execute
  from pg_namespace n
 where n.nspname = 'factwire'
"""

LACKING = """
select r.privilege, r.name, r.part
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality r (privilege, name, part, place)
  join pg_class c on c.relname = r.name
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'factwire'
 where not case r.part
         when '' then has_table_privilege(c.oid, r.privilege)
         else has_column_privilege(c.oid, r.part, r.privilege)
       end
 order by r.place
"""

OPEN_TO_ALL = """
select p.oid::regprocedure::text as function
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'factwire'
 where p.prosecdef and has_function_privilege('public', p.oid, 'execute')
 order by 1
"""


@dataclass(frozen=True, slots=True)
class MissingPrivileges:
    """GRANT statements for the privileges that a role lacks, to be run by the owner of the schema."""

    role: str
    owner: str
    grants: Sequence[str]


def needed_privileges() -> list[tuple[str, str, str]]:
    """All privileges that a role needs to serve: to read every table, and to write some."""
    from factwire.store.schema.tables import METADATA  # with SQLAlchemy, which takes 0.2 s; this is needed rarely

    tables = [*(table.name for table in METADATA.sorted_tables), "alembic_version"]
    return [*(("select", name, "") for name in tables), *WRITING]


async def missing_privileges(connection: Connection) -> MissingPrivileges | None:
    """Privileges that the role of the connection lacks; None if the schema does not exist."""
    row = await connection.fetchrow(ROLE)
    if row is None:
        return None
    lacking = [
        *([] if row["usage"] else ["usage on schema factwire"]),
        *described(await connection.fetch(LACKING, *zip(*needed_privileges(), strict=True))),
        *([] if row["execute"] else ["execute on all functions in schema factwire"]),
    ]
    return MissingPrivileges(row["role"], row["owner"], [f"grant {right} to {row['role']}" for right in lacking])


async def open_to_all(connection: Connection) -> list[str]:
    """Functions that run with their owner's rights and that every role may execute, as PostgreSQL grants by default."""
    return [row["function"] for row in await connection.fetch(OPEN_TO_ALL)]


def described(rows: Sequence[Record]) -> Iterator[str]:
    """Missing rights as text: one for all tables that lack it entirely, and one per table that lacks it on columns."""
    for (privilege, part_of), lacking in groupby(rows, key=lambda row: (row[0], row[1] if row[2] else "")):
        names, parts = zip(*((name, part) for _, name, part in lacking), strict=True)
        if part_of:
            yield f"{privilege} ({', '.join(parts)}) on factwire.{part_of}"
        else:
            yield f"{privilege} on {', '.join(f'factwire.{name}' for name in names)}"
