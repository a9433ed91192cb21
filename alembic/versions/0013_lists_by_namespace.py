"""Keep the postings of each namespace in lists of their own, and count what a call and the catalogue may bring.

Stops publishing, and reading with a filter, while it writes the postings anew: 15 s for a million facts. Safe
beside running services of the version before: they call functions of the same names, which take what they send. The
functions of two versions before go.
"""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"

SQL = Path(__file__).parent.parent / "sql"

TABLES = (
    """
create table factwire.namespaces (
  namespace text collate "C" primary key,
  principal text not null,
  types integer not null
)
""",
    """
create table factwire.creators (
  principal text primary key,
  namespaces integer not null
)
""",
    """
create table factwire.namespace_counts (
  namespace text collate "C" primary key,
  facts bigint not null,
  last_position bigint not null
)
""",
)

FILL = (
    """
insert into factwire.namespaces (namespace, principal, types)
select namespace, '', count(*) from factwire.types group by namespace
""",
    """
insert into factwire.creators (principal, namespaces)
select principal, count(*) from factwire.namespaces group by principal
""",
    """
insert into factwire.namespace_counts (namespace, facts, last_position)
select namespace, sum(facts), max(last_position) from factwire.type_counts group by namespace
""",
)

# Whoever may add to the catalogue of types may add to that of namespaces; whoever may read one may read the other.
GRANT_AS_ON_TYPES = """
do $$
declare
  v_grant record;
begin
  for v_grant in
    select case when a.grantee = 0 then 'public' else format('%I', pg_get_userbyid(a.grantee)) end as role,
           a.privilege_type
      from pg_class c
     cross join lateral aclexplode(c.relacl) a
     where c.oid = 'factwire.types'::regclass
       and a.privilege_type in ('SELECT', 'INSERT')
       and a.grantee <> c.relowner
  loop
    execute format('grant %s on factwire.namespaces, factwire.creators to %s', v_grant.privilege_type, v_grant.role);
    if v_grant.privilege_type = 'INSERT' then
      execute format(
        'grant update (types) on factwire.namespaces to %s; grant update (namespaces) on factwire.creators to %s',
        v_grant.role, v_grant.role);
    else
      execute format('grant select on factwire.namespace_counts to %s', v_grant.role);
    end if;
  end loop;
end
$$
"""

# A row stands for facts at most 999 before its last. Those of a thousand positions are put together here, where else
# those of one append are: nobody relies on which of the two it was.
WRITE_ANEW = """
do $$
declare
  v_child regclass;
begin
  perform factwire.lock_log();
  lock table factwire.fact_tags in access exclusive mode;
  create temporary table lists on commit drop as
  select tag collate "C" as tag, position, earlier from factwire.fact_tags with no data;
  insert into lists
  select g.list, g.last, nullif(array_agg((g.last - g.position)::smallint order by g.position desc)
                                  filter (where g.position < g.last), '{}')
    from (select p.list, p.position,
                 max(p.position) over (partition by p.list, p.position / 1000, p.position / l.partition_facts) as last
            from factwire.log l
           cross join (%s) p (list, position)) g
   group by g.list, g.last;
  for v_child in select i.inhrelid::regclass from pg_inherits i where i.inhparent = 'factwire.fact_tags'::regclass loop
    execute format('alter table %%s disable trigger refuse_change', v_child);
    execute format('truncate %%s', v_child);
    execute format('alter table %%s enable trigger refuse_change', v_child);
  end loop;
  insert into factwire.fact_tags (tag, position, earlier) select tag, position, earlier from lists order by 1, 2;
end
$$
"""

LISTS = """
select t.tag || e'\\x1d' || f.namespace, f.position
  from factwire.fact_tags t
 cross join lateral (select 0 union all select unnest(t.earlier)) b (back)
  join factwire.facts f on f.position = t.position - b.back
 where t.tag not like 't:%%'
 union all
select unnest(array['t:' || f.type, 't:' || f.type || e'\\x1d' || f.namespace, 'n:' || f.namespace]), f.position
  from factwire.facts f
 union all
select 'f:' || split_part(f.namespace, '.', 1), f.position
  from factwire.facts f
 where position('.' in f.namespace) > 0
"""

