"""Put `data:` before `id:` in events, never step over a missing fact, and keep the notice of a fork for all processes.

Safe beside running services of the version before: they call the same functions, which take both forms of a stored
fact. Facts from before stay as they are stored, and their pages take longer to put together. A redaction of a newer
fact by such a service is refused until it is replaced. Adding columns locks the row of the log for a moment.
"""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"

SQL = Path(__file__).parent.parent / "sql"

NEW_FUNCTIONS = (
    "missing_fact_v1",
    "unreadable_json_v1",
    "fact_json_v1",
    "is_dense_v1",
    "begins_dense_v1",
    "compose_each_v1",
    "list_facts_v1",
    "wait_for_standby_v1",
    "append_v3",
)
CHANGED_FUNCTIONS = (
    ("append_before_v1", "append_v2"),
    ("append_audit_v2", "append_audit_v1"),
    ("erase_data_subject_v2", "erase_data_subject_v1"),
    ("redact_fact_v2", "redact_fact_v1"),
    ("formed_v2", "formed_v1"),
    ("compose_page_v2", "compose_page_v1"),
    ("find_page_v3", "find_page_v2"),
    ("walk_item_v3", "walk_item_v2"),
    ("read_tail_v2", "read_tail_v1"),
)

COLUMNS = """
alter table factwire.log
  add column forked_at timestamptz,
  add column forked_after bigint,
  add column system_identifier bigint,
  add column timeline integer
"""

# Whoever may append facts may keep the notice that they are not to be appended.
GRANT_AS_ON_FACTS = """
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
    execute format(
      'grant update (forked_at, forked_after, system_identifier, timeline) on factwire.log to %s', v_role);
  end loop;
end
$$
"""

# In the form that the version before reads.
STORE_AS_BEFORE = """
alter table factwire.facts disable trigger user;
update factwire.facts
   set document = convert_to(position || e'\\ndata: ', 'UTF8') || substr(document, length((position - 1)::text) + 9)
 where substr(document, length((position - 1)::text) + 1, 2) = e'\\n\\n'::bytea;
alter table factwire.facts enable trigger user
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    for name in NEW_FUNCTIONS:
        execute_file(name)
    for name, _ in CHANGED_FUNCTIONS:
        execute_file(name)
    op.get_bind().exec_driver_sql(GRANT_AS_ON_FACTS)


def downgrade() -> None:
    for _, name in CHANGED_FUNCTIONS:
        execute_file(name, replacing=True)
    for statement in STORE_AS_BEFORE.split(";"):
        op.execute(statement)
    for name in reversed(NEW_FUNCTIONS[:-1]):
        op.execute(f"drop function factwire.{name.rpartition('_')[0]}")
    op.execute(DROP_APPEND)
    for column in ("forked_at", "forked_after", "system_identifier", "timeline"):
        op.execute(f"alter table factwire.log drop column {column}")


DROP_APPEND = """
do $$
begin
  execute (
    select format('drop function %s', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = 'factwire'::regnamespace and p.proname = 'append' and p.pronargs = 36);
end
$$
"""


def execute_file(name: str, *, replacing: bool = False) -> None:
    text = (SQL / f"{name}.sql").read_text()
    if replacing and "create or replace" not in text:
        text = text.replace("create function", "create or replace function", 1)
    op.get_bind().exec_driver_sql(text)
