"""Let nobody call what runs with the owner's rights but those who may append, and let it take no author or document.

Safe beside running services of the version before: they call the same functions with the same arguments. What runs
with the owner's rights by now are two functions below these, which act upon the fact that tells of an erasure, and on
nothing that their caller says. JIT is off in every function that pins its plan, and `append` has a search path of its
own: a role may have put a schema before pg_catalog.
"""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

SQL = Path(__file__).parent.parent / "sql"

NEW_FUNCTIONS = ("recorded_v1", "destroy_data_key_v1", "take_out_payload_v1")
CHANGED_FUNCTIONS = (("erase_data_subject_v3", "erase_data_subject_v2"), ("redact_fact_v3", "redact_fact_v2"))

# PostgreSQL lets everybody execute a new function.
REVOKE = """
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p where p.pronamespace = 'factwire'::regnamespace and p.prosecdef
  loop
    execute format('revoke execute on function %s from public', v_function);
  end loop;
end
$$
"""

# Where the defaults of a database give new functions to nobody, those who serve may not call the others either.
GRANT_TO_WHOEVER_APPENDS = """
do $$
declare
  v_role text;
begin
  for v_role in
    select case when a.grantee = 0 then 'public' else format('%I', pg_get_userbyid(a.grantee)) end
      from pg_class c
     cross join lateral aclexplode(c.relacl) a
     where c.oid = 'factwire.facts'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
  loop
    execute format('grant execute on all functions in schema factwire to %s', v_role);
  end loop;
end
$$
"""

SET_JIT = """
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid
      from pg_proc p
     where p.pronamespace = 'factwire'::regnamespace
       and 'enable_seqscan=off' = any (p.proconfig)
       and 'jit=off' <> all (p.proconfig)
  loop
    execute format('alter function %s set jit = off', v_function);
  end loop;
end
$$
"""

SET_SEARCH_PATH = """
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p where p.pronamespace = 'factwire'::regnamespace and p.proname = 'append'
  loop
    execute format('alter function %s set search_path = pg_catalog, pg_temp', v_function);
  end loop;
end
$$
"""


def upgrade() -> None:
    for name in (*NEW_FUNCTIONS, *(changed for changed, _ in CHANGED_FUNCTIONS)):
        execute_file(name)
    for statement in (SET_JIT, SET_SEARCH_PATH, REVOKE, GRANT_TO_WHOEVER_APPENDS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(SET_SEARCH_PATH.replace("set search_path = pg_catalog, pg_temp", "reset search_path"))
    for _, name in CHANGED_FUNCTIONS:
        execute_file(name)
    for name in ("destroy_data_key()", "take_out_payload()", "recorded(text, text[])"):
        op.execute(f"drop function factwire.{name}")
    op.get_bind().exec_driver_sql(REVOKE.replace("revoke execute", "grant execute").replace("from public", "to public"))


def execute_file(name: str) -> None:
    op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())
