"""Create the log: its tables, the functions that append to it and read it, and the triggers that keep facts immutable.

The baseline of the first release. It is never edited: later migrations add to it.
"""

from pathlib import Path

from alembic import op

revision = "1001"
down_revision = None

SQL = Path(__file__).parent.parent / "sql"

TABLES = """
create table factwire.log (
  one boolean primary key default true check (one),
  identity uuid not null default gen_random_uuid(),
  lock_key bigint not null,
  epoch integer not null default 1,
  floor bigint not null default 0,
  partition_facts bigint not null default 10000000,
  erasures bigint not null default 0,
  forked_at timestamptz,
  forked_after bigint,
  system_identifier bigint,
  timeline integer
);
create table factwire.epochs (
  epoch integer primary key,
  forked_after bigint not null,
  raised_at timestamptz not null default clock_timestamp()
);
create table factwire.facts (
  position bigint primary key,
  id uuid not null,
  published_at timestamptz not null,
  namespace text collate "C" not null,
  type text collate "C" not null,
  version integer not null,
  document bytea not null
) partition by range (position);
create table factwire.fact_tags (
  tag text collate "C",
  position bigint,
  earlier smallint[],
  primary key (tag, position)
) partition by range (position);
create table factwire.fact_ids (
  id uuid primary key,
  position bigint not null,
  digest bytea not null
);
create table factwire.chain (
  last_position bigint primary key,
  first_position bigint not null,
  published_at timestamptz not null,
  hash bytea not null,
  bytes_so_far bigint
);
create table factwire.types (
  namespace text collate "C",
  type text collate "C",
  version integer,
  primary key (namespace, type, version)
);
create table factwire.namespaces (
  namespace text collate "C" primary key,
  principal text not null,
  types integer not null
);
create table factwire.creators (
  principal text primary key,
  namespaces integer not null
);
create table factwire.type_counts (
  namespace text collate "C",
  type text collate "C",
  version integer,
  facts bigint not null,
  last_position bigint not null,
  primary key (namespace, type, version)
);
create table factwire.namespace_counts (
  namespace text collate "C" primary key,
  facts bigint not null,
  last_position bigint not null
);
create table factwire.counted (
  one boolean primary key default true check (one),
  through bigint not null default 0
);
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
create table factwire.keys (
  id text collate "C" primary key,
  name text not null,
  grants jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
create table factwire.key_secrets (
  digest bytea primary key,
  key_id text collate "C" not null references factwire.keys (id),
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz
);
create index ix_factwire_key_secrets_key_id on factwire.key_secrets (key_id);
create table factwire.keys_version (
  one boolean primary key default true check (one),
  version bigint not null default 0
);
create table factwire.sessions (
  digest bytea primary key,
  principal text not null,
  expires_at timestamptz not null,
  session bytea references factwire.sessions (digest) on delete cascade
);
create index sessions_by_end on factwire.sessions (expires_at);
create index sessions_by_session on factwire.sessions (session);
create table factwire.tickets (
  digest bytea primary key,
  principal text not null,
  query bytea not null,
  expires_at timestamptz not null,
  session bytea references factwire.sessions (digest) on delete cascade
);
create index tickets_by_end on factwire.tickets (expires_at);
create index tickets_by_session on factwire.tickets (session)
"""

# A function in SQL stands after those that it calls: PostgreSQL looks them up when it is created.
FUNCTIONS = (
    "refuse_change",
    "head",
    "lock_log",
    "raise_missing_fact",
    "partitioned_until",
    "create_partition",
    "unreadable_fact_json",
    "fact_json",
    "redact_document",
    "covers",
    "parse_scope",
    "find_lists",
    "count_postings",
    "fewest_postings",
    "choose_lists",
    "next_postings",
    "scan_log",
    "keep_matching",
    "walk_item",
    "walk_query",
    "search_items",
    "document_bytes_max",
    "find_page",
    "starts_with_previous_position",
    "is_well_formed",
    "compose_each",
    "compose_page",
    "list_facts",
    "contains_sealed",
    "read_seals",
    "read_tail",
    "last_fact_before",
    "check_conditions",
    "refuse_conditions",
    "keep_unrefused",
    "exceeded_limit",
    "register_kinds",
    "append",
    "append_audit",
    "wait_for_standby",
    "read_audit_fact",
    "destroy_data_key",
    "erase_data_subject",
    "remove_payload",
    "redact_fact",
    "allow_redaction",
    "guard_data_subject",
    "guard_key",
    "count_key_change",
    "fold_counts",
    "count_since",
    "list_namespaces",
    "list_types",
    "count_type",
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
create trigger guard_key before update on factwire.keys
  for each row execute function factwire.guard_key();
create trigger guard_keys before delete or truncate on factwire.keys
  for each statement execute function factwire.guard_key();
create trigger count_change after insert or update of revoked_at on factwire.keys
  for each statement execute function factwire.count_key_change();
create trigger count_change after insert or update or delete or truncate on factwire.key_secrets
  for each statement execute function factwire.count_key_change()
"""

IMMUTABLE_TABLES = ("facts", "fact_tags", "fact_ids", "sealed", "redactions", "chain")

# The identity is random, so that two logs of one server never share a lock; neighbours of the key are used as well.
FIRST_ROWS = """
insert into factwire.log (lock_key)
select ('x' || substr(md5(gen_random_uuid()::text), 1, 15))::bit(60)::bigint;
insert into factwire.counted default values;
insert into factwire.keys_version default values;
insert into factwire.epochs (epoch, forked_after) values (1, 0)
"""

# PostgreSQL lets everybody execute a new function.
REVOKE_SECURITY_DEFINERS = """
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

DROP_EVERYTHING = """
do $$
declare
  v_table regclass;
  v_function regprocedure;
begin
  for v_table in
    select c.oid
      from pg_class c
     where c.relnamespace = 'factwire'::regnamespace
       and c.relkind in ('r', 'p')
       and not c.relispartition
       and c.relname <> 'alembic_version'
  loop
    execute format('drop table %s cascade', v_table);
  end loop;
  for v_function in select p.oid from pg_proc p where p.pronamespace = 'factwire'::regnamespace loop
    execute format('drop function %s', v_function);
  end loop;
end
$$
"""


def upgrade() -> None:
    execute_each(TABLES)
    for name in FUNCTIONS:
        op.get_bind().exec_driver_sql((SQL / f"{name}_v1.sql").read_text())
    execute_each(TRIGGERS)
    for table in IMMUTABLE_TABLES:
        op.execute(
            f"create trigger refuse_change before update or delete or truncate on factwire.{table} "
            "for each statement execute function factwire.refuse_change()"
        )
    execute_each(FIRST_ROWS)
    op.execute("select factwire.create_partition(0)")
    op.get_bind().exec_driver_sql(REVOKE_SECURITY_DEFINERS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DROP_EVERYTHING)


def execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        op.execute(statement)
