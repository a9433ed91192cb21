"""The rights that a role needs to serve, and which of them it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.store.database import Connection
from app.store.tables import METADATA

READ_TABLES = [*(table.name for table in METADATA.sorted_tables), "alembic_version"]
WRITTEN_TABLES = ["facts", "fact_tags", "fact_ids", "types", "chain", "sealed", "data_subjects"]

LACKING = """
select quote_ident(current_user) as role,
       quote_ident(pg_get_userbyid(n.nspowner)) as owner,
       not has_schema_privilege(n.oid, 'usage') as usage,
       string_agg('factwire.' || c.relname, ', ' order by c.relname)
         filter (where not has_table_privilege(c.oid, 'select')) as to_select,
       string_agg('factwire.' || c.relname, ', ' order by c.relname)
         filter (where c.relname = any($2) and not has_table_privilege(c.oid, 'insert')) as to_insert,
       exists (select from pg_proc p
                where p.pronamespace = n.oid and not has_function_privilege(p.oid, 'execute')) as execute
  from pg_namespace n
  join pg_class c on c.relnamespace = n.oid and c.relname = any($1)
 where n.nspname = 'factwire'
 group by n.oid
"""


@dataclass(frozen=True, slots=True)
class Lacking:
    """The statements that give a role what it lacks, which the owner of the schema may run."""

    role: str
    owner: str
    grants: Sequence[str]


async def lacking_rights(connection: Connection) -> Lacking | None:
    """What the role of the connection lacks; None where there is no schema."""
    row = await connection.fetchrow(LACKING, READ_TABLES, WRITTEN_TABLES)
    if row is None:
        return None
    lacking = [
        "usage on schema factwire" if row["usage"] else "",
        f"select on {row['to_select']}" if row["to_select"] else "",
        f"insert on {row['to_insert']}" if row["to_insert"] else "",
        "execute on all functions in schema factwire" if row["execute"] else "",
    ]
    return Lacking(row["role"], row["owner"], [f"grant {right} to {row['role']}" for right in lacking if right])