LISTS_BEFORE = """
select split_part(t.tag, e'\\x1d', 1), t.position - b.back
  from factwire.fact_tags t
 cross join lateral (select 0 union all select unnest(t.earlier)) b (back)
 where t.tag ~ '^[am]:'
 union all
select 't:' || f.namespace || '/' || f.type, f.position
  from factwire.facts f
"""

NEW_FUNCTIONS = (
    "scope_of_v1",
    "scope_before_v1",
    "lists_of_v1",
    "lists_of_call_v1",
    "count_postings_v1",
    "fewest_postings_v1",
    "choose_lists_v1",
    "next_postings_v2",
    "scan_log_v1",
    "keep_matching_v1",
    "walk_item_v4",
    "walk_query_v3",
    "search_items_v1",
    "find_page_v4",
    "check_conditions_v3",
    "refuse_conditions_v2",
    "exceeded_v1",
    "register_kinds_v1",
    "append_v4",
    "tail_counts_v1",
    "list_namespaces_v1",
    "list_types_v1",
    "count_type_v1",
)
# They call functions whose arguments change, or go on under their names for services of the version before.
CHANGED_FUNCTIONS = (
    ("append_before_v2", "append_v3"),
    ("append_audit_v3", "append_audit_v2"),
    ("find_page_before_v1", "find_page_v3"),
    ("walk_query_before_v1", "walk_query_v2"),
    ("fold_counts_v2", "fold_counts_v1"),
    ("list_facts_v2", "list_facts_v1"),
    ("holds_sealed_v2", "holds_sealed_v1"),
    ("read_seals_v2", "read_seals_v1"),
    ("redact_fact_v4", "redact_fact_v3"),
)
# By how many arguments they take, where another one of the name stays.
DROPPED = (
    ("append_facts", 24),
    ("append", 29),
    ("next_postings", 5),
    ("has_tag", 2),
    ("choose_postings", 6),
    ("walk_item", 8),
    ("check_conditions", 7),
    ("refuse_conditions", 10),
    ("readable_namespaces", 1),
)
DROPPED_AS = (
    "has_tag_v1",
    "next_postings_v1",
    "readable_namespaces_v1",
    "choose_postings_v2",
    "walk_item_v3",
    "walk_query_v2",
    "check_conditions_v2",
    "refuse_conditions_v1",
    "find_page_v3",
    "append_v3",
    "append_before_v1",
    "append_facts_v2",
)

# As 0011 has it: where the defaults of a database give new functions to nobody, those who serve may not call them.
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

DROP = """
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid
      from pg_proc p
     where p.pronamespace = 'factwire'::regnamespace
       and p.proname = '{name}'
       and ({arguments} < 0 or p.pronargs = {arguments})
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$
"""


def upgrade() -> None:
    for statement in (*TABLES, *FILL):
        op.execute(statement)
    op.get_bind().exec_driver_sql(WRITE_ANEW % LISTS)
    for name, arguments in DROPPED:
        drop(name, arguments)
    for name in NEW_FUNCTIONS:
        execute_file(name)
    for name, _ in CHANGED_FUNCTIONS:
        execute_file(name)
    for statement in (SET_SEARCH_PATH, GRANT_AS_ON_TYPES, GRANT_TO_WHOEVER_APPENDS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(WRITE_ANEW % LISTS_BEFORE)
    for name in NEW_FUNCTIONS:
        drop(name.rpartition("_")[0])
    for name in DROPPED_AS:
        execute_file(name)
    for _, name in CHANGED_FUNCTIONS:
        execute_file(name, replacing=True)
    for statement in (SET_SEARCH_PATH, GRANT_TO_WHOEVER_APPENDS):
        op.get_bind().exec_driver_sql(statement)
    for table in ("namespace_counts", "creators", "namespaces"):
        op.execute(f"drop table factwire.{table}")


def drop(name: str, arguments: int = -1) -> None:
    op.get_bind().exec_driver_sql(DROP.format(name=name, arguments=arguments))


def execute_file(name: str, *, replacing: bool = False) -> None:
    text = (SQL / f"{name}.sql").read_text()
    if replacing:
        text = text.replace("create function", "create or replace function", 1)
    op.get_bind().exec_driver_sql(text)
