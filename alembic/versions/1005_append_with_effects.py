"""Leases of jobs, and effects of a publish: what is checked in the transaction of its append.

Safe beside running services of the version before: the function that they call by position takes one argument more,
which has a default.
"""

from pathlib import Path

from alembic import op

revision = "1005"
down_revision = "1004"

SQL = Path(__file__).parent.parent / "sql"

CREATE_TABLE = """
create table factwire.job_leases (
  name text collate "C" primary key,
  holder uuid not null,
  fence bigint not null,
  until timestamptz not null
);
comment on table factwire.job_leases is 'Leases of jobs: one process does a job at a time.'
"""

APPEND_ARGUMENTS = """
  integer[], uuid[], text[], text[], integer[], bytea, bytea, integer[], integer[], text[], integer[],
  text[], text[], text[], integer[], integer[], uuid[], integer[], integer[], bigint[], uuid[], text[],
  text[], text[], integer, double precision, text[], uuid[], bytea, integer[], integer[], integer, bigint,
  uuid, text[], uuid[], bytea[], text[], text[], integer, integer
"""

NEW = ("take_job_lease_v1", "renew_job_lease_v1", "refuse_effects_v1")

# PostgreSQL lets everybody execute a new function. Only the roles that append need these.
GRANT_TO_APPENDING_ROLES = """
do $$
declare
  v_function regprocedure;
  v_role regrole;
begin
  for v_function in
    select p.oid
      from pg_proc p
     where p.pronamespace = 'factwire'::regnamespace
       and p.prosecdef
       and has_function_privilege('public', p.oid, 'execute')
  loop
    execute format('revoke execute on function %s from public', v_function);
    for v_role in
      select distinct a.grantee
        from pg_class c
       cross join lateral aclexplode(c.relacl) a
       where c.oid = 'factwire.facts'::regclass and a.privilege_type = 'INSERT' and a.grantee <> 0
    loop
      execute format('grant execute on function %s to %s', v_function, v_role);
    end loop;
  end loop;
end
$$
"""

DROP_NEW = """
drop function factwire.refuse_effects(jsonb, integer[]);
drop function factwire.renew_job_lease(text, uuid, bigint, double precision);
drop function factwire.take_job_lease(text, uuid, double precision);
drop table factwire.job_leases
"""


def upgrade() -> None:
    execute_each(CREATE_TABLE)
    for name in NEW:
        execute_file(name)
    op.execute(f"drop function factwire.append({APPEND_ARGUMENTS})")
    execute_file("append_v2")
    op.get_bind().exec_driver_sql(GRANT_TO_APPENDING_ROLES)


def downgrade() -> None:
    op.execute(f"drop function factwire.append({APPEND_ARGUMENTS}, jsonb)")
    execute_file("append_v1")
    execute_each(DROP_NEW)


def execute_file(name: str) -> None:
    op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        op.execute(statement)
