"""Seal the payloads of facts about data subjects, let them be erased and others redacted, and chain what is appended.

Safe beside running services of the version before: they append through the same function, which chains as well, and the
new tables are open to whoever may write facts. Creating the trigger locks the facts for a moment.
"""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

SQL = Path(__file__).parent.parent / "sql"

TABLES = """
create table factwire.data_subjects (
  id text collate "C" primary key,
  key_id uuid not null,
  wrapped_key bytea,
  master_key text,
  created_at timestamptz not null default clock_timestamp(),
  erased_at timestamptz,
  check ((wrapped_key is null) = (erased_at is not null)),
  check ((wrapped_key is null) = (master_key is null))
);
create table factwire.sealed (
  position bigint primary key,
  data_subject text collate "C" not null,
  seal bytea not null
);
alter table factwire.sealed alter column seal set storage external;
create table factwire.redactions (
  position bigint primary key,
  fact_id uuid not null,
  reason text not null,
  redacted_at timestamptz not null
);
create table factwire.chain (
  last_position bigint primary key,
  first_position bigint not null,
  published_at timestamptz not null,
  hash bytea not null
);
alter table factwire.log add column erasures bigint not null default 0
"""

FUNCTIONS = (
    "lock_log",
    "append",
    "append_audit",
    "chain_older",
    "erase_data_subject",
    "redacted",
    "redact_fact",
    "allow_redaction",
    "guard_data_subject",
    "holds_sealed",
    "read_seals",
    "list_page",
)

TRIGGERS = """
create trigger allow_redaction before update on factwire.facts
  for each row execute function factwire.allow_redaction();
create trigger allow_redaction before update on factwire.sealed
  for each row execute function factwire.allow_redaction();
create trigger guard_data_subject before update or delete on factwire.data_subjects
  for each row execute function factwire.guard_data_subject();
create trigger refuse_change before truncate on factwire.data_subjects
  for each statement execute function factwire.refuse_change();
create trigger refuse_change before update or delete or truncate on factwire.sealed
  for each statement execute function factwire.refuse_change();
create trigger refuse_change before update or delete or truncate on factwire.redactions
  for each statement execute function factwire.refuse_change();
create trigger refuse_change before update or delete or truncate on factwire.chain
  for each statement execute function factwire.refuse_change()
"""

# A role that only serves was given its rights table by table, and its running services append meanwhile.
GRANT_AS_ON_FACTS = """
do $$
declare
  v_grant record;
begin
  for v_grant in
    select case when a.grantee = 0 then 'public' else format('%I', pg_get_userbyid(a.grantee)) end as role,
           a.privilege_type = 'INSERT' as may_insert
      from pg_class c
     cross join lateral aclexplode(c.relacl) a
     where c.oid = 'factwire.facts'::regclass and a.privilege_type in ('SELECT', 'INSERT') and a.grantee <> c.relowner
  loop
    if v_grant.may_insert then
      execute format('grant insert on factwire.chain, factwire.sealed, factwire.data_subjects to %s', v_grant.role);
    else
      execute format(
        'grant select on factwire.chain, factwire.sealed, factwire.data_subjects, factwire.redactions to %s',
        v_grant.role);
    end if;
  end loop;
end
$$
"""

OLDER_FACTS_MAX = 20_000  # in a second or two, while publishers wait


def upgrade() -> None:
    execute_each(TABLES)
    for name in FUNCTIONS:
        op.get_bind().exec_driver_sql((SQL / f"{name}_v1.sql").read_text())
    for name in ("append_facts_v2", "refuse_change_v2"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())
    execute_each(TRIGGERS)
    op.get_bind().exec_driver_sql(GRANT_AS_ON_FACTS)
    op.execute("select factwire.lock_log()")
    op.execute(f"select factwire.chain_older({OLDER_FACTS_MAX})")


def downgrade() -> None:
    for name in ("append_facts", "refuse_change"):
        text = (SQL / f"{name}_v1.sql").read_text()
        op.get_bind().exec_driver_sql(text.replace("create function", "create or replace function", 1))
    op.execute("drop trigger allow_redaction on factwire.facts")
    for table in ("chain", "redactions", "sealed", "data_subjects"):
        op.execute(f"drop table factwire.{table}")
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function factwire.{name}")
    op.execute("alter table factwire.log drop column erasures")


def execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        op.execute(statement)
